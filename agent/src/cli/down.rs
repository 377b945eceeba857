use clap::Args;

use super::{Context, agent, output, start};
use crate::api::{DownReport, Failure, Request};

/// Stop the agent. It stays a member of its party.
#[derive(Debug, Args)]
pub(super) struct Down {}

impl Down {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let report: DownReport = agent::ask(context, &Request::Down).await?;
        start::wait_until_gone(&context.state_dir).await?;
        if context.json {
            return output::json(&report);
        }
        output::text("The agent has stopped.")
    }
}
