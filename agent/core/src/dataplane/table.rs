//! The snapshot the packet threads read: who the members are and how each is reached right now.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::BytesMut;
use lanrage_shared::ids::{DeviceKey, MemberId};
use parking_lot::Mutex;

use crate::batch::{Outgoing, PathInUse};
use crate::broadcast::Home;
use crate::wg::{self, Tunnel};

/// Session indices remembered per peer. A tunnel keeps 8 sessions, and a handshake is repeated every second at most, for 90 s: the
/// index of a session that is in use stays known meanwhile.
const INDICES_PER_PEER: usize = 128;

/// Where the packet threads find the current table.
pub type TableCell = ArcSwap<Table>;

/// One peer as the packet threads see it.
pub struct PeerLink {
    pub member: MemberId,
    pub key: DeviceKey,
    pub virtual_ip: Ipv4Addr,
    pub virtual_ip6: Ipv6Addr,
    /// Set for a peer without path probing of its own (a stock WireGuard): its latest authentic source becomes its path.
    pub follows_source: bool,
    /// Each starts probes of the peer's; none for a peer that sends no probes. Read when a table is made.
    pub probe_tags: Mutex<Vec<[u8; 4]>>,
    tunnel: Mutex<Box<dyn Tunnel>>,
    path: ArcSwapOption<PathInUse>,
    pub(super) traffic: Traffic,
}

/// Counters of one peer. Times are in ms since the table's `epoch`, 0 for never.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub(super) rx_bytes: AtomicU64,
    pub(super) tx_bytes: AtomicU64,
    pub(super) rx_packets: AtomicU64,
    pub(super) tx_packets: AtomicU64,
    path_changes: AtomicU64,
    pub(super) last_sent_ms: AtomicU64,
    pub(super) last_received_ms: AtomicU64,
}

impl PeerLink {
    /// A peer with a fresh tunnel and no path.
    pub fn new(member: MemberId, key: DeviceKey, v4: Ipv4Addr, v6: Ipv6Addr, tunnel: Box<dyn Tunnel>) -> Self {
        Self {
            member,
            key,
            virtual_ip: v4,
            virtual_ip6: v6,
            follows_source: false,
            probe_tags: Mutex::default(),
            tunnel: Mutex::new(tunnel),
            path: ArcSwapOption::empty(),
            traffic: Traffic::default(),
        }
    }

    /// Where packets to this peer go.
    pub fn path(&self) -> Option<PathInUse> {
        self.path.load().as_deref().copied()
    }

