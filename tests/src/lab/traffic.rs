//! Traffic between two hosts: a steady stream that counts what is lost, and bulk data that must arrive intact.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use super::netns::Netns;
use super::wait;

/// How long a packet may be on its way before it counts as lost.
const IN_FLIGHT: Duration = Duration::from_secs(2);
/// Bytes of a packet unless told otherwise: what a game sends.
const PAYLOAD: usize = 200;
/// A stream flows while packets arrive at least this often.
const FLOWING: Duration = Duration::from_millis(100);

/// A stream of UDP packets at a fixed rate from one host to another. Every packet is numbered. Dropping it ends it.
pub struct Stream {
    stop: Stop,
    sent: Arc<AtomicU64>,
    arrivals: Arc<Mutex<Arrivals>>,
    sender: JoinHandle<()>,
    receiver: JoinHandle<()>,
}

/// Tells the threads of a stream to end, at the latest when it is dropped.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What arrived, and when.
#[derive(Debug, Default)]
struct Arrivals {
    numbers: BTreeSet<u64>,
    /// In the order of arrival; a packet that comes twice counts once.
    times: Vec<Instant>,
}

/// What became of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamOutcome {
    pub sent: u64,
    pub received: u64,
    /// The number of the first packet that arrived.
    pub first: Option<u64>,
    /// Packets after the first that never arrived.
    pub lost: u64,
    /// The first few numbers of those.
    pub missing: Vec<u64>,
}

impl StreamOutcome {
    /// The share of the packets from the first that arrived on that were lost, 0 to 1; 1 when none arrived.
    pub fn loss(&self) -> f64 {
        match self.first {
            Some(first) => self.lost as f64 / (self.sent - first) as f64,
            None => 1.0,
        }
    }
}

impl Stream {
    /// Starts sending `per_second` packets from `from` to the address `at` of `to`.
    pub fn start(from: &Netns, to: &Netns, at: IpAddr, per_second: u32) -> Result<Self> {
        Self::start_sized(from, to, at, per_second, PAYLOAD)
    }

    /// [`Stream::start`] with packets of `payload` bytes, at least 8, beyond their IP and UDP headers.
    pub fn start_sized(from: &Netns, to: &Netns, at: IpAddr, per_second: u32, payload: usize) -> Result<Self> {
        let listener = to
            .within(|| UdpSocket::bind((at, 0)))?
            .context("listening on the virtual address")?;
        let target = listener.local_addr()?;
        let any = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = from.within(|| UdpSocket::bind(any))??;
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let arrivals = Arc::new(Mutex::default());
        let (sending, receiving, counted, noted) = (stop.clone(), stop.clone(), sent.clone(), arrivals.clone());
        listener.set_read_timeout(Some(Duration::from_millis(50)))?;
        Ok(Self {
            sender: std::thread::spawn(move || send(&socket, target, per_second, payload, &sending, &counted)),
            receiver: std::thread::spawn(move || receive(&listener, &receiving, &noted)),
            stop: Stop(stop),
            sent,
            arrivals,
        })
    }

    /// Packets sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until this many more packets were sent.
    pub fn run_on(&self, packets: u64, limit: Duration) -> Result<()> {
        let goal = self.sent() + packets;
        wait::until("the stream to run on", limit, || (self.sent() >= goal).then_some(()))
    }

    /// When a packet last arrived.
    pub fn last_arrival(&self) -> Option<Instant> {
        lock(&self.arrivals).times.last().copied()
    }

    /// Whether packets arrive at this moment.
    pub fn is_flowing(&self) -> bool {
        self.last_arrival().is_some_and(|at| at.elapsed() < FLOWING)
    }

    /// The longest time without an arrival from `since` until now.
    pub fn longest_silence(&self, since: Instant) -> Duration {
        let arrivals = lock(&self.arrivals);
        let first = arrivals.times.partition_point(|at| *at < since);
        let points = std::iter::once(since)
            .chain(arrivals.times[first..].iter().copied())
            .chain([Instant::now()]);
        let later = points.clone().skip(1);
        let gaps = points.zip(later).map(|(a, b)| b.saturating_duration_since(a));
        gaps.max().unwrap_or_default()
    }

    /// [`Stream::finish`] of several at once.
    pub fn finish_all(streams: Vec<Self>) -> Result<Vec<StreamOutcome>> {
        streams
            .iter()
            .for_each(|stream| stream.stop.0.store(true, Ordering::Relaxed));
        streams.into_iter().map(Self::finish).collect()
    }

    /// Stops sending, waits for what is on its way, and counts.
    pub fn finish(self) -> Result<StreamOutcome> {
        self.stop.0.store(true, Ordering::Relaxed);
        let gone = |_| anyhow::anyhow!("a traffic thread died");
        self.sender.join().map_err(gone)?;
        self.receiver.join().map_err(gone)?;
        let sent = self.sent.load(Ordering::Relaxed);
        let arrivals = lock(&self.arrivals);
        let first = arrivals.numbers.first().copied();
        let missing = || (first.unwrap_or(sent)..sent).filter(|number| !arrivals.numbers.contains(number));
        Ok(StreamOutcome {
            sent,
            received: arrivals.numbers.len() as u64,
            first,
            lost: missing().count() as u64,
            missing: missing().take(10).collect(),
        })
    }
}

fn lock(arrivals: &Mutex<Arrivals>) -> MutexGuard<'_, Arrivals> {
    arrivals.lock().unwrap_or_else(PoisonError::into_inner)
}

fn send(socket: &UdpSocket, target: SocketAddr, per_second: u32, payload: usize, stop: &AtomicBool, sent: &AtomicU64) {
    let start = Instant::now();
    let mut number = 0_u64;
    let mut payload = vec![0; payload];
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

fn receive(socket: &UdpSocket, stop: &AtomicBool, arrivals: &Mutex<Arrivals>) {
    let mut packet = [0; 2048];
    let mut last = Instant::now();
    while !stop.load(Ordering::Relaxed) || last.elapsed() < IN_FLIGHT {
        if let Ok((length, _)) = socket.recv_from(&mut packet)
            && let Some(number) = packet[..length].first_chunk()
        {
            last = Instant::now();
            let mut arrivals = lock(arrivals);
            if arrivals.numbers.insert(u64::from_be_bytes(*number)) {
                arrivals.times.push(last);
            }
        }
    }
}

/// [`transfer`] in `parts` connections at once, for links on which one alone takes for ever.
pub fn transfer_in_parts(from: &Netns, to: &Netns, at: IpAddr, bytes: usize, parts: usize) -> Result<()> {
    std::thread::scope(|scope| {
        let part = |_| scope.spawn(|| transfer(from, to, at, bytes / parts));
        let threads: Vec<_> = (0..parts).map(part).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread died"))?.map(drop))
    })
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
    let limit = Duration::from_secs(30);
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
