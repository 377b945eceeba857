//! The QUIC parameters of both ends.

use std::any::Any;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lanrage_shared::wire::relay::HEADER_LEN;
use quinn::congestion::{Controller, ControllerFactory};
use quinn::{AckFrequencyConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};

/// How frames travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Datagrams over UDP.
    Quic,
    /// TLS, where UDP is blocked.
    Tcp,
}

/// Silence after which either side takes the other for gone.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes on the way at once: 100 Mbit/s over 300 ms.
const WINDOW: u64 = 4 * 1024 * 1024;
/// Datagrams of an agent that wait for its socket, in bytes: the largest bursts a TUN device hands over, several of them. With
/// a window that does not shrink they are gone as soon as the socket is writable.
const AGENT_SEND_BUFFER: usize = 1024 * 1024;
/// Datagrams to one member that wait for the relay's socket, in bytes. Few, so that what waits does so where the newest win.
const RELAY_SEND_BUFFER: usize = 128 * 1024;
/// Bytes of the connection ids that a relay gives to its members' connections.
pub const RELAY_ID: usize = 12;
/// The same of an agent's, which are the library's own.
const AGENT_ID: usize = 8;
/// Datagrams that wait for the program, in bytes: 50 ms of 100 Mbit/s.
const RECEIVE_BUFFER: usize = 640 * 1024;
/// What the operating system is asked to hold per direction: what a full core's worth of packets needs while the program is
/// busy elsewhere for some milliseconds. Taken as far as the system allows.
const SOCKET_BUFFER: usize = 7 * 1024 * 1024;
/// Bytes that wait in the kernel to be sent over TCP.
#[cfg(target_os = "linux")]
const TCP_UNSENT: u32 = 64 * 1024;
/// Acknowledge every so many packets instead of every second one: what travels here is not repeated anyway.
const PACKETS_PER_ACK: u32 = 16;
/// The longest an acknowledgement waits for those. Longer, it would speak of so many losses at once that a path that only loses
/// looks like a narrow one.
const ACK_DELAY: Duration = Duration::from_millis(10);
/// A packet counts as lost when this many later ones have arrived, or after this many round trips. Nothing that waits for it is
/// held up by that, but losses are what quinn tells a path that has become narrow by: too soon after a loss, or when a packet has
/// merely been overtaken, nothing that was sent later has arrived to say that it is not.
const LOST_AFTER_PACKETS: u32 = 1024;
const LOST_AFTER_ROUND_TRIPS: f32 = 4.0;
/// What QUIC asks of every path (RFC 9000 §14).
const LEAST_MTU: u16 = 1200;
/// The longest payload agents send: 1,280 bytes of their tunnel's MTU and WireGuard's 32.
const LONGEST_USUAL: usize = 1280 + 32;
/// The most quinn counts beside a datagram's payload: flags, a packet number of 4 bytes, the tag, and the frame's type and length.
const QUIC_OVERHEAD: usize = 1 + 4 + 16 + 9;
/// When a search that found no wider path is repeated: its own packets may have been lost.
const SEARCH_AGAIN: Duration = Duration::from_secs(15);
/// The first guess of a round trip. What is lost of a handshake is repeated after three of these; 333 ms is the standard's.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// Packets are as long as the longest payload needs, and no longer. Quinn takes a lost packet for the path's doing unless one at
/// least as long has arrived since: were there room for an acknowledgement beside such a payload, those that carry one would be the
/// longest, and rare, and when some of them are lost on a path that only loses, it would be taken for a narrow one. Payloads are split
/// then, and halves are lost twice as often; so such a path is searched again at once.
fn search(peer_id: usize) -> MtuDiscoveryConfig {
    let longest = QUIC_OVERHEAD + peer_id + HEADER_LEN + LONGEST_USUAL;
    let longest = u16::try_from(longest).unwrap_or(u16::MAX);
    let mut search = MtuDiscoveryConfig::default();
    search
        .upper_bound(longest)
        // The longest first: it nearly always fits.
        .minimum_change((longest - LEAST_MTU) / 2 + 1)
        .interval(SEARCH_AGAIN)
        .black_hole_cooldown(Duration::ZERO);
    search
}

/// For the end behind a NAT, which keeps its binding alive.
pub fn for_agent(keep_alive: Option<Duration>) -> TransportConfig {
    let mut config = config(AGENT_SEND_BUFFER, RELAY_ID);
    config.keep_alive_interval(keep_alive);
    config
}

/// For the other end.
pub fn for_relay() -> TransportConfig {
    config(RELAY_SEND_BUFFER, AGENT_ID)
}

fn config(send_buffer: usize, peer_id: usize) -> TransportConfig {
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(PACKETS_PER_ACK))
        .max_ack_delay(Some(ACK_DELAY));
    let idle = u32::try_from(IDLE_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    let mut config = TransportConfig::default();
    config
        // The control channel is the only stream.
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(64 * 1024))
        .receive_window(VarInt::from_u32(64 * 1024))
        .send_window(64 * 1024)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle))))
        .datagram_send_buffer_size(send_buffer)
        .datagram_receive_buffer_size(Some(RECEIVE_BUFFER))
        .ack_frequency_config(Some(acks))
        .packet_threshold(LOST_AFTER_PACKETS)
        .time_threshold(LOST_AFTER_ROUND_TRIPS)
        .initial_rtt(INITIAL_RTT)
        .mtu_discovery_config(Some(search(peer_id)))
        .congestion_controller_factory(Arc::new(FixedWindow));
    config
}

/// A UDP socket with large buffers; without `v6_only`, an IPv6 one takes IPv4 too.
pub fn bind_udp(at: SocketAddr, v6_only: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    if at.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    for result in [
        socket.set_recv_buffer_size(SOCKET_BUFFER),
        socket.set_send_buffer_size(SOCKET_BUFFER),
    ] {
        if let Err(error) = result {
            tracing::debug!(%error, "the socket keeps a small buffer");
        }
    }
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    Ok(socket.into())
}

/// Notices within seconds that the other end of a TCP connection is gone, and sends small frames at once.
pub fn tune_tcp(stream: &tokio::net::TcpStream) -> io::Result<()> {
    let keep_alive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(10))
        .with_interval(Duration::from_secs(5));
    let socket = socket2::SockRef::from(stream);
    socket.set_tcp_keepalive(&keep_alive)?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(IDLE_TIMEOUT))?;
        // What the path does not take yet waits here, where the newest win, and not in the kernel.
        socket.set_tcp_notsent_lowat(TCP_UNSENT)?;
    }
    stream.set_nodelay(true)
}

/// A window that losses do not change.
///
/// A relay is one hop of a tunnel, as a router is. What travels through it is congestion-controlled by its own ends or is a
/// game's few packets a second, and the relay's rate per member bounds the rest. A second controller around the first would
/// answer one random loss by starving a game for seconds. The window still ends the sending to somebody who is gone.
#[derive(Debug, Clone, Copy)]
struct FixedWindow;

impl ControllerFactory for FixedWindow {
    fn build(self: Arc<Self>, _now: Instant, _current_mtu: u16) -> Box<dyn Controller> {
        Box::new(*self)
    }
}

impl Controller for FixedWindow {
    fn on_congestion_event(&mut self, _now: Instant, _sent: Instant, _is_persistent: bool, _lost_bytes: u64) {}

    fn on_mtu_update(&mut self, _new_mtu: u16) {}

    fn window(&self) -> u64 {
        WINDOW
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(*self)
    }

    fn initial_window(&self) -> u64 {
        WINDOW
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
