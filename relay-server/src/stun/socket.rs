//! One UDP socket that tells which address a datagram was sent to and can answer from it.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lanrage_relay_core::stun::LocalPort;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Datagram trains read at once.
const TRAINS: usize = 8;
/// Room for one train: with receive offload the kernel joins datagrams of one sender up to this size.
const TRAIN_BYTES: usize = 64 * 1024;
/// Wait after an error of the socket itself, so that one that persists does not take a core.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// A bound socket.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) local: LocalPort,
    io: UdpSocket,
    state: UdpSocketState,
}

impl Socket {
    pub(super) fn new(socket: std::net::UdpSocket, local: LocalPort) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        let io = UdpSocket::from_std(socket)?;
        Ok(Self { local, io, state })
    }

    /// Waits until datagrams are there and reads them into `train`.
    pub(super) async fn receive(&self, train: &mut Train) {
        loop {
            let read = async {
                self.io.readable().await?;
                self.io.try_io(Interest::READABLE, || train.read(&self.io, &self.state))
            };
            match read.await {
                Ok(()) => return,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    tracing::debug!(%error, "a STUN socket could not be read");
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
    }

    /// Sends at once or not at all.
    pub(super) fn send(&self, bytes: &[u8], to: SocketAddr, source: Option<IpAddr>) -> io::Result<()> {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: bytes,
            segment_size: None,
            src_ip: source,
        };
        self.io
            .try_io(Interest::WRITABLE, || self.state.try_send((&self.io).into(), &transmit))
    }
}

/// A datagram in a train.
pub(super) struct Arrived<'a> {
    pub(super) from: SocketAddr,
    pub(super) to: Option<IpAddr>,
    pub(super) datagram: &'a [u8],
}

/// Reused room for what one read brings.
pub(super) struct Train {
    buffers: Vec<Vec<u8>>,
    metas: Vec<RecvMeta>,
    read: usize,
}

impl Train {
    pub(super) fn new() -> Self {
        Self {
            buffers: vec![vec![0; TRAIN_BYTES]; TRAINS],
            metas: vec![RecvMeta::default(); TRAINS],
            read: 0,
        }
    }

    fn read(&mut self, io: &UdpSocket, state: &UdpSocketState) -> io::Result<()> {
        self.read = 0;
        let mut slices: Vec<IoSliceMut<'_>> = self.buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
        self.read = state.recv(io.into(), &mut slices, &mut self.metas)?;
        Ok(())
    }

    pub(super) fn datagrams(&self) -> impl Iterator<Item = Arrived<'_>> {
        let filled = self.metas.iter().zip(&self.buffers).take(self.read);
        filled.flat_map(|(meta, buffer)| {
            let bytes = buffer.get(..meta.len).unwrap_or_default();
            bytes.chunks(meta.stride.max(1)).map(|datagram| Arrived {
                from: meta.addr,
                to: meta.dst_ip,
                datagram,
            })
        })
    }
}
