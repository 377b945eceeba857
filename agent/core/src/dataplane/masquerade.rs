//! Games whose sockets are bound to another adapter's address than the tunnel's.
//!
//! Such a socket's packets carry that address, which no member could answer. They are given this member's virtual address, and
//! what comes back is given the address the socket is bound to. A UDP port belongs to the bound socket that sent from it last, so
//! that everybody it asked can answer; a conversation with one place stays with whoever holds it, for games that open a socket on
//! every adapter. Of TCP only connections that this PC began come back: a service that is bound to another adapter is not opened
//! to members.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::ip::{self, End, Header};

/// How long an address is remembered after its last packet.
const LIFETIME: Duration = Duration::from_secs(600);
/// Ports, and conversations, remembered at a time. The game of one player needs a few.
const MOST: usize = 1024;
/// Later fragments follow the first within this time.
const FRAGMENT_LIFETIME: Duration = Duration::from_secs(2);
/// How often it is seen whether anything is still remembered.
const SWEEP: Duration = Duration::from_secs(60);

/// A port of this PC, with its transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Port {
    protocol: u8,
    is_v4: bool,
    number: u16,
}

/// Which addresses sockets are bound to. Costs nothing as long as all are bound to the virtual address or to any.
#[derive(Debug, Default)]
pub struct Masquerade {
    in_use: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// This PC's addresses on its other adapters.
    own: BTreeSet<IpAddr>,
    /// UDP only.
    ports: HashMap<Port, (IpAddr, Instant)>,
    flows: HashMap<(Port, IpAddr, u16), (IpAddr, Instant)>,
    fragments: HashMap<(IpAddr, u32), (IpAddr, Instant)>,
    swept: Option<Instant>,
}

impl Masquerade {
    /// This PC's addresses on adapters other than the tunnel's.
    pub fn set_own(&self, own: BTreeSet<IpAddr>) {
        self.known.lock().own = own;
    }

    /// Nothing is remembered any more but this PC's addresses.
    pub(super) fn clear(&self) {
        let known = &mut *self.known.lock();
        *known = Known {
            own: std::mem::take(&mut known.own),
            ..Known::default()
        };
        self.in_use.store(false, Ordering::Relaxed);
    }

    /// The socket behind this packet to everybody, read before its source was changed, is bound to its source.
    pub(super) fn learn(&self, header: &Header, ports: Option<(u16, u16)>, virtual_ip: IpAddr, now: Instant) {
        let Some((source, _)) = ports else { return };
        // One bound to the virtual address, or to none, is reached as things are.
        if header.source == virtual_ip {
            return;
        }
        let known = &mut *self.known.lock();
        if known.own.contains(&header.source) {
            remember(&mut known.ports, Port::of(header, source), header.source, LIFETIME, now);
            self.in_use.store(true, Ordering::Relaxed);
        }
    }

    /// A packet of this PC to a member. Gives false for one that cannot go as this member's.
    pub(super) fn leave(&self, packet: &mut [u8], source: IpAddr, virtual_ip: IpAddr, now: Instant) -> bool {
        let is_virtual = source == virtual_ip;
        if is_virtual && !self.in_use.load(Ordering::Relaxed) {
            return true;
        }
        // Of other protocols the checksums, and what is in ICMP errors, would be wrong.
        let header = Header::read(packet).filter(|header| [ip::UDP, ip::TCP].contains(&header.protocol));
        let Some(mut header) = header else { return is_virtual };
        let known = &mut *self.known.lock();
        if !is_virtual && !known.own.contains(&source) {
            return false;
        }
        if let Some((from, to)) = header.ports(packet) {
            let port = Port::of(&header, from);
            let flow = (port, header.destination, to);
            let (begins, is_known) = (ip::begins_tcp(packet, &header), known.flows.contains_key(&flow));
            let is_udp = header.protocol == ip::UDP;
            if is_udp && !is_virtual {
                remember(&mut known.ports, port, source, LIFETIME, now);
            }
            if is_udp && known.ports.contains_key(&port) || begins && !is_virtual || is_known {
                remember(&mut known.flows, flow, source, LIFETIME, now);
                self.in_use.store(true, Ordering::Relaxed);
            }
        }
        is_virtual || ip::set_address(packet, &mut header, End::Source, virtual_ip)
    }

