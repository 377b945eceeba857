//! `/v1/parties`.

mod create;
mod delete;
mod get;
mod list;
mod network;
mod secret;
mod update;

use lanrage_shared::addr::{FIRST_MEMBER, LAST_MEMBER};

pub use self::create::create;
pub use self::delete::delete;
pub use self::get::get;
pub use self::list::list;
pub use self::network::move_party;
pub use self::secret::renew_secret;
pub use self::update::update;
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
