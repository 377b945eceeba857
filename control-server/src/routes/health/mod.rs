//! `/healthz`, `/readyz`.

mod alive;
mod ready;

pub use self::alive::alive;
pub use self::ready::ready;
