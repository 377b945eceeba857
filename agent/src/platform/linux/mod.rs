//! Linux: capabilities, file modes, Unix sockets, sessions.

mod adapter;
mod desktop;
mod detach;
mod firewall;
mod limits;
mod local;
mod network;
mod nft;
mod overhear;
mod permissions;
mod processes;
mod socket;

pub use adapter::{Adapter, announce_changes};
pub use desktop::window_titles;
pub use detach::background_command;
pub use firewall::{firewall, open_firewall};
pub use limits::allow_many_sockets;
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

/// Goes before a command in a line to be typed: only root and the agent's owner, usually root, may use its socket.
pub const SUDO: &str = "sudo ";
