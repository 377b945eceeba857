//! Our relay, and members of parties of two.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use lanrage_relay_client::{Connected, Credentials, RelayEndpoint, Target, Transport, connect_tcp};
use lanrage_shared::ids::{DeviceKey, MemberId, PartyId};
use lanrage_shared::keys::IdentitySecret;
use lanrage_shared::token::{Claims, RelayClaims, TokenSigner};
use tokio::time::sleep;
use uuid::Uuid;

use super::KEEP_ALIVE;
use crate::ends::{Receiver, Sender};
use crate::process::Process;
use crate::serve::{NAME, TOKEN_SECRET};

const SENDER: MemberId = MemberId(1);
const RECEIVER: MemberId = MemberId(2);
/// Between two connects: a relay lets one address begin 256 handshakes a second.
const CONNECT_PAUSE: Duration = Duration::from_millis(5);

/// A relay that runs until this is dropped.
pub struct Relay {
    pub process: Process,
    target: Target,
}

impl Relay {
    pub fn start(core: Option<usize>) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(core) = core {
            command.args(["--core", &core.to_string()]);
        }
        let mut process = Process::start(&mut command)?;
        let stdout = process.child().stdout.take().context("its output is a pipe")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let (port, pin) = line.trim().split_once(' ').context("the relay did not start")?;
        let target = Target {
            address: (Ipv4Addr::LOCALHOST, port.parse()?).into(),
            pin: pin.parse()?,
        };
        Ok(Self { process, target })
    }

    pub async fn connect(&self, transport: Transport, pair: u16, size: u16) -> Result<(Sender, Receiver)> {
        let from = self.member(transport, pair, SENDER).await?;
        let to = self.member(transport, pair, RECEIVER).await?;
        Ok((
            Sender::relay(from.sender, from.events, RECEIVER, size),
            Receiver::relay(to.events, to.sender),
        ))
    }

    async fn member(&self, transport: Transport, pair: u16, member: MemberId) -> Result<Connected> {
        sleep(CONNECT_PAUSE).await;
        let credentials = credentials(pair, member)?;
        Ok(match transport {
            Transport::Tcp => connect_tcp(self.target, &credentials).await?,
            Transport::Quic => {
                // A socket for each, as on PCs of their own.
                let endpoint = RelayEndpoint::bind((Ipv4Addr::LOCALHOST, 0).into(), KEEP_ALIVE)?;
                endpoint.connect(self.target, &credentials).await?
            }
        })
    }
}

fn credentials(pair: u16, member: MemberId) -> Result<Credentials> {
    let mut secret = [9; 32];
    secret[..2].copy_from_slice(&pair.to_be_bytes());
    secret[2..4].copy_from_slice(&member.0.to_be_bytes());
    let identity = Arc::new(IdentitySecret::from_bytes(secret));
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let claims = RelayClaims {
        aud: RelayClaims::AUDIENCE.into(),
        relay: NAME.parse()?,
        party: PartyId(Uuid::from_u128(pair.into())),
        member,
        identity_key: identity.public(),
        device_key: DeviceKey(secret),
        epoch: 1,
        iat: now,
        exp: now + 3600,
    };
    let signer = TokenSigner::from_pkcs8_der(SigningKey::from_bytes(&TOKEN_SECRET).to_pkcs8_der()?.as_bytes());
    Ok(Credentials {
        token: signer.sign(&claims)?,
        identity,
    })
}
