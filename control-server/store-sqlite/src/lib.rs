//! The store on SQLite.
//!
//! Writers take turns on one connection and take the database's write lock when they begin, so a transaction that reads
//! before it writes never has to start over. Readers have connections of their own and, in WAL mode, never wait for the
//! writer. `synchronous=FULL` makes a commit wait for the disk: what was acknowledged survives a power cut.

mod error;
mod sql;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use lanrage_shared::hlc::ReplicaId;
use lanrage_store::columns::fitting;
use lanrage_store::{Database, Listener, Result, StoreError, Transaction};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, SqlSafeStr, Sqlite};

use crate::error::store_error;
use crate::sql::SqliteTransaction;

/// Readers at once; more would only wait for the disk.
const READERS: u32 = 4;
/// How long to wait for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a writer waits for its turn: 200 joins at once take about two seconds on a slow disk.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the disk may take to answer anybody; longer than [`BUSY_TIMEOUT`], after which SQLite answers by itself. What is given
/// up may be done all the same, and there is no network that could have lost it.
const PATIENCE: Duration = Duration::from_secs(6);

/// A migrated SQLite file.
pub struct SqliteDatabase {
    writer: SqlitePool,
    readers: SqlitePool,
    replica: ReplicaId,
}

impl SqliteDatabase {
    /// Opens the file, makes it when there is none, and brings its tables up to date.
    pub async fn open(file: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let writer = pool(1).connect_with(options.clone()).await.map_err(store_error)?;
        migrator()
            .run(&writer)
            .await
            .map_err(|error| StoreError::Internal(error.to_string()))?;
        let readers = pool(READERS).connect_lazy_with(options);
        let replica = draw_replica(&writer).await?;
        Ok(Self {
            writer,
            readers,
            replica,
        })
    }
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(TURN_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        // On a full disk SQLite ends a transaction by itself, and a connection that holds it for open would refuse every other one.
        .after_release(|connection, _| {
            Box::pin(async move {
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        })
}

fn migrator() -> Migrator {
    let migration = |number, name: &'static str, text: &'static str| {
        Migration::new(number, name.into(), MigrationType::Simple, text.into_sql_str(), false)
    };
    let mut migrator = Migrator::with_migrations(vec![
        migration(
            1,
            "parties",
            include_str!("../../../migrations/sqlite/0001_parties.sql"),
        ),
        migration(
            2,
            "removal",
            include_str!("../../../migrations/sqlite/0002_removal.sql"),
        ),
        migration(
            3,
            "replicas",
            include_str!("../../../migrations/sqlite/0003_replicas.sql"),
        ),
        migration(4, "locked", include_str!("../../../migrations/sqlite/0004_locked.sql")),
        migration(
            5,
            "arrivals",
            include_str!("../../../migrations/sqlite/0005_arrivals.sql"),
        ),
    ]);
    // Migrations only add, so this version works on the tables of a newer one.
    migrator.set_ignore_missing(true);
    migrator
}

#[async_trait]
impl Database for SqliteDatabase {
    fn kind(&self) -> &'static str {
        "SQLite"
    }

    async fn read(&self) -> Result<Box<dyn Transaction>> {
        begin(&self.readers, "BEGIN").await
    }

    async fn write(&self) -> Result<Box<dyn Transaction>> {
        begin(&self.writer, "BEGIN IMMEDIATE").await
    }

    async fn back_up(&self, file: &Path) -> Result<bool> {
        let file = file
            .to_str()
            .ok_or_else(|| StoreError::Internal("the backup's path is not UTF-8".into()))?;
        let copied = sqlx::query("VACUUM INTO ?1").bind(file).execute(&self.readers).await;
        copied.map(|_| true).map_err(store_error)
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn replica(&self) -> ReplicaId {
        self.replica
    }

    async fn listen(&self) -> Result<Option<Box<dyn Listener>>> {
        Ok(None)
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

async fn begin(pool: &SqlitePool, statement: &'static str) -> Result<Box<dyn Transaction>> {
    let transaction: sqlx::Transaction<'static, Sqlite> = pool.begin_with(statement).await.map_err(store_error)?;
    Ok(Box::new(SqliteTransaction(transaction)))
}

/// The next number of a replica.
async fn draw_replica(pool: &SqlitePool) -> Result<ReplicaId> {
    let statement = "UPDATE counters SET value = value + 1 WHERE name = 'replica' RETURNING value";
    let number: i64 = sqlx::query_scalar(statement)
        .fetch_one(pool)
        .await
        .map_err(store_error)?;
    fitting(number, "value").map(ReplicaId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_disk_costs_nobody_but_whoever_filled_it() {
        let dir = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(dir.path().join("full.sqlite3"))
            .create_if_missing(true)
            // As good as a full disk: SQLite has no room beyond.
            .pragma("max_page_count", "4");
        let writer = pool(1).connect_with(options).await.unwrap();
        sqlx::query("CREATE TABLE files (content BLOB)")
            .execute(&writer)
            .await
            .unwrap();
        for _ in 0..2 {
            let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.unwrap();
            let statement = sqlx::query("INSERT INTO files VALUES (zeroblob(100000))");
            let full = statement.execute(&mut *transaction).await.map_err(store_error);
            assert!(matches!(full, Err(StoreError::Unavailable(_))), "{full:?}");
        }
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.unwrap();
        let statement = sqlx::query("INSERT INTO files VALUES (zeroblob(10))");
        statement.execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }
}
