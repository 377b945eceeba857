//! `/v1/parties/{id}/bans`.

mod lift;
mod list;

pub use self::lift::*;
pub use self::list::*;
