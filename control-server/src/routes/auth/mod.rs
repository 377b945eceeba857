//! `/v1/auth`.

mod challenge;
mod token;

pub use self::challenge::*;
pub use self::token::*;
