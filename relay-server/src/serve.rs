//! `lanrage-relay serve`: puts the services together, and takes them apart in order.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use lanrage_shared::ids::RelayId;
use lanrage_shared::invite::{ServerLink, host_and_port};
use lanrage_tls::identity::ServerIdentity;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{RelayConfig, RelaySection};
use crate::metrics::{MetricsServer, Sources, registry};
use crate::registration::{Announcement, RegisterToken, Registration};
use crate::relay::{RelayHandle, RelayServer, RelaySettings};
use crate::stun::StunServer;

/// The register token in the environment.
const TOKEN_VARIABLE: &str = "LANRAGE_RELAY_REGISTER_TOKEN";
/// How long members have to move elsewhere before the relay stops. Less than what service managers wait for.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves until `stopped` resolves, then drains.
pub async fn serve(config: RelayConfig, stopped: impl Future<Output = ()>) -> Result<()> {
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let stun = StunServer::bind(&config.stun).await?;
    let stun_counters = stun.counters();
    let relay = match config.relay.control.clone() {
        Some(control) => Some(start_relay(&config, &control, &tasks, &stop)?),
        None => None,
    };
    if let Some(listen) = config.metrics.listen {
        let sources = Sources {
            relay: relay.clone(),
            stun: stun_counters,
        };
        let metrics = MetricsServer::bind(listen).await?;
        tasks.spawn(metrics.run(registry(sources), stop.clone()));
    }
    tasks.spawn(stun.run(stop.clone()));
    tasks.close();
    stopped.await;
    if let Some(relay) = relay {
        relay.drain(DRAIN).await;
    }
    stop.cancel();
    tasks.wait().await;
    Ok(())
}

fn start_relay(
    config: &RelayConfig,
    control: &str,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<RelayHandle> {
    let section = &config.relay;
    let control: ServerLink = control.parse().context("the control server's link is wrong")?;
    let token = register_token(section)?;
    let id: RelayId = needed(section.name.as_deref(), "--name", "fra-1")?
        .parse()
        .map_err(|error| anyhow!("the relay's name is {error}; choose another with --name"))?;
    let region = needed(section.region.as_deref(), "--region", "eu-west")?.to_owned();
    let public = needed(
        section.public_address.as_deref(),
        "--public-address",
        "fra-1.example:443",
    )?;
    let (host, public_port) = host_and_port(public).context("the public address is wrong")?;
    make_private(&section.data_dir)?;
    let identity = ServerIdentity::open(&section.data_dir)?;
    let settings = RelaySettings {
        id,
        listen_addresses: section.listen_addresses.clone(),
        port: section.port,
        limits: (&config.limits).into(),
    };
    let server = RelayServer::bind(settings, &identity)?;
    let handle = server.handle();
    let announcement = Announcement {
        region,
        host: Some(host),
        port: public_port.unwrap_or(server.port()),
        pin: identity.pin,
    };
    let registration = Registration::open(control, token, announcement, handle.clone(), section.data_dir.clone())?;
    tasks.spawn(server.run(stop.clone()));
    tasks.spawn(registration.run(stop.clone()));
    Ok(handle)
}

fn needed<'a>(value: Option<&'a str>, flag: &str, example: &str) -> Result<&'a str> {
    value.ok_or_else(|| anyhow!("a relay needs {flag}: `{flag} {example}`, say, or the same in the configuration file"))
}

fn register_token(section: &RelaySection) -> Result<RegisterToken> {
    let token = match &section.register_token_file {
        Some(file) => RegisterToken::from_file(file).with_context(|| {
            format!(
                "the register token cannot be read from {}; check the path given with --register-token-file",
                file.display()
            )
        })?,
        None => std::env::var(TOKEN_VARIABLE)
            .ok()
            .and_then(|text| RegisterToken::new(&text)),
    };
    token.ok_or_else(|| {
        anyhow!("a relay needs the control server's register token: put it in a file and give that with --register-token-file, or set {TOKEN_VARIABLE}")
    })
}

/// Makes the data directory, for its owner only, when there is none.
fn make_private(dir: &Path) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).with_context(|| {
        format!(
            "the data directory {} cannot be made; make it writable, or name another with --data-dir",
            dir.display()
        )
    })
}
