//! Keeps the network adapter as the party needs it, on whatever else comes and goes on this PC.

use std::io;
use std::time::Instant;

use lanrage_agent_core::adapter::{Fault, Upkeep, Wanted};
use lanrage_shared::addr::PartyNet;
use lanrage_shared::ids::MemberId;

use super::dataplane::MTU;
use crate::api::{LanReport, RepairReport};
use crate::io::tun::TunDevice;
use crate::platform::Adapter;

/// How often it is looked at again after a repair: an adapter that was down has lost its IPv6 address and routes, which
/// shows only when it is up.
const ROUNDS: usize = 2;

/// The device, its settings, and when to look at them.
pub struct AdapterKeeper {
    device: TunDevice,
    adapter: Adapter,
    upkeep: Upkeep,
    /// What games leave of it.
    mtu: u16,
    /// It was told that it cannot be looked at.
    is_gone: bool,
}

/// What a look found, and what of it is left after the repair.
struct Look {
    before: Vec<Fault>,
    after: Vec<Fault>,
}

impl AdapterKeeper {
    /// Takes care of a new device.
    pub fn start(device: TunDevice) -> io::Result<Self> {
        Ok(Self {
            adapter: Adapter::open(device.name())?,
            device,
            upkeep: Upkeep::default(),
            mtu: MTU,
            is_gone: false,
        })
    }

    /// Sets everything for a party. Only an address that cannot be had is an error; the rest is tried again.
    pub fn enter(&mut self, net: PartyNet, me: MemberId) -> io::Result<()> {
        self.clear();
        let wanted = Wanted {
            net,
            me,
            mtu: self.mtu.into(),
        };
        if let Err(error) = set_addresses(&self.device, &wanted) {
            self.leave();
            return Err(error);
        }
        self.upkeep.handle_party(Some(wanted), Instant::now());
        match self.repair(&wanted, true) {
            // What the adapter never had was not repaired.
            Ok(look) => self.tell(&[], look.after),
            Err(error) => tracing::warn!(%error, "the network adapter cannot be set"),
        }
        Ok(())
    }

    /// Packets may have this many bytes from now on. Below 1,280 the system has no IPv6 on the adapter, and forgets its address.
    pub fn set_mtu(&mut self, mtu: u16) -> io::Result<()> {
        self.mtu = mtu;
        self.device.set_mtu(mtu)?;
        let Some(mut wanted) = self.upkeep.wanted() else {
            return Ok(());
        };
        wanted.mtu = mtu.into();
        set_addresses(&self.device, &wanted)?;
        self.upkeep.handle_party(Some(wanted), Instant::now());
        self.repair(&wanted, true).map(drop)
    }

    /// Takes everything away again.
    pub fn leave(&mut self) {
        self.clear();
        self.upkeep.handle_party(None, Instant::now());
        if let Err(error) = self.device.clear_addresses() {
            tracing::warn!(%error, "the tunnel interface keeps its address");
        }
    }

    /// The system announced a change.
    pub fn handle_change(&mut self, now: Instant) {
        self.upkeep.handle_change(now);
    }

    /// When to call [`AdapterKeeper::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.upkeep.poll_timeout()
    }

    /// Looks at the adapter and repairs it, if it is time to.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.upkeep.poll_timeout().is_some_and(|at| at <= now) {
            self.look_after(false);
        }
    }

    /// What is wrong with the adapter now, with `fix` after everything was tried to repair it. None: it is gone.
    pub fn check(&mut self, fix: bool) -> Option<Vec<Fault>> {
        let Some(wanted) = self.upkeep.wanted() else {
            return Some(Vec::new());
        };
        if fix {
            self.look_after(true)
        } else {
            self.faults(&wanted).ok()
        }
    }

    /// Repairs what is worth it, or with `all` everything; gives what is left. None: it is gone.
    fn look_after(&mut self, all: bool) -> Option<Vec<Fault>> {
        let wanted = self.upkeep.wanted()?;
        match self.repair(&wanted, all) {
            Ok(look) => {
                self.is_gone = false;
                self.tell(&look.before, look.after.clone());
                Some(look.after)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_gone, true) {
                    tracing::warn!(%error, "the network adapter cannot be looked at");
                }
                // Not at once again.
                self.upkeep.handle_look(&[], Vec::new(), Instant::now());
                None
            }
        }
    }

    /// What could not be repaired.
    pub fn left(&self) -> &[Fault] {
        self.upkeep.left()
    }

    /// What had to be repaired so far.
    pub fn report(&self, now: Instant) -> LanReport {
        let repairs = self.upkeep.repairs().iter();
        LanReport {
            repairs: repairs.map(|(kind, count)| ((*kind).to_owned(), *count)).collect(),
            last_repair: self.upkeep.last_repair().map(|last| RepairReport {
                kind: last.kind.to_owned(),
                since: now.saturating_duration_since(last.at).as_secs(),
            }),
        }
    }

    fn tell(&mut self, before: &[Fault], after: Vec<Fault>) {
        for fault in before.iter().filter(|fault| !after.contains(fault)) {
            tracing::info!(was = %fault, "repaired");
        }
        for fault in self.upkeep.handle_look(before, after, Instant::now()) {
            tracing::warn!(%fault, "this cannot be repaired");
        }
    }

    fn faults(&mut self, wanted: &Wanted) -> io::Result<Vec<Fault>> {
        Ok(wanted.faults(&self.adapter.look(wanted)?))
    }

    fn repair(&mut self, wanted: &Wanted, all: bool) -> io::Result<Look> {
        let before = self.faults(wanted)?;
        let mut after = before.clone();
        let now = Instant::now();
        if !all && !self.upkeep.is_worth_repairing(&before, now) {
            return Ok(Look { before, after });
        }
        self.upkeep.handle_attempt(now);
        for _ in 0..ROUNDS {
            if after.is_empty() {
                break;
            }
            for fault in &after {
                let outcome = match fault {
                    Fault::Address(_) => set_addresses(&self.device, wanted),
                    other => self.adapter.repair(wanted, other),
                };
                if let Err(error) = outcome {
                    tracing::debug!(%fault, %error, "a repair failed");
                }
            }
            after = self.faults(wanted)?;
        }
        Ok(Look { before, after })
    }

    fn clear(&mut self) {
        let Some(wanted) = self.upkeep.wanted() else { return };
        if let Err(error) = self.adapter.clear(&wanted) {
            tracing::warn!(%error, "the tunnel interface keeps routes");
        }
    }
}

fn set_addresses(device: &TunDevice, wanted: &Wanted) -> io::Result<()> {
    let (net, v4, v6) = (wanted.net, wanted.v4(), wanted.v6());
    device.set_address(v4, net.v4.prefix_len(), v6, net.v6.prefix_len())
}
