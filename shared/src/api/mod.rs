//! JSON types of the control API, one file per resource. All paths are under `/v1`; times are milliseconds since the Unix
//! epoch (`_ms`) or seconds (`_s`); binary values are base64url without padding unless a type says otherwise.

pub mod auth;
pub mod check;
pub mod conflict;
pub mod error;
pub mod game;
pub mod invite;
pub mod party;
pub mod presence;
pub mod relay;
pub mod secret;
