//! What the agent says about itself and its peers.

use std::time::Instant;

use lanrage_agent_core::batch::Route;
use lanrage_agent_core::engine::{Engine, PeerView};
use lanrage_agent_core::path::Trend;
use lanrage_agent_core::relays::KnownRelay;

use super::adapter::AdapterKeeper;
use super::dataplane::Network;
use super::party::PartySession;
use super::relay_words;
use crate::api::{
    AgentState, DeviceReport, KeepaliveReport, NatKeepaliveReport, NatReport, PartyReport, PathKind, PathReport,
    PeerReport, PeersReport, PlayingReport, QualityReport, RelayReport, RelaysReport, ServerReport, StatusReport,
    TrendReport,
};
use crate::doctor::party::CLOCK_WARNING_MS;

/// `status`, in a party or not.
pub fn status(
    device: DeviceReport,
    session: Option<&PartySession>,
    network: &Network,
    adapter: &AdapterKeeper,
    notices: &[String],
    now: Instant,
) -> StatusReport {
    let drops = network.drops().into_iter();
    let drops = drops.map(|(reason, count)| (reason.to_owned(), count)).collect();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let mut warnings = notices.to_vec();
    let Some(session) = session else {
        return StatusReport {
            state: AgentState::Idle,
            version,
            device,
            party: None,
            virtual_ip: None,
            virtual_ip6: None,
            nat: NatReport {
                kind: "not measured: in no party".to_owned(),
                ..NatReport::default()
            },
            server: ServerReport::default(),
            keepalive: KeepaliveReport::default(),
            lan: adapter.report(now),
            drops,
            warnings,
        };
    };
    let off = session.cache.clock_offset_ms.unsigned_abs();
    if off > CLOCK_WARNING_MS {
        warnings.push(format!("this PC's clock is {} s off the server's; set it", off / 1000));
    }
    if session.server_reachable && !session.engine.has_stun() && !session.services_changed {
        warnings.push(
            "the server has no STUN service, so PCs behind routers cannot connect directly: whoever runs it has to start it with --with-relay, or name the relay's STUN ports in its [services]"
                .to_owned(),
        );
    }
    if session.engine.is_stun_silent() {
        warnings.push(
            "the server's STUN ports do not answer (UDP 3478 and 3479, unless set otherwise): whoever runs it has to open them in its firewall"
                .to_owned(),
        );
    }
    let left = adapter.left().iter();
    warnings.extend(left.map(|fault| format!("{fault}; `lanrage doctor` says what to do")));
    let net = &session.cache.party.net;
    StatusReport {
        state: match &session.server_problem {
            _ if session.server_reachable => AgentState::Connected,
            Some(_) => AgentState::Disconnected,
            None => AgentState::Connecting,
        },
        version,
        device,
        party: party(session),
        virtual_ip: Some(net.member_v4(session.cache.me)),
        virtual_ip6: Some(net.member_v6(session.cache.me)),
        nat: nat(&session.engine),
        server: ServerReport {
            address: Some(session.cache.server.authority()),
            reachable: session.server_reachable,
            since: Some(seconds(session.server_since, now)),
            reason: session.server_problem.clone(),
        },
        keepalive: keepalive(&session.engine),
        lan: adapter.report(now),
        drops,
        warnings,
    }
}

fn keepalive(engine: &Engine) -> KeepaliveReport {
    let (pause, counts) = engine.keepalives();
    let by_nat = counts.iter().map(|(nat, counts)| {
        let report = NatKeepaliveReport {
            sent: counts.sent,
            lost: counts.lost,
            fixed_25_s: counts.fixed(),
        };
        ((*nat).to_owned(), report)
    });
    KeepaliveReport {
        pause_s: pause.map(|pause| pause.as_secs()),
        sent: counts.values().map(|counts| counts.sent).sum(),
        lost: counts.values().map(|counts| counts.lost).sum(),
        by_nat: by_nat.collect(),
    }
}

/// The party as `status`, `host` and `join` show it.
pub fn party(session: &PartySession) -> Option<PartyReport> {
    let party = &session.cache.party;
    let me = session.me()?;
    let host = party.members.iter().find(|member| member.id == party.host);
    Some(PartyReport {
        id: party.id,
        name: party.name.clone(),
        member: me.id,
        member_name: me.name.clone(),
        is_host: party.host == me.id,
        host: host.map(|host| host.name.clone()),
        members: party.members.len(),
        epoch: party.epoch,
    })
}

