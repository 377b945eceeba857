use clap::Args;

use super::{Context, agent, links, names, output};
use crate::api::{Failure, JoinedReport, Request};

/// Join a party.
#[derive(Debug, Args)]
pub(super) struct Join {
    /// What the host sent you; `-` reads it from standard input, where no process list shows it.
    #[arg(value_name = "INVITE")]
    invite: String,
    /// What you are called in the party [default: your login name; as root the PC's name].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

impl Join {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let request = Request::Join {
            invite: links::invite(&self.invite)?.to_string(),
            name: names::member_name(self.name.as_deref())?,
        };
        let report: JoinedReport = agent::ask_starting(context, &request).await?;
        if context.json {
            return output::json(&report);
        }
        output::text(&in_words(&report))
    }
}

fn in_words(report: &JoinedReport) -> String {
    let party = &report.party;
    let others = match party.members.saturating_sub(1) {
        0 => "nobody else is here yet".to_owned(),
        1 => format!("one other member; see `{}lanrage peers`", output::SUDO),
        others => format!("{others} other members; see `{}lanrage peers`", output::SUDO),
    };
    format!(
        "You are in the party {} as {} at {} ({others}).",
        party.name, party.member_name, report.virtual_ip
    )
}

#[cfg(test)]
pub(super) mod tests {
    use lanrage_shared::ids::{MemberId, PartyId};

    use super::*;
    use crate::api::PartyReport;

    pub(in crate::cli) fn party() -> PartyReport {
        PartyReport {
            id: "00000000-0000-7000-8000-000000000001".parse::<PartyId>().unwrap(),
            name: "Friday".parse().unwrap(),
            member: MemberId(1),
            member_name: "Anna".parse().unwrap(),
            is_host: true,
            host: Some("Anna".parse().unwrap()),
            members: 3,
            epoch: 1,
        }
    }

    pub(in crate::cli) fn report(invite: Option<&str>) -> JoinedReport {
        JoinedReport {
            party: party(),
            virtual_ip: "10.64.0.1".parse().unwrap(),
            virtual_ip6: "fd00::1".parse().unwrap(),
            invite: invite.map(str::to_owned),
        }
    }

    #[test]
    fn the_joiner_learns_party_name_and_address() {
        assert_eq!(
            in_words(&report(None)),
            format!(
                "You are in the party Friday as Anna at 10.64.0.1 (2 other members; see `{}lanrage peers`).",
                output::SUDO
            )
        );
    }
}
