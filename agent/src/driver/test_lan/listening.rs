//! One PC's part in a test: it listens as a game would, sends as a game would, and tells what it heard.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use lanrage_agent_core::broadcast::{Mark, Marks};
use lanrage_shared::addr::PartyNet;
use lanrage_shared::ids::MemberId;
use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tracing::debug;

use super::wire::{Members, Sent, Target, Told};

/// Longest packet that is looked at; marked ones are short.
const LONGEST: usize = 64;
/// Pause after an error that may last.
const AFTER_ERROR: Duration = Duration::from_millis(50);
/// How often a test's packets are sent at most: once, and once more for whom the first request got lost to.
const MOST_SENDS: u8 = 2;

/// Ordinary sockets on a test's ports, until this is dropped.
pub struct Listening {
    test: u64,
    targets: Vec<Target>,
    /// Of each target, whom its socket heard; none where another program has the port for itself.
    heard: Vec<Option<Arc<Mutex<BTreeSet<MemberId>>>>>,
    sends: u8,
    _tasks: JoinSet<()>,
}

impl Listening {
    /// Listens on every target, as far as the ports are free. `tun` is the tunnel's interface.
    pub fn start(test: u64, targets: Vec<Target>, net: PartyNet, tun: u32) -> Self {
        let mut tasks = JoinSet::new();
        let mut heard = Vec::new();
        for (way, target) in (0..).zip(&targets) {
            match open(target, tun) {
                Ok(socket) => {
                    let into = Arc::<Mutex<BTreeSet<MemberId>>>::default();
                    tasks.spawn(listen(socket, Mark { test, way }, net, Arc::clone(&into)));
                    heard.push(Some(into));
                }
                Err(error) => {
                    debug!(%error, port = target.port(), "the port is another program's");
                    heard.push(None);
                }
            }
        }
        Self {
            test,
            targets,
            heard,
            sends: 0,
            _tasks: tasks,
        }
    }

    /// The numbers of the targets whose port is another program's.
    pub fn taken(&self) -> Vec<u8> {
        let numbered = (0..).zip(&self.heard);
        numbered
            .filter(|(_, heard)| heard.is_none())
            .map(|(way, _)| way)
            .collect()
    }

    /// Sends a marked packet to every target, whoever asks for it once more.
    pub fn send(&mut self, tun: u32) {
        if self.sends >= MOST_SENDS {
            return;
        }
        self.sends += 1;
        for (way, target) in (0..).zip(&self.targets) {
            let mark = Mark { test: self.test, way };
            if let Err(error) = asker(target).and_then(|socket| send(&socket, target, tun, &mark.payload())) {
                // That nothing came to the tunnel is what everybody will be told.
                debug!(%error, port = target.port(), "a test packet was not sent");
            }
        }
    }

    /// What was heard so far.
    pub fn told(&self, marks: &Marks) -> Vec<Told> {
        let of = |(way, heard): (u8, &Option<Arc<Mutex<BTreeSet<MemberId>>>>)| {
            let mark = Mark { test: self.test, way };
            Told {
                heard: Members(heard.as_ref().map(|heard| heard.lock().clone()).unwrap_or_default()),
                arrived: Members(marks.arrived(mark).collect()),
                sent: Sent::of(marks.sent(mark)),
            }
        };
        (0..).zip(&self.heard).map(of).collect()
    }
}

async fn listen(socket: UdpSocket, mark: Mark, net: PartyNet, into: Arc<Mutex<BTreeSet<MemberId>>>) {
    let mut buffer = [0; LONGEST];
    loop {
        // Windows reports what is longer than the buffer as an error, as it does a port that somebody closed.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            tokio::time::sleep(AFTER_ERROR).await;
            continue;
        };
        if Mark::read(&buffer[..length]) == Some(mark)
            && let Some(member) = net.member_at(from.ip().to_canonical())
        {
            into.lock().insert(member);
        }
    }
}

/// As a game server listens: on all addresses, in the group on whatever adapter the system chooses. The port is not shared: on a
/// shared one the newest socket would be given what a game's players send.
fn open(target: &Target, tun: u32) -> io::Result<UdpSocket> {
    let is_v6 = target.group().is_some_and(|group| group.is_ipv6());
    let (domain, any): (Domain, IpAddr) = if is_v6 {
        (Domain::IPV6, Ipv6Addr::UNSPECIFIED.into())
    } else {
        (Domain::IPV4, Ipv4Addr::UNSPECIFIED.into())
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if is_v6 {
        socket.set_only_v6(true)?;
    }
    socket.bind(&SocketAddr::new(any, target.port()).into())?;
    match target.group() {
        Some(IpAddr::V4(group)) => socket.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED)?,
        Some(IpAddr::V6(group)) => socket.join_multicast_v6(&group, tun)?,
        None => {}
    }
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket.into())
}

/// A socket as a game asks from: on all addresses, from any port.
pub fn asker(target: &Target) -> io::Result<std::net::UdpSocket> {
    let any: IpAddr = if target.group().is_some_and(|group| group.is_ipv6()) {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    if target.group().is_none() {
        socket.set_broadcast(true)?;
    }
    Ok(socket)
}

/// Sends to a target.
pub fn send(socket: &std::net::UdpSocket, target: &Target, tun: u32, payload: &[u8]) -> io::Result<()> {
    let to: SocketAddr = match target.group() {
        None => (Ipv4Addr::BROADCAST, target.port()).into(),
        Some(IpAddr::V4(group)) => (group, target.port()).into(),
        Some(IpAddr::V6(group)) => SocketAddrV6::new(group, target.port(), 0, tun).into(),
    };
    socket.send_to(payload, to).map(drop)
}
