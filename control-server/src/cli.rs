//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigError, DatabaseUrl};

/// The LANrage control server: parties, invites, presence and signalling for virtual LANs.
#[derive(Debug, Parser)]
#[command(name = "lanrage-control", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server.
    Serve(Box<ServeArgs>),
    /// Print the server link, for `lanrage host`.
    Link(CommonArgs),
}

#[derive(Debug, Args)]
pub struct CommonArgs {
    /// TOML configuration file; see deploy/control.example.toml.
    #[arg(long, env = "LANRAGE_CONTROL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the server keeps what it keeps [default: /var/lib/lanrage-control].
    #[arg(long, env = "LANRAGE_CONTROL_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// How agents reach this server; remembered in the data directory.
    #[arg(long, env = "LANRAGE_CONTROL_PUBLIC_ADDRESS", value_name = "HOST:PORT")]
    public_address: Option<String>,
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Where to listen [default: port 8443 of every address].
    #[arg(long, env = "LANRAGE_CONTROL_LISTEN", value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// postgres://… or sqlite:FILE [default: SQLite in the data directory]. Other users can see it on the command line: with a
    /// password in it, use the environment.
    #[arg(
        long,
        env = "LANRAGE_CONTROL_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    database_url: Option<DatabaseUrl>,
    /// Run the relay's services in the same process.
    #[arg(long, env = "LANRAGE_CONTROL_WITH_RELAY")]
    with_relay: bool,
}

impl CommonArgs {
    /// The configuration file under the environment under these flags.
    pub fn config(self) -> Result<Config, ConfigError> {
        let mut config = self
            .config
            .as_deref()
            .map_or_else(|| Ok(Config::default()), Config::read)?;
        if let Some(dir) = self.data_dir {
            config.server.data_dir = dir;
        }
        config.server.public_address = self.public_address.or(config.server.public_address);
        Ok(config)
    }
}

impl ServeArgs {
    /// As [`CommonArgs::config`].
    pub fn config(self) -> Result<Config, ConfigError> {
        let mut config = self.common.config()?;
        config.server.listen = self.listen.or(config.server.listen);
        config.database.url = self.database_url.or(config.database.url);
        config.services.with_relay |= self.with_relay;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_go_before_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("control.toml");
        std::fs::write(&file, "[server]\nlisten = \"127.0.0.1:1\"\ndata_dir = \"/a\"\n").unwrap();
        let args = [
            "lanrage-control",
            "serve",
            "--config",
            file.to_str().unwrap(),
            "--data-dir",
            "/b",
        ];
        let Command::Serve(serve) = Cli::try_parse_from(args).unwrap().command else {
            panic!("it is serve");
        };
        let config = serve.config().unwrap();
        assert_eq!(config.server.data_dir, PathBuf::from("/b"));
        assert_eq!(config.server.listen, Some("127.0.0.1:1".parse().unwrap()));
    }
}
