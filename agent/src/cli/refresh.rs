use clap::Args;

use super::{Context, agent, output};
use crate::api::{Failure, RefreshReport, Request};

/// Look at everything anew: the NAT, the ways to all peers, the relays. What works goes on meanwhile.
#[derive(Debug, Args)]
pub(super) struct Refresh {}

impl Refresh {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let report: RefreshReport = agent::ask(context, &Request::Refresh).await?;
        if context.json {
            return output::json(&report);
        }
        output::text(&format!(
            "Looking for the best ways into \"{}\" anew; `lanrage peers` and `lanrage relays` show in a few seconds what was found.",
            report.party
        ))
    }
}
