//! The relay's behaviour as its driver sees it.

mod admission;
mod forwarding;
mod properties;
