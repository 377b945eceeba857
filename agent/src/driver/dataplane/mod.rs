//! The packet threads: one from the TUN to the network, one per address family back.
//!
//! They block in the kernel, never in each other. What is not WireGuard goes to the agent's loop through a bounded queue. One
//! more thread overhears what games send to everybody by other adapters than the TUN. [`Network`] is their way out, [`Lanes`] their
//! ways in.

mod lanes;
mod network;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU16;
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::BytesMut;
use lanrage_agent_core::batch::{Datagram, Outgoing, Packet, Route, SideNumber, Sided};
use lanrage_agent_core::broadcast::{Bridge, Policy};
use lanrage_agent_core::dataplane::{DropReason, Drops, Lan, OtherAdapter, Outbound, PeerLink, Table, TableCell};
use lanrage_agent_core::nat::Socket;
use lanrage_agent_core::wg::WireGuard;
use lanrage_shared::keys::DeviceSecret;
use lanrage_shared::wire::stun;
use parking_lot::Mutex;
use tokio::sync::mpsc;

pub use self::lanes::{Lane, Lanes};
pub use self::network::Network;
use super::test_lan::wire::Message;
use crate::io::groups::Groups;
use crate::io::tun::{TunDevice, TunReader};
use crate::io::udp::{SidePaths, SideSenders, SideSockets, UdpPort, UdpReceiver};
use crate::platform;

/// Bytes an IP packet inside the tunnel may have. 1,280 is the least IPv6 allows, and with WireGuard's 32 and UDP's 8 it
/// fits every path of 1,340 bytes up; larger ones wait until a path is proven to carry them.
pub const MTU: u16 = 1280;
/// Probes and STUN answers waiting for the agent's loop. 64 peers with 16 candidates each, all answering at once.
const CONTROL_QUEUE: usize = 1024;

/// What the packet threads hand to the agent's loop.
pub enum FromNetwork {
    /// Not WireGuard: a probe, a relayed signal, or what may be a STUN answer.
    Control(Packet, Instant),
    /// A member's agent said something in a test of discovery.
    Member { from: IpAddr, message: Message },
    /// Our echo request came back.
    EchoReply { sequence: u16, at: Instant },
}

/// The running packet threads.
pub struct DataPlane {
    pub table: Arc<TableCell>,
    drops: Arc<Drops>,
    pub lan: Arc<Lan>,
    /// The tunnel's interface, as the system counts.
    pub tun: u32,
    /// This PC's other adapters.
    adapters: Arc<ArcSwap<Vec<OtherAdapter>>>,
    pub wireguard: Arc<WireGuard>,
    pub network: Arc<Network>,
    lanes: Lanes,
    /// Marks our own echo requests; drawn at start.
    pub echo_id: Arc<AtomicU16>,
    /// For the test of the NAT's filter.
    test_sockets: Mutex<SideSockets>,
    side_paths: Mutex<SidePaths>,
}

impl DataPlane {
    /// Starts the threads. They end with the process.
    pub fn start(
        secret: &DeviceSecret,
        tun: &TunDevice,
        udp: UdpPort,
    ) -> io::Result<(Self, mpsc::Receiver<FromNetwork>)> {
        let table = Arc::new(ArcSwap::from_pointee(Table::empty(Instant::now())));
        let drops = Arc::new(Drops::default());
        let lan = Arc::new(Lan::new(Bridge::new(Policy::default(), MTU)));
        let groups = Arc::new(Mutex::new(Groups::new(tun.index()?)));
        let wireguard = Arc::new(WireGuard::new(secret, MTU));
        let echo_id = Arc::new(AtomicU16::new(rand::random()));
        let (sender, receivers) = udp.split();
        let sides = Arc::new(SideSenders::default());
        let network = Arc::new(Network::new(sender, Arc::clone(&sides), Arc::clone(&drops)));
        let (control, from_network) = mpsc::channel(CONTROL_QUEUE);
        let (reader, writer) = tun.queues();
        let lanes = Lanes {
            wireguard: Arc::clone(&wireguard),
            table: Arc::clone(&table),
            drops: Arc::clone(&drops),
            lan: Arc::clone(&lan),
            groups,
            writer: Arc::new(Mutex::new(writer)),
            network: Arc::clone(&network),
            control: control.clone(),
            echo_id: Arc::clone(&echo_id),
        };
        for (index, receiver) in receivers.into_iter().enumerate() {
            let lane = lanes.lane();
            thread(&format!("udp-{index}"), ONE_WAY, move || receive(receiver, lane))?;
        }
        let (to_loop, dropped) = (control.clone(), Arc::clone(&drops));
        let test_sockets = SideSockets::new(move |Datagram { peer, data }, at| {
            if stun::looks_like_stun(&data) {
                let peer = Route::from(peer);
                if to_loop
                    .try_send(FromNetwork::Control(Packet { peer, data }, at))
                    .is_err()
                {
                    dropped.count(DropReason::LoopBusy);
                }
            }
        });
        let outbound = || Outbound::new(Arc::clone(&table), Arc::clone(&drops), Arc::clone(&lan));
        let (to_network, from_tun) = (Arc::clone(&network), outbound());
        thread("tun", ONE_WAY, move || send_packets(reader, from_tun, &to_network))?;
        let adapters = Arc::<ArcSwap<Vec<OtherAdapter>>>::default();
        let (to_network, overheard, known) = (Arc::clone(&network), outbound(), Arc::clone(&adapters));
        thread("overhear", UNHEARD, move || overhear(&known, overheard, &to_network))?;
        // One for all: few of these sockets ever hear anything.
        let lane = Mutex::new(lanes.lane());
        let side_paths = SidePaths::new(sides, move |socket, datagrams| {
            let arrived = datagrams.drain(..).map(|Datagram { peer: address, data }| {
                let peer = Route::Side { socket, address };
                Packet { peer, data }
            });
            lane.lock().handle(&mut arrived.collect());
        });
        let data_plane = Self {
            table,
            drops,
            lan,
            tun: tun.index()?,
            adapters,
            wireguard,
            network,
            lanes,
            echo_id,
            test_sockets: Mutex::new(test_sockets),
            side_paths: Mutex::new(side_paths),
        };
        Ok((data_plane, from_network))
    }

