use clap::Args;

use super::{Context, agent, output};
use crate::api::{BansReport, Failure, RemovedReport, Request};

/// Remove a member from the party. The invite that it came by, or another one, lets it in again. Only the host can.
#[derive(Debug, Args)]
pub(super) struct Kick {
    /// The member's name or virtual address.
    #[arg(value_name = "PEER")]
    target: String,
}

/// Remove a member from the party and let it in no more, whatever the invite. The invite that it came by ends for everybody: who
/// is in stays in. Only the host can.
#[derive(Debug, Args)]
pub(super) struct Ban {
    /// The member's name or virtual address.
    #[arg(value_name = "PEER")]
    target: String,
}

/// Let a banned device in again, with an invite. Without a name: list who is banned. Only the host can.
#[derive(Debug, Args)]
pub(super) struct Unban {
    /// What the device was called.
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

impl Unban {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let report: BansReport = agent::ask(context, &Request::Bans { lift: self.name }).await?;
        if context.json {
            return output::json(&report);
        }
        output::text(&bans_in_words(&report))
    }
}

impl Kick {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        remove(self.target, false, context).await
    }
}

impl Ban {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        remove(self.target, true, context).await
    }
}

async fn remove(target: String, ban: bool, context: &Context) -> Result<(), Failure> {
    let report: RemovedReport = agent::ask(context, &Request::Remove { target, ban }).await?;
    if context.json {
        return output::json(&report);
    }
    output::text(&in_words(&report))
}

fn in_words(report: &RemovedReport) -> String {
    if report.banned {
        let invite = if report.invite_ended {
            " The invite that they came by is no longer valid: `lanrage invite` makes another one."
        } else {
            ""
        };
        format!(
            "{} is out of the party, and no invite lets that device in again.{invite}",
            report.name
        )
    } else {
        format!("{} is out of the party. An invite lets them in again.", report.name)
    }
}

fn bans_in_words(report: &BansReport) -> String {
    if let Some(name) = &report.lifted {
        return format!("An invite lets {name} in again.");
    }
    let names: Vec<&str> = report.banned.iter().map(|name| name.as_str()).collect();
    if names.is_empty() {
        "Nobody is banned.".to_owned()
    } else {
        format!("Banned: {}.", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_whether_there_is_a_way_back() {
        let report = |banned, invite_ended| RemovedReport {
            name: "Ben".parse().unwrap(),
            banned,
            invite_ended,
        };
        assert_eq!(
            in_words(&report(false, false)),
            "Ben is out of the party. An invite lets them in again."
        );
        assert!(in_words(&report(true, false)).ends_with("no invite lets that device in again."));
        assert!(in_words(&report(true, true)).ends_with("no longer valid: `lanrage invite` makes another one."));
    }

    #[test]
    fn bans_are_listed_or_lifted() {
        let report = |lifted: Option<&str>, banned: &[&str]| BansReport {
            lifted: lifted.map(|name| name.parse().unwrap()),
            banned: banned.iter().map(|name| name.parse().unwrap()).collect(),
        };
        assert_eq!(bans_in_words(&report(None, &[])), "Nobody is banned.");
        assert_eq!(bans_in_words(&report(None, &["Eve", "Mal"])), "Banned: Eve, Mal.");
        assert_eq!(bans_in_words(&report(Some("Eve"), &[])), "An invite lets Eve in again.");
    }
}
