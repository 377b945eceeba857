//! Our tunnel code against a stock WireGuard: wireguard-go, set up with `wg`.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::internet::which;
use lanrage_tests::lab::ping::Pinger;
use lanrage_tests::lab::process::Process;
use lanrage_tests::lab::{HomeSpec, Lab, Nat, Netns, bins, traffic, wait};

const OURS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const THEIRS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
const MEGABYTES_10: usize = 10_000_000;

#[test]
fn a_stock_wireguard_exchanges_pings_and_ten_megabytes_with_our_tunnel() -> Result<()> {
    let Some(mut lab) = Lab::for_test()? else { return Ok(()) };
    for (program, package) in [("wireguard-go", "wireguard-go"), ("wg", "wireguard-tools")] {
        which(program).with_context(|| format!("this test needs {program}: apt-get install {package}"))?;
    }
    let ours = lab.home(HomeSpec::new(Nat::Open))?.host().clone();
    let theirs = lab.home(HomeSpec::new(Nat::Open))?.host().clone();
    let dir = lab.dir();
    let (our_key, their_key) = (key_pair(dir, "ours")?, key_pair(dir, "theirs")?);
    let psk = secret(dir, "psk", &wg(&["genpsk"], "")?)?;

    // wireguard-go keeps its control socket by interface name in a directory all namespaces share.
    let interface = format!("wg{}", std::process::id());
    let mut go = theirs.netns.command("wireguard-go");
    go.args(["-f", &interface])
        .env("LOG_LEVEL", "error")
        .env("WG_PROCESS_FOREGROUND", "1");
    let mut go = Process::spawn(go, "wireguard-go", dir)?;
    wait::until("wireguard-go to make its interface", Duration::from_secs(5), || {
        go.died()
            .map(Err)
            .or_else(|| takes_orders(&theirs.netns, &interface).then_some(Ok(())))
    })??;
    let endpoint = format!("{}:51821", ours.address);
    theirs.netns.run(
        "wg",
        &[
            "set",
            &interface,
            "listen-port",
            "51822",
            "private-key",
            &their_key.private,
            "peer",
            &our_key.public,
            "preshared-key",
            &psk,
            "endpoint",
            &endpoint,
            "allowed-ips",
            "10.99.0.1/32",
        ],
    )?;
    theirs.netns.ip(&format!(
        "addr add {THEIRS}/24 dev {interface}\nlink set {interface} mtu 1280\nlink set {interface} up\n"
    ))?;

    let mut peer = ours.netns.command(bins::find("lanrage-static-peer")?);
    peer.args([
        "--tun",
        "lrstatic",
        "--address",
        &format!("{OURS}/24"),
        "--port",
        "51821",
    ])
    .args(["--private-key-file", &our_key.private, "--peer-key", &their_key.public])
    .args([
        "--peer-endpoint",
        &format!("{}:51822", theirs.address),
        "--peer-ip",
        &THEIRS.to_string(),
    ])
    .args(["--psk-file", &psk]);
    let mut peer = Process::spawn(peer, "static-peer", dir)?;
    peer.wait_for_line("ready", Duration::from_secs(10))?;

    let limit = Duration::from_secs(10);
    Pinger::new(&ours.netns, THEIRS)?
        .first_answer(Duration::from_millis(100), limit)
        .with_context(|| format!("ours to theirs; our log:\n{}", peer.log()))?;
    Pinger::new(&theirs.netns, OURS)?
        .first_answer(Duration::from_millis(100), limit)
        .context("theirs to ours")?;
    traffic::transfer(&ours.netns, &theirs.netns, IpAddr::from(THEIRS), MEGABYTES_10).context("10 MB to theirs")?;
    traffic::transfer(&theirs.netns, &ours.netns, IpAddr::from(OURS), MEGABYTES_10).context("10 MB to ours")?;
    let shown = theirs.netns.run("wg", &["show", &interface, "latest-handshakes"])?;
    ensure!(!shown.trim().ends_with("\t0"), "wg saw no handshake: {shown}");
    Ok(())
}

/// A key pair: the public key as text, the private one as the path of a file only root reads.
struct KeyPair {
    public: String,
    private: String,
}

fn key_pair(dir: &Path, name: &str) -> Result<KeyPair> {
    let private = wg(&["genkey"], "")?;
    Ok(KeyPair {
        public: wg(&["pubkey"], &private)?.trim().to_owned(),
        private: secret(dir, &format!("{name}.key"), &private)?,
    })
}

fn secret(dir: &Path, name: &str, text: &str) -> Result<String> {
    let path = dir.join(name);
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(path.to_string_lossy().into_owned())
}

fn wg(arguments: &[&str], input: &str) -> Result<String> {
    use std::io::Write;
    use std::process::Stdio;
    let mut child = Command::new("wg")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().context("no stdin")?.write_all(input.as_bytes())?;
    Ok(String::from_utf8(child.wait_with_output()?.stdout)?)
}

/// Whether wireguard-go listens on the interface's socket. Asking `wg` instead could come between its bind and its listen, and
/// `wg` deletes a socket that refuses it.
fn takes_orders(netns: &Netns, interface: &str) -> bool {
    /// `__SO_ACCEPTCON`, as proc(5) shows it.
    const LISTENS: &str = " 00010000 ";
    let socket = format!("/{interface}.sock");
    let sockets = netns.run("cat", &["/proc/net/unix"]).unwrap_or_default();
    sockets
        .lines()
        .any(|line| line.trim_end().ends_with(&socket) && line.contains(LISTENS))
}
