//! Out of the agent: over UDP, from side sockets, and through relays.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use lanrage_agent_core::batch::{Datagram, Outgoing, RelayNumber, Relayed, SideNumber, Sided};
use lanrage_agent_core::dataplane::{DropReason, Drops};
use lanrage_relay_client::{RelaySender, SendError};
use lanrage_shared::ids::MemberId;

use crate::io::udp::{SideSenders, UdpSender};

/// What carries packets away.
pub struct Network {
    udp: Arc<UdpSender>,
    sides: Arc<SideSenders>,
    relays: ArcSwap<HashMap<RelayNumber, RelaySender>>,
    pub(super) drops: Arc<Drops>,
}

impl Network {
    pub(super) fn new(udp: Arc<UdpSender>, sides: Arc<SideSenders>, drops: Arc<Drops>) -> Self {
        Self {
            udp,
            sides,
            relays: ArcSwap::default(),
            drops,
        }
    }

    /// Sends everything; like any packet it may be lost on the way.
    pub fn send(&self, out: &mut Outgoing) {
        self.udp.send_batch(&mut out.direct);
        if !out.sided.is_empty() {
            self.send_sided(&mut out.sided);
        }
        if out.relayed.is_empty() {
            return;
        }
        let relays = self.relays.load();
        for Relayed { relay, member, data } in out.relayed.drain(..) {
            if let Err(reason) = send_through(relays.get(&relay), member, &data) {
                self.drops.count(reason);
            }
        }
    }

    fn send_sided(&self, sided: &mut Vec<Sided>) {
        let sides = self.sides.load();
        let mut trains: HashMap<SideNumber, Vec<Datagram>> = HashMap::new();
        for Sided { socket, datagram } in sided.drain(..) {
            trains.entry(socket).or_default().push(datagram);
        }
        for (socket, mut train) in trains {
            // A socket that has just been closed is about to be left for another path.
            let _ = sides.get(&socket).map(|sender| sender.send_batch(&mut train));
        }
    }

    /// Marks what goes to peers directly from now on with this DSCP; 0 marks nothing.
    pub fn mark(&self, dscp: u8) {
        self.udp.mark(dscp);
    }

    /// What was not sent or not taken in so far, by the label of the reason.
    pub fn drops(&self) -> BTreeMap<&'static str, u64> {
        let unsent = self.udp.dropped().map(|(reason, count)| (reason.label(), count));
        let all = self.drops.snapshot().map(|(reason, count)| (reason.label(), count));
        all.chain(unsent).collect()
    }

    /// The sessions that there are now.
    pub fn set_relays(&self, relays: HashMap<RelayNumber, RelaySender>) {
        self.relays.store(Arc::new(relays));
    }
}

fn send_through(relay: Option<&RelaySender>, member: MemberId, data: &[u8]) -> Result<(), DropReason> {
    // A session that has just ended is about to be left for another path.
    let relay = relay.ok_or(DropReason::RelayGone)?;
    let displaces = !relay.has_room(data.len());
    relay.send(member, data).map_err(|error| match error {
        SendError::TooLong => DropReason::RelayTooLong,
        SendError::NoRoom => DropReason::RelayNoRoom,
        SendError::Closed => DropReason::RelayGone,
    })?;
    if displaces {
        return Err(DropReason::RelayDisplaced);
    }
    Ok(())
}
