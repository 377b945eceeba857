//! From SQLite's errors to the store's.

use lanrage_store::StoreError;

/// Primary result codes (sqlite.org/rescode.html) that say "not now" rather than "never": the disk is full or failing, the
/// file cannot be opened or written, or another process holds the lock.
const NOT_NOW: [i32; 7] = [5, 6, 8, 10, 13, 14, 23];

pub(crate) fn store_error(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        // The connection is not what it should be, and is not used again.
        | sqlx::Error::InvalidSavePointStatement
        | sqlx::Error::BeginFailed => StoreError::Unavailable(error.to_string()),
        sqlx::Error::Database(database) if database.is_unique_violation() => StoreError::Contended,
        sqlx::Error::Database(database) => {
            let extended: Option<i32> = database.code().and_then(|code| code.parse().ok());
            match extended.map(|code| code & 0xff) {
                Some(primary) if NOT_NOW.contains(&primary) => StoreError::Unavailable(error.to_string()),
                _ => StoreError::Internal(error.to_string()),
            }
        }
        _ => StoreError::Internal(error.to_string()),
    }
}
