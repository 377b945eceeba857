//! How the server is at the moment it is asked.

use std::fmt;

use lanrage_store::Totals;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;

/// The server in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Snapshot {
    /// Of the server.
    pub version: String,
    /// What the database is.
    pub database: String,
    /// In the database; absent while it does not answer.
    pub parties: Option<u64>,
    /// Of all parties; absent while the database does not answer.
    pub members: Option<u64>,
    pub parties_online: u64,
    pub members_online: u64,
    /// Open WebSockets: streams of agents and links of relays.
    pub streams: u64,
    /// HTTPS connections, streams included.
    pub connections: u64,
    pub relays_ready: u64,
    pub relays_draining: u64,
}

impl Snapshot {
    /// As of now.
    pub async fn take(app: &App) -> Self {
        let totals: Option<Totals> = app.store.totals().await.ok();
        // Of this replica: whoever adds them up counts nobody twice.
        let online = app.roster.here();
        let mut parties: Vec<_> = online.iter().map(|seat| seat.party).collect();
        parties.sort_unstable();
        parties.dedup();
        let relays = app.relays.list(app.clock.uptime_ms());
        let draining = relays.iter().filter(|relay| relay.draining).count();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            database: app.store.kind().to_owned(),
            parties: totals.map(|totals| totals.parties),
            members: totals.map(|totals| totals.members),
            parties_online: parties.len() as u64,
            members_online: online.len() as u64,
            streams: app.streams.len() as u64,
            connections: app.places.taken() as u64,
            relays_ready: (relays.len() - draining) as u64,
            relays_draining: draining as u64,
        }
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let gauges = [
            ("parties", "Parties in the database", self.parties),
            ("members", "Members of all parties", self.members),
            (
                "parties_online",
                "Parties with connected members",
                Some(self.parties_online),
            ),
            (
                "members_online",
                "Members that are connected",
                Some(self.members_online),
            ),
            ("streams", "Open WebSockets of agents and relays", Some(self.streams)),
            (
                "connections",
                "HTTPS connections, streams included",
                Some(self.connections),
            ),
        ];
        for (name, help, value) in gauges {
            let Some(value) = value else { continue };
            let gauge = gauge(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let kind = gauge(0).metric_type();
        let mut relays = encoder.encode_descriptor("relays", "Relays, by state", None, kind)?;
        for (state, count) in [("ready", self.relays_ready), ("draining", self.relays_draining)] {
            gauge(count).encode(relays.encode_family(&[("state", state)])?)?;
        }
        let help = "Always 1; the labels say what runs";
        let mut build = encoder.encode_descriptor("build_info", help, None, kind)?;
        let labels = [("version", self.version.as_str()), ("database", self.database.as_str())];
        gauge(1).encode(build.encode_family(&labels)?)
    }
}

fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}
