//! WireGuard, without sockets: what goes into a tunnel comes out as datagrams, and back.
//!
//! gotatun's `noise` does the protocol; nothing outside this file names it. [`WireGuard`] is the device: it reads any
//! WireGuard datagram far enough to tell whose it is. A [`Tunnel`] is one peer's session. gotatun's timers read the clock
//! themselves, so a tunnel is ticked about ten times a second and takes no `now`.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use gotatun::noise::handshake::parse_handshake_anon;
use gotatun::noise::index_table::IndexTable;
use gotatun::noise::rate_limiter::RateLimiter;
use gotatun::noise::{TimerParams, Tunn, TunnResult};
use gotatun::packet::{Packet, WgKind};
use gotatun::tun::MtuWatcher;
use gotatun::x25519::{PublicKey, StaticSecret};
use lanrage_shared::ids::DeviceKey;
use lanrage_shared::keys::DeviceSecret;

/// Handshake messages per second and source address that are answered without a cookie (WireGuard whitepaper §5.3).
/// Sixteen members behind one router that all start at once stay under it.
const HANDSHAKES_PER_SECOND: u64 = 100;
/// How long the first initiation of a tunnel waits for its answer before there is another, which makes an answer to the one before the
/// last worthless: longer than any round trip. WireGuard waits for 5 s (whitepaper §6.4), and so do later handshakes; where a fifth of
/// all packets is lost that is how long every third peer would begin with silence.
const INITIATION_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1000)..=Duration::from_millis(1333);

/// A WireGuard message whose frame has been checked.
pub struct Message(WgKind);

/// Whose message a datagram is.
pub enum Incoming {
    /// A handshake initiation; the sender proved that it knows our public key and named its own.
    Initiation { from: DeviceKey, message: Message },
    /// Belongs to the handshake or session with this index of ours.
    Session { index: u32, message: Message },
    /// To be sent back to where the datagram came from: a cookie under load.
    Answer(BytesMut),
    /// Not WireGuard, or not for us.
    Invalid,
}

/// Why a message went no further than the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not authentic, replayed or out of date")]
pub struct Rejected;

/// One peer's WireGuard session. Encrypting may queue a packet until the handshake is done.
pub trait Tunnel: Send {
    /// Pushes the datagrams to send now: the encrypted packet, a handshake initiation, or nothing while one is under way.
    fn encrypt(&mut self, packet: BytesMut, send: &mut Vec<BytesMut>);

    /// Takes a message of this peer. Gives the packet inside (none for handshakes and keepalives); pushes answers.
    fn decrypt(&mut self, message: Message, send: &mut Vec<BytesMut>) -> Result<Option<BytesMut>, Rejected>;

    /// Starts a handshake, again if one is under way: for when a path has just appeared.
    fn start_handshake(&mut self, send: &mut Vec<BytesMut>);

    /// Runs timers: keepalives, rekeying, retransmissions.
    fn tick(&mut self, send: &mut Vec<BytesMut>);

    /// How long ago the last handshake was completed.
    fn last_handshake(&self) -> Option<Duration>;

    /// The pre-shared key of handshakes from now on; sessions go on.
    fn set_psk(&mut self, psk: [u8; 32]);
}

/// This device's side of WireGuard.
pub struct WireGuard {
    secret: StaticSecret,
    public: PublicKey,
    limiter: Arc<RateLimiter>,
    indices: IndexTable,
    mtu: u16,
}

impl WireGuard {
    /// For the device that owns `secret`, carrying packets of up to `mtu` bytes.
    pub fn new(secret: &DeviceSecret, mtu: u16) -> Self {
        let secret = secret.x25519();
        let public = PublicKey::from(&secret);
        Self {
            limiter: Arc::new(RateLimiter::new(&public, HANDSHAKES_PER_SECOND)),
            indices: IndexTable::from_os_rng(),
            secret,
            public,
            mtu,
        }
    }

