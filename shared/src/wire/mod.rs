//! Binary formats between agents. Parsers are total: any bytes give a value or an error.

pub mod probe;
#[cfg(feature = "stun")]
pub mod stun;
