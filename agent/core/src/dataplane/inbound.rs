//! From the network to the TUN.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::BytesMut;

use super::control::ControlFilter;
use super::outbound::{addresses, ip_length};
use super::{DropReason, Drops, Lan, PeerLink, Table, TableCell};
use crate::batch::{Datagram, Outgoing, Packet, Route};
use crate::broadcast;
use crate::wg::{self, Incoming, Message, WireGuard};

/// What a batch of datagrams turned into. Reused from batch to batch; the caller drains it.
#[derive(Default)]
pub struct InboundBatch {
    /// IP packets for the TUN.
    pub packets: Vec<BytesMut>,
    /// The multicast groups some of them are for.
    pub groups: BTreeSet<IpAddr>,
    /// WireGuard's answers, to be sent at once.
    pub answers: Outgoing,
    /// Members' probes and what may be STUN answers, for the engine.
    pub control: Vec<Packet>,
}

/// The receiving direction. One per thread: it holds that thread's scratch space.
pub struct Inbound {
    wireguard: Arc<WireGuard>,
    table: Arc<TableCell>,
    drops: Arc<Drops>,
    lan: Arc<Lan>,
    filter: ControlFilter,
    scratch: Vec<BytesMut>,
}

impl Inbound {
    pub fn new(wireguard: Arc<WireGuard>, table: Arc<TableCell>, drops: Arc<Drops>, lan: Arc<Lan>) -> Self {
        Self {
            wireguard,
            table,
            drops,
            lan,
            filter: ControlFilter::default(),
            scratch: Vec::new(),
        }
    }

    /// Decrypts datagrams and sorts what they hold.
    pub fn handle_datagrams<P: Into<Route>>(
        &mut self,
        datagrams: &mut Vec<Datagram<P>>,
        out: &mut InboundBatch,
        now: Instant,
    ) {
        let table = self.table.load_full();
        for Datagram { peer, data } in datagrams.drain(..) {
            let packet = Packet {
                peer: peer.into(),
                data,
            };
            if wg::looks_like_wireguard(&packet.data) {
                if let Err(reason) = self.handle_wireguard(&table, packet, out, now) {
                    self.drops.count(reason);
                }
            } else if self.filter.admits(&table, &packet, now) {
                out.control.push(packet);
            } else {
                self.drops.count(DropReason::Noise);
            }
        }
    }

    fn handle_wireguard(
        &mut self,
        table: &Table,
        Packet { peer: from, data }: Packet,
        out: &mut InboundBatch,
        now: Instant,
    ) -> Result<(), DropReason> {
        let length = data.len() as u64;
        let (peer, message) = match self.wireguard.read(source(from), data) {
            Incoming::Initiation { from, message } => (table.with_key(&from).ok_or(DropReason::NotAMember)?, message),
            Incoming::Session { index, message } => {
                (table.with_index(index).ok_or(DropReason::UnknownSession)?, message)
            }
            Incoming::Answer(data) => {
                out.answers.push(from, data);
                return Ok(());
            }
            Incoming::Invalid => return Err(DropReason::Rejected),
        };
        let packet = self.decrypt(table, peer, from, message, out)?;
        peer.traffic.rx_bytes.fetch_add(length, Ordering::Relaxed);
        peer.traffic.rx_packets.fetch_add(1, Ordering::Relaxed);
        if peer.path().is_some_and(|path| path.route == from) {
            peer.traffic.last_received_ms.store(table.ms(now), Ordering::Relaxed);
        }
        let Some(packet) = packet else { return Ok(()) };
        let (mut packet, destination) = checked(table, peer, packet)?;
        if broadcast::is_for_all(destination) || destination == table.home().broadcast {
            let mut bridge = self.lan.bridge.lock();
            // What does not come in is counted there.
            if bridge
                .handle_remote(&mut packet, peer.member, table.home(), now)
                .is_err()
            {
                return Ok(());
            }
            if destination.is_multicast() {
                out.groups.insert(destination);
            }
        } else {
            self.lan.masquerade.arrive(&mut packet, now);
        }
        out.packets.push(packet);
        Ok(())
    }

    /// Runs a message through its peer's tunnel. Answers go to the peer's path; a peer that has none yet is answered
    /// where it spoke from, because only the holder of its key could have made the message.
    fn decrypt(
        &mut self,
        table: &Table,
        peer: &PeerLink,
        from: Route,
        message: Message,
        out: &mut InboundBatch,
    ) -> Result<Option<BytesMut>, DropReason> {
        let work = |tunnel: &mut dyn wg::Tunnel, send: &mut Vec<BytesMut>| {
            let result = tunnel.decrypt(message, send);
            if result.is_ok() && (peer.follows_source || peer.path().is_none()) {
                peer.set_path(Some(from.into()));
            }
            result
        };
        let (result, _) = peer.with_tunnel(table, &mut self.scratch, &mut out.answers, work);
        result.map_err(|_| DropReason::Rejected)
    }
}

/// Whom WireGuard counts handshakes against under load: who speaks through a relay is counted by member.
fn source(from: Route) -> SocketAddr {
    match from {
        Route::Direct(address) | Route::Side { address, .. } => address,
        Route::Relay { member, .. } => (Ipv6Addr::from(u128::from(member.0)), member.0).into(),
    }
}

/// The packet without padding and where it goes, if it is from this peer and for this member or for all.
fn checked(table: &Table, peer: &PeerLink, mut packet: BytesMut) -> Result<(BytesMut, IpAddr), DropReason> {
    let length = ip_length(&packet).ok_or(DropReason::Malformed)?;
    packet.truncate(length);
    let (source, destination) = addresses(&packet).ok_or(DropReason::Malformed)?;
    if source != peer.virtual_ip && source != peer.virtual_ip6 {
        return Err(DropReason::SpoofedSource);
    }
    let is_mine = destination == table.virtual_ip || destination == table.virtual_ip6;
    if !is_mine && !broadcast::is_for_all(destination) && destination != table.home().broadcast {
        return Err(DropReason::ForeignDestination);
    }
    Ok((packet, destination))
}
