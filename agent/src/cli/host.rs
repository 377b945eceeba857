use clap::Args;

use super::{Context, agent, links, names, output};
use crate::api::{Failure, JoinedReport, Request};

/// Create a party on a server and print the invite for your friends.
#[derive(Debug, Args)]
pub(super) struct Host {
    /// What `lanrage-control link` printed on the server; `-` reads it from standard input.
    #[arg(value_name = "SERVER-LINK")]
    server: String,
    /// What the party is called [default: made from your name].
    #[arg(long, value_name = "NAME")]
    party: Option<String>,
    /// What you are called in the party [default: your login name; as root the PC's name].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

impl Host {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let request = Request::Host {
            server: links::server_link(&self.server)?.to_string(),
            party: names::parse("--party", self.party.as_deref())?,
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
    let first = format!(
        "The party {} is open. You are {} at {}.",
        party.name, party.member_name, report.virtual_ip
    );
    match &report.invite {
        Some(invite) => format!(
            "{first}\nYour friends join with:\n\n  {}lanrage join '{invite}'\n",
            output::SUDO
        ),
        None => first,
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::join::tests::report;

    #[test]
    fn the_host_gets_the_line_to_send_to_friends() {
        let text = super::in_words(&report(Some("lanrage://vps/CODE#pin")));
        assert!(
            text.starts_with("The party Friday is open. You are Anna at 10.64.0.1."),
            "{text}"
        );
        let line = format!("\n  {}lanrage join 'lanrage://vps/CODE#pin'", super::output::SUDO);
        assert!(text.contains(&line), "{text}");
    }
}
