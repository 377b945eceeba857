//! From the wire: batches of datagrams, GRO trains taken apart.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;
use lanrage_agent_core::batch::Datagram;
use quinn_udp::{BATCH_SIZE, RecvMeta};

use super::Half;
use crate::platform::{is_passing_udp_error, wait_readable};

/// Room for one slot of a batch: a GRO train is at most one IP packet long. Pages that no train fills are never touched.
const SLOT: usize = 64 * 1024;
/// Datagrams are cut from chunks of this size; a chunk is free again when the last datagram in it is.
const CHUNK: usize = 256 * 1024;

/// Receives for one address family, from one blocking thread.
#[derive(Debug)]
pub struct UdpReceiver {
    half: Arc<Half>,
    slots: Vec<u8>,
    chunk: BytesMut,
}

impl UdpReceiver {
    pub(super) fn new(half: Arc<Half>) -> Self {
        let slots = if half.batches.is_some() { BATCH_SIZE } else { 1 };
        Self {
            half,
            slots: vec![0; slots * SLOT],
            chunk: BytesMut::new(),
        }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.half.socket.local_addr().map_or(0, |address| address.port())
    }

    /// Waits for datagrams and appends all that are there, at least one. An error means that the port is closed or
    /// broken for good; what the network reports about single packets is not an error.
    pub fn recv_batch(&mut self, out: &mut Vec<Datagram>) -> io::Result<()> {
        let before = out.len();
        loop {
            if self.half.closed.load(Ordering::Acquire) {
                return Err(io::Error::new(
                    io::ErrorKind::ConnectionAborted,
                    "the UDP port was closed",
                ));
            }
            match self.try_recv(out) {
                // Closing wakes us with a datagram of its own, which nobody should see.
                Ok(()) if self.half.closed.load(Ordering::Acquire) => out.truncate(before),
                Ok(()) if out.len() > before => return Ok(()),
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_readable(&self.half.socket)?,
                Err(error) if is_passing_udp_error(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Appends what is there, without waiting.
    pub(super) fn try_recv(&mut self, out: &mut Vec<Datagram>) -> io::Result<()> {
        let Some(batches) = &self.half.batches else {
            let (length, from) = self.half.socket.recv_from(&mut self.slots)?;
            push(&mut self.chunk, out, from, &self.slots[..length]);
            return Ok(());
        };
        let mut meta = [RecvMeta::default(); BATCH_SIZE];
        let count = {
            let mut free = self.slots.chunks_exact_mut(SLOT);
            let mut slots: [IoSliceMut<'_>; BATCH_SIZE] =
                std::array::from_fn(|_| IoSliceMut::new(free.next().unwrap_or_default()));
            batches.recv((&self.half.socket).into(), &mut slots, &mut meta)?
        };
        for (meta, slot) in meta.iter().zip(self.slots.chunks_exact(SLOT)).take(count) {
            let train = &slot[..meta.len.min(SLOT)];
            if train.is_empty() {
                push(&mut self.chunk, out, meta.addr, train);
            }
            for datagram in train.chunks(meta.stride.max(1)) {
                push(&mut self.chunk, out, meta.addr, datagram);
            }
        }
        Ok(())
    }
}

fn push(chunk: &mut BytesMut, out: &mut Vec<Datagram>, from: SocketAddr, data: &[u8]) {
    if chunk.capacity() < data.len() {
        chunk.reserve(CHUNK.max(data.len()));
    }
    chunk.extend_from_slice(data);
    out.push(Datagram {
        peer: plain(from),
        data: chunk.split(),
    });
}

/// The one spelling of an address: IPv4 is IPv4, and only link-local addresses have a scope.
pub(super) fn plain(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(mut v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(IpAddr::V4(v4), v6.port()),
            None => {
                v6.set_flowinfo(0);
                if !v6.ip().is_unicast_link_local() {
                    v6.set_scope_id(0);
                }
                v6.into()
            }
        },
        v4 @ SocketAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV6;

    use super::*;

    #[test]
    fn an_address_has_one_spelling() {
        let v6 = |text: &str, flow, scope| SocketAddr::V6(SocketAddrV6::new(text.parse().unwrap(), 5, flow, scope));
        assert_eq!(plain(v6("::ffff:192.0.2.1", 0, 0)), "192.0.2.1:5".parse().unwrap());
        assert_eq!(plain(v6("2001:db8::1", 7, 3)), v6("2001:db8::1", 0, 0));
        assert_eq!(plain(v6("fe80::1", 7, 3)), v6("fe80::1", 0, 3));
    }
}
