use clap::Args;

use super::{Context, agent, output};
use crate::api::{Failure, InviteLine, InvitesReport, Request};

/// List the party's invites, or revoke one. Only the host can.
#[derive(Debug, Args)]
pub(super) struct Invites {
    /// How the id of the invite begins that lets nobody in any more.
    #[arg(long, value_name = "ID")]
    revoke: Option<String>,
}

impl Invites {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let report: InvitesReport = agent::ask(context, &Request::Invites { revoke: self.revoke }).await?;
        if context.json {
            return output::json(&report);
        }
        output::text(&in_words(&report))
    }
}

fn in_words(report: &InvitesReport) -> String {
    if let Some(id) = report.revoked {
        return format!("The invite {id} lets nobody in any more. Who came in with it stays.");
    }
    if report.invites.is_empty() {
        return "No invite lets anybody in now. `lanrage invite` makes one.".to_owned();
    }
    let row = |invite: &InviteLine| {
        let most = invite.max_uses.map_or("any number".to_owned(), |most| most.to_string());
        [
            invite.id.to_string(),
            output::duration(invite.expires_in_s),
            invite.uses.to_string(),
            most,
        ]
    };
    output::table(["ID", "WORKS FOR", "USED", "OF"], report.invites.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invites_are_listed_or_revoked() {
        let id = "00000000-0000-4000-8000-000000000001".parse().unwrap();
        let line = InviteLine {
            id,
            expires_in_s: 5400,
            max_uses: None,
            uses: 2,
        };
        let report = |revoked, invites: &[InviteLine]| InvitesReport {
            revoked,
            invites: invites.to_vec(),
        };
        let text = in_words(&report(None, &[line]));
        assert!(text.contains("1 h 30 min") && text.contains("any number"), "{text}");
        assert!(in_words(&report(None, &[])).contains("`lanrage invite`"));
        assert!(in_words(&report(Some(id), &[])).contains("nobody in any more"));
    }
}
