//! What the local API asks of the agent's loop. The loop answers at once, except for a ping, which it answers when the echo
//! comes back.

use std::sync::Arc;
use std::time::Duration;

use lanrage_shared::addr::PartyNet;
use lanrage_shared::ids::MemberId;
use lanrage_shared::names::PartyName;
use tokio::sync::{mpsc, oneshot};

use super::doctor::Examination;
use super::metrics::Numbers;
use super::test_lan::Test;
use super::test_lan::wire::Message;
use crate::api::{
    BridgeChange, BridgeReport, Failure, JoinedReport, PeersReport, PingReport, RelaysReport, ServerAddress,
    StatusReport,
};
use crate::io::control::ControlClient;
use crate::state::{Farewell, PartyCache};

/// The party this agent is in, for whoever needs to talk to its server.
#[derive(Clone)]
pub struct CurrentParty {
    pub cache: PartyCache,
    pub client: Arc<ControlClient>,
}

/// A request to the loop and where its answer goes.
pub enum Command {
    Status(oneshot::Sender<StatusReport>),
    Peers(oneshot::Sender<PeersReport>),
    /// Answered once the control stream was tried: it is open, or broken, or there is no party.
    Tried(oneshot::Sender<()>),
    Current(oneshot::Sender<Option<CurrentParty>>),
    /// Enters a party the server has just admitted this device to.
    Enter {
        party: Box<CurrentParty>,
        reply: oneshot::Sender<Result<JoinedReport, Failure>>,
    },
    /// Keeps an invite made here.
    Remember {
        invite: String,
        expires_in_s: u64,
        reply: oneshot::Sender<()>,
    },
    /// Forgets an invite made here, by the hash of its code: it has ended.
    Forget {
        auth_hash: String,
        reply: oneshot::Sender<()>,
    },
    Relays(oneshot::Sender<RelaysReport>),
    /// For Prometheus.
    Numbers(oneshot::Sender<Box<Numbers>>),
    /// Begins a test of discovery.
    BeginTest(oneshot::Sender<Result<Test, Failure>>),
    /// Says something in it, also to this member.
    SayInTest {
        to: MemberId,
        message: Message,
        reply: oneshot::Sender<()>,
    },
    /// Changes which servers' latency is watched.
    WatchServers {
        add: Option<ServerAddress>,
        remove: Option<ServerAddress>,
        reply: oneshot::Sender<Result<(), Failure>>,
    },
    /// Changes what is passed on to everybody.
    Bridge {
        change: BridgeChange,
        reply: oneshot::Sender<Result<BridgeReport, Failure>>,
    },
    /// Looks at everything the loop knows, and with `fix` first puts the adapter right.
    Examine {
        fix: bool,
        reply: oneshot::Sender<Examination>,
    },
    /// Looks at everything anew; answers with the party's name, if there is one.
    Refresh(oneshot::Sender<Option<PartyName>>),
    /// The server gave the party this network.
    Move {
        net: PartyNet,
        reply: oneshot::Sender<()>,
    },
    /// Forgets the party.
    Leave(oneshot::Sender<Result<Option<CurrentParty>, Failure>>),
    /// A server has to be told that this device is not in a party any more; kept on disk until it was.
    Owe {
        farewell: Farewell,
        reply: oneshot::Sender<Result<(), Failure>>,
    },
    /// What still has to be told.
    Owed(oneshot::Sender<Vec<Farewell>>),
    /// The server knows.
    Paid {
        farewell: Farewell,
        reply: oneshot::Sender<()>,
    },
    Ping {
        target: String,
        timeout: Duration,
        reply: oneshot::Sender<Result<PingReport, Failure>>,
    },
    Down,
}

/// The way into the loop.
#[derive(Clone)]
pub struct Commands(pub mpsc::Sender<Command>);

impl Commands {
    /// Asks the loop and waits for its answer.
    pub async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Failure> {
        let stopping = || {
            Failure::new(
                "stopping",
                "the agent is stopping; start it again with `sudo lanrage up`",
            )
        };
        let (reply, answer) = oneshot::channel();
        self.0.send(command(reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }
}
