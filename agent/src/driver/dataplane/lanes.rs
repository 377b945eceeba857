//! The ways in for what arrives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Instant;

use bytes::BytesMut;
use lanrage_agent_core::batch::{Datagram, Route};
use lanrage_agent_core::dataplane::{DropReason, Drops, Inbound, InboundBatch, Lan, TableCell};
use lanrage_agent_core::ip::echo;
use lanrage_agent_core::rate::Rate;
use lanrage_agent_core::wg::WireGuard;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{FromNetwork, Network};
use crate::driver::test_lan::wire;
use crate::io::groups::Groups;
use crate::io::tun::TunWriter;

/// What members' agents say to each other in tests of discovery, taken a second and at once: the answers of a whole party come in
/// one burst, and leave room for probes.
const MESSAGES_PER_S: f64 = 200.0;
const MESSAGES_AT_ONCE: f64 = 600.0;

/// Makes ways in, for tasks that outlive every borrow of the [`DataPlane`].
#[derive(Clone)]
pub struct Lanes {
    pub(super) wireguard: Arc<WireGuard>,
    pub(super) table: Arc<TableCell>,
    pub(super) drops: Arc<Drops>,
    pub(super) lan: Arc<Lan>,
    pub(super) groups: Arc<Mutex<Groups>>,
    pub(super) writer: Arc<Mutex<TunWriter>>,
    pub(super) network: Arc<Network>,
    pub(super) control: mpsc::Sender<FromNetwork>,
    pub(super) echo_id: Arc<AtomicU16>,
}

impl Lanes {
    /// A way in for one thread or task.
    pub fn lane(&self) -> Lane {
        Lane {
            inbound: Inbound::new(
                Arc::clone(&self.wireguard),
                Arc::clone(&self.table),
                Arc::clone(&self.drops),
                Arc::clone(&self.lan),
            ),
            out: InboundBatch::default(),
            groups: Arc::clone(&self.groups),
            writer: self.writer.lock().another(),
            network: Arc::clone(&self.network),
            messages: Rate::new(MESSAGES_PER_S, MESSAGES_AT_ONCE),
            control: self.control.clone(),
            echo_id: Arc::clone(&self.echo_id),
        }
    }
}

/// The way in: what arrived is decrypted, answered, and written to the TUN.
pub struct Lane {
    inbound: Inbound,
    out: InboundBatch,
    groups: Arc<Mutex<Groups>>,
    writer: TunWriter,
    network: Arc<Network>,
    messages: Rate,
    control: mpsc::Sender<FromNetwork>,
    echo_id: Arc<AtomicU16>,
}

impl Lane {
    /// Takes a batch.
    pub fn handle<P: Into<Route>>(&mut self, datagrams: &mut Vec<Datagram<P>>) {
        let now = Instant::now();
        self.inbound.handle_datagrams(datagrams, &mut self.out, now);
        self.network.send(&mut self.out.answers);
        let mut packets = std::mem::take(&mut self.out.packets);
        self.take_ours(&mut packets, now);
        while let Some(group) = self.out.groups.pop_first() {
            self.groups.lock().ensure(group);
        }
        self.writer.send_batch(&mut packets);
        self.out.packets = packets;
        for packet in self.out.control.drain(..) {
            tell(&self.control, &self.network.drops, FromNetwork::Control(packet, now));
        }
    }

    /// What is for the agent itself is not for the TUN.
    fn take_ours(&mut self, packets: &mut Vec<BytesMut>, at: Instant) {
        let id = self.echo_id.load(Ordering::Relaxed);
        let Self {
            messages,
            control,
            network,
            ..
        } = self;
        packets.retain(|packet| {
            let ours = if let Some(sequence) = echo::reply_sequence(packet, id) {
                FromNetwork::EchoReply { sequence, at }
            } else if wire::may_be(packet) {
                if !messages.allow(at) {
                    network.drops.count(DropReason::LoopBusy);
                    return false;
                }
                let Some((from, message)) = wire::read(packet) else {
                    return true;
                };
                FromNetwork::Member { from, message }
            } else {
                return true;
            };
            tell(control, &network.drops, ours);
            false
        });
    }
}

/// A full queue means a flood; what is dropped is asked for again.
pub(super) fn tell(control: &mpsc::Sender<FromNetwork>, drops: &Drops, arrived: FromNetwork) {
    if control.try_send(arrived).is_err() {
        drops.count(DropReason::LoopBusy);
    }
}
