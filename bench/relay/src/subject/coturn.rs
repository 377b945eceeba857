//! coturn, and clients of its.
//!
//! One end of a pair allocates and binds a channel to the other end's socket. Its payloads reach the server as channel data (a
//! header of 4 bytes), leave it as plain UDP from the allocated port, and need nothing of the other end: the least work a TURN
//! server can have with a packet. It checks permissions and encrypts nothing.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::turn::{Client, PASSWORD, REALM, USER};
use crate::ends::{Receiver, Sender, udp_socket};
use crate::machine;
use crate::process::Process;

/// A TURN server that runs until this is dropped.
pub struct Coturn {
    pub process: Process,
    address: SocketAddr,
    /// Its configuration, log and user database.
    _dir: TempDir,
}

impl Coturn {
    /// Starts it and waits until it answers.
    pub async fn start(core: Option<usize>) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        // Free a moment ago is as good as it gets: coturn takes no port 0.
        let address = udp_socket()?.local_addr()?;
        let config = dir.path().join("turnserver.conf");
        fs::write(&config, configuration(dir.path(), address.port(), core.is_some()))?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("coturn")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if let Some(core) = core {
            command.args(["--core", &core.to_string()]);
        }
        let process = Process::start(&mut command)?;
        let answers = Client::new(udp_socket()?, address)?.wait_for_server().await;
        answers.with_context(|| fs::read_to_string(dir.path().join("log")).unwrap_or_default())?;
        Ok(Self {
            process,
            address,
            _dir: dir,
        })
    }

    pub async fn connect(&self, size: u16) -> Result<(Sender, Receiver)> {
        let peer = udp_socket()?;
        let client = Client::new(udp_socket()?, self.address)?;
        let (socket, header) = client.open_channel(peer.local_addr()?, size).await?;
        Ok((Sender::udp(socket, &header, size), Receiver::udp(peer)?))
    }
}

/// Turns this process into coturn, with a configuration file.
pub fn exec(config: &Path, core: Option<usize>) -> Result<()> {
    machine::be_a_server(core)?;
    let error = Command::new("turnserver").arg("-c").arg(config).exec();
    Err(error).context("cannot run turnserver: install the package coturn, or leave it out with --ways straight,quic")
}

/// As one would run it, with passwords, on loopback; as many relay threads as it has cores. What it would do besides is off.
fn configuration(dir: &Path, port: u16, one_core: bool) -> String {
    let dir = dir.display();
    let ip = Ipv4Addr::LOCALHOST;
    let threads = if one_core { "relay-threads=1\n" } else { "" };
    format!(
        "listening-ip={ip}\nrelay-ip={ip}\nlistening-port={port}\nmin-port=20000\nmax-port=29999\nallow-loopback-peers\n\
         lt-cred-mech\nuser={USER}:{PASSWORD}\nrealm={REALM}\nuserdb={dir}/users\npidfile={dir}/pid\n\
         log-file={dir}/log\nsimple-log\nno-stdout-log\nno-cli\nno-tls\nno-dtls\nno-tcp\nno-tcp-relay\nno-rfc5780\n{threads}"
    )
}
