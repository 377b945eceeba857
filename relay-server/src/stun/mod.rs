//! Runs the STUN responder on UDP sockets.
//!
//! One task per socket reads trains of datagrams and answers each at once, out of the address it was sent to, or out of
//! another of the server's sockets when the client asked for that. Nothing is queued: what a socket does not take at once is
//! counted and forgotten, the client asks again.

mod bind;
mod counters;
mod socket;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use lanrage_relay_core::stun::{DropReason, LocalPort, Received, Responder, SourceLimiter, Verdict};
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use bind::BindError;
pub use counters::Counters;
use socket::{Arrived, Socket, Train};

/// Where to answer STUN.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StunConfig {
    /// IP addresses to listen on, at most two of each family. Two of one family let clients measure their NAT completely.
    /// Empty (the default) means every address of this machine.
    pub listen_addresses: Vec<std::net::IpAddr>,
    /// First UDP port. Default 3478. 0 takes a free one.
    pub port: u16,
    /// Second UDP port. Default 3479. 0 takes a free one.
    pub second_port: u16,
}

impl Default for StunConfig {
    fn default() -> Self {
        Self {
            listen_addresses: Vec::new(),
            port: 3478,
            second_port: 3479,
        }
    }
}

/// A STUN server with its sockets bound.
#[derive(Debug)]
pub struct StunServer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    responder: Responder,
    sockets: Vec<Socket>,
    limiter: Mutex<SourceLimiter>,
    counters: Arc<Counters>,
}

impl StunServer {
    /// Binds every socket, or none. Must be called within a tokio runtime.
    pub async fn bind(config: &StunConfig) -> Result<Self, BindError> {
        let (listen, sockets) = bind::bind(config)?;
        Ok(Self {
            shared: Arc::new(Shared {
                responder: Responder::new(listen),
                sockets,
                limiter: Mutex::new(SourceLimiter::new(Instant::now())),
                counters: Arc::default(),
            }),
        })
    }

    /// The first and the second UDP port.
    pub fn local_ports(&self) -> (u16, u16) {
        let [first, second] = self.shared.responder.listen().ports();
        (first, second)
    }

    /// Every socket's address; 0.0.0.0 and [::] stand for all addresses.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        let listen = self.shared.responder.listen();
        let sockets = self.shared.sockets.iter();
        sockets
            .filter_map(|socket| listen.socket_address(socket.local))
            .collect()
    }

    /// What it has answered and dropped; counts on while the server runs.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.shared.counters)
    }

    /// Answers until `stop` is cancelled, then closes the sockets.
    pub async fn run(self, stop: CancellationToken) {
        for address in self.local_addresses() {
            tracing::info!(%address, "answering STUN");
        }
        let mut tasks = JoinSet::new();
        for index in 0..self.shared.sockets.len() {
            let (shared, stop) = (Arc::clone(&self.shared), stop.clone());
            tasks.spawn(async move { stop.run_until_cancelled(shared.serve(index)).await });
        }
        while tasks.join_next().await.is_some() {}
        let counters = &self.shared.counters;
        tracing::info!(
            answered = counters.answered(),
            dropped = counters.dropped_total(),
            "STUN stopped"
        );
    }
}

impl Shared {
    async fn serve(&self, index: usize) {
        let Some(socket) = self.sockets.get(index) else { return };
        let mut train = Train::new();
        loop {
            socket.receive(&mut train).await;
            let now = Instant::now();
            for Arrived { from, to, datagram } in train.datagrams() {
                let received = Received {
                    from,
                    on: socket.local,
                    to,
                };
                match self.judge(datagram, received, now) {
                    Verdict::Reply { bytes, send_from } => self.send(&bytes, received, send_from),
                    Verdict::Drop(reason) => self.counters.count_drop(reason),
                }
            }
        }
    }

    fn judge(&self, datagram: &[u8], received: Received, now: Instant) -> Verdict {
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        let admitted = limiter.admit(received.from.ip(), now);
        drop(limiter);
        if admitted {
            self.responder.handle(datagram, received)
        } else {
            Verdict::Drop(DropReason::RateLimited)
        }
    }

    fn send(&self, bytes: &[u8], received: Received, send_from: LocalPort) {
        let socket = self.sockets.iter().find(|socket| socket.local == send_from);
        // From another address the kernel knows best; from the same one it must be the one the client wrote to.
        let source = received.to.filter(|_| send_from.address == received.on.address);
        match socket.map(|socket| socket.send(bytes, received.from, source)) {
            Some(Ok(())) => self.counters.count_answer(),
            Some(Err(error)) => {
                self.counters.count_unsent();
                tracing::trace!(%error, "an answer could not be sent");
            }
            None => self.counters.count_unsent(),
        }
    }
}
