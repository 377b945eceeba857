//! `/v1/parties/{id}/conflicts`.

mod list;

pub use self::list::*;
