//! What carries the load from one end of each pair to the other.

mod coturn;
mod lanrage;
mod straight;
mod turn;

use anyhow::Result;
use clap::ValueEnum;
use lanrage_relay_client::Transport;

use self::coturn::Coturn;
use self::lanrage::Relay;
use crate::ends::{Receiver, Sender};
use crate::process::Process;

pub use coturn::exec as exec_coturn;

/// What may carry the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Way {
    /// Nothing: UDP from one socket to the other. What the others add is told from this
    Straight,
    /// Our relay over QUIC
    Quic,
    /// Our relay over TLS on TCP
    Tcp,
    /// coturn: TURN over UDP, channel data in, plain UDP out
    Coturn,
}

/// One of them, running.
pub enum Subject {
    Straight,
    Lanrage { relay: Relay, transport: Transport },
    Coturn(Coturn),
}

impl Way {
    pub fn label(self) -> &'static str {
        match self {
            Self::Straight => "straight",
            Self::Quic => "lanrage quic",
            Self::Tcp => "lanrage tcp",
            Self::Coturn => "coturn",
        }
    }
}

impl Subject {
    /// Starts it, on this core if on any.
    pub async fn start(way: Way, core: Option<usize>) -> Result<Self> {
        Ok(match way {
            Way::Straight => Self::Straight,
            Way::Quic => Self::Lanrage {
                relay: Relay::start(core)?,
                transport: Transport::Quic,
            },
            Way::Tcp => Self::Lanrage {
                relay: Relay::start(core)?,
                transport: Transport::Tcp,
            },
            Way::Coturn => Self::Coturn(Coturn::start(core).await?),
        })
    }

    /// The process that does the work, if any does.
    pub fn process(&self) -> Option<&Process> {
        match self {
            Self::Straight => None,
            Self::Lanrage { relay, .. } => Some(&relay.process),
            Self::Coturn(coturn) => Some(&coturn.process),
        }
    }

    /// Sessions it holds for each pair. Through our relay both ends have one; with TURN one allocation serves a pair, and the
    /// other end needs nothing of the server.
    pub fn sessions_per_pair(&self) -> u32 {
        match self {
            Self::Straight => 0,
            Self::Lanrage { .. } => 2,
            Self::Coturn(_) => 1,
        }
    }

    /// Both ends of a new pair, for payloads of `size` bytes.
    pub async fn connect(&self, pair: u16, size: usize) -> Result<(Sender, Receiver)> {
        match self {
            Self::Straight => straight::connect(size),
            Self::Lanrage { relay, transport } => relay.connect(*transport, pair, size).await,
            Self::Coturn(coturn) => coturn.connect(size).await,
        }
    }
}
