//! Server links and invites from the command line, checked before anything is contacted.

use std::io::Read;

use lanrage_shared::invite::{Invite, LinkError, ServerLink};

use crate::api::Failure;

/// Stands for "read it from standard input", where no process list shows it.
const STDIN: &str = "-";
/// More than this is not a link.
const MAX_LINK: u64 = 4096;

pub(super) fn server_link(argument: &str) -> Result<ServerLink, Failure> {
    read(argument)?.parse().map_err(|error| refuse("server link", error))
}

pub(super) fn invite(argument: &str) -> Result<Invite, Failure> {
    read(argument)?.parse().map_err(|error| refuse("invite", error))
}

fn read(argument: &str) -> Result<String, Failure> {
    if argument != STDIN {
        return Ok(argument.to_owned());
    }
    let mut text = String::new();
    std::io::stdin()
        .take(MAX_LINK)
        .read_to_string(&mut text)
        .map_err(|error| Failure::new("bad_link", format!("standard input cannot be read: {error}")))?;
    Ok(text)
}

/// Never with the text itself: it may be an invite, and errors end up in logs and screenshots.
fn refuse(what: &str, error: LinkError) -> Failure {
    let sentence = match error {
        LinkError::CodeMissing | LinkError::UnexpectedCode => error.to_string(),
        error => format!("this {what} cannot be used: {error}"),
    };
    Failure::new("bad_link", sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const CODE: &str = "0123-4567-89AB-CDEF-GHJK";

    #[test]
    fn a_link_of_the_other_kind_says_where_it_belongs() {
        let link = format!("lanrage://vps.example#{PIN}");
        let text = format!("lanrage://vps.example/{CODE}#{PIN}");
        assert!(server_link(&link).is_ok() && invite(&text).is_ok());
        assert!(invite(&link).unwrap_err().message.contains("`lanrage host`"));
        assert!(server_link(&text).unwrap_err().message.contains("`lanrage join`"));
    }

    #[test]
    fn a_damaged_link_is_explained_without_being_repeated() {
        let failure = invite(&format!("lanrage://vps.example/{CODE}")).unwrap_err();
        assert_eq!(
            failure.message,
            "this invite cannot be used: the server key after '#' is missing: copy the whole text, to its end"
        );
        for text in [
            "",
            "https://x",
            &format!("lanrage://vps.example/{CODE}0#{PIN}"),
            "lanrage://:0/x#y",
        ] {
            let message = invite(text).unwrap_err().message;
            assert!(!message.contains(CODE), "{message}");
        }
    }
}
