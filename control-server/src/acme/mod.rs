//! Certificates of an authority for the server's own key (RFC 8555, HTTP-01), ordered when there is a domain and renewed in time.
//!
//! Agents know the server by its key and need none of this. So whatever goes wrong here is logged and tried again later, and the
//! server goes on with the certificate it has.

mod account;
mod challenges;
mod kept;
mod order;
mod schedule;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::challenges::Challenges;
use self::kept::Kept;
use self::schedule::next_attempt;
use crate::config::AcmeConfig;
use crate::metrics::certificate_expires;
use crate::router::overload_router;
use crate::tls::{Allowance, Listening, Places, ServerIdentity, serve};

/// Connections at once: an authority looks from a handful of places, so nobody else may take them all.
const CONNECTIONS: usize = 64;
const CONNECTIONS_PER_ADDRESS: usize = 4;

/// Why no certificate can be ordered, known before the server starts.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    #[error(
        "cannot listen on {address} for the authority's question ({why}): free that port, or set [acme] http_listen to where port 80 of the name is forwarded to"
    )]
    Listen { address: SocketAddr, why: io::Error },
    #[error(
        "{name:?} is not a name that a certificate can be for: it is like lan.example.org, without port or https://"
    )]
    NotAName { name: String },
}

/// Orders certificates.
pub struct Acme {
    config: AcmeConfig,
    domain: String,
    kept: Kept,
    identity: ServerIdentity,
    tcp: TcpListener,
    challenges: Arc<Challenges>,
    allowance: Allowance,
}

impl Acme {
    /// Takes the port of the authority's question, and shows the certificate there is. None without a domain.
    pub async fn open(
        config: &AcmeConfig,
        data_dir: &Path,
        identity: &ServerIdentity,
        allowance: Allowance,
    ) -> Result<Option<Self>, AcmeError> {
        let Some(domain) = &config.domain else {
            return Ok(None);
        };
        if !is_name(domain) {
            return Err(AcmeError::NotAName { name: domain.clone() });
        }
        let address = config.http_listen;
        let tcp = TcpListener::bind(address).await;
        let tcp = tcp.map_err(|why| AcmeError::Listen { address, why })?;
        let acme = Self {
            config: config.clone(),
            domain: domain.clone(),
            kept: Kept::new(data_dir, domain),
            identity: identity.clone(),
            tcp,
            challenges: Arc::default(),
            allowance,
        };
        Ok(Some(acme))
    }

    /// Has a certificate for as long as the server runs.
    pub async fn run(self, shutdown: CancellationToken) {
        let listening = Listening {
            tcp: self.tcp,
            tls: None,
            router: challenges::router(Arc::clone(&self.challenges)),
            overload: overload_router(),
            places: Places::new(CONNECTIONS, CONNECTIONS_PER_ADDRESS),
            allowance: self.allowance,
        };
        let ordering = Ordering {
            config: self.config,
            domain: self.domain,
            kept: self.kept,
            identity: self.identity,
            challenges: self.challenges,
        };
        tokio::select! {
            () = serve(listening, shutdown.clone()) => {}
            () = ordering.run() => {}
        }
    }
}

struct Ordering {
    config: AcmeConfig,
    domain: String,
    kept: Kept,
    identity: ServerIdentity,
    challenges: Arc<Challenges>,
}

impl Ordering {
    async fn run(&self) {
        let mut failures = 0;
        let mut tried = SystemTime::UNIX_EPOCH;
        let mut shown = self.show_kept();
        loop {
            let due = next_attempt(shown, failures, tried);
            if let Ok(wait) = due.duration_since(SystemTime::now()) {
                // In steps, as the machine may sleep and its clock may be set.
                tokio::time::sleep(wait.min(Duration::from_secs(3600))).await;
                continue;
            }
            tried = SystemTime::now();
            let ordered = self.order().await;
            if ordered.is_ok() {
                shown = self.show_kept();
            }
            // One that is of no use, or by this machine's clock is over already, must not be ordered again and again.
            let ordered = ordered.and_then(|()| {
                let lasts = next_attempt(shown, 0, tried) > tried;
                anyhow::ensure!(
                    lasts,
                    "the authority's certificate cannot be used: is this machine's clock right?"
                );
                Ok(())
            });
            match ordered {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    let next = next_attempt(shown, failures, tried);
                    let minutes = next.duration_since(tried).unwrap_or_default().as_secs() / 60;
                    tracing::warn!(
                        "no certificate for {}: {error:#}; agents do not need one. The next attempt is in {minutes} min",
                        self.domain
                    );
                }
            }
        }
    }

    /// Shows the certificate that is kept; from when to when it holds.
    fn show_kept(&self) -> Option<schedule::Validity> {
        let (chain, validity) = self.kept.chain()?;
        match self.identity.show(&chain) {
            Ok(()) => {
                tracing::info!("clients are shown a certificate for {}", self.domain);
                certificate_expires(validity.until);
                Some(validity)
            }
            Err(error) => {
                tracing::warn!(%error, "the kept certificate is not used, and another one is ordered");
                None
            }
        }
    }

    async fn order(&self) -> anyhow::Result<()> {
        let account = account::open(&self.config, &self.kept).await?;
        let request = self.identity.request(&self.domain)?;
        let chain = order::order(&account, &self.domain, &request, &self.challenges).await?;
        self.kept.keep_chain(&chain)?;
        Ok(())
    }
}

/// Whether it is a host name with a dot in it. Others get no certificate, and must not become names of files.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.len() < 64 && label.bytes().all(inside) && !label.starts_with('-')
    };
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    name.len() < 254 && name.contains('.') && !is_number && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_of_a_host() {
        for name in ["lan.example", "a-b.c.example.org", "1.example"] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "",
            "lan",
            "https://a.b",
            "a.b:8443",
            "../a.b",
            "a..b",
            "-a.b",
            "192.0.2.1",
            "a b.c",
        ] {
            assert!(!is_name(name), "{name}");
        }
    }
}
