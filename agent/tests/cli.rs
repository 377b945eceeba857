//! The command line as a user meets it when no agent runs: sentences, exit codes, JSON.

#![expect(clippy::unwrap_used, reason = "clippy knows test functions, but not their helpers")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

const PIN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn lanrage(args: &[&str]) -> Output {
    let state_dir = tempfile::tempdir().unwrap();
    lanrage_on(state_dir.path(), args)
}

fn lanrage_on(state_dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lanrage"))
        .arg("--state-dir")
        .arg(state_dir)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Runs a command that must fail, and gives its sentence and exit code.
fn refused(args: &[&str]) -> (String, i32) {
    one_sentence(args, lanrage(args))
}

fn one_sentence(args: &[&str], output: Output) -> (String, i32) {
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{args:?}: {text}");
    assert!(text.starts_with("lanrage: "), "{args:?}: {text}");
    (text, output.status.code().unwrap())
}

#[test]
fn without_an_agent_every_question_says_how_to_start_one() {
    for args in [
        ["status"].as_slice(),
        &["peers"],
        &["refresh"],
        &["leave"],
        &["invite"],
        &["down"],
        &["ping", "anna"],
    ] {
        let (sentence, code) = refused(args);
        assert!(
            sentence.contains("not running") && sentence.contains("lanrage up"),
            "{args:?}: {sentence}"
        );
        assert_eq!(code, 1);
    }
}

#[test]
fn bad_links_and_names_are_refused_before_anything_is_started() {
    let link = format!("lanrage://vps.example#{PIN}");
    let invite = format!("lanrage://vps.example/0123-4567-89AB-CDEF-GHJK#{PIN}");
    let emoji = "😀".repeat(300);
    for (args, part) in [
        (vec!["join", "hello"], "lanrage://"),
        (vec!["join", "-"], "standard input is empty"),
        (vec!["join", &format!("{invite} {link}")], "two different"),
        (vec!["join", &link], "lanrage host"),
        (vec!["host", &invite], "lanrage join"),
        (vec!["host", "lanrage://vps.example"], "'#'"),
        (vec!["join", &invite, "--name", &emoji], "40 characters"),
        (vec!["host", &link, "--party", " "], "empty"),
    ] {
        let (sentence, code) = refused(&args);
        assert!(sentence.contains(part), "{args:?}: {sentence}");
        assert!(!sentence.contains("0123-4567"), "{sentence}");
        assert_eq!(code, 1);
    }
}

#[test]
fn words_that_are_not_understood_end_with_code_2_and_one_sentence() {
    for args in [
        ["jion"].as_slice(),
        &["status", "now"],
        &["up", "--port", "0"],
        &["ping"],
        &["--what"],
        &[],
    ] {
        let (sentence, code) = refused(args);
        assert!(sentence.contains("lanrage --help"), "{args:?}: {sentence}");
        assert_eq!(code, 2);
    }
}

#[test]
fn with_json_a_failure_is_an_object_on_standard_output_too() {
    for (args, code) in [(["status", "--json"], "not_running"), (["jion", "--json"], "usage")] {
        let output = lanrage(&args);
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["error"]["code"], code);
        let sentence = format!("lanrage: {}\n", answer["error"]["message"].as_str().unwrap());
        assert_eq!(String::from_utf8(output.stderr).unwrap(), sentence);
    }
}

#[test]
fn help_in_a_pipe_has_no_colours() {
    for args in [["--help"].as_slice(), &["host", "--help"], &["--version"]] {
        let output = lanrage(args);
        assert!(output.status.success());
        assert!(!output.stdout.is_empty() && !output.stdout.contains(&0x1b), "{args:?}");
    }
}

#[cfg(target_os = "linux")]
mod output {
    use std::fs::{File, OpenOptions};
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Answers one request about peers, as an agent in no party does.
    fn answer_once(state_dir: &Path) -> std::thread::JoinHandle<()> {
        let listener = UnixListener::bind(state_dir.join("agent.sock")).unwrap();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut stream = BufReader::new(stream);
            stream.read_line(&mut String::new()).unwrap();
            writeln!(stream.get_mut(), r#"{{"done":{{"party":null,"peers":[]}}}}"#).unwrap();
        })
    }

    /// Runs `peers --json`, by a shell that redirects its output, against an agent that answers.
    fn peers_to(redirection: &str, stdout: Stdio) -> Output {
        let state_dir = tempfile::tempdir().unwrap();
        let agent = answer_once(state_dir.path());
        let output = Command::new("sh")
            .args(["-c", &format!("exec \"$@\" {redirection}"), "sh"])
            .args([env!("CARGO_BIN_EXE_lanrage"), "peers", "--json", "--state-dir"])
            .arg(state_dir.path())
            .stdin(Stdio::null())
            .stdout(stdout)
            .output()
            .unwrap();
        agent.join().unwrap();
        output
    }

    #[test]
    fn a_result_that_cannot_be_written_is_a_failure() {
        let output = peers_to(">/dev/full", Stdio::piped());
        let sentence = String::from_utf8(output.stderr).unwrap();
        assert!(sentence.contains("standard output cannot be written"), "{sentence}");
        assert_eq!(sentence.lines().count(), 1, "{sentence}");
        assert_eq!(output.status.code(), Some(1));
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let help = Command::new(env!("CARGO_BIN_EXE_lanrage"))
            .arg("--help")
            .stdout(full)
            .status();
        assert_eq!(help.unwrap().code(), Some(1));
    }

    #[test]
    fn a_reader_who_has_seen_enough_is_no_failure() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        for stdout in [Stdio::from(writer), File::create("/dev/null").unwrap().into()] {
            let output = peers_to("", stdout);
            assert_eq!(output.status.code(), Some(0));
            assert!(output.stderr.is_empty());
        }
    }

    #[test]
    fn traces_are_not_turned_on_by_what_is_meant_for_other_programs() {
        // No state directory can be there, so nothing starts.
        let up = |variable: &str| {
            let output = Command::new(env!("CARGO_BIN_EXE_lanrage"))
                .args(["--state-dir", "/dev/null/state", "up", "--foreground"])
                .env(variable, "https://collector.example:4318")
                .stdin(Stdio::null())
                .output()
                .unwrap();
            assert!(!output.status.success());
            String::from_utf8(output.stderr).unwrap()
        };
        assert!(up("LANRAGE_OTLP_ENDPOINT").contains("by plain HTTP"));
        let others = up("OTEL_EXPORTER_OTLP_ENDPOINT");
        assert!(!others.contains("collector"), "{others}");
    }

    #[test]
    fn a_state_directory_that_is_a_file_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (sentence, code) = one_sentence(&["status"], lanrage_on(file.path(), &["status"]));
        let named = format!("{} is not a directory", file.path().display());
        assert!(sentence.contains(&named), "{sentence}");
        assert_eq!(code, 1);
    }
}
