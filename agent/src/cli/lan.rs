use clap::Args;
use lanrage_agent_core::broadcast::{PortSpan, Rejection, Service};

use super::{Context, agent, output};
use crate::api::{BridgeChange, BridgeMode, BridgeReport, Failure, Request};

/// Show what games send to everybody that is passed on to the party, or change what is.
#[derive(Debug, Args)]
pub(super) struct Lan {
    /// Pass on every UDP broadcast and multicast, whatever game it is of.
    #[arg(long, conflicts_with = "games")]
    open: bool,
    /// Pass on the ports of known games and those allowed by hand, which is the default.
    #[arg(long)]
    games: bool,
    /// Also pass on these ports, for a game that is not known: 4445 or 5000-5010. Can be given more than once.
    #[arg(long, value_name = "PORTS")]
    allow: Vec<PortSpan>,
    /// Take back what was allowed, in the same form.
    #[arg(long, value_name = "PORTS")]
    forbid: Vec<PortSpan>,
    /// Also pass on what printers, media servers and Windows' network neighbourhood announce; every member decides for itself.
    #[arg(long, value_name = "SERVICE", value_parser = service)]
    with: Vec<Service>,
    /// Pass it on no longer.
    #[arg(long, value_name = "SERVICE", value_parser = service)]
    without: Vec<Service>,
}

fn service(text: &str) -> Result<Service, String> {
    let found = Service::ALL.into_iter().find(|service| service.name() == text);
    found.ok_or_else(|| "it is one of mdns, ssdp and netbios".to_owned())
}

impl Lan {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let mode = match (self.open, self.games) {
            (true, _) => Some(BridgeMode::Open),
            (_, true) => Some(BridgeMode::Games),
            _ => None,
        };
        let change = BridgeChange {
            mode,
            allow: self.allow,
            forbid: self.forbid,
            with: self.with,
            without: self.without,
        };
        let report: BridgeReport = agent::ask(context, &Request::Bridge { change }).await?;
        if context.json {
            return output::json(&report);
        }
        output::text(&in_words(&report))
    }
}

fn in_words(report: &BridgeReport) -> String {
    let what = match report.mode {
        BridgeMode::Open => "every UDP broadcast and multicast of this PC".to_owned(),
        BridgeMode::Games => format!("broadcasts and multicasts to the ports of {} known games", report.games),
    };
    let mut lines = vec![format!("Passed on to the party: {what}.")];
    if !report.ports.is_empty() {
        lines.push(format!("Also these ports: {}.", list(&report.ports)));
    }
    let services: Vec<_> = report.services.iter().map(|service| service.name()).collect();
    if !services.is_empty() {
        lines.push(format!("Also, in both directions: {}.", services.join(", ")));
    }
    lines.push("Never: DHCP, LLMNR, NetBIOS names.".to_owned());
    lines.push(format!(
        "{} packets were passed on, {} came in.",
        report.sent, report.received
    ));
    for (count, what) in [
        (&report.not_sent, "not passed on"),
        (&report.not_received, "not let in"),
    ] {
        if !count.is_empty() {
            let words =
                |label: &str| Rejection::of_label(label).map_or(label.to_owned(), |known| known.in_words().to_owned());
            let reasons = count.iter().map(|(label, count)| format!("{count} {}", words(label)));
            lines.push(format!("Packets {what}: {}.", reasons.collect::<Vec<_>>().join("; ")));
        }
    }
    lines.join("\n")
}

fn list(spans: &[PortSpan]) -> String {
    spans.iter().map(PortSpan::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_on_is_told_in_words() {
        let report = BridgeReport {
            mode: BridgeMode::Games,
            games: 246,
            ports: vec!["4445".parse().unwrap()],
            services: vec![Service::Mdns],
            sent: 3,
            received: 4,
            not_sent: [("duplicate".to_owned(), 2)].into(),
            not_received: [].into(),
        };
        assert_eq!(
            in_words(&report),
            "Passed on to the party: broadcasts and multicasts to the ports of 246 known games.\nAlso these ports: 4445.\n\
             Also, in both directions: mdns.\nNever: DHCP, LLMNR, NetBIOS names.\n3 packets were passed on, 4 came in.\n\
             Packets not passed on: 2 sent more than once at a time."
        );
    }
}
