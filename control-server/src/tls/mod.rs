//! TLS, always: the server's own certificate, made once, whose key every invite pins.

mod identity;
mod serve;

pub use self::identity::{IdentityError, ServerIdentity};
pub use self::serve::{Listening, serve};
