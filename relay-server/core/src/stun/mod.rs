//! Answers STUN binding requests (RFC 8489) and lets clients find out how their NAT behaves (RFC 5780).
//!
//! A request asks "where do you see me?". The answer carries the sender's address as the server sees it, and leaves from
//! where the request arrived, or from another port or address when CHANGE-REQUEST asks for it: [`Responder::handle`].
//!
//! Anyone may send with a forged source address, so the server must not be worth abusing. An answer is **never longer than its
//! request**: the mapped address comes first, then OTHER-ADDRESS and RESPONSE-ORIGIN as far as there is room, and a request
//! too short even for the mapped address is dropped. Clients therefore pad their requests, with SOFTWARE or RFC 5780's
//! PADDING, to [`lanrage_shared::wire::stun::REQUEST_LEN`] bytes. Nothing but requests is answered, so two servers cannot be
//! made to talk to each other, and each source has a budget per second: [`SourceLimiter`].

mod answer;
mod drops;
mod limit;
mod listen;
mod responder;

pub use drops::DropReason;
pub use limit::{MAX_SOURCES, REQUESTS_PER_SECOND, SourceLimiter, household};
pub use listen::{Listen, ListenError, LocalPort};
pub use responder::{Received, Responder, Verdict};
