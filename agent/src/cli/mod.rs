//! The command line. Each command is a file: its arguments, what it asks the agent, and how the answer reads.
//!
//! Results go to standard output, everything else to standard error. With `--json` standard output holds exactly the report
//! structs of [`crate::api`], one per line, or `{"error":{"code","message"}}`. Exit code 0: done; 1: it could not be done; 2:
//! the command line was not understood.

mod agent;
mod doctor;
mod down;
mod games;
mod host;
mod invite;
mod invites;
mod join;
mod lan;
mod latency;
mod leave;
mod links;
mod names;
mod numbers;
mod output;
mod party;
mod peers;
mod ping;
mod refresh;
mod relays;
mod remove;
mod start;
mod status;
mod test_lan;
mod up;
mod usage;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::api::Failure;

/// A virtual LAN for you and your friends: one invite, and your games see each other.
#[derive(Debug, Parser)]
#[command(name = "lanrage", version, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    /// Where the agent keeps its keys and its party. Name another one to run a second agent.
    #[arg(long, global = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Print results as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Up),
    Down(down::Down),
    Host(host::Host),
    Invite(invite::Invite),
    Join(join::Join),
    Leave(leave::Leave),
    Status(status::Status),
    Peers(peers::Peers),
    Ping(ping::Ping),
    Relays(relays::Relays),
    Games(games::Games),
    Refresh(refresh::Refresh),
    Lan(lan::Lan),
    TestLan(test_lan::TestLan),
    Latency(latency::Latency),
    Doctor(doctor::Doctor),
    Kick(remove::Kick),
    Ban(remove::Ban),
    Unban(remove::Unban),
    Invites(invites::Invites),
    Party(party::Party),
    Lock(party::Lock),
    Unlock(party::Unlock),
    Transfer(party::Transfer),
    End(party::End),
}

/// What every command needs to know.
struct Context {
    state_dir: PathBuf,
    json: bool,
}

/// Runs the command line.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return usage::explain(&error, args.iter().any(|arg| arg == "--json")),
    };
    let json = cli.json;
    match execute(cli) {
        Ok(code) => code,
        Err(failure) => {
            output::failure(&failure, json);
            ExitCode::from(1)
        }
    }
}

fn execute(cli: Cli) -> Result<ExitCode, Failure> {
    let state_dir = cli.state_dir.unwrap_or_else(crate::platform::default_state_dir);
    // The agent in the background has another working directory.
    let state_dir = std::path::absolute(&state_dir).map_err(|error| {
        Failure::new(
            "state_unavailable",
            format!("the state directory cannot be named: {error}"),
        )
    })?;
    let context = Context {
        state_dir,
        json: cli.json,
    };
    match cli.command {
        // Has a runtime of its own.
        Command::Up(command) => command.run(&context).map(|()| ExitCode::SUCCESS),
        command => runtime()?.block_on(ask(command, &context)),
    }
}

async fn ask(command: Command, context: &Context) -> Result<ExitCode, Failure> {
    let done = match command {
        // Tells by its exit code what it found.
        Command::Doctor(command) => return command.run(context).await,
        Command::Up(command) => command.run(context),
        Command::Down(command) => command.run(context).await,
        Command::Host(command) => command.run(context).await,
        Command::Invite(command) => command.run(context).await,
        Command::Join(command) => command.run(context).await,
        Command::Leave(command) => command.run(context).await,
        Command::Status(command) => command.run(context).await,
        Command::Peers(command) => command.run(context).await,
        Command::Ping(command) => command.run(context).await,
        Command::Relays(command) => command.run(context).await,
        Command::Games(command) => command.run(context).await,
        Command::Refresh(command) => command.run(context).await,
        Command::Lan(command) => command.run(context).await,
        Command::TestLan(command) => command.run(context).await,
        Command::Latency(command) => command.run(context).await,
        Command::Kick(command) => command.run(context).await,
        Command::Ban(command) => command.run(context).await,
        Command::Unban(command) => command.run(context).await,
        Command::Invites(command) => command.run(context).await,
        Command::Party(command) => command.run(context).await,
        Command::Lock(command) => command.run(context).await,
        Command::Unlock(command) => command.run(context).await,
        Command::Transfer(command) => command.run(context).await,
        Command::End(command) => command.run(context).await,
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("system", format!("the system refuses what this program needs: {error}")))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_documented_commands_are_understood() {
        for line in [
            "lanrage up --foreground --tun-name lan1 --port 4000 --metrics-listen 127.0.0.1:9128",
            "lanrage down",
            "lanrage host lanrage://h#pin --party Friday --name Anna",
            "lanrage invite --expires 7d --uses 3",
            "lanrage join lanrage://h/CODE#pin --name Ben",
            "lanrage join -",
            "lanrage leave",
            "lanrage kick Ben",
            "lanrage ban 10.64.0.2",
            "lanrage unban",
            "lanrage unban Ben",
            "lanrage invites",
            "lanrage invites --revoke 3f2a",
            "lanrage party",
            "lanrage party --rename Saturday --max-members 12 --persistent on",
            "lanrage lock",
            "lanrage unlock",
            "lanrage transfer Ben",
            "lanrage end Friday",
            "lanrage relays --json",
            "lanrage games --watch",
            "lanrage games --all --json",
            "lanrage refresh",
            "lanrage lan",
            "lanrage lan --open --allow 4445 --allow 5000-5003 --forbid 9 --with mdns --without ssdp",
            "lanrage lan --games",
            "lanrage test-lan",
            "lanrage latency",
            "lanrage latency add play.example.net:25565",
            "lanrage latency remove 192.0.2.1",
            "lanrage test-lan openarena --json",
            "lanrage doctor",
            "lanrage doctor --fix --json",
            "lanrage doctor --fix --avoid 10.64.3.0/24",
            "lanrage status --json",
            "lanrage status --watch",
            "lanrage --json --state-dir /tmp/x peers",
            "lanrage ping Anna -c 3",
            "lanrage ping 10.64.0.2 --state-dir /tmp/x",
        ] {
            parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn global_options_work_before_and_after_the_command() {
        let cli = parse("lanrage status --state-dir /tmp/x --json").unwrap();
        assert_eq!(cli.state_dir, Some(PathBuf::from("/tmp/x")));
        assert!(cli.json);
        assert!(parse("lanrage --json status").unwrap().json);
    }
}
