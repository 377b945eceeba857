//! What needs the operating system's own calls: privileges, file permissions, the local API's endpoint, background start.
//!
//! Both systems offer the same names, so nothing outside this module asks which one it runs on.
//! - [`LocalListener`] and [`connect`] are the two ends of the local API. The operating system vouches for whoever
//!   connects: root and the state directory's owner on Linux, SYSTEM, administrators and the owner on Windows.
//! - [`restrict_to_owner`] makes a file or directory ours alone.
//! - [`routers`] are those of the default routes, [`uptime`] is a clock that goes on while the PC sleeps.
//! - [`Adapter`] reads and sets what the virtual LAN's adapter needs, [`announce_changes`] tells when to look at it again.
//! - [`firewall`] says whether members are let in, [`open_firewall`] sees to it.
//! - [`processes`] are those of this PC, [`listening`] the ports of some of them, [`window_titles`] what their windows are called.
//! - [`background_command`] starts this program again, free of the terminal that started it.

/// The ports a process listens on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listening {
    pub udp: Vec<u16>,
    pub tcp: Vec<u16>,
}

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "windows")]
mod windows;

#[cfg(target_os = "linux")]
pub use linux::*;
#[cfg(target_os = "windows")]
pub use windows::*;