    /// Sets where packets to this peer go from now on.
    pub fn set_path(&self, path: Option<PathInUse>) {
        let before = self.path.swap(path.map(Arc::new));
        if before.map(|path| path.route) != path.map(|path| path.route) {
            self.traffic.path_changes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Runs `work` on the tunnel and addresses what it wants to send. Gives false when there was something to send and
    /// no path to send it on.
    pub(super) fn with_tunnel<T>(
        &self,
        table: &Table,
        scratch: &mut Vec<BytesMut>,
        send: &mut Outgoing,
        work: impl FnOnce(&mut dyn Tunnel, &mut Vec<BytesMut>) -> T,
    ) -> (T, bool) {
        let result = work(self.tunnel.lock().as_mut(), scratch);
        let path = self.path();
        let sendable = path.is_some() || scratch.is_empty();
        if path.is_some() {
            let count = scratch.len() as u64;
            self.traffic.tx_packets.fetch_add(count, Ordering::Relaxed);
        }
        for data in scratch.drain(..) {
            if let Some(index) = wg::announced_index(&data) {
                table.indices.register(index, self.member);
            }
            let Some(path) = path else { continue };
            self.traffic.tx_bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
            send.push_along(path, data);
        }
        (result, sendable)
    }

    /// Starts a handshake on the current path.
    pub fn start_handshake(&self, table: &Table, send: &mut Outgoing) {
        self.with_tunnel(table, &mut Vec::new(), send, |tunnel, out| tunnel.start_handshake(out));
    }

    /// Runs the tunnel's timers.
    pub fn tick(&self, table: &Table, send: &mut Outgoing) {
        self.with_tunnel(table, &mut Vec::new(), send, |tunnel, out| tunnel.tick(out));
    }

    /// The pre-shared key of handshakes from now on; sessions go on.
    pub fn set_psk(&self, psk: [u8; 32]) {
        self.tunnel.lock().set_psk(psk);
    }

    /// How long ago the last handshake was completed.
    pub fn last_handshake(&self) -> Option<Duration> {
        self.tunnel.lock().last_handshake()
    }

    /// Bytes received and sent, WireGuard overhead included.
    pub fn bytes(&self) -> (u64, u64) {
        (
            self.traffic.rx_bytes.load(Ordering::Relaxed),
            self.traffic.tx_bytes.load(Ordering::Relaxed),
        )
    }

    /// Packets received and sent, those of WireGuard itself included.
    pub fn packets(&self) -> (u64, u64) {
        (
            self.traffic.rx_packets.load(Ordering::Relaxed),
            self.traffic.tx_packets.load(Ordering::Relaxed),
        )
    }

    /// How often packets to this peer took another way, or none, from then on.
    pub fn path_changes(&self) -> u64 {
        self.traffic.path_changes.load(Ordering::Relaxed)
    }

    /// When a packet was last sent to the peer and last received on its current path.
    pub fn last_traffic(&self, epoch: Instant) -> (Option<Instant>, Option<Instant>) {
        let at = |ms: &AtomicU64| match ms.load(Ordering::Relaxed) {
            0 => None,
            ms => Some(epoch + Duration::from_millis(ms)),
        };
        (at(&self.traffic.last_sent_ms), at(&self.traffic.last_received_ms))
    }
}

/// Everybody this agent can talk to, and this agent's own addresses. Immutable; replaced as a whole.
pub struct Table {
    /// Times in counters are relative to this.
    pub epoch: Instant,
    pub virtual_ip: Ipv4Addr,
    pub virtual_ip6: Ipv6Addr,
    by_address: HashMap<IpAddr, Arc<PeerLink>>,
    by_key: HashMap<DeviceKey, Arc<PeerLink>>,
    by_member: HashMap<MemberId, Arc<PeerLink>>,
    tags: HashSet<[u8; 4]>,
    indices: Arc<Indices>,
}

impl Table {
    /// A table nobody is in: what an agent outside a party has.
    pub fn empty(epoch: Instant) -> Self {
        Self {
            epoch,
            virtual_ip: Ipv4Addr::UNSPECIFIED,
            virtual_ip6: Ipv6Addr::UNSPECIFIED,
            by_address: HashMap::new(),
            by_key: HashMap::new(),
            by_member: HashMap::new(),
            tags: HashSet::new(),
            indices: Arc::default(),
        }
    }

    /// The table that replaces this one. Sessions of peers in both go on.
    pub fn with_peers(&self, virtual_ip: Ipv4Addr, virtual_ip6: Ipv6Addr, peers: Vec<Arc<PeerLink>>) -> Self {
        let mut next = Self {
            virtual_ip,
            virtual_ip6,
            indices: Arc::clone(&self.indices),
            ..Self::empty(self.epoch)
        };
        for peer in peers {
            next.by_address.insert(peer.virtual_ip.into(), Arc::clone(&peer));
            next.by_address.insert(peer.virtual_ip6.into(), Arc::clone(&peer));
            next.by_key.insert(peer.key, Arc::clone(&peer));
            next.tags.extend(peer.probe_tags.lock().iter());
            next.by_member.insert(peer.member, peer);
        }
        next.indices.keep_only(|member| next.by_member.contains_key(&member));
        next
    }

    /// Where this member is.
    pub fn home(&self) -> Home {
        let [a, b, c, _] = self.virtual_ip.octets();
        Home {
            v4: self.virtual_ip,
            v6: self.virtual_ip6,
            // A party's network is a /24.
            broadcast: [a, b, c, 255].into(),
        }
    }

    /// This member's address of the same family.
    pub(super) fn address_like(&self, other: IpAddr) -> IpAddr {
        if other.is_ipv4() {
            self.virtual_ip.into()
        } else {
            self.virtual_ip6.into()
        }
    }

    /// The peers, in no particular order.
    pub fn peers(&self) -> impl Iterator<Item = &Arc<PeerLink>> {
        self.by_member.values()
    }

    /// The peer with this number.
    pub fn member(&self, member: MemberId) -> Option<&Arc<PeerLink>> {
        self.by_member.get(&member)
    }

    pub(super) fn at(&self, address: &IpAddr) -> Option<&Arc<PeerLink>> {
        self.by_address.get(address)
    }

    pub(super) fn knows_tag(&self, tag: &[u8; 4]) -> bool {
        self.tags.contains(tag)
    }

    pub(super) fn with_key(&self, key: &DeviceKey) -> Option<&Arc<PeerLink>> {
        self.by_key.get(key)
    }

    pub(super) fn with_index(&self, index: u32) -> Option<&Arc<PeerLink>> {
        self.indices
            .current
            .load()
            .get(&index)
            .and_then(|member| self.by_member.get(member))
    }

    /// Milliseconds since the epoch, at least 1 so that 0 stays "never".
    pub(super) fn ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_millis())
            .unwrap_or(u64::MAX)
            .max(1)
    }
}

/// Which member each of our session indices belongs to. Written at handshakes, read for every packet.
#[derive(Default)]
struct Indices {
    current: ArcSwap<HashMap<u32, MemberId>>,
    /// In order of registration, per member.
    order: Mutex<HashMap<MemberId, Vec<u32>>>,
}

impl Indices {
    fn register(&self, index: u32, member: MemberId) {
        let mut order = self.order.lock();
        let known = order.entry(member).or_default();
        known.push(index);
        let forgotten = if known.len() > INDICES_PER_PEER {
            Some(known.remove(0))
        } else {
            None
        };
        let mut next = HashMap::clone(&self.current.load());
        if let Some(old) = forgotten {
            next.remove(&old);
        }
        next.insert(index, member);
        self.current.store(Arc::new(next));
    }

    fn keep_only(&self, stays: impl Fn(MemberId) -> bool) {
        let mut order = self.order.lock();
        order.retain(|member, _| stays(*member));
        let next = self
            .current
            .load()
            .iter()
            .filter(|(_, member)| stays(**member))
            .map(|(i, m)| (*i, *m))
            .collect();
        self.current.store(Arc::new(next));
    }
}
