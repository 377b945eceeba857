//! `/v1/parties/{id}/bans`.

mod lift;
mod list;

pub use self::lift::lift;
pub use self::list::list;
