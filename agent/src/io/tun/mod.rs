//! The TUN device: the network interface through which games see the virtual LAN.
//!
//! It belongs to this process: an interface that is there already is never taken over, and ours disappears when the
//! process ends, however it ends. On Linux the kernel hands over super-packets (TCP and UDP segmentation offload) that are
//! split here, and takes coalesced ones back.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "windows")]
mod windows;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tracing::warn;
use tun_rs::SyncDevice;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(target_os = "windows")]
use windows as system;

pub use system::{TunReader, TunWriter};

/// Longest interface name that Linux takes (IFNAMSIZ without its closing zero); kept everywhere.
const LONGEST_NAME: usize = 15;
/// How many default names are tried: that many agents on one PC are a test, not a party.
const DEFAULT_NAMES: u32 = 1000;
/// How long a new IPv6 address may stay unusable before we go on without waiting for it.
const TENTATIVE: Duration = Duration::from_millis(500);
const TENTATIVE_POLL: Duration = Duration::from_millis(1);

/// What the device should be.
#[derive(Debug, Clone)]
pub struct TunConfig {
    /// The interface's name; none takes the first free one of lanrage0, lanrage1 …
    pub name: Option<String>,
    /// Largest packet, in bytes.
    pub mtu: u16,
}

/// Why there is no device.
#[derive(Debug, thiserror::Error)]
pub enum TunError {
    #[error("making a network interface needs root: run with sudo")]
    NoPermission,
    #[error(
        "this system has no TUN device: on Linux run `sudo modprobe tun`, in a container start it with `--device /dev/net/tun --cap-add NET_ADMIN`; on Windows put wintun.dll next to lanrage.exe"
    )]
    NoTunDevice,
    #[error("there already is a network interface named {0}; choose another with --tun-name")]
    NameTaken(String),
    #[error("{0:?} cannot be an interface name: it takes 1 to 15 letters, digits, '-', '_' or '.'")]
    InvalidName(String),
    #[error("cannot make the network interface: {0}")]
    Other(#[from] io::Error),
}

/// What became of a batch of packets written to the device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriteStats {
    /// Packets the system took.
    pub written: usize,
    /// Packets it refused: not IP, or the interface is down.
    pub refused: usize,
}

/// A TUN device, up and without an address.
pub struct TunDevice {
    device: Arc<SyncDevice>,
    name: String,
    mtu: u16,
}

impl TunDevice {
    /// Whether devices can be made on this system at all.
    pub fn check_system() -> Result<(), TunError> {
        system::check_system()
    }

    /// Makes the device and brings it up.
    pub fn create(config: &TunConfig) -> Result<Self, TunError> {
        Self::check_system()?;
        let device = match &config.name {
            Some(name) => Self::named(check_name(name)?, config.mtu)?,
            None => Self::first_free(config.mtu)?,
        };
        Ok(device)
    }

    fn first_free(mtu: u16) -> Result<Self, TunError> {
        let mut taken = String::new();
        for number in 0..DEFAULT_NAMES {
            match Self::named(&format!("lanrage{number}"), mtu) {
                Err(TunError::NameTaken(name)) => taken = name,
                other => return other,
            }
        }
        Err(TunError::NameTaken(taken))
    }

    fn named(name: &str, mtu: u16) -> Result<Self, TunError> {
        if system::exists(name) {
            return Err(TunError::NameTaken(name.to_owned()));
        }
        Ok(Self {
            device: Arc::new(system::open(name, mtu)?),
            name: name.to_owned(),
            mtu,
        })
    }

    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The system's number for the interface.
    pub fn index(&self) -> io::Result<u32> {
        self.device.if_index()
    }

    /// Packets may have this many bytes from now on. Below 1,280 the system has no IPv6 on the interface, and forgets its address.
    pub fn set_mtu(&self, mtu: u16) -> io::Result<()> {
        system::set_mtu(&self.device, &self.name, mtu)
    }

