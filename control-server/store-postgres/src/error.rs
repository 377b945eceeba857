//! From PostgreSQL's errors to the store's.

use lanrage_store::StoreError;

pub(crate) fn store_error(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => StoreError::Unavailable(error.to_string()),
        sqlx::Error::Database(database) => {
            // Classes and codes of PostgreSQL's appendix A.
            match database.code().as_deref().unwrap_or_default() {
                // Unique violation, serialization failure, deadlock.
                "23505" | "40001" | "40P01" => StoreError::Contended,
                // A lock was not to be had in time.
                "55P03" => StoreError::Busy,
                // Connection exception, insufficient resources, operator intervention (shutting down, starting up), system
                // error, read-only transaction (a standby).
                code if ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class)) || code == "25006" => {
                    StoreError::Unavailable(error.to_string())
                }
                _ => StoreError::Internal(error.to_string()),
            }
        }
        _ => StoreError::Internal(error.to_string()),
    }
}
