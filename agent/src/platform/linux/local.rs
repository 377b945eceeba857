//! The local API's endpoint: a Unix socket in the state directory.
//!
//! The directory is 0700 and the socket 0600, and on top of that the kernel tells who connects: only root and the owner
//! of the state directory are served, whatever became of the modes.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};
use tracing::debug;

use super::{give_to_owner_of_directory, restrict_to_owner};

const SOCKET: &str = "agent.sock";
/// `sun_path` of unix(7) without its closing zero.
const LONGEST_SOCKET_PATH: usize = 107;

/// The agent's end of one connection.
pub type LocalServerStream = UnixStream;
/// The command line's end of one connection.
pub type LocalClientStream = UnixStream;

/// Accepts the local API's connections.
#[derive(Debug)]
pub struct LocalListener {
    listener: UnixListener,
    path: PathBuf,
    owner: u32,
}

impl LocalListener {
    /// Listens in `state_dir`. A socket that a dead agent left behind is replaced; one that answers is
    /// [`io::ErrorKind::AddrInUse`].
    pub async fn bind(state_dir: &Path) -> io::Result<Self> {
        let path = socket_path(state_dir)?;
        let owner = std::fs::metadata(state_dir)?.uid();
        let listener = match UnixListener::bind(&path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if UnixStream::connect(&path).await.is_ok() {
                    return Err(error);
                }
                std::fs::remove_file(&path)?;
                UnixListener::bind(&path)?
            }
            other => other?,
        };
        restrict_to_owner(&path)?;
        give_to_owner_of_directory(&path)?;
        Ok(Self { listener, path, owner })
    }

    /// The next connection of somebody who may use it. Others are hung up on. Safe to cancel.
    pub async fn accept(&mut self) -> io::Result<LocalServerStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            match stream.peer_cred() {
                Ok(peer) if may_connect(peer.uid(), self.owner) => return Ok(stream),
                Ok(peer) => debug!(
                    uid = peer.uid(),
                    "refused a local connection: neither root nor the owner of the state directory"
                ),
                Err(error) => debug!(%error, "refused a local connection that the kernel does not vouch for"),
            }
        }
    }
}

impl Drop for LocalListener {
    fn drop(&mut self) {
        // Gone already when the state directory was removed under us.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Connects to the agent of `state_dir`. [`io::ErrorKind::NotFound`] and [`io::ErrorKind::ConnectionRefused`] mean that
/// none runs, [`io::ErrorKind::PermissionDenied`] that it belongs to somebody else.
pub async fn connect(state_dir: &Path) -> io::Result<LocalClientStream> {
    UnixStream::connect(socket_path(state_dir)?).await
}

fn may_connect(uid: u32, owner: u32) -> bool {
    uid == 0 || uid == owner
}

fn socket_path(state_dir: &Path) -> io::Result<PathBuf> {
    let path = state_dir.join(SOCKET);
    let length = path.as_os_str().len();
    if length > LONGEST_SOCKET_PATH {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "the state directory's path is {} bytes too long for a Unix socket; choose a shorter one with --state-dir",
                length - LONGEST_SOCKET_PATH
            ),
        ));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn the_owner_reaches_the_agent_through_a_socket_nobody_else_may_open() {
        let dir = tempfile::tempdir().unwrap();
        let mut listener = LocalListener::bind(dir.path()).await.unwrap();
        let mode = std::fs::metadata(dir.path().join(SOCKET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let mut client = connect(dir.path()).await.unwrap();
        let mut server = listener.accept().await.unwrap();
        client.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        server.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
    }

    #[tokio::test]
    async fn a_dead_agents_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        drop(std::os::unix::net::UnixListener::bind(dir.path().join(SOCKET)).unwrap());
        assert_eq!(
            connect(dir.path()).await.unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );

        let live = LocalListener::bind(dir.path()).await.unwrap();
        let second = LocalListener::bind(dir.path()).await;
        assert_eq!(second.unwrap_err().kind(), io::ErrorKind::AddrInUse);

        drop(live);
        assert_eq!(connect(dir.path()).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn only_root_and_the_owner_are_served() {
        assert!(may_connect(0, 1000));
        assert!(may_connect(1000, 1000));
        assert!(!may_connect(1001, 1000));
        assert!(!may_connect(1000, 0));
    }

    #[tokio::test]
    async fn a_path_too_long_for_a_socket_says_what_to_do() {
        let error = connect(Path::new(&format!("/{}", "x".repeat(200)))).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("--state-dir"));
    }
}
