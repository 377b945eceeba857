//! `/v1/parties`.

mod create;
mod delete;
mod get;
mod list;
mod network;
mod secret;
mod update;

use lanrage_shared::addr::{FIRST_MEMBER, LAST_MEMBER};

pub use self::create::*;
pub use self::delete::*;
pub use self::get::*;
pub use self::list::*;
pub use self::network::*;
pub use self::secret::*;
pub use self::update::*;
use crate::error::Failure;

/// Refuses a member limit that no party can have.
fn check_max_members(max_members: u16) -> Result<u16, Failure> {
    if (FIRST_MEMBER..=LAST_MEMBER).contains(&max_members) {
        Ok(max_members)
    } else {
        let message = format!("a party takes {FIRST_MEMBER} to {LAST_MEMBER} members; {max_members} is not among them");
        Err(Failure::bad_request(message))
    }
}
