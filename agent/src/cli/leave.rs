use clap::Args;

use super::{Context, agent, output};
use crate::api::{Failure, LeftReport, PartyReport, Request, StatusReport};

/// Leave the party. The agent keeps running.
#[derive(Debug, Args)]
pub(super) struct Leave {}

impl Leave {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        // Who is the host is known only as long as this PC is in the party.
        let before: Option<StatusReport> = agent::ask(context, &Request::Status).await.ok();
        let report: LeftReport = agent::ask(context, &Request::Leave).await?;
        if context.json {
            return output::json(&report);
        }
        output::text(&in_words(&report, before.and_then(|before| before.party).as_ref()))
    }
}

fn in_words(report: &LeftReport, before: Option<&PartyReport>) -> String {
    let was_host_of_others = before.is_some_and(|party| party.is_host && party.members > 1);
    let more = if !report.server_told {
        " The server cannot be reached now; the agent tells it as soon as it can."
    } else if was_host_of_others {
        " Whoever has been in it longest is the host now."
    } else {
        ""
    };
    format!("You have left the party {}.{more}", report.party)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::join::tests::party;

    #[test]
    fn a_host_who_leaves_others_behind_learns_who_follows() {
        let told = LeftReport {
            party: party().name,
            server_told: true,
        };
        assert_eq!(
            in_words(&told, Some(&party())),
            "You have left the party Friday. Whoever has been in it longest is the host now."
        );
        for nobody_follows in [
            PartyReport { members: 1, ..party() },
            PartyReport {
                is_host: false,
                ..party()
            },
        ] {
            assert_eq!(
                in_words(&told, Some(&nobody_follows)),
                "You have left the party Friday."
            );
        }
        let untold = LeftReport {
            server_told: false,
            ..told
        };
        assert!(in_words(&untold, Some(&party())).ends_with("as soon as it can."));
    }
}
