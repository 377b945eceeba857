//! Linux: capabilities, file modes, Unix sockets, sessions.

mod desktop;
mod detach;
mod limits;
mod local;
mod network;
mod permissions;
mod processes;
mod socket;

pub use desktop::window_titles;
pub use detach::background_command;
pub use limits::allow_many_sockets;
pub use local::{LocalClientStream, LocalListener, LocalServerStream, connect};
pub use network::{routers, uptime};
pub use permissions::{
    check_directory, check_privileges, default_state_dir, give_to_owner_of_directory, open_private, restrict_to_owner,
};
pub use processes::{listening, processes};
pub(crate) use socket::{
    classify_send_error, is_passing_udp_error, mark_packets, prepare_udp_socket, send_marked_train, wait_readable,
    wait_writable,
};
