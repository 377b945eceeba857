//! Test rings that need more than one crate.
//!
//! [`lab`] is ring 5: the real programs in network namespaces behind real NATs. [`shim`] is the lab's wire: it delays,
//! loses, repeats and reorders frames on kernels without netem.

pub mod lab;
pub mod shim;
