use clap::Args;

use super::{Context, agent, output};
use crate::api::{Failure, LeftReport, Request};

/// Leave the party. The agent keeps running.
#[derive(Debug, Args)]
pub(super) struct Leave {}

impl Leave {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let report: LeftReport = agent::ask(context, &Request::Leave).await?;
        if context.json {
            return output::json(&report);
        }
        output::text(&in_words(&report));
        Ok(())
    }
}

fn in_words(report: &LeftReport) -> String {
    let server = if report.server_told {
        ""
    } else {
        " The server could not be told; it will notice by itself."
    };
    format!("You have left the party {}.{server}", report.party)
}
