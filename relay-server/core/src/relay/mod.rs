//! The relay: who may come in, where their frames go, and who waits when there is not room for all.
//!
//! A member proves itself with a hello ([`Relay::admit`]) and gets a [`Session`]: a seat in its party. Each frame it sends is
//! judged by [`Session::handle_frame`]: over the member's rate or to nobody, it is dropped for a typed reason; to another seat
//! of the same party, it is readdressed and passed on at once while there is room. A party is all a session can see, so no
//! frame can name a member of another.
//!
//! Two things can be short of room. The *port* of one member (its connection) is [`Session::hold`]; frames for it then wait in
//! the member's queue, at most 50 ms, and the newest win; [`Session::next`] takes them out. The *egress* of the whole relay is a
//! rate set by the operator; when it is used up, the parties that wait share what comes free by deficit round robin
//! ([`Relay::handle_egress`]), so that a busy party cannot starve a quiet one.
//!
//! Revocations end sessions at once and are remembered as long as a token made before them could last. A frame's way takes
//! the lock of its own party and no other; the directory's lock is for comings and goings.

mod admission;
mod counters;
mod directory;
mod drops;
mod egress;
mod limits;
mod party;
mod queue;
mod rate;
mod revocations;
mod seat;
mod session;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use admission::Refusal;
pub use counters::Counters;
pub use directory::{Admitted, Ended, Relay, Why};
pub use drops::DropReason;
pub use limits::Limits;
pub use party::{Delivery, Verdict};
pub use queue::{MAX_QUEUED_BYTES, MAX_QUEUED_FRAMES, MAX_WAIT};
pub use revocations::{Known, Revocations};
pub use session::{Next, Session, SessionId};