    /// A packet of a member to this one: it goes to the address the socket is bound to.
    pub(super) fn arrive(&self, packet: &mut [u8], now: Instant) {
        if !self.in_use.load(Ordering::Relaxed) {
            return;
        }
        let Some(mut header) = Header::read(packet) else { return };
        let known = &mut *self.known.lock();
        if known.is_over(now) {
            self.in_use.store(false, Ordering::Relaxed);
            return;
        }
        let Some(to) = known.bound_to(packet, &header, now) else {
            return;
        };
        if to != header.destination {
            ip::set_address(packet, &mut header, End::Destination, to);
        }
    }
}

impl Known {
    /// Whether everything has been forgotten.
    fn is_over(&mut self, now: Instant) -> bool {
        if now < *self.swept.get_or_insert(now) + SWEEP {
            return false;
        }
        self.swept = Some(now);
        self.ports.retain(|_, (_, since)| now < *since + LIFETIME);
        self.flows.retain(|_, (_, since)| now < *since + LIFETIME);
        self.fragments.retain(|_, (_, since)| now < *since + FRAGMENT_LIFETIME);
        self.ports.is_empty() && self.flows.is_empty()
    }

    fn bound_to(&mut self, packet: &[u8], header: &Header, now: Instant) -> Option<IpAddr> {
        let datagram = header.fragment.map(|part| (header.source, part.id));
        let Some((from, to)) = header.ports(packet) else {
            let (address, since) = self.fragments.get(&datagram?)?;
            return (now < *since + FRAGMENT_LIFETIME).then_some(*address);
        };
        let port = Port::of(header, to);
        let flow = self.flows.get(&(port, header.source, from));
        let (address, since) = *flow.or_else(|| self.ports.get(&port))?;
        let is_there = address == header.destination || self.own.contains(&address);
        if !is_there || now >= since + LIFETIME {
            return None;
        }
        if let Some(datagram) = datagram {
            remember(&mut self.fragments, datagram, address, FRAGMENT_LIFETIME, now);
        }
        Some(address)
    }
}

impl Port {
    fn of(header: &Header, number: u16) -> Self {
        Self {
            protocol: header.protocol,
            is_v4: header.source.is_ipv4(),
            number,
        }
    }
}

