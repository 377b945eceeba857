use clap::Args;

use super::{Context, agent, output};
use crate::api::{Failure, RemovedReport, Request};

/// Remove a member from the party. An invite lets it in again. Only the host can.
#[derive(Debug, Args)]
pub(super) struct Kick {
    /// The member's name or virtual address.
    #[arg(value_name = "PEER")]
    target: String,
}

/// Remove a member from the party and let it in no more, whatever the invite. Only the host can.
#[derive(Debug, Args)]
pub(super) struct Ban {
    /// The member's name or virtual address.
    #[arg(value_name = "PEER")]
    target: String,
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
        format!(
            "{} is out of the party, and no invite lets that device in again.",
            report.name
        )
    } else {
        format!("{} is out of the party. An invite lets them in again.", report.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_whether_there_is_a_way_back() {
        let report = |banned| RemovedReport {
            name: "Ben".parse().unwrap(),
            banned,
        };
        assert_eq!(
            in_words(&report(false)),
            "Ben is out of the party. An invite lets them in again."
        );
        assert!(in_words(&report(true)).contains("no invite"));
    }
}
