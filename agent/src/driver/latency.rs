//! Servers outside the party, and how far they are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lanrage_agent_core::latency::Latency;
use tokio::sync::watch;

use super::report;
use crate::api::{LatenciesReport, LatencyReport, ServerAddress};
use crate::io::latency::{self, Method};

/// Servers watched at a time; each is looked at in its turn.
pub const MOST: usize = 32;
/// Where a TCP connection is tried when nobody said.
const DEFAULT_PORT: u16 = 443;
/// Longest wait for something to become due.
const IDLE: Duration = Duration::from_secs(3600);

/// One server, and what the last look said besides numbers.
#[derive(Debug, Default)]
struct Watched {
    latency: Latency,
    method: Option<Method>,
    reason: Option<String>,
}

/// Watches the servers on the list, on the current runtime. Ends when nobody gives or takes any more.
pub fn watch(list: watch::Receiver<Vec<ServerAddress>>) -> watch::Receiver<Arc<LatenciesReport>> {
    let (publish, published) = watch::channel(Arc::default());
    tokio::spawn(run(list, publish));
    published
}

async fn run(mut list: watch::Receiver<Vec<ServerAddress>>, publish: watch::Sender<Arc<LatenciesReport>>) {
    let mut watched: BTreeMap<ServerAddress, Watched> = BTreeMap::new();
    let mut looking: Option<BoxFuture<'static, (ServerAddress, Look)>> = None;
    loop {
        let wanted = list.borrow_and_update().clone();
        watched.retain(|server, _| wanted.contains(server));
        for server in wanted {
            watched.entry(server).or_default();
        }
        publish.send_replace(Arc::new(LatenciesReport {
            servers: watched
                .iter()
                .map(|(server, watched)| report(server, watched))
                .collect(),
        }));
        let now = Instant::now();
        let due = |watched: &Watched| watched.latency.poll_timeout().unwrap_or(now);
        let next = watched.iter().min_by_key(|(_, watched)| due(watched));
        let (server, at) = next.map_or((None, now + IDLE), |(server, watched)| {
            (Some(server.clone()), due(watched))
        });
        let is_looking = looking.is_some();
        let looked = async {
            match &mut looking {
                Some(look) => look.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = list.changed() => if changed.is_err() {
                return;
            },
            () = publish.closed() => return,
            (server, look) = looked => {
                looking = None;
                if let Some(watched) = watched.get_mut(&server) {
                    watched.handle_look(&server, look);
                }
            }
            () = tokio::time::sleep_until(at.into()), if !is_looking => {
                looking = server.map(|server| look(server).boxed());
            }
        }
    }
}

/// How it was measured and what came of it, or why it was not.
type Look = Result<(Method, [Option<Duration>; 3]), String>;

async fn look(server: ServerAddress) -> (ServerAddress, Look) {
    let found = latency::look_up(&server.host, server.port.unwrap_or(DEFAULT_PORT)).await;
    let look = match found {
        Ok(address) => {
            let measured = tokio::task::spawn_blocking(move || latency::measure(address)).await;
            measured.map_err(|error| error.to_string())
        }
        Err(error) => Err(format!("{} cannot be looked up: {error}", server.host)),
    };
    (server, look)
}

impl Watched {
    fn handle_look(&mut self, server: &ServerAddress, look: Look) {
        let answers = match look {
            Ok((method, answers)) => {
                let port = server.port.unwrap_or(DEFAULT_PORT);
                self.method = Some(method);
                self.reason = answers.iter().all(Option::is_none).then(|| {
                    format!(
                        "it answers neither pings nor TCP connections to port {port}; name a port that it serves, as in {}:PORT",
                        server.host
                    )
                });
                answers
            }
            Err(why) => {
                self.reason = Some(why);
                [None; 3]
            }
        };
        self.latency.handle_look(answers, Instant::now());
    }
}

fn report(server: &ServerAddress, watched: &Watched) -> LatencyReport {
    let quality = watched.latency.quality();
    LatencyReport {
        server: server.clone(),
        rtt_ms: quality.map(|quality| report::hundredths(quality.rtt_ms)),
        jitter_ms: quality.map(|quality| report::hundredths(quality.jitter_ms)),
        loss_percent: quality.map(|quality| report::hundredths(quality.loss_percent)),
        trend: quality.map(|quality| report::trend(quality.trend)),
        measured_by: watched
            .method
            .filter(|_| watched.latency.answers())
            .map(|method| match method {
                Method::Icmp => "icmp".to_owned(),
                Method::Tcp => "tcp".to_owned(),
            }),
        interval_s: watched.latency.interval().as_secs(),
        reason: watched.reason.clone(),
    }
}
