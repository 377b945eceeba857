//! `/v1/parties/{id}/relay-tokens`.

mod tokens;

pub use self::tokens::tokens;
