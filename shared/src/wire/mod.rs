//! Binary formats between agents. Parsers are total: any bytes give a value or an error.

pub mod probe;
pub mod relay;
#[cfg(feature = "stun")]
pub mod stun;
