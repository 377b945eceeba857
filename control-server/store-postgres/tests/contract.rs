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
use sqlx::Connection;

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
    let mut newer = sqlx::PgConnection::connect(&url).await.unwrap();
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
