//! `/v1/auth`.

mod challenge;
mod token;

pub use self::challenge::challenge;
pub use self::token::token;
