//! `/healthz`, `/readyz`.

mod alive;
mod ready;

pub use self::alive::*;
pub use self::ready::*;
