//! Our tunnel code with one fixed peer and no control server: what a stock WireGuard talks to in the lab.
//!
//! Keys are in WireGuard's own text form (base64), secrets come from files. Runs until it is killed.
#![expect(clippy::print_stdout, reason = "it says when it is ready")]

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use data_encoding::BASE64;
use ipnet::Ipv4Net;
use lanrage::driver::dataplane::{DataPlane, MTU};
use lanrage::io::tun::{TunConfig, TunDevice};
use lanrage::io::udp::UdpPort;
use lanrage_agent_core::batch::Route;
use lanrage_agent_core::dataplane::PeerLink;
use lanrage_shared::ids::{DeviceKey, MemberId};
use lanrage_shared::keys::DeviceSecret;

/// How often WireGuard's timers run.
const TICK: Duration = Duration::from_millis(100);

#[derive(Parser)]
#[command(about = "LANrage's tunnel with one fixed peer, for interoperability tests")]
struct Options {
    /// Name of the TUN interface.
    #[arg(long)]
    tun: String,
    /// Own address with prefix length, e.g. 10.9.0.1/24.
    #[arg(long)]
    address: Ipv4Net,
    /// UDP port.
    #[arg(long)]
    port: u16,
    #[arg(long)]
    private_key_file: PathBuf,
    /// The peer's public key.
    #[arg(long)]
    peer_key: String,
    #[arg(long)]
    peer_endpoint: SocketAddr,
    /// The peer's address inside the tunnel.
    #[arg(long)]
    peer_ip: IpAddr,
    #[arg(long)]
    psk_file: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let secret = DeviceSecret::from_bytes(key_file(&options.private_key_file)?);
    let psk = options.psk_file.as_deref().map(key_file).transpose()?;
    let IpAddr::V4(peer_ip) = options.peer_ip else {
        bail!("--peer-ip must be an IPv4 address")
    };
    let peer_key = DeviceKey(key(&options.peer_key).context("--peer-key")?);

    let tun = TunDevice::create(&TunConfig {
        name: Some(options.tun),
        mtu: MTU,
    })?;
    let own6: Ipv6Addr = "fd00:1a::1".parse()?;
    tun.set_address(options.address.addr(), options.address.prefix_len(), own6, 64)?;
    let (data_plane, mut network) = DataPlane::start(&secret, &tun, UdpPort::bind(Some(options.port))?)?;

    let tunnel = data_plane.wireguard.tunnel(&peer_key, psk);
    let mut link = PeerLink::new(MemberId(2), peer_key, peer_ip, "fd00:1a::2".parse()?, tunnel);
    link.follows_source = true;
    link.set_path(Some(Route::from(options.peer_endpoint).into()));
    let table = data_plane
        .table
        .load()
        .with_peers(options.address.addr(), own6, vec![Arc::new(link)]);
    data_plane.table.store(Arc::new(table));
    println!("ready");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                _ = tick.tick() => data_plane.tick(),
                Some(_) = network.recv() => {}
            }
        }
    })
}

fn key_file(path: &Path) -> Result<[u8; 32]> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    key(text.trim()).with_context(|| format!("{} does not hold a WireGuard key", path.display()))
}

fn key(text: &str) -> Result<[u8; 32]> {
    let bytes = BASE64.decode(text.as_bytes())?;
    bytes.try_into().map_err(|_| anyhow::anyhow!("a key has 32 bytes"))
}
