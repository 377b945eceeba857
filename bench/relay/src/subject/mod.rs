//! What carries the load from one end of each pair to the other.

mod coturn;
mod lanrage;
mod straight;
mod turn;

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use lanrage_relay_client::Transport;

use self::coturn::Coturn;
use self::lanrage::Relay;
use crate::ends::{Receiver, Sender};
use crate::process::Process;

pub use coturn::exec as exec_coturn;

/// How often an idle QUIC connection is kept alive.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What may carry the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Way {
    /// Nothing: UDP from one socket to the other
    Straight,
    /// Nothing: the QUIC of our members from one to the other
    StraightQuic,
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
    StraightQuic(straight::Quic),
    Lanrage { relay: Relay, transport: Transport },
    Coturn(Coturn),
}

impl Way {
    pub fn label(self) -> &'static str {
        match self {
            Self::Straight => "straight",
            Self::StraightQuic => "straight quic",
            Self::Quic => "lanrage quic",
            Self::Tcp => "lanrage tcp",
            Self::Coturn => "coturn",
        }
    }

    /// The same without a server, from which is told what a server adds.
    pub fn straight(self) -> Self {
        match self {
            Self::Straight | Self::Tcp | Self::Coturn => Self::Straight,
            Self::StraightQuic | Self::Quic => Self::StraightQuic,
        }
    }
}

impl Subject {
    /// Starts it, on this core if on any.
    pub async fn start(way: Way, core: Option<usize>) -> Result<Self> {
        Ok(match way {
            Way::Straight => Self::Straight,
            Way::StraightQuic => Self::StraightQuic(straight::Quic::new()?),
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
            Self::Straight | Self::StraightQuic(_) => None,
            Self::Lanrage { relay, .. } => Some(&relay.process),
            Self::Coturn(coturn) => Some(&coturn.process),
        }
    }

    /// Sessions it holds for each pair. Through our relay both ends have one; with TURN one allocation serves a pair, and the
    /// other end needs nothing of the server.
    pub fn sessions_per_pair(&self) -> u32 {
        match self {
            Self::Straight | Self::StraightQuic(_) => 0,
            Self::Lanrage { .. } => 2,
            Self::Coturn(_) => 1,
        }
    }

    /// Both ends of a new pair, for payloads of `size` bytes.
    pub async fn connect(&self, pair: u16, size: u16) -> Result<(Sender, Receiver)> {
        match self {
            Self::Straight => straight::connect(size),
            Self::StraightQuic(straight) => straight.connect(size).await,
            Self::Lanrage { relay, transport } => relay.connect(*transport, pair, size).await,
            Self::Coturn(coturn) => coturn.connect(size).await,
        }
    }
}
