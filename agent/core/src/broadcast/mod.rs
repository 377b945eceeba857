//! The virtual LAN's switch for what is meant for everybody, as far as games need it.
//!
//! A packet of this PC reaches the [`Bridge`] through the TUN, or was overheard on an adapter it left by instead. It is
//! classified (UDP, to a broadcast or multicast address, to a port that is let through), taken once however many ways it came
//! ([`Seen`]), counted against the member's rate, given this member's virtual address as its source, and cut to the tunnel's MTU.
//! The data plane then sends it to every member inside that member's own session. A member's packet is checked the same way on
//! arrival, but for the port, which is the sender's choice, and goes to this PC's TUN. It never comes back to the bridge, and its
//! hop limit of 1 keeps everybody else from passing it on; so nothing can circle.

mod fragments;
mod marks;
mod policy;
mod rejection;
mod seen;
mod span;

pub use marks::{Mark, Marks};
pub use policy::{Policy, Service, is_for_games};
pub use rejection::{Counts, Rejection};
pub use seen::{AT_ONCE, Seen, WINDOW};
pub use span::{NotPorts, PortSpan};

use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use bytes::BytesMut;
use lanrage_shared::ids::MemberId;

use self::fragments::{Datagram, Fragments};
use crate::ip::{self, End, Header};
use crate::rate::Rate;

/// Packets a second that a member may send to everybody, in the long run. The busiest discovery is a scan of some dozen ports when a
/// player presses a button; games that announce themselves do so a few times a second.
pub const PER_SECOND: f64 = 128.0;
/// Packets at once.
pub const BURST: f64 = 256.0;
/// Nobody passes on what has this hop limit.
const NO_FURTHER: u8 = 1;

/// Where this member is in the virtual LAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Home {
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
    /// The party network's broadcast address.
    pub broadcast: Ipv4Addr,
}

/// How a packet of this PC came to the bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// It was sent into the TUN.
    Tunnel,
    /// It left by another adapter, the one with this number, and was overheard.
    Adapter {
        index: u32,
        /// The broadcast address of that adapter's network.
        broadcast: Option<Ipv4Addr>,
    },
}

/// Decides what is bridged. One for all packet threads: few packets are for everybody.
pub struct Bridge {
    policy: Policy,
    mtu: usize,
    seen: Seen,
    own: Rate,
    members: BTreeMap<MemberId, Rate>,
    fragments: Fragments,
    /// Of the next datagram that has to be cut.
    next_id: u16,
    counts: Counts,
    marks: Marks,
}

impl Bridge {
    /// A bridge into a tunnel that takes packets of `mtu` bytes.
    pub fn new(policy: Policy, mtu: u16) -> Self {
        Self {
            policy,
            mtu: usize::from(mtu),
            seen: Seen::default(),
            own: member_rate(),
            members: BTreeMap::new(),
            fragments: Fragments::default(),
            next_id: 0,
            counts: Counts::default(),
            marks: Marks::default(),
        }
    }

    /// Replaces what is let through.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// Another party, or none: what was seen in the one before says nothing of it. Policy and counters stay.
    pub fn clear(&mut self) {
        self.seen = Seen::default();
        self.own = member_rate();
        self.members.clear();
        self.fragments = Fragments::default();
        self.marks = Marks::default();
    }

    /// What became of packets so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What became of marked packets.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Takes a packet of this PC. Appends what every member is to get, and gives what it was.
    pub fn handle_local(
        &mut self,
        packet: BytesMut,
        way: Way,
        home: Home,
        now: Instant,
        out: &mut Vec<BytesMut>,
    ) -> Result<Header, Rejection> {
        let mark = Mark::of(&packet);
        let result = self.let_out(packet, way, home, now, out);
        if let Some(mark) = mark {
            self.marks.handle_local(mark, result.map(drop));
        }
        match result {
            Ok(_) => self.counts.sent += 1,
            Err(rejection) => *self.counts.not_sent.entry(rejection).or_default() += 1,
        }
        result
    }

    fn let_out(
        &mut self,
        mut packet: BytesMut,
        way: Way,
        home: Home,
        now: Instant,
        out: &mut Vec<BytesMut>,
    ) -> Result<Header, Rejection> {
        let found = read(&packet)?;
        packet.truncate(found.length);
        let directed = match way {
            Way::Tunnel => Some(home.broadcast),
            Way::Adapter { broadcast, .. } => broadcast,
        };
        let is_directed = directed.is_some_and(|broadcast| found.destination == broadcast);
        if !is_directed && !is_for_all(found.destination) {
            return Err(Rejection::NotForAll);
        }
        self.admit_local(&packet, &found, way, now)?;
        let mut header = found;
        let own: IpAddr = if found.source.is_ipv4() {
            home.v4.into()
        } else {
            home.v6.into()
        };
        ip::set_address(&mut packet, &mut header, End::Source, own);
        if is_directed {
            ip::set_address(&mut packet, &mut header, End::Destination, home.broadcast.into());
        }
        ip::set_hop_limit(&mut packet, &header, NO_FURTHER);
        if way != Way::Tunnel {
            ip::fill_checksums(&mut packet, &header);
        }
        self.next_id = self.next_id.wrapping_add(1);
        ip::cut(packet, &header, self.mtu, u32::from(self.next_id), out);
        Ok(found)
    }

