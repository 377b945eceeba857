//! Names from the command line, and the one a player has who gives none.

use std::str::FromStr;

use lanrage_shared::names::{MemberName, NameError};

use crate::api::Failure;

/// Accounts whose name says nothing about who plays.
const NOBODYS: [&str; 4] = ["root", "administrator", "admin", "system"];

/// A name as given, refused without repeating it: it may be 300 emoji long.
pub(super) fn parse<T: FromStr<Err = NameError>>(option: &str, name: Option<&str>) -> Result<Option<T>, Failure> {
    name.map(str::parse)
        .transpose()
        .map_err(|error| Failure::new("bad_name", format!("{option} cannot be used: {error}")))
}

/// The name given, else the login name of whoever typed the command, else the PC's.
pub(super) fn member_name(given: Option<&str>) -> Result<Option<MemberName>, Failure> {
    if given.is_some() {
        return parse("--name", given);
    }
    let logins = ["SUDO_USER", "DOAS_USER", "USER", "LOGNAME", "USERNAME"].map(|name| std::env::var(name).ok());
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    Ok(default_name(logins.into_iter().flatten(), &host))
}

fn default_name(logins: impl IntoIterator<Item = String>, host: &str) -> Option<MemberName> {
    let is_somebodys = |login: &String| !NOBODYS.contains(&login.to_ascii_lowercase().as_str());
    let host = host.split('.').next().unwrap_or(host).to_owned();
    logins
        .into_iter()
        .filter(is_somebodys)
        .chain([host])
        .find_map(|name| name.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default(logins: &[&str], host: &str) -> Option<String> {
        default_name(logins.iter().map(|&login| login.to_owned()), host).map(|name| name.to_string())
    }

    #[test]
    fn the_player_is_named_after_the_login_or_the_pc() {
        assert_eq!(default(&["anna", "root"], "den").as_deref(), Some("anna"));
        assert_eq!(default(&["root"], "den.example.org").as_deref(), Some("den"));
        assert_eq!(default(&["Administrator"], "DESKTOP-1").as_deref(), Some("DESKTOP-1"));
        assert_eq!(default(&[], ""), None);
    }

    #[test]
    fn a_name_that_is_too_long_is_refused_without_being_repeated() {
        let name = "😀".repeat(300);
        let failure = parse::<MemberName>("--name", Some(&name)).unwrap_err();
        assert_eq!(
            failure.message,
            "--name cannot be used: a name can have at most 40 characters; this one has 300"
        );
    }
}
