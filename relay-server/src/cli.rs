//! The command line of `lanrage-relay`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::Result;
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::config::{LogFormat, RelayConfig, udp_port};

/// The LANrage relay server.
#[derive(Debug, Parser)]
#[command(name = "lanrage-relay", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Relay for a control server and answer STUN, until stopped; without --control only STUN.
    Serve(ServeArgs),
    /// Ask the relay of this machine, with the same settings, whether it answers; exit code 0 when it does.
    Healthcheck(ServeArgs),
    /// Print a configuration file with every setting at its default.
    ExampleConfig,
}

/// The register token is not among these: it comes from a file or from LANRAGE_RELAY_REGISTER_TOKEN, since anybody on the
/// machine can read another program's arguments.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "LANRAGE_RELAY_CONFIG")]
    config: Option<PathBuf>,
    /// Link of the control server to relay for (`lanrage-control link` prints it)
    #[arg(long, value_name = "LINK", env = "LANRAGE_RELAY_CONTROL")]
    control: Option<String>,
    /// File with the control server's register token [or LANRAGE_RELAY_REGISTER_TOKEN in the environment]
    #[arg(long, value_name = "FILE", env = "LANRAGE_RELAY_REGISTER_TOKEN_FILE")]
    register_token_file: Option<PathBuf>,
    /// The relay's name: 1 to 32 of a-z, 0-9 and -
    #[arg(long, value_name = "NAME", env = "LANRAGE_RELAY_NAME")]
    name: Option<String>,
    /// Where the relay is: eu-west
    #[arg(long, value_name = "REGION", env = "LANRAGE_RELAY_REGION")]
    region: Option<String>,
    /// Name or address, and port, members reach the relay at
    #[arg(long, value_name = "HOST:PORT", env = "LANRAGE_RELAY_PUBLIC_ADDRESS")]
    public_address: Option<String>,
    /// UDP and TCP port to relay on [default: 443]
    #[arg(long, value_name = "PORT", env = "LANRAGE_RELAY_PORT", value_parser = udp_port)]
    port: Option<u16>,
    /// Directory of the relay's key [default: /var/lib/lanrage-relay]
    #[arg(long, value_name = "DIR", env = "LANRAGE_RELAY_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Address of this machine to listen on; give it twice for NAT measurement with an alternate address [default: all]
    #[arg(long, value_name = "IP", env = "LANRAGE_RELAY_LISTEN_ADDRESS", value_delimiter = ',')]
    listen_address: Vec<IpAddr>,
    /// First UDP port of STUN [default: 3478]
    #[arg(long, value_name = "PORT", env = "LANRAGE_RELAY_STUN_PORT", value_parser = udp_port)]
    stun_port: Option<u16>,
    /// Second UDP port of STUN [default: 3479]
    #[arg(long, value_name = "PORT", env = "LANRAGE_RELAY_STUN_SECOND_PORT", value_parser = udp_port)]
    stun_second_port: Option<u16>,
    /// Address and port of Prometheus metrics, on loopback: 127.0.0.1:9478 [default: none]
    #[arg(long, value_name = "IP:PORT", env = "LANRAGE_RELAY_METRICS_LISTEN")]
    metrics_listen: Option<SocketAddr>,
    /// What to log: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL", env = "LANRAGE_RELAY_LOG")]
    log: Option<String>,
    /// How log lines look [default: text]
    #[arg(long, value_name = "FORMAT", env = "LANRAGE_RELAY_LOG_FORMAT")]
    log_format: Option<LogFormat>,
}

impl ServeArgs {
    /// The settings: defaults, the file, then these.
    pub fn settings(self) -> Result<RelayConfig> {
        let mut config = match &self.config {
            Some(path) => RelayConfig::from_file(path)?,
            None => RelayConfig::default(),
        };
        if !self.listen_address.is_empty() {
            config.relay.listen_addresses.clone_from(&self.listen_address);
            config.stun.listen_addresses = self.listen_address;
        }
        let relay = &mut config.relay;
        relay.control = self.control.or(relay.control.take());
        relay.register_token_file = self.register_token_file.or(relay.register_token_file.take());
        relay.name = self.name.or(relay.name.take());
        relay.region = self.region.or(relay.region.take());
        relay.public_address = self.public_address.or(relay.public_address.take());
        relay.port = self.port.unwrap_or(relay.port);
        relay.data_dir = self.data_dir.unwrap_or(std::mem::take(&mut relay.data_dir));
        config.stun.port = self.stun_port.unwrap_or(config.stun.port);
        config.stun.second_port = self.stun_second_port.unwrap_or(config.stun.second_port);
        config.metrics.listen = self.metrics_listen.or(config.metrics.listen);
        config.log_format = self.log_format.unwrap_or(config.log_format);
        config.log = self.log.unwrap_or(config.log);
        Ok(config)
    }
}

/// What was not understood on a command line, in one sentence that ends with where to read more; none when help or the
/// version was asked for.
pub fn mistake(error: &clap::Error, help: &str) -> Option<String> {
    let text = error.to_string();
    let what = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => return None,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a command is missing",
        _ => text
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("error: ")
            .trim_end_matches('.'),
    };
    Some(format!("{what}; see `{help}`"))
}
