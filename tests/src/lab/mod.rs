//! The namespace lab: a small internet on one machine.
//!
//! ```text
//!  host host     host host        LANs 192.168.n.0/24 (public /28s for "open" homes)
//!     \ /           \ /
//!    router        router         nftables NAT of the home's kind; miniupnpd for "upnp"
//!      |             |  \
//!      |            isp   \       a second NAT for "cgnat" homes
//!      +---- inet ---+-----+      one segment 203.0.113.0/24 with a router for everything else
//!             |    |
//!            srv  srv2            .10 and .11, .20
//! ```
//!
//! Every node is a network namespace, every wire a veth pair, and nothing leaves them: the segment has no uplink. A [`Lab`]
//! names its namespaces after its process, so several run side by side, removes them when it is dropped, and sweeps
//! those of processes that died. What a NAT kind promises is proven by [`verify`] before anything is concluded from it.

pub mod address;
pub mod agent;
pub mod bins;
pub mod clock;
pub mod control;
pub mod counter;
pub mod discovery;
pub mod fault;
pub mod home;
pub mod idle;
pub mod internet;
pub mod kind;
pub mod link;
pub mod matrix;
pub mod netns;
pub mod ping;
pub mod portmap;
pub mod probe;
pub mod process;
pub mod relay;
pub mod rules;
pub mod scene;
pub mod spoof;
pub mod sweep;
pub mod tally;
pub mod traffic;
pub mod upnp;
pub mod verify;
pub mod wait;

pub use home::{Home, HomeSpec, Host};
pub use internet::{Isp, Lab};
pub use kind::{Kind, Nat};
pub use link::LinkSpec;
pub use netns::Netns;
