//! `/v1/parties/{id}/invites`, `/v1/invites`.

mod create;
mod list;
mod redeem;
mod revoke;

use lanrage_shared::api::invite::{MAX_LIFETIME_S, NewInvite};
use lanrage_store::NewInviteRow;
use uuid::Uuid;

pub use self::create::*;
pub use self::list::*;
pub use self::redeem::*;
pub use self::revoke::*;
use super::sealed::{auth_hash, sealed_secret};
use crate::error::Failure;

/// A checked invite, not in the store yet.
pub(super) fn new_invite(request: &NewInvite, now_ms: u64) -> Result<NewInviteRow, Failure> {
    let auth_hash = auth_hash(&request.auth_hash)?;
    let sealed_secret = sealed_secret(&request.sealed_secret, "sealed_secret")?;
    if !(1..=MAX_LIFETIME_S).contains(&request.expires_in_s) {
        let days = MAX_LIFETIME_S / (24 * 3600);
        return Err(Failure::bad_request(format!(
            "an invite lasts between one second and {days} days"
        )));
    }
    if request.max_uses == Some(0) {
        return Err(Failure::bad_request("an invite must admit at least one device"));
    }
    Ok(NewInviteRow {
        id: Uuid::new_v4(),
        auth_hash,
        sealed_secret,
        secret_epoch: request.secret_epoch,
        expires_at_ms: now_ms + request.expires_in_s * 1000,
        max_uses: request.max_uses,
    })
}
