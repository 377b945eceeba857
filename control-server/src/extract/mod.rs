//! What endpoints ask of a request, each refusing in the one shape of refusals.

mod body;
mod device;
mod if_match;
mod party;
mod peer;
mod upgrade;

pub use self::body::Body;
pub use self::device::{Device, bearer};
pub use self::if_match::IfMatch;
pub use self::party::{DeviceAt, InviteAt, MemberAt, PartyAt};
pub use self::peer::{Peer, Stranger};
pub use self::upgrade::Upgrade;
