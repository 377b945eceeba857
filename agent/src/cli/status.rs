use std::fmt::Write as _;

use clap::Args;

use super::{Context, agent, output, peers};
use crate::api::{AgentState, Failure, NatReport, PeersReport, Request, ServerReport, StatusReport};

/// Show what the agent is doing.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// Show it again every second, with the peers, until interrupted. With --json: one status per line.
    #[arg(long)]
    watch: bool,
}

impl Status {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        if self.watch {
            return output::watch(|| frame(context)).await;
        }
        let report: StatusReport = agent::ask(context, &Request::Status).await?;
        if context.json {
            return output::json(&report);
        }
        output::text(&in_words(&report))
    }
}

async fn frame(context: &Context) -> Result<String, Failure> {
    let status: StatusReport = agent::ask(context, &Request::Status).await?;
    if context.json {
        return output::json_line(&status);
    }
    let peers: PeersReport = agent::ask(context, &Request::Peers).await?;
    Ok(format!("{}\n{}", in_words(&status), peers::in_words(&peers)))
}

fn in_words(report: &StatusReport) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        let _ = writeln!(text, "{label:<8} {value}");
    };
    match &report.party {
        Some(party) => {
            let host = match &party.host {
                _ if party.is_host => ", you are the host".to_owned(),
                Some(host) => format!(", host {host}"),
                None => String::new(),
            };
            let members = if party.members == 1 { "member" } else { "members" };
            line("Party", format!("{} ({} {members}{host})", party.name, party.members));
            let addresses = [
                report.virtual_ip.map(|ip| ip.to_string()),
                report.virtual_ip6.map(|ip| ip.to_string()),
            ];
            let addresses: Vec<String> = addresses.into_iter().flatten().collect();
            line("You", format!("{} at {}", party.member_name, addresses.join(", ")));
            line("Server", server(&report.server));
        }
        None => line("Party", format!("none: {}", output::how_to_get_in())),
    }
    line("NAT", nat(&report.nat));
    line(
        "Agent",
        format!(
            "{}, version {}, {}, UDP port {}",
            state(report.state),
            report.version,
            report.device.tun,
            report.device.port
        ),
    );
    for warning in &report.warnings {
        line("Note", warning.clone());
    }
    text
}

fn state(state: AgentState) -> &'static str {
    match state {
        AgentState::Idle => "running",
        AgentState::Connecting => "connecting",
        AgentState::Connected => "connected",
        AgentState::Disconnected => "running without the server",
    }
}

fn server(report: &ServerReport) -> String {
    let address = report.address.as_deref().unwrap_or("unknown");
    let since = report
        .since
        .map(|since| format!(" for {}", output::age(since)))
        .unwrap_or_default();
    if report.reachable {
        return format!("{address}, connected{since}");
    }
    let reason = report
        .reason
        .as_ref()
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default();
    match report.reason {
        Some(_) => format!("{address}, not reachable{since}{reason}"),
        None => format!("{address}, connecting …"),
    }
}

fn nat(report: &NatReport) -> String {
    let mut text = report.kind.clone();
    if let Some(address) = report.public_address {
        let _ = write!(text, ", seen as {address}");
    }
    if let Some(address) = report.port_mapping {
        let _ = write!(text, ", the router opened {address}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lanrage_shared::ids::DeviceId;

    use super::*;
    use crate::api::DeviceReport;
    use crate::api::{KeepaliveReport, LanReport};
    use crate::cli::join::tests::party;

    fn report() -> StatusReport {
        StatusReport {
            state: AgentState::Connected,
            version: "0.1.0".into(),
            device: DeviceReport {
                id: DeviceId([0; 16]),
                tun: "lanrage0".into(),
                port: 41_000,
            },
            party: Some(party()),
            virtual_ip: Some("10.64.0.1".parse().unwrap()),
            virtual_ip6: None,
            nat: NatReport {
                kind: "port-restricted".into(),
                public_address: Some("203.0.113.7:41000".parse().unwrap()),
                ..NatReport::default()
            },
            server: ServerReport {
                address: Some("vps.example:8443".into()),
                reachable: true,
                since: Some(125),
                reason: None,
            },
            keepalive: KeepaliveReport::default(),
            lan: LanReport::default(),
            drops: BTreeMap::default(),
            warnings: vec!["party.json was restored".into()],
        }
    }

    #[test]
    fn a_connected_agent_reads_at_a_glance() {
        assert_eq!(
            in_words(&report()),
            "Party    Friday (3 members, you are the host)\n\
             You      Anna at 10.64.0.1\n\
             Server   vps.example:8443, connected for 2 min\n\
             NAT      port-restricted, seen as 203.0.113.7:41000\n\
             Agent    connected, version 0.1.0, lanrage0, UDP port 41000\n\
             Note     party.json was restored\n"
        );
    }

    #[test]
    fn an_unreachable_server_says_since_when_and_why() {
        let report = ServerReport {
            address: Some("vps.example:8443".into()),
            reachable: false,
            since: Some(5),
            reason: Some("connection refused".into()),
        };
        assert_eq!(
            server(&report),
            "vps.example:8443, not reachable for 5 s: connection refused"
        );
    }
}
