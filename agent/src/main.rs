//! `lanrage`: the agent and its command line in one program.

use std::process::ExitCode;

fn main() -> ExitCode {
    lanrage::cli::run(std::env::args_os())
}
