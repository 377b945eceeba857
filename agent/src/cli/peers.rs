use std::fmt::Write as _;

use clap::Args;

use super::{Context, agent, output};
use crate::api::{Failure, PathKind, PathReport, PeerReport, PeersReport, QualityReport, Request, TrendReport};

/// Show the other members and how they are reached.
#[derive(Debug, Args)]
pub(super) struct Peers {}

impl Peers {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let report: PeersReport = agent::ask(context, &Request::Peers).await?;
        if context.json {
            return output::json(&report);
        }
        output::text(&in_words(&report))
    }
}

pub(super) fn in_words(report: &PeersReport) -> String {
    let Some(party) = &report.party else {
        return format!("This PC is in no party: {}.", output::how_to_get_in());
    };
    if report.peers.is_empty() {
        return format!(
            "There are no other members in {party} yet. The host makes invites with `{}lanrage invite`.",
            output::SUDO
        );
    }
    let header = ["NAME", "ADDRESS", "PATH", "RTT", "QUALITY", "RECEIVED", "SENT"];
    let mut text = output::table(header, report.peers.iter().map(row));
    for peer in &report.peers {
        if let Some(game) = &peer.game {
            let _ = write!(text, "\n\n{} is {} playing {}.", peer.name, game.wording, game.name);
        }
    }
    for peer in &report.peers {
        if let Some(reason) = &peer.reason {
            let _ = write!(text, "\n\n{}: {reason}", peer.name);
        }
    }
    text
}

fn row(peer: &PeerReport) -> [String; 7] {
    let path = match peer.path.kind {
        PathKind::None if !peer.online => "offline".to_owned(),
        _ => path(&peer.path),
    };
    [
        peer.name.to_string(),
        peer.virtual_ip.to_string(),
        path,
        output::millis(peer.path.rtt_ms),
        peer.path.quality.as_ref().map_or("–".to_owned(), quality),
        output::bytes(peer.rx_bytes),
        output::bytes(peer.tx_bytes),
    ]
}

/// `87, 2.1 ms jitter, 0.5 % loss, stable`.
fn quality(quality: &QualityReport) -> String {
    let trend = match quality.trend {
        TrendReport::Improving => "improving",
        TrendReport::Stable => "stable",
        TrendReport::Degrading => "degrading",
    };
    format!(
        "{}, {:.1} ms jitter, {:.1} % loss, {trend}",
        quality.score, quality.jitter_ms, quality.loss_percent
    )
}

/// `direct 203.0.113.7:4000`, `relay fra-1`, `none`.
pub(super) fn path(path: &PathReport) -> String {
    let kind = match path.kind {
        PathKind::Direct => "direct",
        PathKind::Relay => "relay",
        PathKind::None => "none",
    };
    match (path.address, &path.relay) {
        (Some(address), _) => format!("{kind} {address}"),
        (None, Some(relay)) => format!("{kind} {relay}"),
        (None, None) => kind.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use lanrage_shared::api::game::Wording;
    use lanrage_shared::ids::MemberId;

    use super::*;
    use crate::api::PlayingReport;

    fn peer(name: &str, path: PathReport, reason: Option<&str>) -> PeerReport {
        PeerReport {
            name: name.parse().unwrap(),
            member: MemberId(2),
            virtual_ip: "10.64.0.2".parse().unwrap(),
            virtual_ip6: "fd00::2".parse().unwrap(),
            online: true,
            path,
            rx_bytes: 2048,
            tx_bytes: 7,
            last_handshake_s: Some(3),
            reason: reason.map(str::to_owned),
            game: None,
        }
    }

    #[test]
    fn nobody_is_listed_with_the_reason() {
        let alone = PeersReport {
            party: Some("Friday".parse().unwrap()),
            peers: vec![],
        };
        assert!(in_words(&alone).starts_with("There are no other members in Friday yet."));
        let outside = PeersReport {
            party: None,
            peers: vec![],
        };
        assert!(in_words(&outside).starts_with("This PC is in no party"));
    }

    #[test]
    fn peers_are_listed_with_their_path_and_what_is_wrong() {
        let direct = PathReport {
            kind: PathKind::Direct,
            address: Some("203.0.113.7:4000".parse().unwrap()),
            relay: None,
            rtt_ms: Some(21.34),
            since: Some(9),
            quality: Some(QualityReport {
                score: 87,
                jitter_ms: 2.14,
                loss_percent: 0.5,
                trend: TrendReport::Degrading,
            }),
        };
        let none = PathReport {
            kind: PathKind::None,
            address: None,
            relay: None,
            rtt_ms: None,
            since: None,
            quality: None,
        };
        let anna = PeerReport {
            game: Some(PlayingReport {
                name: "Quake".parse().unwrap(),
                wording: Wording::Probably,
            }),
            ..peer("Anna", direct, None)
        };
        let peers = vec![
            anna,
            peer("Ben", none, Some("both routers use symmetric NAT; enable UPnP on one")),
        ];
        assert_eq!(
            in_words(&PeersReport {
                party: Some("Friday".parse().unwrap()),
                peers
            }),
            "NAME  ADDRESS    PATH                     RTT      QUALITY                                   RECEIVED  SENT\n\
             Anna  10.64.0.2  direct 203.0.113.7:4000  21.3 ms  87, 2.1 ms jitter, 0.5 % loss, degrading  2.0 KiB   7 B\n\
             Ben   10.64.0.2  none                     –        –                                         2.0 KiB   7 B\n\n\
             Anna is probably playing Quake.\n\n\
             Ben: both routers use symmetric NAT; enable UPnP on one"
        );
    }
}
