//! A command line that was not understood, in one sentence.

use std::io::Write;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::output;
use crate::api::Failure;

/// Prints help and version when asked for; else says what was not understood.
pub(super) fn explain(error: &clap::Error, json: bool) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Clap knows when a reader takes colours: a terminal, no NO_COLOR.
            match output::written(error.print().and_then(|()| std::io::stdout().flush())) {
                Ok(()) => ExitCode::SUCCESS,
                Err(failure) => {
                    output::failure(&failure, json);
                    ExitCode::from(1)
                }
            }
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if !json => {
            output::note(&error.render().to_string());
            ExitCode::from(2)
        }
        _ => {
            output::failure(&Failure::new("usage", sentence(error)), json);
            ExitCode::from(2)
        }
    }
}

fn sentence(error: &clap::Error) -> String {
    let context = |kind| error.get(kind).map(in_words);
    let what = match error.kind() {
        ErrorKind::MissingRequiredArgument => {
            format!("{} is missing", context(ContextKind::InvalidArg).unwrap_or_default())
        }
        ErrorKind::InvalidSubcommand => {
            format!(
                "'{}' is not a command",
                context(ContextKind::InvalidSubcommand).unwrap_or_default()
            )
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            "there is no command to carry out".to_owned()
        }
        _ => first_line(&error.render().to_string()),
    };
    let suggestion = [
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedArg,
        ContextKind::SuggestedValue,
    ]
    .into_iter()
    .find_map(context)
    .map(|suggested| format!(", did you mean {suggested}?"))
    .unwrap_or_default();
    format!("{what}{suggestion} (`lanrage --help` lists what there is)")
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

fn in_words(value: &ContextValue) -> String {
    match value {
        ContextValue::Strings(values) => values.join(" and "),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    fn sentence_for(line: &str) -> String {
        sentence(&Cli::try_parse_from(line.split_whitespace()).unwrap_err())
    }

    #[test]
    fn unknown_words_are_named_with_what_was_probably_meant() {
        assert_eq!(
            sentence_for("lanrage jion x"),
            "'jion' is not a command, did you mean join? (`lanrage --help` lists what there is)"
        );
        let sentence = sentence_for("lanrage status --jsn");
        assert!(
            sentence.contains("'--jsn'") && sentence.contains("did you mean --json?"),
            "{sentence}"
        );
    }

    #[test]
    fn what_is_missing_or_wrong_is_named_in_one_line() {
        for (line, part) in [
            ("lanrage join", "<INVITE> is missing"),
            ("lanrage up --port 99999", "not a UDP port from 1 to 65535"),
            (
                "lanrage invite --uses abc",
                "not a number of devices from 1 to 4294967295",
            ),
            ("lanrage invite --expires never", "--expires"),
            ("lanrage invite --expires 91d", "90 days"),
            ("lanrage ping x -c 0", "not a number of times from 1 to 100000"),
            ("lanrage status now", "unexpected argument 'now'"),
        ] {
            let sentence = sentence_for(line);
            assert!(sentence.contains(part), "{line}: {sentence}");
            assert_eq!(sentence.lines().count(), 1, "{sentence}");
        }
    }
}
