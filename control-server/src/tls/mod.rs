//! TLS, always: the server's own certificate, made once, whose key every invite pins.

mod handshakes;
mod places;
mod serve;

pub use lanrage_tls::identity::{FILE as IDENTITY_FILE, IdentityError, ServerIdentity};

pub use self::handshakes::Handshakes;
pub use self::places::{Place, Places};
pub use self::serve::{Allowance, Listening, serve};
