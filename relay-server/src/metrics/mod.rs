//! What the relay counts, for Prometheus.

use std::fmt;
use std::sync::Arc;

pub use lanrage_observe::metrics::MetricsServer;
use lanrage_observe::metrics::{Out, Process};
use lanrage_relay_core::relay::DropReason;
use lanrage_relay_core::stun;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;

use crate::relay::{Outcome, RelayHandle};
use crate::stun::Counters as StunCounters;

/// What is counted; read when asked for.
#[derive(Debug)]
pub struct Sources {
    pub relay: Option<RelayHandle>,
    pub stun: Arc<StunCounters>,
}

/// Everything that is counted.
pub fn registry(sources: Sources) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Process));
    let ours = registry.sub_registry_with_prefix("lanrage");
    ours.register_collector(Box::new(sources));
    let relay = ours.sub_registry_with_prefix("relay");
    relay.register_collector(Box::new(Build));
    registry
}

/// Which relay it is that runs.
#[derive(Debug)]
struct Build;

impl Collector for Build {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        Out(&mut encoder).build_info(env!("CARGO_PKG_VERSION"))
    }
}

impl Collector for Sources {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(&mut encoder);
        if let Some(relay) = &self.relay {
            let (sessions, parties) = relay.population();
            let counters = relay.counters();
            out.gauge("relay_sessions", "Members connected", sessions.into())?;
            out.gauge("relay_parties", "Parties with members connected", parties as f64)?;
            out.counter("relay_forwarded_frames", "Frames passed on", counters.forwarded())?;
            out.counter("relay_forwarded_bytes", "Bytes passed on", counters.forwarded_bytes())?;
            out.counter("relay_queued_frames", "Frames that had to wait", counters.queued())?;
            let dropped = DropReason::ALL.map(|reason| (reason_is(reason.label()), counters.dropped(reason)));
            out.counters("relay_dropped_frames", "Frames dropped", dropped)?;
            let handshakes = relay.handshakes();
            let handshakes = Outcome::all().map(|it| ([("outcome", it.label())], handshakes.count_of(it)));
            out.counters("relay_handshakes", "What became of connections", handshakes)?;
        }
        out.counter("stun_answered_requests", "STUN requests answered", self.stun.answered())?;
        let dropped = stun::DropReason::ALL.map(|reason| (reason_is(reason.label()), self.stun.dropped(reason)));
        out.counters("stun_dropped_datagrams", "Datagrams that got no answer", dropped)
    }
}

fn reason_is(label: &'static str) -> [(&'static str, &'static str); 1] {
    [("reason", label)]
}
