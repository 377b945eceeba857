//! Traffic between two hosts: a steady stream that counts what is lost, and bulk data that must arrive intact.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use super::netns::Netns;

/// How long a packet may be on its way before it counts as lost.
const IN_FLIGHT: Duration = Duration::from_secs(2);
const PAYLOAD: usize = 200;

/// A stream of UDP packets at a fixed rate from one host to another. Every packet is numbered.
pub struct Stream {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    sender: JoinHandle<()>,
    receiver: JoinHandle<BTreeSet<u64>>,
}

/// What became of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamOutcome {
    pub sent: u64,
    pub received: u64,
    /// The first few numbers that never arrived.
    pub missing: Vec<u64>,
}

impl Stream {
    /// Starts sending `per_second` packets from `from` to the address `at` of `to`.
    pub fn start(from: &Netns, to: &Netns, at: IpAddr, per_second: u32) -> Result<Self> {
        let listener = to
            .within(|| UdpSocket::bind((at, 0)))?
            .context("listening on the virtual address")?;
        let target = listener.local_addr()?;
        let any = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = from.within(|| UdpSocket::bind(any))??;
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let (sending, receiving, counted) = (stop.clone(), stop.clone(), sent.clone());
        listener.set_read_timeout(Some(Duration::from_millis(50)))?;
        Ok(Self {
            sender: std::thread::spawn(move || send(&socket, target, per_second, &sending, &counted)),
            receiver: std::thread::spawn(move || receive(&listener, &receiving)),
            stop,
            sent,
        })
    }

    /// Packets sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Stops sending, waits for what is on its way, and counts.
    pub fn finish(self) -> Result<StreamOutcome> {
        self.stop.store(true, Ordering::Relaxed);
        let gone = |_| anyhow::anyhow!("a traffic thread died");
        self.sender.join().map_err(gone)?;
        let sent = self.sent.load(Ordering::Relaxed);
        let received = self.receiver.join().map_err(gone)?;
        Ok(StreamOutcome {
            sent,
            received: received.len() as u64,
            missing: (0..sent).filter(|number| !received.contains(number)).take(10).collect(),
        })
    }
}

fn send(socket: &UdpSocket, target: SocketAddr, per_second: u32, stop: &AtomicBool, sent: &AtomicU64) {
    let start = Instant::now();
    let mut number = 0_u64;
    let mut payload = [0; PAYLOAD];
    while !stop.load(Ordering::Relaxed) {
        let due = start + Duration::from_secs(1) / per_second * u32::try_from(number).unwrap_or(u32::MAX);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        payload[..8].copy_from_slice(&number.to_be_bytes());
        // A packet the kernel refuses was never sent by anybody's measure but ours: it stays counted, so it shows as lost.
        let _ = socket.send_to(&payload, target);
        number += 1;
        sent.store(number, Ordering::Relaxed);
    }
}

fn receive(socket: &UdpSocket, stop: &AtomicBool) -> BTreeSet<u64> {
    let mut seen = BTreeSet::new();
    let mut packet = [0; 2048];
    let mut last = Instant::now();
    while !stop.load(Ordering::Relaxed) || last.elapsed() < IN_FLIGHT {
        if let Ok((length, _)) = socket.recv_from(&mut packet)
            && let Some(number) = packet[..length].first_chunk()
        {
            seen.insert(u64::from_be_bytes(*number));
            last = Instant::now();
        }
    }
    seen
}

/// Sends `bytes` over TCP from `from` to the address `at` of `to` and proves by SHA-256 that they arrived as they were.
/// Gives the rate in Mbit/s.
pub fn transfer(from: &Netns, to: &Netns, at: IpAddr, bytes: usize) -> Result<f64> {
    let listener = to
        .within(|| TcpListener::bind((at, 0)))?
        .context("listening on the virtual address")?;
    let target = listener.local_addr()?;
    let data: Vec<u8> = (0..bytes as u64)
        .map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect();
    let sent = Sha256::digest(&data);
    let reader = std::thread::spawn(move || -> Result<_> {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        stream.write_all(&[1])?;
        Ok(Sha256::digest(&all))
    });
    let limit = Duration::from_secs(10);
    let mut stream = from
        .within(|| TcpStream::connect_timeout(&target, limit))?
        .context("connecting through the tunnel")?;
    let start = Instant::now();
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(&data)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    stream
        .read_exact(&mut [0])
        .context("the other side did not get everything")?;
    let took = start.elapsed();
    let received = reader
        .join()
        .map_err(|_| anyhow::anyhow!("the receiving thread died"))??;
    ensure!(sent == received, "{bytes} bytes arrived, but not as they were sent");
    Ok(bytes as f64 * 8e-6 / took.as_secs_f64())
}
