//! Test rings that need more than one crate.
