//! The store on PostgreSQL.
//!
//! Whoever changes a party locks its row first, so changes of one party happen one after the other while parties do not wait
//! for each other. Reads see one moment (`REPEATABLE READ`).

mod error;
mod listen;
mod sql;

use std::str::FromStr;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use lanrage_shared::hlc::ReplicaId;
use lanrage_store::columns::fitting;
use lanrage_store::{Database, Listener, Result, StoreError, Transaction};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection, PgConnection, Postgres, SqlSafeStr};

use crate::error::store_error;
use crate::listen::PostgresListener;
use crate::sql::PostgresTransaction;

/// Connections at once: a small PostgreSQL takes 100, and several replicas share them.
const CONNECTIONS: u32 = 16;
/// How long a request waits for a connection before it is told that the database is not there.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a statement waits for a row that somebody else changes: shorter than nobody is answered for before the database counts as
/// away, as it is not the database that is slow then. Whoever waits holds a connection.
const LOCK_TIMEOUT: &str = "500ms";
/// A transaction that says nothing for this long, of a frozen replica for instance, is ended, so that others can go on.
const FORSAKEN: &str = "10s";

/// A migrated PostgreSQL database.
pub struct PostgresDatabase {
    options: PgConnectOptions,
    /// Replaced when the database does not answer: connections that lead nowhere are never given back.
    pool: RwLock<PgPool>,
    replica: ReplicaId,
}

impl PostgresDatabase {
    /// Connects and brings the tables up to date. Replicas that start at once wait for each other.
    pub async fn connect(url: &str) -> Result<Self> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| StoreError::Internal("the database URL is not one of PostgreSQL".into()))?
            .application_name("lanrage-control");
        // One connection first: it says what is wrong, where a pool would only say that it waited.
        let mut first = PgConnection::connect_with(&options).await.map_err(store_error)?;
        migrator()
            .run(&mut first)
            .await
            .map_err(|error| StoreError::Internal(error.to_string()))?;
        first.close().await.map_err(store_error)?;
        // Migrations may wait for as long as it takes; nobody else does.
        let options = options.options([
            ("lock_timeout", LOCK_TIMEOUT),
            ("idle_in_transaction_session_timeout", FORSAKEN),
            ("tcp_keepalives_idle", "10"),
            ("tcp_keepalives_interval", "5"),
            ("tcp_keepalives_count", "3"),
        ]);
        let pool = lazy_pool(&options);
        let replica = draw_replica(&pool).await?;
        Ok(Self {
            options,
            pool: RwLock::new(pool),
            replica,
        })
    }

    fn pool(&self) -> PgPool {
        // Whoever had the lock only replaced a value.
        self.pool.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn begin(&self, statement: &'static str) -> Result<Box<dyn Transaction>> {
        let inner: sqlx::Transaction<'static, Postgres> =
            self.pool().begin_with(statement).await.map_err(store_error)?;
        let replica = self.replica;
        Ok(Box::new(PostgresTransaction { inner, replica }))
    }
}

fn lazy_pool(options: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(options.clone())
}

fn migrator() -> Migrator {
    let migration = |number, name: &'static str, text: &'static str| {
        Migration::new(number, name.into(), MigrationType::Simple, text.into_sql_str(), false)
    };
    let mut migrator = Migrator::with_migrations(vec![
        migration(
            1,
            "parties",
            include_str!("../../../migrations/postgres/0001_parties.sql"),
        ),
        migration(
            2,
            "removal",
            include_str!("../../../migrations/postgres/0002_removal.sql"),
        ),
        migration(
            3,
            "replicas",
            include_str!("../../../migrations/postgres/0003_replicas.sql"),
        ),
        migration(
            4,
            "locked",
            include_str!("../../../migrations/postgres/0004_locked.sql"),
        ),
        migration(
            5,
            "arrivals",
            include_str!("../../../migrations/postgres/0005_arrivals.sql"),
        ),
    ]);
    // Migrations only add, so this version works on the tables of a newer one.
    migrator.set_ignore_missing(true);
    migrator
}

#[async_trait]
impl Database for PostgresDatabase {
    fn kind(&self) -> &'static str {
        "PostgreSQL"
    }

    async fn read(&self) -> Result<Box<dyn Transaction>> {
        self.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
    }

    async fn write(&self) -> Result<Box<dyn Transaction>> {
        self.begin("BEGIN").await
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn replica(&self) -> ReplicaId {
        self.replica
    }

    async fn listen(&self) -> Result<Option<Box<dyn Listener>>> {
        Ok(Some(Box::new(PostgresListener::open(&self.pool()).await?)))
    }

    fn start_anew(&self) {
        *self.pool.write().unwrap_or_else(PoisonError::into_inner) = lazy_pool(&self.options);
    }

    async fn close(&self) {
        self.pool().close().await;
    }
}

/// The next number of a replica.
async fn draw_replica(pool: &PgPool) -> Result<ReplicaId> {
    let statement = "UPDATE counters SET value = value + 1 WHERE name = 'replica' RETURNING value";
    let number: i64 = sqlx::query_scalar(statement)
        .fetch_one(pool)
        .await
        .map_err(store_error)?;
    fitting(number, "value").map(ReplicaId)
}
