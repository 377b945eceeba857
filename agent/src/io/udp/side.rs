//! Side sockets: ports of their own for the NAT's filtering test, which must not begin where packets went before.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lanrage_agent_core::batch::Datagram;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::receive::plain;

/// A side socket that neither sent nor received for this long is closed.
const IDLE: Duration = Duration::from_secs(10);
/// Longest datagram read; answers of STUN servers are no longer than our requests.
const LONGEST: usize = 1500;
/// Datagrams waiting to be sent. One measurement sends about 50, 2 at a time.
const QUEUE: usize = 16;

type Deliver = Arc<dyn Fn(Datagram, Instant) + Send + Sync>;

/// At most one side socket per address family.
pub struct SideSockets {
    open: HashMap<bool, Side>,
    deliver: Deliver,
}

struct Side {
    number: u32,
    outgoing: mpsc::Sender<Datagram>,
    task: JoinHandle<()>,
}

impl Drop for Side {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl SideSockets {
    /// What arrives is handed to `deliver`.
    pub fn new(deliver: impl Fn(Datagram, Instant) + Send + Sync + 'static) -> Self {
        Self {
            open: HashMap::new(),
            deliver: Arc::new(deliver),
        }
    }

    /// Sends from the side socket with this number, a fresh one when the number is new. Needs a running runtime.
    pub fn send(&mut self, number: u32, datagram: Datagram) {
        let family = datagram.peer.is_ipv4();
        let usable = |side: &&Side| side.number == number && !side.outgoing.is_closed();
        if self.open.get(&family).filter(usable).is_none() {
            let (outgoing, queue) = mpsc::channel(QUEUE);
            let task = tokio::spawn(run(family, queue, Arc::clone(&self.deliver)));
            let side = Side { number, outgoing, task };
            self.open.insert(family, side);
        }
        if let Some(side) = self.open.get(&family) {
            // A full queue is a lost packet: the test asks again.
            let _ = side.outgoing.try_send(datagram);
        }
    }
}

async fn run(ipv4: bool, mut queue: mpsc::Receiver<Datagram>, deliver: Deliver) {
    if let Err(error) = carry(ipv4, &mut queue, &deliver).await {
        tracing::debug!(%error, "the NAT's filter cannot be tested");
    }
}

async fn carry(ipv4: bool, queue: &mut mpsc::Receiver<Datagram>, deliver: &Deliver) -> io::Result<()> {
    let any: SocketAddr = if ipv4 {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any).await?;
    let mut buffer = vec![0; LONGEST];
    loop {
        tokio::select! {
            datagram = queue.recv() => match datagram {
                // What does not get out is lost, like any packet.
                Some(datagram) => drop(socket.send_to(&datagram.data, datagram.peer).await),
                None => return Ok(()),
            },
            received = socket.recv_from(&mut buffer) => {
                // An error is about a packet sent before: nobody listens there.
                if let Ok((length, from)) = received {
                    let data = buffer[..length].into();
                    deliver(Datagram { peer: plain(from), data }, Instant::now());
                }
            }
            () = tokio::time::sleep(IDLE) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(to: SocketAddr) -> Datagram {
        Datagram {
            peer: to,
            data: b"question".as_slice().into(),
        }
    }

    #[tokio::test]
    async fn a_new_number_is_a_new_port_and_answers_arrive() {
        let (arrived, mut answers) = mpsc::unbounded_channel();
        let mut sides = SideSockets::new(move |datagram, _| drop(arrived.send(datagram)));
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let mut sources = vec![];
        for number in [1, 1, 2] {
            sides.send(number, question(address));
            let mut buffer = [0; 16];
            let (length, from) = server.recv_from(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..length], b"question");
            server.send_to(b"answer", from).await.unwrap();
            assert_eq!(answers.recv().await.unwrap().peer, address);
            sources.push(from);
        }
        assert_eq!(sources[0], sources[1]);
        assert_ne!(sources[1], sources[2]);
    }
}
