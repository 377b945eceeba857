//! From the TUN to the network.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::BytesMut;

use super::{DropReason, Drops, TableCell};
use crate::batch::Outgoing;

/// The sending direction. One per thread: it holds that thread's scratch space.
pub struct Outbound {
    table: Arc<TableCell>,
    drops: Arc<Drops>,
    scratch: Vec<BytesMut>,
}

impl Outbound {
    pub fn new(table: Arc<TableCell>, drops: Arc<Drops>) -> Self {
        Self {
            table,
            drops,
            scratch: Vec::new(),
        }
    }

    /// Encrypts IP packets for their peers and pushes the datagrams to send, keeping their order.
    pub fn handle_packets(&mut self, packets: &mut Vec<BytesMut>, send: &mut Outgoing, now: Instant) {
        let table = self.table.load();
        let ms = table.ms(now);
        for packet in packets.drain(..) {
            let Some((source, destination)) = addresses(&packet) else {
                self.drops.count(DropReason::Malformed);
                continue;
            };
            if source != table.virtual_ip && source != table.virtual_ip6 {
                self.drops.count(DropReason::ForeignSource);
                continue;
            }
            let Some(peer) = table.at(&destination) else {
                self.drops.count(DropReason::NoSuchMember);
                continue;
            };
            let ((), sendable) = peer.with_tunnel(&table, &mut self.scratch, send, |tunnel, out| {
                tunnel.encrypt(packet, out)
            });
            peer.traffic.last_sent_ms.store(ms, Ordering::Relaxed);
            if !sendable {
                self.drops.count(DropReason::NoPath);
            }
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
