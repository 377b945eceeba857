//! What somebody else does to a server's PostgreSQL meanwhile.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

/// A connection of psql. It ends when this is dropped, and rolls back what it has begun.
pub struct Sql {
    psql: Child,
    input: Option<ChildStdin>,
    output: BufReader<std::process::ChildStdout>,
}

impl Sql {
    pub fn connect(url: &str) -> Self {
        let mut psql = Command::new("psql")
            .args([
                url,
                "--quiet",
                "--no-psqlrc",
                "--tuples-only",
                "--no-align",
                "--set=ON_ERROR_STOP=1",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql is installed: apt-get install postgresql");
        let output = BufReader::new(psql.stdout.take().unwrap());
        let input = psql.stdin.take();
        Self { psql, input, output }
    }

    /// Runs statements; returns when they are done.
    pub fn run(&mut self, statements: &str) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{statements}\n\\echo done").unwrap();
        let mut line = String::new();
        while line.trim() != "done" {
            line.clear();
            assert!(
                self.output.read_line(&mut line).unwrap() > 0,
                "psql refused: {statements}"
            );
        }
    }
}

impl Drop for Sql {
    fn drop(&mut self) {
        // It ends with its input.
        self.input = None;
        let _ = self.psql.wait();
    }
}
