//! `/v1/parties/{id}/members`.

mod leave;
mod list;
mod remove;

pub use self::leave::leave;
pub use self::list::list;
pub use self::remove::remove;
