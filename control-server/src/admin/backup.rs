use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use lanrage_shared::api::error::ErrorCode;
use tempfile::TempDir;
use tokio_util::io::ReaderStream;

use super::operator::Operator;
use super::{Console, ConsoleState};
use crate::data_dir::{DATABASE, KEPT_BESIDE};
use crate::error::Failure;

/// The database as of one moment, and what has to be kept with it: unpacked into an empty data directory, it is this server
/// again. It holds the server's keys.
#[utoipa::path(
    post, path = "/admin/v1/backup", tag = "admin", security(("operator" = [])),
    responses(
        (status = 200, description = "A tar archive of files of the data directory", body = Vec<u8>, content_type = "application/x-tar"),
        (status = 409, description = "The database is PostgreSQL, which has tools of its own for this"),
    ),
)]
pub(super) async fn backup(State(console): State<ConsoleState>, _: Operator) -> Result<impl IntoResponse, Failure> {
    let Console { app, data_dir, .. } = &*console;
    // Beside the database there is room for another one, if anywhere. It is its owner's only, and gone when it is dropped.
    let dir = TempDir::with_prefix_in("backup-", data_dir).map_err(|error| unwritable(&error))?;
    let database = dir.path().join(DATABASE);
    private(&database).map_err(|error| unwritable(&error))?;
    if !app.store.back_up(&database).await? {
        let message = "this server keeps its parties in PostgreSQL: back that up with pg_dump";
        return Err(Failure::new(StatusCode::CONFLICT, ErrorCode::BadRequest, message));
    }
    let beside = KEPT_BESIDE.map(|name| data_dir.join(name));
    let packed = tokio::task::spawn_blocking(move || pack(&dir, &database, &beside));
    let file = match packed.await {
        Ok(Ok(file)) => tokio::fs::File::from_std(file),
        Ok(Err(error)) => return Err(unwritable(&error)),
        Err(_) => return Err(Failure::unavailable("the backup was interrupted")),
    };
    tracing::info!("the operator took a backup");
    let body = Body::from_stream(ReaderStream::new(file));
    Ok(([(CONTENT_TYPE, "application/x-tar")], body))
}

/// The archive, open at its beginning; it has no name any more once the directory is gone.
fn pack(dir: &TempDir, database: &Path, beside: &[PathBuf]) -> io::Result<File> {
    let file = dir.path().join("backup.tar");
    let mut tar = tar::Builder::new(private(&file)?);
    tar.append_path_with_name(database, DATABASE)?;
    for path in beside {
        let name = path.file_name().unwrap_or_default();
        match tar.append_path_with_name(path, name) {
            // There is no public address before the operator gave one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => outcome?,
        }
    }
    tar.into_inner()?;
    File::open(&file)
}

/// A new file for its owner only.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn unwritable(error: &io::Error) -> Failure {
    tracing::warn!(%error, "the backup cannot be written");
    Failure::unavailable("the server cannot write a copy into its data directory; its log says why")
}
