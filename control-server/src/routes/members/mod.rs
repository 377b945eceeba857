//! `/v1/parties/{id}/members`.

mod leave;
mod list;

pub use self::leave::leave;
pub use self::list::list;
