//! `/v1/relays` and `/v1/parties/{id}/relay-tokens`.

mod list;
mod tokens;

pub use self::list::*;
pub use self::tokens::*;
