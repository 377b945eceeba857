//! From the TUN to the network.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::BytesMut;

use super::{DropReason, Drops, Lan, OtherAdapter, PeerLink, Table, TableCell};
use crate::batch::Outgoing;
use crate::broadcast::{self, Way};
use crate::ip::Header;

/// The sending direction. One per thread: it holds that thread's scratch space.
pub struct Outbound {
    table: Arc<TableCell>,
    drops: Arc<Drops>,
    lan: Arc<Lan>,
    scratch: Vec<BytesMut>,
    /// What everybody is to get.
    for_all: Vec<BytesMut>,
}

impl Outbound {
    pub fn new(table: Arc<TableCell>, drops: Arc<Drops>, lan: Arc<Lan>) -> Self {
        Self {
            table,
            drops,
            lan,
            scratch: Vec::new(),
            for_all: Vec::new(),
        }
    }

    /// Encrypts IP packets for their peers and pushes the datagrams to send, keeping their order.
    pub fn handle_packets(&mut self, packets: &mut Vec<BytesMut>, send: &mut Outgoing, now: Instant) {
        let table = self.table.load_full();
        for mut packet in packets.drain(..) {
            let Some((source, destination)) = addresses(&packet) else {
                self.drops.count(DropReason::Malformed);
                continue;
            };
            if let Some(peer) = table.at(&destination) {
                let own = table.address_like(source);
                if self.lan.masquerade.leave(&mut packet, source, own, now) {
                    self.give(&table, peer, packet, send, now);
                } else {
                    self.drops.count(DropReason::ForeignSource);
                }
            } else if broadcast::is_for_all(destination) || destination == table.home().broadcast {
                self.give_all(&table, packet, Way::Tunnel, |_| true, send, now);
            } else {
                self.drops.count(DropReason::NoSuchMember);
            }
        }
    }

    /// Takes a packet that left this PC by another adapter. Members in the same network heard it there, unless it is for a group:
    /// that has to be joined on each adapter, and games join it on the one the system chooses, which is the tunnel's.
    pub fn handle_overheard(&mut self, packet: BytesMut, adapter: &OtherAdapter, send: &mut Outgoing, now: Instant) {
        let Some((source, destination)) = addresses(&packet) else {
            return;
        };
        // A PC passes on packets of its virtual machines and containers, too.
        if !adapter.is_own(source) {
            return;
        }
        let table = self.table.load_full();
        let is_elsewhere = |peer: &PeerLink| {
            let address = peer.path().and_then(|path| path.route.address());
            destination.is_multicast()
                || !address.is_some_and(|address| adapter.networks.iter().any(|net| net.contains(&address.ip())))
        };
        self.give_all(&table, packet, adapter.way(destination), is_elsewhere, send, now);
    }

    fn give_all(
        &mut self,
        table: &Table,
        packet: BytesMut,
        way: Way,
        wants: impl Fn(&PeerLink) -> bool,
        send: &mut Outgoing,
        now: Instant,
    ) {
        if table.peers().next().is_none() {
            return;
        }
        let ports = Header::read(&packet).and_then(|header| header.ports(&packet));
        let mut for_all = std::mem::take(&mut self.for_all);
        let taken = self
            .lan
            .bridge
            .lock()
            .handle_local(packet, way, table.home(), now, &mut for_all);
        // What was not taken is counted there.
        if let Ok(header) = taken {
            let own = table.address_like(header.source);
            self.lan.masquerade.learn(&header, ports, own, now);
            // Who cannot be reached is not looked for because of it.
            for peer in table.peers().filter(|peer| peer.path().is_some() && wants(peer)) {
                for packet in &for_all {
                    self.give(table, peer, packet.clone(), send, now);
                }
            }
        }
        for_all.clear();
        self.for_all = for_all;
    }

    fn give(&mut self, table: &Table, peer: &PeerLink, packet: BytesMut, send: &mut Outgoing, now: Instant) {
        let ((), sendable) = peer.with_tunnel(table, &mut self.scratch, send, |tunnel, out| {
            tunnel.encrypt(packet, out)
        });
        peer.traffic.last_sent_ms.store(table.ms(now), Ordering::Relaxed);
        if !sendable {
            self.drops.count(DropReason::NoPath);
        }
    }
}

/// Source and destination of an IP packet whose header is whole.
pub(super) fn addresses(packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
    match packet.first()? >> 4 {
        4 if packet.len() >= 20 => {
            let source: [u8; 4] = packet[12..16].try_into().ok()?;
            let destination: [u8; 4] = packet[16..20].try_into().ok()?;
            Some((IpAddr::from(source), IpAddr::from(destination)))
        }
        6 if packet.len() >= 40 => {
            let source: [u8; 16] = packet[8..24].try_into().ok()?;
            let destination: [u8; 16] = packet[24..40].try_into().ok()?;
            Some((IpAddr::from(source), IpAddr::from(destination)))
        }
        _ => None,
    }
}

/// The length an IP packet's header gives; what follows is WireGuard's padding.
pub(super) fn ip_length(packet: &[u8]) -> Option<usize> {
    let field = |at: usize| {
        Some(usize::from(u16::from_be_bytes([
            *packet.get(at)?,
            *packet.get(at + 1)?,
        ])))
    };
    match packet.first()? >> 4 {
        4 => field(2).filter(|length| *length >= 20),
        6 => field(4).map(|payload| payload + 40),
        _ => None,
    }
    .filter(|length| *length <= packet.len())
}