/// Keeps the latest.
fn remember<K: Copy + Eq + std::hash::Hash>(
    map: &mut HashMap<K, (IpAddr, Instant)>,
    key: K,
    address: IpAddr,
    lifetime: Duration,
    now: Instant,
) {
    if map.len() >= MOST && !map.contains_key(&key) {
        map.retain(|_, (_, since)| now < *since + lifetime);
        if map.len() >= MOST
            && let Some(oldest) = map.iter().min_by_key(|(_, (_, since))| *since).map(|(key, _)| *key)
        {
            map.remove(&oldest);
        }
    }
    map.insert(key, (address, now));
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use bytes::BytesMut;

    use super::*;
    use crate::ip::testing::{is_sound, udp};

    const VIRTUAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 64, 0, 1));
    const LAN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 7));
    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 64, 0, 2));

    fn masquerade() -> Masquerade {
        let masquerade = Masquerade::default();
        masquerade.set_own([LAN].into());
        masquerade
    }

    fn leaves(masquerade: &Masquerade, from: IpAddr, to: u16, now: Instant) -> Option<BytesMut> {
        let mut packet = udp((from, 6112), (PEER, to), b"hi");
        masquerade.leave(&mut packet, from, VIRTUAL, now).then_some(packet)
    }

    fn arrives_at(masquerade: &Masquerade, from: u16, to: u16, now: Instant) -> IpAddr {
        let mut packet = udp((PEER, from), (VIRTUAL, to), b"hi");
        masquerade.arrive(&mut packet, now);
        assert!(is_sound(&packet));
        Header::read(&packet).unwrap().destination
    }

    #[test]
    fn a_socket_bound_to_another_adapter_sends_and_hears() {
        let (masquerade, now) = (masquerade(), Instant::now());
        assert_eq!(arrives_at(&masquerade, 27960, 6112, now), VIRTUAL);
        let sent = leaves(&masquerade, LAN, 27960, now).unwrap();
        assert_eq!(Header::read(&sent).unwrap().source, VIRTUAL);
        assert!(is_sound(&sent));
        // Also what another place answers, as servers do.
        assert_eq!(arrives_at(&masquerade, 27960, 6112, now), LAN);
        assert_eq!(arrives_at(&masquerade, 9, 6112, now), LAN);
        assert_eq!(arrives_at(&masquerade, 27960, 6113, now), VIRTUAL);
        assert_eq!(arrives_at(&masquerade, 27960, 6112, now + LIFETIME), VIRTUAL);
    }

    #[test]
    fn a_broadcast_is_answered_to_where_its_socket_is() {
        let (masquerade, now) = (masquerade(), Instant::now());
        let asked = udp((LAN, 5000), (Ipv4Addr::BROADCAST.into(), 27960), b"getinfo");
        let header = Header::read(&asked).unwrap();
        masquerade.learn(&header, header.ports(&asked), VIRTUAL, now);
        assert_eq!(arrives_at(&masquerade, 27960, 5000, now), LAN);
    }

    #[test]
    fn a_conversation_stays_with_its_socket_when_there_is_one_on_every_adapter() {
        let (masquerade, now) = (masquerade(), Instant::now());
        leaves(&masquerade, LAN, 1, now).unwrap();
        leaves(&masquerade, VIRTUAL, 2, now).unwrap();
        assert_eq!(arrives_at(&masquerade, 1, 6112, now), LAN);
        assert_eq!(arrives_at(&masquerade, 2, 6112, now), VIRTUAL);
    }

    #[test]
    fn what_is_not_this_pcs_does_not_leave_and_an_address_that_went_away_hears_nothing() {
        let (masquerade, now) = (masquerade(), Instant::now());
        let foreign = IpAddr::from([172, 17, 0, 2]);
        assert_eq!(leaves(&masquerade, foreign, 1, now), None);
        leaves(&masquerade, LAN, 1, now).unwrap();
        masquerade.set_own(BTreeSet::new());
        assert_eq!(arrives_at(&masquerade, 1, 6112, now), VIRTUAL);
        assert_eq!(leaves(&masquerade, LAN, 1, now), None);
    }

    /// A TCP segment, as far as it matters here.
    fn segment(from: (IpAddr, u16), to: (IpAddr, u16), flags: u8) -> BytesMut {
        let mut packet = udp(from, to, &[0; 12]);
        packet[9] = ip::TCP;
        packet[33] = flags;
        packet
    }

    #[test]
    fn of_tcp_only_what_this_pc_began_comes_back() {
        const SYN: u8 = 2;
        const ACK: u8 = 16;
        let (masquerade, now) = (masquerade(), Instant::now());
        let arrives = |port: u16| {
            let mut packet = segment((PEER, 9), (VIRTUAL, port), ACK);
            masquerade.arrive(&mut packet, now);
            Header::read(&packet).unwrap().destination
        };
        // A service that answers what came to it by its own adapter, under a member's address.
        let mut answer = segment((LAN, 445), (PEER, 9), SYN | ACK);
        assert!(masquerade.leave(&mut answer, LAN, VIRTUAL, now));
        assert_eq!(arrives(445), VIRTUAL);
        let mut begin = segment((LAN, 5000), (PEER, 9), SYN);
        assert!(masquerade.leave(&mut begin, LAN, VIRTUAL, now));
        assert_eq!(arrives(5000), LAN);
        assert_eq!(arrives(445), VIRTUAL);
    }

    #[test]
    fn other_protocols_do_not_leave_under_another_address() {
        let (masquerade, now) = (masquerade(), Instant::now());
        let mut ping = segment((LAN, 1), (PEER, 1), 0);
        ping[9] = 1;
        assert!(!masquerade.leave(&mut ping, LAN, VIRTUAL, now));
        assert!(masquerade.leave(&mut ping, VIRTUAL, VIRTUAL, now));
    }

    #[test]
    fn it_costs_nothing_again_when_everything_is_forgotten() {
        let (masquerade, now) = (masquerade(), Instant::now());
        leaves(&masquerade, LAN, 1, now).unwrap();
        assert!(masquerade.in_use.load(Ordering::Relaxed));
        arrives_at(&masquerade, 1, 6112, now);
        arrives_at(&masquerade, 1, 6112, now + 2 * LIFETIME);
        assert!(!masquerade.in_use.load(Ordering::Relaxed));
        leaves(&masquerade, LAN, 1, now).unwrap();
        masquerade.clear();
        assert_eq!(arrives_at(&masquerade, 1, 6112, now), VIRTUAL);
        assert!(leaves(&masquerade, LAN, 1, now).is_some(), "this PC's addresses stay");
    }

    #[test]
    fn memory_is_bounded() {
        let (masquerade, now) = (masquerade(), Instant::now());
        for number in 0..3000u16 {
            let mut packet = udp((LAN, number), (PEER, 1), b"");
            assert!(masquerade.leave(&mut packet, LAN, VIRTUAL, now + Duration::from_millis(number.into())));
        }
        let known = masquerade.known.lock();
        assert!(known.ports.len() <= MOST && known.flows.len() <= MOST);
    }
}
