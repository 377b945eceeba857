use clap::Args;
use lanrage_shared::addr::{FIRST_MEMBER, LAST_MEMBER};
use lanrage_shared::names::PartyName;

use super::{Context, agent, numbers, output};
use crate::api::{EndedReport, Failure, PartyChange, Request, SettingsReport};

/// Show the party's settings, or change them. Only the host can change them.
#[derive(Debug, Args)]
pub(super) struct Party {
    /// Give it another name.
    #[arg(long, value_name = "NAME")]
    rename: Option<PartyName>,
    /// How many members it takes; who is in stays.
    #[arg(long, value_name = "N", value_parser = max_members)]
    max_members: Option<u16>,
    /// Whether it stays when the last member leaves: on or off.
    #[arg(long, value_name = "ON|OFF", value_parser = on_or_off)]
    persistent: Option<bool>,
}

/// Let nobody new in, whatever the invite. Only the host can.
#[derive(Debug, Args)]
pub(super) struct Lock {}

/// Let invites work again. Only the host can.
#[derive(Debug, Args)]
pub(super) struct Unlock {}

/// Make another member the host. Only the host can.
#[derive(Debug, Args)]
pub(super) struct Transfer {
    /// The member's name or virtual address.
    #[arg(value_name = "PEER")]
    target: String,
}

/// End the party for everybody. Only the host can.
#[derive(Debug, Args)]
pub(super) struct End {
    /// The party's name, so that it is not another one.
    #[arg(value_name = "PARTY")]
    name: String,
}

impl Party {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let change = PartyChange {
            name: self.rename,
            max_members: self.max_members,
            persistent: self.persistent,
            locked: None,
        };
        tell(&Request::Party { change }, context).await
    }
}

impl Lock {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        tell(&locked(true), context).await
    }
}

impl Unlock {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        tell(&locked(false), context).await
    }
}

impl Transfer {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        tell(&Request::Transfer { target: self.target }, context).await
    }
}

impl End {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let report: EndedReport = agent::ask(context, &Request::End { name: self.name }).await?;
        if context.json {
            return output::json(&report);
        }
        output::text(&format!("{} has ended, for everybody.", report.party))
    }
}

fn locked(locked: bool) -> Request {
    let change = PartyChange {
        locked: Some(locked),
        ..PartyChange::default()
    };
    Request::Party { change }
}

async fn tell(request: &Request, context: &Context) -> Result<(), Failure> {
    let report: SettingsReport = agent::ask(context, request).await?;
    if context.json {
        return output::json(&report);
    }
    output::text(&in_words(&report))
}

fn in_words(report: &SettingsReport) -> String {
    let host = match (&report.host, report.is_host) {
        (_, true) => "you are its host".to_owned(),
        (Some(host), false) => format!("its host is {host}"),
        (None, false) => "it has no host".to_owned(),
    };
    let door = if report.locked {
        "It is locked: no invite lets anybody in until `lanrage unlock`."
    } else if report.members >= usize::from(report.max_members) {
        "It is full: no invite lets anybody in until somebody leaves."
    } else {
        "Invites let people in."
    };
    let end = if report.persistent {
        "It stays when the last member leaves."
    } else {
        "It ends when the last member leaves."
    };
    format!(
        "{} ({}): {host}.\n{} of at most {} members. {door} {end}",
        report.party, report.network, report.members, report.max_members
    )
}

fn max_members(text: &str) -> Result<u16, String> {
    numbers::within(text, FIRST_MEMBER..=LAST_MEMBER, "a number of members")
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text.to_lowercase().as_str() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("write on or off".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_said_in_words() {
        let mut report = SettingsReport {
            party: "Friday".parse().unwrap(),
            host: Some("Anna".parse().unwrap()),
            is_host: false,
            locked: false,
            persistent: false,
            members: 2,
            max_members: 64,
            network: "10.64.3.0/24".parse().unwrap(),
        };
        assert_eq!(
            in_words(&report),
            "Friday (10.64.3.0/24): its host is Anna.\n2 of at most 64 members. Invites let people in. It ends when the last \
             member leaves."
        );
        report.max_members = 2;
        let text = in_words(&report);
        assert!(text.contains("It is full"), "{text}");
        report.locked = true;
        report.is_host = true;
        let text = in_words(&report);
        assert!(
            text.contains("you are its host") && text.contains("lanrage unlock"),
            "{text}"
        );
    }

    #[test]
    fn figures_and_switches_are_read() {
        assert_eq!(max_members("2"), Ok(2));
        assert!(max_members("0").is_err() && max_members("255").is_err());
        assert_eq!((on_or_off("On"), on_or_off("off")), (Ok(true), Ok(false)));
        assert!(on_or_off("maybe").is_err());
    }
}
