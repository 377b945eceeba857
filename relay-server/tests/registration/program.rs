//! `lanrage-relay serve` as an operator starts and stops it.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use lanrage_shared::api::relay::RelayMessage;

use crate::control::{Control, TOKEN};

fn serve(arguments: &[&str], data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lanrage-relay"));
    command
        .args([
            "serve",
            "--listen-address",
            "127.0.0.1",
            "--port",
            "0",
            "--stun-port",
            "0",
            "--stun-second-port",
            "0",
        ])
        .args(arguments)
        .arg("--data-dir")
        .arg(data_dir)
        .stderr(Stdio::piped());
    command
}

fn terminate(child: &Child) {
    let killed = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(killed.success());
}

async fn output(child: Child) -> Output {
    tokio::task::spawn_blocking(move || child.wait_with_output().unwrap())
        .await
        .unwrap()
}

#[tokio::test]
async fn sigterm_drains_and_ends_cleanly_and_the_token_is_in_no_argument_or_log() {
    let (mut control, dir) = (Control::start().await, tempfile::tempdir().unwrap());
    let file = dir.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let link = control.link.to_string();
    let token_file = file.to_str().unwrap().to_owned();
    let arguments = [
        "--control",
        &link,
        "--register-token-file",
        &token_file,
        "--name",
        "fra-1",
    ];
    let rest = [
        "--region",
        "eu-west",
        "--public-address",
        "fra-1.example:443",
        "--log",
        "debug",
    ];
    let child = serve(&[arguments, rest].concat(), dir.path()).spawn().unwrap();
    let mut opened = control.link_opened().await;
    opened.register_since(0).await;
    opened.welcome(0).await;
    let arguments = std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
    assert!(!String::from_utf8_lossy(&arguments).contains(TOKEN));
    terminate(&child);
    assert!(matches!(opened.said_else().await, RelayMessage::Draining));
    let output = output(child).await;
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert!(!log.contains(TOKEN) && log.contains("registered"), "{log}");
}

#[tokio::test]
async fn what_is_missing_is_named_in_one_sentence() {
    let (control, dir) = (Control::start().await, tempfile::tempdir().unwrap());
    let link = control.link.to_string();
    let file = dir.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let file = file.to_str().unwrap();
    let whole = [
        ("--register-token-file", file),
        ("--name", "fra-1"),
        ("--region", "eu-west"),
        ("--public-address", "fra-1.example"),
    ];
    for (missing, _) in whole {
        let mut arguments = vec!["--control", &link];
        for (flag, value) in whole.iter().filter(|(flag, _)| *flag != missing) {
            arguments.extend([*flag, *value]);
        }
        let output = serve(&arguments, dir.path())
            .env_remove("LANRAGE_RELAY_REGISTER_TOKEN")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(missing), "{missing}: {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    }
}
