//! PostgreSQL keeps every promise of the store. The server is a real one, started from the installed binaries for this test
//! and gone after it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests too"
)]

mod server;

use lanrage_store::{Database, Store, StoreError, contract};
use lanrage_store_postgres::PostgresDatabase;
use server::PostgresServer;
use sqlx::{Connection, PgConnection};

#[tokio::test(flavor = "multi_thread")]
async fn every_promise_of_the_store_holds_on_postgresql() {
    let server = PostgresServer::start();
    for (name, check) in contract::all() {
        println!("{name}");
        let url = server.fresh_database(name);
        let database = PostgresDatabase::connect(&url).await.unwrap();
        assert_eq!(database.kind(), "PostgreSQL");
        let store = Store::new(database);
        check(store.clone()).await;
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_what_they_keep_and_notice_when_the_database_goes() {
    let server = PostgresServer::start();
    let url = server.fresh_database("replicas");
    let (one, two) = tokio::join!(PostgresDatabase::connect(&url), PostgresDatabase::connect(&url));
    let (one, two) = (Store::new(one.unwrap()), Store::new(two.unwrap()));
    let kept = one.secret("a", b"of one").await.unwrap();
    assert_eq!(two.secret("a", b"of two").await.unwrap(), kept);
    drop(server);
    assert!(matches!(one.ready().await, Err(StoreError::Unavailable(_))));
    let outcome = PostgresDatabase::connect(&url).await.map(drop);
    assert!(matches!(outcome, Err(StoreError::Unavailable(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_goes_on_with_the_tables_of_a_newer_version() {
    let server = PostgresServer::start();
    let url = server.fresh_database("newer");
    let store = Store::new(PostgresDatabase::connect(&url).await.unwrap());
    let mut newer = PgConnection::connect(&url).await.unwrap();
    let statement = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                     VALUES (9999, 'of tomorrow', true, ''::bytea, 0)";
    sqlx::query(statement).execute(&mut newer).await.unwrap();
    let again = Store::new(PostgresDatabase::connect(&url).await.unwrap());
    assert!(again.replica() > store.replica(), "each run has a number of its own");
    again.ready().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_holds_costs_only_whoever_needs_it() {
    let server = PostgresServer::start();
    let url = server.fresh_database("held");
    let store = Store::new(PostgresDatabase::connect(&url).await.unwrap());
    store.watched_since(1).await.unwrap();
    // As a frozen replica does, or a forgotten psql.
    let mut holder = sqlx::PgConnection::connect(&url).await.unwrap();
    let mut held = holder.begin().await.unwrap();
    sqlx::query("SELECT FROM counters FOR UPDATE")
        .execute(&mut *held)
        .await
        .unwrap();
    for _ in 0..3 {
        let (waits, goes_on) = tokio::join!(store.watched_since(2), store.secret("a", b"kept"));
        assert!(matches!(waits, Err(StoreError::Busy)), "{waits:?}");
        goes_on.unwrap();
    }
    held.rollback().await.unwrap();
    store.watched_since(2).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_go_on_with_what_they_have_prepared_when_a_newer_version_adds_columns() {
    let server = PostgresServer::start();
    let url = server.fresh_database("columns");
    let store = Store::new(PostgresDatabase::connect(&url).await.unwrap());
    let mut newer = PgConnection::connect(&url).await.unwrap();
    try_everything(&store, &mut newer).await;
    let before = connections(&mut newer).await;
    let statement = "DO $$ DECLARE name TEXT; BEGIN \
                     FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP \
                     EXECUTE format('ALTER TABLE %I ADD COLUMN of_tomorrow TEXT, ADD COLUMN given BIGINT NOT NULL DEFAULT 7', name); \
                     END LOOP; END $$";
    sqlx::query(statement).execute(&mut newer).await.unwrap();
    try_everything(&store, &mut newer).await;
    let after = connections(&mut newer).await;
    assert!(after.iter().any(|pid| before.contains(pid)), "{before:?} {after:?}");
}

/// Every promise, one after the other on the same connections.
async fn try_everything(store: &Store, sql: &mut PgConnection) {
    for (_, check) in contract::all() {
        let statement = "TRUNCATE secrets, parties, seats, events, invites, sealed_secrets, bans, revocations, replicas, soft_writes";
        sqlx::query(statement).execute(&mut *sql).await.unwrap();
        let statement = "UPDATE counters SET value = 0 WHERE name = 'revocation'";
        sqlx::query(statement).execute(&mut *sql).await.unwrap();
        check(store.clone()).await;
    }
}

/// The connections of stores, by their process.
async fn connections(sql: &mut PgConnection) -> Vec<i32> {
    let statement = "SELECT pid FROM pg_stat_activity WHERE application_name = 'lanrage-control'";
    sqlx::query_scalar(statement).fetch_all(sql).await.unwrap()
}
