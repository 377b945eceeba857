//! SQLite keeps every promise of the store.

use lanrage_store::{Database, PATIENCE, Store, StoreError, contract};
use lanrage_store_sqlite::SqliteDatabase;
use sqlx::Connection;

#[tokio::test(flavor = "multi_thread")]
async fn every_promise_of_the_store_holds_on_sqlite() {
    for (name, check) in contract::all() {
        println!("{name}");
        let dir = tempfile::tempdir().unwrap();
        let database = SqliteDatabase::open(&dir.path().join("store.sqlite3")).await.unwrap();
        let store = Store::new(database);
        check(store.clone()).await;
        store.close().await;
    }
}

#[tokio::test]
async fn what_was_written_is_there_when_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("store.sqlite3");
    let first = SqliteDatabase::open(&file).await.unwrap();
    assert_eq!(first.kind(), "SQLite");
    let store = Store::new(first);
    store.secret("a", b"kept").await.unwrap();
    store.close().await;
    let again = Store::new(SqliteDatabase::open(&file).await.unwrap());
    assert_eq!(again.secret("a", b"new").await.unwrap(), b"kept");
}

#[tokio::test]
async fn a_file_that_is_not_a_database_is_reported_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("store.sqlite3");
    std::fs::write(&file, "not a database, but long enough to look at".repeat(100)).unwrap();
    let outcome = SqliteDatabase::open(&file).await.map(drop);
    assert!(matches!(outcome, Err(StoreError::Internal(_))));
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("not a database"));
}

#[tokio::test]
async fn a_server_goes_on_with_the_tables_of_a_newer_version() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("store.sqlite3");
    let first = SqliteDatabase::open(&file).await.unwrap();
    first.close().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file);
    let mut newer = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let statement = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                     VALUES (9999, 'of tomorrow', true, x'', 0)";
    sqlx::query(statement).execute(&mut newer).await.unwrap();
    let again = SqliteDatabase::open(&file).await.unwrap();
    assert!(again.replica() > first.replica(), "each run has a number of its own");
}

#[tokio::test]
async fn a_change_waits_for_a_slow_disk_or_another_process_longer_than_a_network_may_be_silent() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("store.sqlite3");
    let store = Store::new(SqliteDatabase::open(&file).await.unwrap());
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file);
    let mut other = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let writing = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let mut change = std::pin::pin!(store.secret("a", b"kept"));
    assert!(tokio::time::timeout(PATIENCE * 2, &mut change).await.is_err());
    writing.rollback().await.unwrap();
    assert_eq!(change.await.unwrap(), b"kept");
}
