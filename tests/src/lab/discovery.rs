//! What games do to find each other, with ordinary sockets: some ask everybody, others listen and answer.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use super::agent::Agent;
use super::netns::Netns;
use super::ping::Pinger;
use super::wait;

/// OpenArena's port, and where Minecraft announces its LAN worlds.
pub const PORT: u16 = 27960;
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 2, 60);
pub const GROUP_PORT: u16 = 4445;
/// How long a thread waits before it looks whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often it is pinged until it answers.
const PING_EVERY: Duration = Duration::from_millis(500);
/// What a listener answers with, before what it heard.
const ANSWER: &[u8] = b"here: ";
/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// A datagram and who sent it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Heard {
    pub from: SocketAddr,
    pub payload: Vec<u8>,
}

/// A game server: bound to all addresses, in a multicast group or not, and it answers whoever asks. Ends when dropped.
pub struct Listener {
    heard: Arc<Mutex<Vec<Heard>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens on a port; joins `group` on whatever adapter the system chooses, as most games do.
    pub fn start(netns: &Netns, port: u16, group: Option<Ipv4Addr>) -> Result<Self> {
        let socket = open(netns, (Ipv4Addr::UNSPECIFIED, port).into())?;
        if let Some(group) = group {
            let joined = netns.within(|| socket.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED))?;
            joined.context("joining the group")?;
        }
        let socket = UdpSocket::from(socket);
        socket.set_read_timeout(Some(LOOK_EVERY))?;
        let (heard, stop) = (Arc::<Mutex<Vec<Heard>>>::default(), Arc::new(AtomicBool::new(false)));
        let (into, until) = (Arc::clone(&heard), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while !until.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                let payload = buffer[..length].to_vec();
                let _ = socket.send_to(&[ANSWER, &payload[..length.min(100)]].concat(), from);
                into.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(Heard { from, payload });
            }
        });
        Ok(Self {
            heard,
            stop,
            thread: Some(thread),
        })
    }

    /// Everything heard so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often something was heard, and from whom last.
    pub fn times(&self, payload: &[u8]) -> (usize, Option<IpAddr>) {
        let heard = self.heard();
        let mut same = heard.iter().filter(|heard| heard.payload == payload);
        (same.clone().count(), same.next_back().map(|heard| heard.from.ip()))
    }

    /// Waits until it has heard this.
    pub fn wait_for(&self, payload: &[u8]) -> Result<Heard> {
        let what = format!(
            "{:?} to be heard",
            String::from_utf8_lossy(&payload[..payload.len().min(40)])
        );
        wait::until(&what, PATIENCE, || {
            self.heard().into_iter().find(|heard| heard.payload == payload)
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Game servers on one PC: one is asked by broadcast, one in a group.
pub struct Servers {
    pub broadcast: Listener,
    pub group: Listener,
}

impl Servers {
    /// Starts both.
    pub fn start(netns: &Netns) -> Result<Self> {
        Ok(Self {
            broadcast: Listener::start(netns, PORT, None)?,
            group: Listener::start(netns, GROUP_PORT, Some(GROUP))?,
        })
    }
}

/// Everybody of these answers a ping from here, so that nothing is lost to beginnings.
pub fn all_answer(netns: &Netns, addresses: &[Ipv4Addr], limit: Duration) -> Result<()> {
    for address in addresses {
        Pinger::new(netns, *address)?.first_answer(PING_EVERY, limit)?;
    }
    Ok(())
}

/// What an agent says of its bridge, and its log, for whoever has to find out why something was not heard.
pub fn account(agent: &Agent) -> String {
    let lan = agent.run(&["lan"]).map(|done| done.stdout);
    format!("{lan:?}; the log of {}:\n{}", agent.name(), agent.log())
}

/// A player's game that looks for servers.
pub struct Asker {
    socket: UdpSocket,
}

impl Asker {
    /// A game bound to an address of its PC; unspecified means all.
    pub fn bind(netns: &Netns, at: Ipv4Addr, port: u16) -> Result<Self> {
        let socket = open(netns, (at, port).into())?;
        socket.set_broadcast(true)?;
        Ok(Self { socket: socket.into() })
    }

    /// Sends a datagram.
    pub fn send(&self, to: Ipv4Addr, port: u16, payload: &[u8]) -> Result<()> {
        let to = SocketAddrV4::new(to, port);
        self.socket
            .send_to(payload, to)
            .with_context(|| format!("sending {} bytes to {to}", payload.len()))?;
        Ok(())
    }

    /// What has arrived by now, or arrives in a moment.
    pub fn hear(&self) -> Result<Vec<Heard>> {
        self.socket.set_read_timeout(Some(LOOK_EVERY))?;
        let (mut heard, mut buffer) = (Vec::new(), vec![0; 65_536]);
        while let Ok((length, from)) = self.socket.recv_from(&mut buffer) {
            let payload = buffer[..length].to_vec();
            heard.push(Heard { from, payload });
        }
        Ok(heard)
    }

    /// Waits until everybody in `from` has answered to `payload`. Gives what else came.
    pub fn answers(&self, payload: &[u8], from: &[Ipv4Addr]) -> Result<Vec<Heard>> {
        self.socket.set_read_timeout(Some(LOOK_EVERY))?;
        let expected = [ANSWER, &payload[..payload.len().min(100)]].concat();
        let (mut missing, mut rest) = (from.to_vec(), Vec::new());
        let mut buffer = vec![0; 65_536];
        let waited = wait::until("answers", PATIENCE, || {
            while let Ok((length, peer)) = self.socket.recv_from(&mut buffer) {
                match missing
                    .iter()
                    .position(|address| peer.ip() == *address && buffer[..length] == expected)
                {
                    Some(at) => drop(missing.remove(at)),
                    None => rest.push(Heard {
                        from: peer,
                        payload: buffer[..length].to_vec(),
                    }),
                }
                if missing.is_empty() {
                    break;
                }
            }
            missing.is_empty().then_some(())
        });
        waited.with_context(|| format!("{missing:?} did not answer; {rest:?} came"))?;
        Ok(rest)
    }
}

fn open(netns: &Netns, at: SocketAddr) -> Result<Socket> {
    let opened = netns.within(|| -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        // Several programs listen on the same port for everybody's packets.
        socket.set_reuse_address(true)?;
        socket.bind(&at.into())?;
        Ok(socket)
    })?;
    opened.with_context(|| format!("binding {at}"))
}