    /// Sends packets as if they had come from the TUN.
    pub fn inject(&self, packet: BytesMut) {
        let mut send = Outgoing::default();
        let mut outbound = Outbound::new(Arc::clone(&self.table), Arc::clone(&self.drops), Arc::clone(&self.lan));
        outbound.handle_packets(&mut vec![packet], &mut send, Instant::now());
        self.network.send(&mut send);
    }

    /// Takes this PC's other adapters: what games send by them is bridged too.
    pub fn set_adapters(&self, adapters: Vec<OtherAdapter>) {
        let nets = adapters.iter().flat_map(|adapter| &adapter.networks);
        let own: BTreeSet<_> = nets.map(|net| net.addr()).collect();
        self.lan.masquerade.set_own(own);
        self.adapters.store(Arc::new(adapters));
    }

    /// Another party, or none: nothing of the LAN before goes on.
    pub fn clear_lan(&self) {
        self.lan.clear();
        self.forget_groups();
    }

    /// Joins multicast groups anew: the system takes those of IPv6 off an adapter whose MTU becomes too small for it.
    pub fn forget_groups(&self) {
        self.lanes.groups.lock().clear();
    }

    /// Makes the ways in for what comes through relays.
    pub fn lanes(&self) -> Lanes {
        self.lanes.clone()
    }

    /// Sends what is not WireGuard: probes and STUN.
    pub fn send(&self, transmits: impl Iterator<Item = (Socket, Packet)>) {
        let mut main = Outgoing::default();
        for (from, Packet { peer: to, data }) in transmits {
            match (from, to) {
                (Socket::Side(number), Route::Direct(peer)) => {
                    self.test_sockets.lock().send(number, Datagram { peer, data });
                }
                (_, Route::Side { socket, address }) => {
                    let datagram = Datagram { peer: address, data };
                    self.side_paths.lock().send(&Sided { socket, datagram });
                }
                _ => main.push(to, data),
            }
        }
        self.network.send(&mut main);
    }

    /// Closes side sockets that are of no use any more.
    pub fn close_sides(&self, sockets: &[SideNumber]) {
        self.side_paths.lock().close(sockets);
    }

    /// The party is over: so is every path of its own socket.
    pub fn close_all_sides(&self) {
        self.side_paths.lock().close_all();
    }

    /// Starts a handshake with a peer.
    pub fn start_handshake(&self, peer: &PeerLink) {
        let mut send = Outgoing::default();
        peer.start_handshake(&self.table.load(), &mut send);
        self.network.send(&mut send);
    }

    /// Runs the tunnels' timers; wanted a few times a second.
    pub fn tick(&self) {
        let (table, mut send) = (self.table.load(), Outgoing::default());
        for peer in table.peers() {
            peer.tick(&table, &mut send);
        }
        self.network.send(&mut send);
    }
}

/// What it means when a thread ends.
const ONE_WAY: &str = "packets stop flowing in one direction";
const UNHEARD: &str = "games that are bound to another adapter than the tunnel's are not heard by the party";

fn thread(name: &str, loss: &'static str, work: impl FnOnce() -> io::Error + Send + 'static) -> io::Result<()> {
    let label = name.to_owned();
    std::thread::Builder::new().name(label.clone()).spawn(move || {
        let error = work();
        tracing::error!(thread = %label, %error, "{loss}");
    })?;
    Ok(())
}

fn send_packets(mut reader: TunReader, mut outbound: Outbound, network: &Network) -> io::Error {
    let (mut packets, mut send) = (Vec::new(), Outgoing::default());
    loop {
        if let Err(error) = reader.recv_batch(&mut packets) {
            return error;
        }
        outbound.handle_packets(&mut packets, &mut send, Instant::now());
        network.send(&mut send);
    }
}

fn overhear(adapters: &ArcSwap<Vec<OtherAdapter>>, mut outbound: Outbound, network: &Network) -> io::Error {
    let mut send = Outgoing::default();
    platform::overhear(
        || adapters.load_full(),
        |packet, adapter| {
            outbound.handle_overheard(packet, adapter, &mut send, Instant::now());
            network.send(&mut send);
        },
    )
}

fn receive(mut receiver: UdpReceiver, mut lane: Lane) -> io::Error {
    let mut datagrams = Vec::new();
    loop {
        if let Err(error) = receiver.recv_batch(&mut datagrams) {
            return error;
        }
        lane.handle(&mut datagrams);
    }
}
