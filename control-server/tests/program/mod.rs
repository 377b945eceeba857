//! The program as somebody starts it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lanrage-control"));
    command.env_remove("LANRAGE_LOG").stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

/// What a command that must succeed prints.
pub fn printed(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A running server, killed when the test ends early.
pub struct Serving {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    /// What it logs before it listens.
    pub before: String,
    pub first_line: String,
}

impl Serving {
    pub fn start(dir: &Path, arguments: &[&str]) -> Self {
        let mut child = program()
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
                "--data-dir",
            ])
            .arg(dir)
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let (mut before, mut first_line) = (String::new(), String::new());
        while !first_line.contains("listening on") {
            before += &first_line;
            first_line.clear();
            assert_ne!(
                stderr.read_line(&mut first_line).unwrap(),
                0,
                "it ended instead of listening"
            );
        }
        Self {
            child,
            stderr,
            before,
            first_line,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        let (_, rest) = self.first_line.split_once("listening on ").unwrap();
        rest.split_once(',').unwrap().0
    }

    /// Ends it without warning.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM and waits.
    pub fn terminate(mut self) -> std::process::ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().unwrap().success());
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.stderr, &mut rest).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
