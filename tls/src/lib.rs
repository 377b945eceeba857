//! TLS between LANrage programs. A server makes one key for itself and keeps it ([`identity`]); whoever connects knows the
//! key's pin from a link, an invite or the control server, and asks for nothing else ([`pinned`]).
//!
//! No certificate authority, name or validity time is involved. The handshake's signature is what proves that the server has
//! the private key, and it is checked.
//!
//! What servers keep is written so that it is there whole or not at all ([`file`]).

#[cfg(feature = "identity")]
pub mod file;
#[cfg(feature = "identity")]
pub mod identity;
pub mod pinned;