fn nat(engine: &Engine) -> NatReport {
    let (report, summary) = (engine.nat(), engine.nat_summary());
    NatReport {
        mapping: summary.mapping,
        filtering: report.filtering,
        kind: summary.common_name().to_owned(),
        public_address: report.public_address.or(report.public_address6),
        port_mapping: engine.port_mapping(),
    }
}

/// `relays`.
pub fn relays(session: Option<&PartySession>, now: Instant) -> RelaysReport {
    let Some(session) = session else {
        return RelaysReport {
            party: None,
            relays: Vec::new(),
        };
    };
    let (own, known) = (session.engine.relays(), session.engine.known_relays());
    let offered = &session.cache.services.relays;
    let report = |relay: &KnownRelay| {
        let id = &relay.relay.id;
        let offer = offered.iter().find(|offer| offer.id == *id);
        let peers = session.engine.peers().filter(|view| view.relay.as_ref() == Some(id));
        RelayReport {
            id: id.clone(),
            region: offer.map(|relay| relay.region.clone()),
            load: offer.map(|relay| relay.load),
            connected: own.iter().any(|own| own.id == *id),
            home: own.first().is_some_and(|home| home.id == *id),
            rtt_ms: relay.rtt.map(|rtt| hundredths(rtt.as_secs_f64() * 1000.0)),
            peers: peers.count(),
            why: relay_words::why(relay, known, now),
        }
    };
    RelaysReport {
        party: Some(session.cache.party.name.clone()),
        relays: known.iter().map(report).collect(),
    }
}

/// `peers`.
pub fn peers(session: Option<&PartySession>, now: Instant) -> PeersReport {
    let Some(session) = session else {
        return PeersReport {
            party: None,
            peers: Vec::new(),
        };
    };
    PeersReport {
        party: Some(session.cache.party.name.clone()),
        peers: session.engine.peers().map(|view| peer(session, view, now)).collect(),
    }
}

fn peer(session: &PartySession, view: PeerView, now: Instant) -> PeerReport {
    let link = session.link(view.member.id);
    let (rx_bytes, tx_bytes) = link.map(|link| link.bytes()).unwrap_or_default();
    let path = path(&view, now);
    PeerReport {
        name: view.member.name,
        member: view.member.id,
        virtual_ip: view.member.virtual_ip,
        virtual_ip6: view.member.virtual_ip6,
        online: view.online,
        path,
        rx_bytes,
        tx_bytes,
        last_handshake_s: link.and_then(|link| link.last_handshake()).map(|age| age.as_secs()),
        reason: view.reason,
        game: view.playing.map(|playing| PlayingReport {
            name: playing.name,
            wording: playing.wording,
        }),
    }
}

/// A peer's path as reports show it.
pub fn path(view: &PeerView, now: Instant) -> PathReport {
    let path = view.path;
    PathReport {
        kind: match path.map(|path| path.route) {
            Some(Route::Direct(_) | Route::Side { .. }) => PathKind::Direct,
            Some(Route::Relay { .. }) => PathKind::Relay,
            None => PathKind::None,
        },
        address: path.and_then(|path| path.route.address()),
        relay: view.relay.clone(),
        rtt_ms: path.and_then(|path| path.rtt_ms).map(hundredths),
        since: path.map(|path| seconds(path.since, now)),
        quality: path.and_then(|path| path.quality).map(|quality| QualityReport {
            score: quality.score,
            jitter_ms: hundredths(quality.jitter_ms),
            loss_percent: hundredths(quality.loss_percent),
            trend: trend(quality.trend),
        }),
    }
}

/// Where a round-trip time is heading.
pub fn trend(trend: Trend) -> TrendReport {
    match trend {
        Trend::Improving => TrendReport::Improving,
        Trend::Stable => TrendReport::Stable,
        Trend::Degrading => TrendReport::Degrading,
    }
}

/// Two digits behind the point.
pub fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn seconds(since: Instant, now: Instant) -> u64 {
    now.saturating_duration_since(since).as_secs()
}
