use clap::Args;

use super::{Context, agent, output};
use crate::api::{Failure, RelayReport, RelaysReport, Request};

/// Show the relays that pass packets on where no direct path is found.
#[derive(Debug, Args)]
pub(super) struct Relays {}

impl Relays {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let report: RelaysReport = agent::ask(context, &Request::Relays).await?;
        if context.json {
            return output::json(&report);
        }
        output::text(&in_words(&report))
    }
}

fn in_words(report: &RelaysReport) -> String {
    if report.party.is_none() {
        return format!("This PC is in no party: {}.", output::how_to_get_in());
    }
    if report.relays.is_empty() {
        return "The server offers no relay: whoever runs it can start it with --with-relay, or run `lanrage-relay` beside it."
            .to_owned();
    }
    let header = ["RELAY", "REGION", "RTT", "LOAD", "PEERS", "WHY"];
    output::table(header, report.relays.iter().map(row))
}

fn row(relay: &RelayReport) -> [String; 6] {
    [
        relay.id.to_string(),
        relay
            .region
            .clone()
            .filter(|region| !region.is_empty())
            .unwrap_or("–".to_owned()),
        output::millis(relay.rtt_ms),
        relay.load.map_or("–".to_owned(), |load| format!("{load} %")),
        relay.peers.to_string(),
        relay.why.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relays_are_listed_or_their_absence_is_explained() {
        let relay = RelayReport {
            id: "fra-1".parse().unwrap(),
            region: Some("eu".into()),
            load: Some(12),
            connected: true,
            home: true,
            rtt_ms: Some(20.04),
            peers: 2,
            why: "home: near".into(),
        };
        let report = |relays| RelaysReport {
            party: Some("Friday".parse().unwrap()),
            relays,
        };
        assert_eq!(
            in_words(&report(vec![relay])),
            "RELAY  REGION  RTT      LOAD  PEERS  WHY\nfra-1  eu      20.0 ms  12 %  2      home: near"
        );
        assert!(in_words(&report(vec![])).contains("--with-relay"));
    }
}
