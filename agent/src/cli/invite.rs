use std::time::Duration;

use clap::Args;
use lanrage_shared::api::invite::MAX_LIFETIME_S;

use super::{Context, agent, numbers, output};
use crate::api::{Failure, InviteReport, Request};

/// Shortest life of an invite: less cannot be copied, sent and typed.
const MIN_LIFETIME_S: u64 = 60;

/// Make another invite to the party you host.
#[derive(Debug, Args)]
pub(super) struct Invite {
    /// How long it works, e.g. 30m, 12h, 7d [default: 7d].
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires: Option<Duration>,
    /// How many devices it admits [default: any number].
    #[arg(long, value_name = "N", value_parser = uses)]
    uses: Option<u32>,
}

impl Invite {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let request = Request::Invite {
            expires_in_s: self.expires.map(|expires| expires.as_secs()),
            max_uses: self.uses,
        };
        let report: InviteReport = agent::ask(context, &request).await?;
        if context.json {
            return output::json(&report);
        }
        output::text(&in_words(&report))
    }
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = humantime::parse_duration(text).map_err(|_| "write it like 30m, 12h or 7d".to_owned())?;
    if (MIN_LIFETIME_S..=MAX_LIFETIME_S).contains(&lifetime.as_secs()) {
        Ok(lifetime)
    } else {
        Err("an invite can work for 1 minute to 90 days".to_owned())
    }
}

fn uses(text: &str) -> Result<u32, String> {
    numbers::within(text, 1..=u32::MAX, "a number of devices")
}

fn in_words(report: &InviteReport) -> String {
    let admits = match report.max_uses {
        None => "any number of devices".to_owned(),
        Some(1) => "one device".to_owned(),
        Some(uses) => format!("{uses} devices"),
    };
    format!(
        "  {}lanrage join '{}'\n\nIt admits {admits} and works for {}.",
        output::SUDO,
        report.invite,
        output::duration(report.expires_in_s)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_read_as_people_write_them() {
        assert_eq!(lifetime("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(lifetime("1h 30m"), Ok(Duration::from_secs(5400)));
        for wrong in ["", "7", "-1d", "soon", "30s", "91d", "99999999999999999999d"] {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_invite_says_whom_it_admits_and_how_long() {
        let text = in_words(&InviteReport {
            invite: "lanrage://vps/CODE#pin".into(),
            expires_in_s: lifetime("1.5h").unwrap().as_secs(),
            max_uses: Some(1),
        });
        assert!(
            text.ends_with("It admits one device and works for 1 h 30 min."),
            "{text}"
        );
    }
}
