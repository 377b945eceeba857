//! `/v1/parties/{id}/members`.

mod leave;
mod list;
mod remove;

pub use self::leave::*;
pub use self::list::*;
pub use self::remove::*;