    /// A fresh session with the peer that owns `key`.
    pub fn tunnel(&self, key: &DeviceKey, psk: Option<[u8; 32]>) -> Box<dyn Tunnel> {
        let mut tunn = Tunn::new(
            self.secret.clone(),
            PublicKey::from(key.0),
            psk,
            None,
            self.indices.clone(),
            Arc::clone(&self.limiter),
        );
        tunn.dangerously_set_timer_params(TimerParams {
            rekey_timeout: INITIATION_TIMEOUT,
            ..TimerParams::default()
        });
        Box::new(Gotatun {
            tunn,
            is_first: true,
            mtu: MtuWatcher::new(self.mtu),
        })
    }

    /// Reads a datagram from `from` far enough to tell whose it is. Costs one X25519 agreement for an initiation.
    pub fn read(&self, from: SocketAddr, datagram: BytesMut) -> Incoming {
        match self.limiter.verify_packet(from, Packet::from_bytes(datagram)) {
            Ok(WgKind::HandshakeInit(init)) => match parse_handshake_anon(&self.secret, &self.public, &init) {
                Ok(half) => Incoming::Initiation {
                    from: DeviceKey(half.peer_static_public),
                    message: Message(WgKind::HandshakeInit(init)),
                },
                Err(_) => Incoming::Invalid,
            },
            Ok(kind) => {
                let index = match &kind {
                    WgKind::HandshakeResp(response) => response.receiver_idx.get(),
                    WgKind::CookieReply(cookie) => cookie.receiver_idx.get(),
                    WgKind::Data(data) => data.header.receiver_idx.get(),
                    WgKind::HandshakeInit(_) => return Incoming::Invalid,
                };
                Incoming::Session {
                    index,
                    message: Message(kind),
                }
            }
            Err(TunnResult::WriteToNetwork(answer)) => Incoming::Answer(into_bytes(answer)),
            Err(_) => Incoming::Invalid,
        }
    }
}

/// Whether a datagram can only be WireGuard: a type from 1 to 4 and three zero bytes (whitepaper §5.4).
pub fn looks_like_wireguard(datagram: &[u8]) -> bool {
    matches!(datagram, [1..=4, 0, 0, 0, ..])
}

/// Our own index in a handshake message we send: messages answering it will name this index.
pub fn announced_index(datagram: &[u8]) -> Option<u32> {
    match datagram {
        [1 | 2, 0, 0, 0, a, b, c, d, ..] => Some(u32::from_le_bytes([*a, *b, *c, *d])),
        _ => None,
    }
}

struct Gotatun {
    tunn: Tunn,
    /// There was no session yet.
    is_first: bool,
    mtu: MtuWatcher,
}

impl Tunnel for Gotatun {
    fn encrypt(&mut self, packet: BytesMut, send: &mut Vec<BytesMut>) {
        let packet = Packet::from_bytes(packet);
        send.extend(
            self.tunn
                .handle_outgoing_packet(packet, Some(&mut self.mtu))
                .map(into_bytes),
        );
    }

    fn decrypt(&mut self, message: Message, send: &mut Vec<BytesMut>) -> Result<Option<BytesMut>, Rejected> {
        match self.tunn.handle_incoming_packet(message.0) {
            TunnResult::Done => Ok(None),
            TunnResult::Err(_) => Err(Rejected),
            TunnResult::WriteToNetwork(answer) => {
                send.push(into_bytes(answer));
                // A completed handshake opens the way for what waited for it.
                send.extend(self.tunn.get_queued_packets(&mut self.mtu).map(into_bytes));
                Ok(None)
            }
            TunnResult::WriteToTunnel(mut packet) => {
                if packet.is_empty() {
                    send.extend(self.tunn.get_queued_packets(&mut self.mtu).map(into_bytes));
                    return Ok(None);
                }
                Ok(Some(std::mem::take(packet.buf_mut())))
            }
        }
    }

    fn start_handshake(&mut self, send: &mut Vec<BytesMut>) {
        send.extend(
            self.tunn
                .format_handshake_initiation(true)
                .map(|init| into_bytes(init.into())),
        );
    }

    fn tick(&mut self, send: &mut Vec<BytesMut>) {
        if self.is_first && self.last_handshake().is_some() {
            self.is_first = false;
            self.tunn.dangerously_set_timer_params(TimerParams::default());
        }
        // An error here says that the session expired; the next packet starts a new one.
        if let Ok(Some(message)) = self.tunn.update_timers() {
            send.push(into_bytes(message));
        }
    }

