//! Windows: elevation, access control lists, named pipes, detached processes.

mod adapter;
mod desktop;
mod detach;
mod firewall;
mod local;
mod network;
mod overhear;
mod permissions;
mod processes;
mod security;
mod socket;

pub use adapter::{Adapter, announce_changes};
pub use desktop::window_titles;
pub use detach::background_command;
pub use firewall::{firewall, open_firewall};
pub use local::{LocalClientStream, LocalListener, LocalServerStream, connect};
pub use network::{routers, uptime};
pub use overhear::overhear;
pub use permissions::{
    check_directory, check_privileges, default_state_dir, give_to_owner_of_directory, open_private, restrict_to_owner,
};
pub use processes::{listening, processes};

pub(crate) use socket::{
    classify_send_error, is_passing_udp_error, mark_packets, prepare_udp_socket, send_marked_train, wait_readable,
    wait_writable,
};

/// Goes before a command in a line to be typed: nothing, who may use the agent is a matter of the terminal.
pub const SUDO: &str = "";

/// Windows has no limit of sockets that could be in the way.
pub fn allow_many_sockets() {}
