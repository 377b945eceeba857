//! The packet threads: one from the TUN to the network, one per address family back.
//!
//! They block in the kernel, never in each other. What is not WireGuard goes to the agent's loop through a bounded queue.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::BytesMut;
use lanrage_agent_core::batch::Datagram;
use lanrage_agent_core::dataplane::{Drops, Inbound, InboundBatch, Outbound, PeerLink, Table, TableCell};
use lanrage_agent_core::nat::Socket;
use lanrage_agent_core::wg::WireGuard;
use lanrage_shared::keys::DeviceSecret;
use lanrage_shared::wire::stun;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::echo;
use crate::io::tun::{TunDevice, TunReader, TunWriter};
use crate::io::udp::{SideSockets, UdpPort, UdpReceiver, UdpSender};

/// Bytes an IP packet inside the tunnel may have. 1,280 is the least IPv6 allows, and with WireGuard's 32 and UDP's 8 it
/// fits every path of 1,340 bytes up; larger ones wait until a path is proven to carry them.
pub const MTU: u16 = 1280;
/// Probes and STUN answers waiting for the agent's loop. 64 peers with 16 candidates each, all answering at once.
const CONTROL_QUEUE: usize = 1024;

/// What the packet threads hand to the agent's loop.
pub enum FromNetwork {
    /// Not WireGuard: a probe, a STUN answer, or noise.
    Control(Datagram, Instant),
    /// Our echo request came back.
    EchoReply { sequence: u16, at: Instant },
}

/// The running packet threads.
pub struct DataPlane {
    pub table: Arc<TableCell>,
    pub drops: Arc<Drops>,
    pub wireguard: Arc<WireGuard>,
    pub sender: Arc<UdpSender>,
    /// Marks our own echo requests; drawn at start.
    pub echo_id: Arc<AtomicU16>,
    sides: Mutex<SideSockets>,
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
        let wireguard = Arc::new(WireGuard::new(secret, MTU));
        let echo_id = Arc::new(AtomicU16::new(rand::random()));
        let (sender, receivers) = udp.split();
        let (control, from_network) = mpsc::channel(CONTROL_QUEUE);
        for (index, receiver) in receivers.into_iter().enumerate() {
            let inbound = Inbound::new(Arc::clone(&wireguard), Arc::clone(&table), Arc::clone(&drops));
            let (_, writer) = tun.queues();
            let lane = Receiving {
                receiver,
                inbound,
                writer,
                sender: Arc::clone(&sender),
                control: control.clone(),
                echo_id: Arc::clone(&echo_id),
            };
            thread(&format!("udp-{index}"), move || lane.run())?;
        }
        let sides = SideSockets::new(move |datagram, at| {
            if !stun::looks_like_stun(&datagram.data) {
                return;
            }
            let _ = control.try_send(FromNetwork::Control(datagram, at));
        });
        let outbound = Outbound::new(Arc::clone(&table), Arc::clone(&drops));
        let (reader, _) = tun.queues();
        let to_network = Arc::clone(&sender);
        thread("tun", move || send_packets(reader, outbound, &to_network))?;
        Ok((
            Self {
                table,
                drops,
                wireguard,
                sender,
                echo_id,
                sides: Mutex::new(sides),
            },
            from_network,
        ))
    }

    /// Sends packets as if they had come from the TUN.
    pub fn inject(&self, packet: BytesMut) {
        let mut send = Vec::new();
        Outbound::new(Arc::clone(&self.table), Arc::clone(&self.drops)).handle_packets(
            &mut vec![packet],
            &mut send,
            Instant::now(),
        );
        self.sender.send_batch(&mut send);
    }

    /// Sends what is not WireGuard: probes and STUN.
    pub fn send(&self, transmits: impl Iterator<Item = (Socket, Datagram)>) {
        let mut main = Vec::new();
        for (from, datagram) in transmits {
            match from {
                Socket::Main => main.push(datagram),
                Socket::Side(number) => self.sides.lock().send(number, datagram),
            }
        }
        self.sender.send_batch(&mut main);
    }

    /// Starts a handshake with a peer.
    pub fn start_handshake(&self, peer: &PeerLink) {
        let mut send = Vec::new();
        peer.start_handshake(&self.table.load(), &mut send);
        self.sender.send_batch(&mut send);
    }

    /// Runs the tunnels' timers; wanted a few times a second.
    pub fn tick(&self) {
        let (table, mut send) = (self.table.load(), Vec::new());
        for peer in table.peers() {
            peer.tick(&table, &mut send);
        }
        self.sender.send_batch(&mut send);
    }
}

fn thread(name: &str, work: impl FnOnce() -> io::Error + Send + 'static) -> io::Result<()> {
    let label = name.to_owned();
    std::thread::Builder::new().name(label.clone()).spawn(move || {
        let error = work();
        tracing::error!(thread = %label, %error, "packets stop flowing in one direction");
    })?;
    Ok(())
}

fn send_packets(mut reader: TunReader, mut outbound: Outbound, sender: &UdpSender) -> io::Error {
    let (mut packets, mut datagrams) = (Vec::new(), Vec::new());
    loop {
        if let Err(error) = reader.recv_batch(&mut packets) {
            return error;
        }
        outbound.handle_packets(&mut packets, &mut datagrams, Instant::now());
        sender.send_batch(&mut datagrams);
    }
}

struct Receiving {
    receiver: UdpReceiver,
    inbound: Inbound,
    writer: TunWriter,
    sender: Arc<UdpSender>,
    control: mpsc::Sender<FromNetwork>,
    echo_id: Arc<AtomicU16>,
}

impl Receiving {
    fn run(mut self) -> io::Error {
        let (mut datagrams, mut out) = (Vec::new(), InboundBatch::default());
        loop {
            if let Err(error) = self.receiver.recv_batch(&mut datagrams) {
                return error;
            }
            let now = Instant::now();
            self.inbound.handle_datagrams(&mut datagrams, &mut out, now);
            self.sender.send_batch(&mut out.answers);
            self.take_echo_replies(&mut out.packets, now);
            self.writer.send_batch(&mut out.packets);
            for datagram in out.control.drain(..) {
                // A full queue means a flood; what is dropped is asked for again.
                let _ = self.control.try_send(FromNetwork::Control(datagram, now));
            }
        }
    }

    fn take_echo_replies(&self, packets: &mut Vec<BytesMut>, at: Instant) {
        let id = self.echo_id.load(Ordering::Relaxed);
        packets.retain(|packet| match echo::reply_sequence(packet, id) {
            Some(sequence) => {
                let _ = self.control.try_send(FromNetwork::EchoReply { sequence, at });
                false
            }
            None => true,
        });
    }
}