    /// Gives the interface these addresses and no other ones. They can be used at once. Addresses it already has stay
    /// untouched, with the connections that use them. A PC without IPv6 goes without the second one.
    pub fn set_address(&self, v4: Ipv4Addr, prefix: u8, v6: Ipv6Addr, prefix6: u8) -> io::Result<()> {
        let present = self.device.addresses()?;
        for &address in &present {
            if address != IpAddr::V4(v4) && address != IpAddr::V6(v6) {
                self.remove(address)?;
            }
        }
        if !present.contains(&v4.into()) {
            self.device.add_address_v4(v4, prefix)?;
        }
        if !present.contains(&v6.into()) {
            match self.device.add_address_v6(v6, prefix6) {
                Ok(()) => wait_until_usable(v6),
                Err(error) => {
                    warn!(%error, interface = %self.name, "this PC takes no IPv6 address; the virtual LAN is IPv4 only here");
                }
            }
        }
        Ok(())
    }

    /// Takes all addresses away.
    pub fn clear_addresses(&self) -> io::Result<()> {
        for address in self.device.addresses()? {
            self.remove(address)?;
        }
        Ok(())
    }

    fn remove(&self, address: IpAddr) -> io::Result<()> {
        match address {
            // The system's own, on Windows; it stays.
            IpAddr::V6(v6) if v6.is_unicast_link_local() => Ok(()),
            other => self.device.remove_address(other),
        }
    }

    /// The two directions, for a blocking thread each.
    pub fn queues(&self) -> (TunReader, TunWriter) {
        (
            TunReader::new(self.device.clone(), self.mtu),
            TunWriter::new(self.device.clone()),
        )
    }
}

/// A new IPv6 address is tentative until the system got round to seeing that a TUN device has no neighbours to ask for
/// duplicates (RFC 4862 §5.4): about a millisecond, in which programs cannot use it.
fn wait_until_usable(address: Ipv6Addr) {
    let patience = Instant::now() + TENTATIVE;
    while UdpSocket::bind((address, 0)).is_err() && Instant::now() < patience {
        std::thread::sleep(TENTATIVE_POLL);
    }
}

fn check_name(name: &str) -> Result<&str, TunError> {
    let fits = (1..=LONGEST_NAME).contains(&name.len()) && name != "." && name != "..";
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if fits && plain {
        Ok(name)
    } else {
        Err(TunError::InvalidName(name.to_owned()))
    }
}

/// Whether the system could take this for an IP packet: others are refused without asking it.
fn is_ip(packet: &[u8]) -> bool {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => packet.len() >= 20,
        Some(6) => packet.len() >= 40,
        _ => false,
    }
}

/// Packets are cut from chunks of this size; a chunk is free again when the last packet in it is.
const CHUNK: usize = 256 * 1024;

fn push(chunk: &mut BytesMut, out: &mut Vec<BytesMut>, packet: &[u8]) {
    if chunk.capacity() < packet.len() {
        chunk.reserve(CHUNK.max(packet.len()));
    }
    chunk.extend_from_slice(packet);
    out.push(chunk.split());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_are_checked_before_anything_is_made() {
        for good in ["lanrage0", "a", "my-lan_1.2", "123456789012345"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "1234567890123456",
            "a b",
            "a/b",
            "lan%d",
            "größe",
            "a\0b",
        ] {
            assert!(matches!(check_name(bad), Err(TunError::InvalidName(name)) if name == bad));
        }
    }

    #[test]
    fn only_whole_ip_headers_are_offered_to_the_system() {
        assert!(is_ip(&[0x45; 20]));
        assert!(!is_ip(&[0x45; 19]));
        assert!(is_ip(&[0x60; 40]));
        assert!(!is_ip(&[0x60; 39]));
        assert!(!is_ip(&[0x15; 64]));
        assert!(!is_ip(&[]));
    }
}