    fn admit_local(&mut self, packet: &[u8], header: &Header, way: Way, now: Instant) -> Result<(), Rejection> {
        let came = hash(&(way, header.destination));
        let datagram = whole(header, came);
        let Some((source, destination)) = header.ports(packet) else {
            return self.follow(datagram, now, None);
        };
        self.policy.check_local(destination)?;
        let group = header.destination.is_multicast().then_some(header.destination);
        let (udp, payload) = header.body(packet).split_at(8);
        // With its length, because a first fragment says no more of what follows.
        let content = hash(&(group, source, destination, &udp[4..6], payload));
        if self.seen.is_duplicate(content, came, now) {
            return Err(Rejection::Duplicate);
        }
        if !self.own.allow(now) {
            return Err(Rejection::RateLimited);
        }
        self.seen.insert(content, came, now);
        self.remember(datagram, now);
        Ok(())
    }

    /// Takes a member's packet, which the session has shown to be that member's. `Ok` gives it ready for the TUN.
    pub fn handle_remote(
        &mut self,
        packet: &mut BytesMut,
        from: MemberId,
        home: Home,
        now: Instant,
    ) -> Result<Header, Rejection> {
        let result = self.let_in(packet, from, home, now);
        if let (Some(mark), Ok(_)) = (Mark::of(packet), &result) {
            self.marks.handle_remote(mark, from);
        }
        match result {
            Ok(_) => self.counts.received += 1,
            Err(rejection) => *self.counts.not_received.entry(rejection).or_default() += 1,
        }
        result
    }

    fn let_in(&mut self, packet: &mut BytesMut, from: MemberId, home: Home, now: Instant) -> Result<Header, Rejection> {
        let header = read(packet)?;
        packet.truncate(header.length);
        if header.destination != home.broadcast && !is_for_all(header.destination) {
            return Err(Rejection::NotForAll);
        }
        let datagram = whole(&header, u64::from(from.0));
        match header.ports(packet) {
            None => self.follow(datagram, now, Some(from))?,
            Some((_, port)) => {
                self.policy.check_remote(port)?;
                if !self.members.entry(from).or_insert_with(member_rate).allow(now) {
                    return Err(Rejection::RateLimited);
                }
                self.remember(datagram, now);
            }
        }
        ip::set_hop_limit(packet, &header, NO_FURTHER);
        Ok(header)
    }

    /// Later fragments pass when the first has passed, whatever the rate: half a datagram is of no use.
    fn follow(&mut self, datagram: Option<Datagram>, now: Instant, from: Option<MemberId>) -> Result<(), Rejection> {
        // No fragment and no ports either: too short for UDP.
        let datagram = datagram.ok_or(Rejection::Malformed)?;
        if !self.fragments.follows(&datagram, now) {
            return Err(Rejection::OrphanFragment);
        }
        match from {
            Some(member) => self.members.entry(member).or_insert_with(member_rate).owe(),
            None => self.own.owe(),
        }
        Ok(())
    }

    fn remember(&mut self, datagram: Option<Datagram>, now: Instant) {
        if let Some(datagram) = datagram {
            self.fragments.insert(datagram, now);
        }
    }
}

fn member_rate() -> Rate {
    Rate::new(PER_SECOND, BURST)
}

fn read(packet: &[u8]) -> Result<Header, Rejection> {
    let header = Header::read(packet).ok_or(Rejection::Malformed)?;
    if header.protocol != ip::UDP {
        return Err(Rejection::NotUdp);
    }
    Ok(header)
}

/// Whether every member of a network, or of a group in it, is meant: limited broadcast, or multicast that leaves the PC (RFC 4291
/// §2.7).
pub fn is_for_all(destination: IpAddr) -> bool {
    match destination {
        IpAddr::V4(v4) => v4.is_broadcast() || v4.is_multicast(),
        IpAddr::V6(v6) => v6.is_multicast() && v6.octets()[1] & 0xf >= 2,
    }
}

fn whole(header: &Header, way: u64) -> Option<Datagram> {
    header.fragment.map(|part| Datagram {
        source: header.source,
        destination: header.destination,
        id: part.id,
        way,
    })
}

fn hash(what: &impl std::hash::Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(what)
}

#[cfg(test)]
mod tests;
