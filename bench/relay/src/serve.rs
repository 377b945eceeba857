//! The relay under load: no control server, one known token key, no limits that the load could reach.

use std::io::Read;
use std::net::Ipv4Addr;

use anyhow::Result;
use lanrage_relay::relay::{RelayServer, RelaySettings};
use lanrage_relay_core::relay::Limits;
use lanrage_shared::keys::IdentitySecret;
use lanrage_tls::identity::ServerIdentity;
use tokio_util::sync::CancellationToken;

/// Signs relay tokens.
pub const TOKEN_SECRET: [u8; 32] = [3; 32];
pub const NAME: &str = "bench";

/// Serves until standard input ends, which it does with the parent.
pub async fn serve() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let identity = ServerIdentity::open(dir.path())?;
    let settings = RelaySettings {
        id: NAME.parse()?,
        listen_addresses: vec![Ipv4Addr::LOCALHOST.into()],
        port: 0,
        limits: Limits {
            sessions: 100_000,
            member_frames_per_s: 10_000_000,
            member_bytes_per_s: 10_000_000_000,
            egress_bytes_per_s: 10_000_000_000,
        },
    };
    let server = RelayServer::bind(settings, &identity)?;
    server
        .handle()
        .set_token_key(&IdentitySecret::from_bytes(TOKEN_SECRET).public());
    println!("{} {}", server.port(), identity.pin);
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone()));
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    stop.cancel();
    running.await?;
    Ok(())
}
