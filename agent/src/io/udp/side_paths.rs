//! Side sockets for paths: many at once while ports are guessed, of which one may become a path to a peer.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use lanrage_agent_core::batch::{Datagram, SideNumber, Sided};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::{Half, UdpReceiver, UdpSender};
use crate::platform::is_passing_udp_error;

/// A socket that received nothing for this long is closed: paths are asked more often than that, idle ones too.
const IDLE: Duration = Duration::from_secs(150);

/// The sockets that something arrived on, for whoever sends packets.
pub type SideSenders = ArcSwap<HashMap<SideNumber, Arc<UdpSender>>>;

/// What arrived on a socket is taken out of the vector.
type Deliver = Arc<dyn Fn(SideNumber, &mut Vec<Datagram>) + Send + Sync>;

/// Every side socket there is for IPv4, the only family whose ports are translated.
pub struct SidePaths {
    open: HashMap<SideNumber, Open>,
    /// The highest number ever opened: one that was closed stays so.
    highest: Option<SideNumber>,
    senders: Arc<SideSenders>,
    deliver: Deliver,
}

struct Open {
    sender: Arc<UdpSender>,
    task: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl SidePaths {
    /// What arrives is handed to `deliver`; before that, the socket is among `senders`.
    pub fn new(
        senders: Arc<SideSenders>,
        deliver: impl Fn(SideNumber, &mut Vec<Datagram>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            open: HashMap::new(),
            highest: None,
            senders,
            deliver: Arc::new(deliver),
        }
    }

    /// Sends from the socket with this number, which is opened if it is a new one. Needs a running runtime.
    pub fn send(&mut self, Sided { socket, datagram }: &Sided) {
        if self.highest.is_none_or(|highest| highest < *socket) {
            self.highest = Some(*socket);
            self.open.retain(|_, open| !open.task.is_finished());
            match self.open(*socket) {
                Ok(open) => drop(self.open.insert(*socket, open)),
                Err(error) => tracing::debug!(%error, "no more sockets to guess ports with"),
            }
        }
        if let Some(open) = self.open.get(socket) {
            // What does not get out is lost, like any packet.
            let _ = open.sender.send_one(datagram.peer, &datagram.data);
        }
    }

    /// Closes these.
    pub fn close(&mut self, sockets: &[SideNumber]) {
        self.open.retain(|number, _| !sockets.contains(number));
        self.forget_closed();
    }

    /// Closes all; numbers begin anew.
    pub fn close_all(&mut self) {
        self.open.clear();
        self.highest = None;
        self.forget_closed();
    }

    fn forget_closed(&self) {
        self.senders.rcu(|senders| {
            let mut senders = HashMap::clone(senders);
            senders.retain(|number, _| self.open.contains_key(number));
            senders
        });
    }

    fn open(&self, number: SideNumber) -> io::Result<Open> {
        let half = Arc::new(Half::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))?);
        let socket = half.socket.try_clone()?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket)?;
        let sender = Arc::new(UdpSender::new(Arc::clone(&half), None));
        let listening = Listening {
            number,
            half,
            sender: Arc::clone(&sender),
            senders: Arc::clone(&self.senders),
            deliver: Arc::clone(&self.deliver),
        };
        let task = tokio::spawn(listening.run(socket));
        Ok(Open { sender, task })
    }
}

struct Listening {
    number: SideNumber,
    half: Arc<Half>,
    sender: Arc<UdpSender>,
    senders: Arc<SideSenders>,
    deliver: Deliver,
}

impl Listening {
    async fn run(self, socket: UdpSocket) {
        if let Err(error) = self.listen(&socket).await {
            tracing::debug!(%error, "a side socket is closed");
        }
        self.senders.rcu(|senders| {
            let mut senders = HashMap::clone(senders);
            senders.remove(&self.number);
            senders
        });
    }

    async fn listen(&self, socket: &UdpSocket) -> io::Result<()> {
        // Most sockets hear nothing, ever: what receiving needs is made when something is there.
        let mut receiver = None;
        let mut datagrams = Vec::new();
        loop {
            tokio::time::timeout(IDLE, socket.readable()).await??;
            let receiver = receiver.get_or_insert_with(|| {
                self.senders.rcu(|senders| {
                    let mut senders = HashMap::clone(senders);
                    senders.insert(self.number, Arc::clone(&self.sender));
                    senders
                });
                UdpReceiver::new(Arc::clone(&self.half))
            });
            match socket.try_io(Interest::READABLE, || receiver.try_recv(&mut datagrams)) {
                Ok(()) => (self.deliver)(self.number, &mut datagrams),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock || is_passing_udp_error(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    fn sided(number: u32, to: SocketAddr) -> Sided {
        Sided {
            socket: SideNumber(number),
            datagram: Datagram {
                peer: to,
                data: b"probe".as_slice().into(),
            },
        }
    }

    #[tokio::test]
    async fn every_number_is_a_port_and_becomes_a_sender_when_something_arrives() {
        let senders = Arc::new(SideSenders::default());
        let (arrived, mut heard) = mpsc::unbounded_channel();
        let mut paths = SidePaths::new(Arc::clone(&senders), move |number, datagrams| {
            for datagram in datagrams.drain(..) {
                let _ = arrived.send((number, datagram));
            }
        });
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = peer.local_addr().unwrap();
        let mut sources = vec![];
        for number in [1, 1, 2] {
            paths.send(&sided(number, address));
            let mut buffer = [0; 16];
            let (_, from) = peer.recv_from(&mut buffer).await.unwrap();
            sources.push(from);
        }
        assert_eq!(sources[0], sources[1]);
        assert_ne!(sources[1], sources[2]);
        assert!(senders.load().is_empty());

        peer.send_to(b"found", sources[2]).await.unwrap();
        let (number, datagram) = heard.recv().await.unwrap();
        assert_eq!((number, datagram.peer), (SideNumber(2), address));
        let sender = senders.load().get(&SideNumber(2)).cloned().unwrap();
        sender.send_one(address, b"packet").unwrap();
        assert_eq!(peer.recv_from(&mut [0; 16]).await.unwrap().1, sources[2]);

        paths.close(&[SideNumber(2)]);
        assert!(senders.load().is_empty());
        paths.send(&sided(2, address));
        assert!(
            !paths.open.contains_key(&SideNumber(2)),
            "a closed socket was opened again"
        );
    }
}