    fn last_handshake(&self) -> Option<Duration> {
        self.tunn.time_since_last_handshake()
    }

    fn set_psk(&mut self, psk: [u8; 32]) {
        self.tunn.set_preshared_key(Some(psk));
    }
}

fn into_bytes(kind: WgKind) -> BytesMut {
    let mut packet: Packet = kind.into();
    std::mem::take(packet.buf_mut())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: &[u8] = b"\x45 an IP packet of some length......";

    struct Side {
        device: WireGuard,
        tunnel: Box<dyn Tunnel>,
    }

    fn pair(psk_a: [u8; 32], psk_b: [u8; 32]) -> (Side, Side) {
        let (a, b) = (DeviceSecret::from_bytes([1; 32]), DeviceSecret::from_bytes([2; 32]));
        let side = |mine: &DeviceSecret, theirs: &DeviceSecret, psk| {
            let device = WireGuard::new(mine, 1280);
            let tunnel = device.tunnel(&theirs.public(), Some(psk));
            Side { device, tunnel }
        };
        (side(&a, &b, psk_a), side(&b, &a, psk_b))
    }

    /// Delivers datagrams back and forth until nobody has anything to say; returns the packets that came out on each side.
    fn exchange(a: &mut Side, b: &mut Side, mut to_b: Vec<BytesMut>) -> (Vec<BytesMut>, Vec<BytesMut>) {
        let (mut out_a, mut out_b, mut to_a) = (vec![], vec![], vec![]);
        while !to_a.is_empty() || !to_b.is_empty() {
            out_b.extend(deliver(b, std::mem::take(&mut to_b), &mut to_a));
            out_a.extend(deliver(a, std::mem::take(&mut to_a), &mut to_b));
        }
        (out_a, out_b)
    }

    fn deliver(side: &mut Side, inbox: Vec<BytesMut>, replies: &mut Vec<BytesMut>) -> Vec<BytesMut> {
        let mut out = vec![];
        for datagram in inbox {
            assert!(looks_like_wireguard(&datagram));
            let incoming = side.device.read("192.0.2.1:1".parse().unwrap(), datagram);
            let (Incoming::Initiation { message, .. } | Incoming::Session { message, .. }) = incoming else {
                panic!("a datagram of our own must be readable");
            };
            out.extend(side.tunnel.decrypt(message, replies).ok().flatten());
        }
        out
    }

    #[test]
    fn the_first_packet_waits_for_the_handshake_and_arrives() {
        let (mut a, mut b) = pair([7; 32], [7; 32]);
        let mut send = vec![];
        a.tunnel.encrypt(PACKET.into(), &mut send);
        assert!(announced_index(&send[0]).is_some());
        let (_, out_b) = exchange(&mut a, &mut b, send);
        assert_eq!(out_b.len(), 1);
        assert!(out_b[0].starts_with(PACKET));
        assert!(b.tunnel.last_handshake().is_some());
    }

    #[test]
    fn without_the_same_pre_shared_key_nothing_gets_through() {
        let (mut a, mut b) = pair([7; 32], [8; 32]);
        let mut send = vec![];
        a.tunnel.encrypt(PACKET.into(), &mut send);
        let (_, out_b) = exchange(&mut a, &mut b, send);
        assert!(out_b.is_empty());
    }

    #[test]
    fn an_initiation_names_its_sender() {
        let (mut a, b) = pair([0; 32], [0; 32]);
        let mut send = vec![];
        a.tunnel.start_handshake(&mut send);
        let incoming = b.device.read("192.0.2.1:1".parse().unwrap(), send.remove(0));
        assert!(
            matches!(incoming, Incoming::Initiation { from, .. } if from == DeviceSecret::from_bytes([1; 32]).public())
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_refused(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let (_, b) = pair([0; 32], [0; 32]);
            let _ = announced_index(&bytes);
            let incoming = b.device.read("192.0.2.1:1".parse().unwrap(), bytes.as_slice().into());
            let accepted = matches!(incoming, Incoming::Initiation { .. });
            proptest::prop_assert!(!accepted);
        }
    }
}
