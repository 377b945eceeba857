//! Server links and invites from the command line, checked before anything is contacted.
//!
//! People paste more than the link: the quotes around it, the line the host was told to send, the whole message it came in. So
//! the link is looked for in what was given.

use std::io::Read;

use lanrage_shared::invite::{Invite, LinkError, SCHEME, ServerLink};

use crate::api::Failure;

/// Stands for "read it from standard input", where no process list shows it.
const STDIN: &str = "-";
/// No message around a link is longer than this, in bytes.
const MAX_TEXT: u64 = 64 * 1024;
/// What people and chat programs put around a link, and no link has in it.
const AROUND: &[char] = &[
    '"', '\'', '`', '´', '‘', '’', '‚', '“', '”', '„', '‹', '›', '«', '»', '<', '>', '(', ')', '{', '}', '|', '*', ',',
    ';',
];
/// What may end the sentence a link is in, and never ends a link.
const AFTER: &[char] = &['.', '!', '?', ':'];

pub(super) fn server_link(argument: &str) -> Result<ServerLink, Failure> {
    let link = "server link";
    only(&read(argument, link)?, link)?
        .parse()
        .map_err(|error| refuse(link, error))
}

pub(super) fn invite(argument: &str) -> Result<Invite, Failure> {
    let invite = "invite";
    only(&read(argument, invite)?, invite)?
        .parse()
        .map_err(|error| refuse(invite, error))
}

fn read(argument: &str, what: &str) -> Result<String, Failure> {
    if argument != STDIN {
        return Ok(argument.to_owned());
    }
    let mut text = Vec::new();
    std::io::stdin()
        .take(MAX_TEXT)
        .read_to_end(&mut text)
        .map_err(|error| Failure::new("bad_link", format!("standard input cannot be read: {error}")))?;
    if text.trim_ascii().is_empty() {
        let sentence = format!("standard input is empty: it should hold the {what}");
        return Err(Failure::new("bad_link", sentence));
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The one link or invite in `text`.
fn only<'a>(text: &'a str, what: &str) -> Result<&'a str, Failure> {
    let mut found = words(text);
    let first = found.next().ok_or_else(|| refuse(what, LinkError::Scheme))?;
    if found.any(|other| other != first) {
        let sentence =
            format!("there are two different lanrage:// texts in what was given: give only the {what} you mean");
        return Err(Failure::new("bad_link", sentence));
    }
    Ok(first)
}

/// Everything in `text` that begins with lanrage://, each up to where it can be no part of a link any more.
fn words(text: &str) -> impl Iterator<Item = &str> {
    // Lower case for ASCII only: offsets stay those of `text`.
    let lower = text.to_ascii_lowercase();
    let starts: Vec<usize> = lower.match_indices(SCHEME).map(|(start, _)| start).collect();
    starts.into_iter().filter_map(|start| {
        let word = text.get(start..)?;
        let end = word.find(|c: char| c.is_whitespace() || AROUND.contains(&c));
        let word = word.get(..end.unwrap_or(word.len()))?;
        Some(word.trim_end_matches(AFTER))
    })
}

/// Never with the text itself: it may be an invite, and errors end up in logs and screenshots.
fn refuse(what: &str, error: LinkError) -> Failure {
    let sentence = match error {
        LinkError::CodeMissing | LinkError::UnexpectedCode => error.to_string(),
        LinkError::Scheme => format!("this is no {what}: there is nothing in it that begins with lanrage://"),
        error => format!("this {what} cannot be used: {error}"),
    };
    Failure::new("bad_link", sentence)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
    fn an_invite_is_found_in_what_people_paste_around_it() {
        let text = format!("lanrage://[2001:db8::1]:8443/{CODE}#{PIN}");
        let plain = invite(&text).unwrap();
        for (before, after) in [
            ("\"", "\""),
            ("'", "'"),
            ("‹", "›"),
            ("<", ">"),
            ("`", "`"),
            ("“", "”"),
            (" \n", "\n"),
            ("Your friends join with:\n\n  sudo lanrage join '", "'\n\nsee you"),
            ("come in (", ")!"),
            ("it is ", ". Tonight"),
        ] {
            let pasted = format!("{before}{text}{after}");
            assert_eq!(invite(&pasted), Ok(plain.clone()), "{pasted}");
        }
        assert_eq!(invite(&format!("'{text}' or {text}")), Ok(plain.clone()));
        assert_eq!(invite(&text.replace("lanrage", "LANrage")), Ok(plain));
    }

    #[test]
    fn two_different_links_are_not_chosen_between() {
        let text = format!("lanrage://vps.example/{CODE}#{PIN}");
        let message = invite(&format!("{text} {text}a")).unwrap_err().message;
        assert!(message.contains("two different"), "{message}");
        assert!(!message.contains(CODE), "{message}");
    }

    proptest! {
        #[test]
        fn any_text_is_understood_or_refused(text in "(\\PC|lanrage://|LANRAGE://){0,20}") {
            let _ = invite(&format!(" {text}"));
        }
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
