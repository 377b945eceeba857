//! The TUN driver of Linux, with virtio-net headers: one read may be a 64 KiB super-packet, one write too.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use rustix::io::ioctl_fionbio;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};
use tracing::{debug, trace};
use tun_rs::{DeviceBuilder, GROTable, IDEAL_BATCH_SIZE, Layer, SyncDevice, VIRTIO_NET_HDR_LEN};

use super::{TunError, WriteStats, is_ip, push};
use crate::platform::wait_readable;

const CLONE_DEVICE: &str = "/dev/net/tun";
/// A packet's own maximum, and so a super-packet's.
const SUPER_PACKET: usize = 65_535;
/// A batch ends after this many packets, so that the first of them does not wait for a flood to end.
const READ_BATCH: usize = IDEAL_BATCH_SIZE;
/// An interface with less has no IPv6 (RFC 8200 §5).
const LEAST_IPV6_MTU: u16 = 1280;
/// Room for packets that are larger than the MTU said, should somebody raise it on the interface.
const LEAST_SEGMENT: usize = 9216;

/// Whether devices can be made at all. The library would make the device node itself; in a container that lacks it that
/// hides the reason.
pub(super) fn check_system() -> Result<(), TunError> {
    match Path::new(CLONE_DEVICE).try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => Err(TunError::NoTunDevice),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(TunError::NoPermission),
        Err(error) => Err(error.into()),
    }
}

/// Whether an interface has this name, in this network namespace.
pub(super) fn exists(name: &str) -> bool {
    socket(AddressFamily::INET, SocketType::DGRAM, None).is_ok_and(|any| name_to_index(&any, name).is_ok())
}

pub(super) fn open(name: &str, mtu: u16) -> Result<SyncDevice, TunError> {
    let device = DeviceBuilder::new()
        .name(name)
        .layer(Layer::L3)
        .offload(true)
        .mtu(mtu)
        .enable(false)
        .build_sync()
        .map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => TunError::NoPermission,
            Some(libc::ENODEV | libc::ENXIO | libc::ENOENT) => TunError::NoTunDevice,
            Some(libc::EBUSY | libc::EEXIST) => TunError::NameTaken(name.to_owned()),
            Some(libc::EINVAL) if exists(name) => TunError::NameTaken(name.to_owned()),
            _ => TunError::Other(error),
        })?;
    ioctl_fionbio(&device, true).map_err(io::Error::from)?;
    quiet_ipv6(name);
    device.enabled(true)?;
    Ok(device)
}

pub(super) fn set_mtu(device: &SyncDevice, name: &str, mtu: u16) -> io::Result<()> {
    device.set_mtu(mtu)?;
    if mtu < LEAST_IPV6_MTU {
        return Ok(());
    }
    // If it was less, the system has just begun with IPv6 anew, by its own defaults.
    quiet_ipv6(name);
    let is_link_local = |address: &IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    for address in device.addresses()?.into_iter().filter(is_link_local) {
        device.remove_address(address)?;
    }
    Ok(())
}

/// No link-local address and no router solicitation: nothing on the virtual LAN answers them, and every member would
/// receive them.
fn quiet_ipv6(name: &str) {
    for (setting, value) in [
        ("addr_gen_mode", "1"),
        ("accept_ra", "0"),
        ("router_solicitations", "0"),
    ] {
        let path = format!("/proc/sys/net/ipv6/conf/{name}/{setting}");
        if let Err(error) = std::fs::write(&path, value) {
            debug!(%error, path, "left as it is");
        }
    }
}

/// Reads what the PC sends to the virtual LAN.
pub struct TunReader {
    device: Arc<SyncDevice>,
    raw: Vec<u8>,
    segments: Vec<Vec<u8>>,
    sizes: Vec<usize>,
    chunk: BytesMut,
}

impl TunReader {
    pub(super) fn new(device: Arc<SyncDevice>, mtu: u16) -> Self {
        let segment = usize::from(mtu).max(LEAST_SEGMENT);
        Self {
            device,
            raw: vec![0; VIRTIO_NET_HDR_LEN + SUPER_PACKET],
            segments: vec![vec![0; segment]; IDEAL_BATCH_SIZE],
            sizes: vec![0; IDEAL_BATCH_SIZE],
            chunk: BytesMut::new(),
        }
    }

    /// Waits for packets and appends all that are there, at least one, none larger than the MTU. An error means that the
    /// device is gone.
    pub fn recv_batch(&mut self, out: &mut Vec<BytesMut>) -> io::Result<()> {
        let before = out.len();
        while out.len() - before < READ_BATCH {
            match self
                .device
                .recv_multiple(&mut self.raw, &mut self.segments, &mut self.sizes, 0)
            {
                Ok(count) => {
                    for (segment, &size) in self.segments.iter().zip(&self.sizes).take(count) {
                        push(&mut self.chunk, out, &segment[..size]);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if out.len() > before {
                        return Ok(());
                    }
                    wait_readable(&*self.device)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error().is_some() => return Err(error),
                // A packet that the splitter does not understand; the next one is another matter.
                Err(error) => trace!(%error, "skipped a packet of this PC"),
            }
        }
        Ok(())
    }
}

/// Writes what the virtual LAN sends to this PC.
pub struct TunWriter {
    device: Arc<SyncDevice>,
    table: GROTable,
    buffers: Vec<BytesMut>,
}

impl TunWriter {
    /// Another writer to the same device, for another thread.
    pub fn another(&self) -> Self {
        Self::new(Arc::clone(&self.device))
    }

    pub(super) fn new(device: Arc<SyncDevice>) -> Self {
        Self {
            device,
            table: GROTable::default(),
            buffers: Vec::new(),
        }
    }

    /// Writes all and clears the batch. Packets of one flow are coalesced on the way. What the system refuses is
    /// counted; the rest goes on.
    pub fn send_batch(&mut self, packets: &mut Vec<BytesMut>) -> WriteStats {
        let mut stats = WriteStats::default();
        for batch in packets.chunks(IDEAL_BATCH_SIZE) {
            let mut count = 0;
            for packet in batch {
                if !is_ip(packet) {
                    stats.refused += 1;
                    continue;
                }
                if count == self.buffers.len() {
                    // Room for a whole train: coalescing never allocates. Pages that no train fills are never touched.
                    self.buffers
                        .push(BytesMut::with_capacity(2 * VIRTIO_NET_HDR_LEN + SUPER_PACKET));
                }
                let buffer = &mut self.buffers[count];
                buffer.clear();
                buffer.resize(VIRTIO_NET_HDR_LEN, 0);
                buffer.extend_from_slice(packet);
                count += 1;
            }
            let before = self
                .device
                .send_multiple(&mut self.table, &mut self.buffers[..count], VIRTIO_NET_HDR_LEN);
            match before {
                Ok(_) => stats.written += count,
                Err(error) => {
                    // One of the trains was refused; which one is not said, and when the interface is down it was all.
                    trace!(%error, "the system refused packets of the virtual LAN");
                    let refused = if error.raw_os_error() == Some(libc::EIO) {
                        count
                    } else {
                        1
                    };
                    stats.refused += refused;
                    stats.written += count - refused;
                }
            }
        }
        packets.clear();
        stats
    }
}
