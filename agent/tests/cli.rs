//! The command line as a user meets it when no agent runs: sentences, exit codes, JSON.

#![expect(clippy::unwrap_used, reason = "clippy knows test functions, but not their helpers")]

use std::process::{Command, Output, Stdio};

const PIN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn lanrage(args: &[&str]) -> Output {
    let state_dir = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_lanrage"))
        .arg("--state-dir")
        .arg(state_dir.path())
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Runs a command that must fail, and gives its sentence and exit code.
fn refused(args: &[&str]) -> (String, i32) {
    let output = lanrage(args);
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
        (vec!["join", "-"], "lanrage://"),
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
