//! A port opened on the home router, by PCP, NAT-PMP or UPnP-IGD.
//!
//! One task keeps one mapping: it asks, renews at half of the granted time, asks anew when the network changed, and closes
//! the port when the agent ends. A router that opens nothing is asked again ever more rarely.

mod codec;
mod router;

use std::net::SocketAddrV4;
use std::time::Duration;

use rand::RngCore;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info};

use codec::Nonce;
use router::{Mapping, Router, RouterError};

/// How long closing the port may hold up the end of the agent.
const RELEASE: Duration = Duration::from_secs(1);
/// A router that opens nothing is asked again after this, then twice this, …
const FIRST_RETRY: Duration = Duration::from_secs(30);
/// … up to this.
const LAST_RETRY: Duration = Duration::from_secs(600);
/// Renewal is not tried more often, however short a router's leases are.
const SHORTEST_RENEWAL: Duration = Duration::from_secs(30);

/// Keeps a port of the router open while it lives.
#[derive(Debug)]
pub struct PortMapping {
    changes: mpsc::Sender<()>,
    task: JoinHandle<()>,
}

impl PortMapping {
    /// Starts asking for `local_port` on the current runtime. The receiver tells the address under which the port is
    /// reachable from outside the router; none while there is none. Behind two NATs that is an address of the outer one's
    /// inside.
    pub fn start(local_port: u16) -> (Self, watch::Receiver<Option<SocketAddrV4>>) {
        let (changes, commands) = mpsc::channel(1);
        let (external, receiver) = watch::channel(None);
        let mut nonce: Nonce = [0; 12];
        rand::rng().fill_bytes(&mut nonce);
        let keeper = Keeper {
            port: local_port,
            nonce,
            external,
            mapping: None,
            failures: 0,
        };
        let task = tokio::spawn(keeper.run(commands));
        (Self { changes, task }, receiver)
    }

    /// Asks again, because this PC may be behind another router now.
    pub fn network_changed(&self) {
        // A full queue holds a change that was not looked at yet; it stands for this one too.
        let _ = self.changes.try_send(());
    }

    /// Closes the port, within a second. Dropping closes it too, if the runtime lives on for long enough.
    pub async fn deactivate(self) {
        drop(self.changes);
        if timeout(RELEASE, self.task).await.is_err() {
            debug!("the router did not confirm in time that it closed the port");
        }
    }
}

struct Keeper {
    port: u16,
    /// The same for the whole run: to a PCP server it is what makes a request a renewal.
    nonce: Nonce,
    external: watch::Sender<Option<SocketAddrV4>>,
    mapping: Option<Mapping>,
    failures: u32,
}

impl Keeper {
    async fn run(mut self, mut commands: mpsc::Receiver<()>) {
        loop {
            let round = async {
                let next = self.round().await;
                sleep_until(Instant::now() + next).await;
            };
            tokio::select! {
                () = round => {}
                change = commands.recv() => match change {
                    Some(()) => self.failures = 0,
                    None => break,
                },
            }
        }
        if let Some(mapping) = self.mapping.take() {
            self.external.send_replace(None);
            if let Err(error) = mapping.release(self.port, self.nonce).await {
                debug!(%error, "the router did not close the port; it will when the lease ends");
            }
        }
    }

    /// Renews or asks anew, and says when to look again.
    async fn round(&mut self) -> Duration {
        match self.keep().await {
            Ok(mapping) => {
                let lifetime = Duration::from_secs(mapping.grant.lifetime.into());
                let external = mapping.grant.external;
                self.mapping = Some(mapping);
                self.failures = 0;
                self.publish(Some(external));
                (lifetime / 2).max(SHORTEST_RENEWAL)
            }
            Err(error) => {
                debug!(%error, "the router opened no port");
                self.mapping = None;
                self.publish(None);
                let wait = retry_after(self.failures);
                self.failures = self.failures.saturating_add(1);
                wait
            }
        }
    }

    async fn keep(&mut self) -> Result<Mapping, RouterError> {
        let router = Router::find().await?;
        let previous = self.mapping.as_ref().map(|mapping| mapping.grant.external);
        if let Some(mapping) = self.mapping.clone().filter(|mapping| mapping.is_at(router)) {
            let mut mapping = mapping;
            match mapping.renew(self.port, self.nonce).await {
                Ok(()) => return Ok(mapping),
                Err(error) => debug!(%error, "the router did not renew the mapping"),
            }
        }
        router.map(self.port, self.nonce, previous).await
    }

    fn publish(&self, external: Option<SocketAddrV4>) {
        self.external.send_if_modified(|known| {
            let changed = *known != external;
            if changed {
                info!(open = external.is_some(), "the port on the router changed");
                *known = external;
            }
            changed
        });
    }
}

fn retry_after(failures: u32) -> Duration {
    FIRST_RETRY
        .saturating_mul(2_u32.saturating_pow(failures))
        .min(LAST_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_that_opens_nothing_is_asked_ever_more_rarely() {
        let waits: Vec<u64> = (0..7).map(|failures| retry_after(failures).as_secs()).collect();
        assert_eq!(waits, [30, 60, 120, 240, 480, 600, 600]);
        assert_eq!(retry_after(u32::MAX), LAST_RETRY);
    }
}
