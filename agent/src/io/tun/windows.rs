//! The wintun driver of Windows: a ring of single packets.

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use tracing::trace;
use tun_rs::{DeviceBuilder, Layer, SyncDevice};
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_ALREADY_EXISTS, ERROR_FILE_NOT_FOUND, ERROR_MOD_NOT_FOUND,
};

use super::{TunError, WriteStats, is_ip, push};
use crate::platform::check_privileges;

/// A packet's own maximum.
const PACKET: usize = 65_535;
/// The lowest metric: games that ask for "the" LAN adapter, and broadcasts, must find this one first.
const METRIC: u16 = 1;

pub(super) fn check_system() -> Result<(), TunError> {
    check_privileges().map_err(|_| TunError::NoPermission)
}

/// Whether a network adapter has this name. The library would take such an adapter over.
pub(super) fn exists(name: &str) -> bool {
    getifaddrs::getifaddrs().is_ok_and(|mut listed| listed.any(|interface| interface.description == name))
}

pub(super) fn open(name: &str, mtu: u16) -> Result<SyncDevice, TunError> {
    DeviceBuilder::new()
        .name(name)
        .layer(Layer::L3)
        .mtu(mtu)
        .with(|options| {
            options.description("LANrage").metric(METRIC);
        })
        .build_sync()
        .map_err(|error| match error.raw_os_error().map(|code| code as u32) {
            Some(ERROR_ACCESS_DENIED) => TunError::NoPermission,
            Some(ERROR_MOD_NOT_FOUND | ERROR_FILE_NOT_FOUND) => TunError::NoTunDevice,
            Some(ERROR_ALREADY_EXISTS) => TunError::NameTaken(name.to_owned()),
            _ => TunError::Other(error),
        })
}

pub(super) fn set_mtu(device: &SyncDevice, _: &str, mtu: u16) -> io::Result<()> {
    device.set_mtu(mtu)
}

/// Reads what the PC sends to the virtual LAN.
pub struct TunReader {
    device: Arc<SyncDevice>,
    raw: Vec<u8>,
    chunk: BytesMut,
}

impl TunReader {
    pub(super) fn new(device: Arc<SyncDevice>, _mtu: u16) -> Self {
        Self {
            device,
            raw: vec![0; PACKET],
            chunk: BytesMut::new(),
        }
    }

    /// Waits for packets and appends all that are there, at least one. An error means that the device is gone.
    pub fn recv_batch(&mut self, out: &mut Vec<BytesMut>) -> io::Result<()> {
        let length = self.device.recv(&mut self.raw)?;
        push(&mut self.chunk, out, &self.raw[..length]);
        while let Ok(length) = self.device.try_recv(&mut self.raw) {
            push(&mut self.chunk, out, &self.raw[..length]);
        }
        Ok(())
    }
}

/// Writes what the virtual LAN sends to this PC.
pub struct TunWriter {
    device: Arc<SyncDevice>,
}

impl TunWriter {
    /// Another writer to the same device, for another thread.
    pub fn another(&self) -> Self {
        Self::new(Arc::clone(&self.device))
    }

    pub(super) fn new(device: Arc<SyncDevice>) -> Self {
        Self { device }
    }

    /// Writes all and clears the batch. What the system refuses is counted; the rest goes on.
    pub fn send_batch(&mut self, packets: &mut Vec<BytesMut>) -> WriteStats {
        let mut stats = WriteStats::default();
        for packet in packets.drain(..) {
            let sent = is_ip(&packet) && {
                let result = self.device.send(&packet);
                if let Err(error) = &result {
                    trace!(%error, "the system refused a packet of the virtual LAN");
                }
                result.is_ok()
            };
            if sent {
                stats.written += 1;
            } else {
                stats.refused += 1;
            }
        }
        stats
    }
}
