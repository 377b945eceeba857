//! The command line.

mod admin;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use lanrage_observe::traces::OtlpEndpoint;
use lanrage_relay::config::udp_port;

pub use self::admin::AdminArgs;
use crate::config::{Config, ConfigError, DatabaseUrl, LogFormat, RedisUrl};

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
    /// Print the token that relays register with.
    RelayToken(RelayTokenArgs),
    /// Make the keys and the token that the first start would make, without starting, and print the server link when the public
    /// address is known.
    Prepare(CommonArgs),
    /// Ask the server of this machine whether it is ready; exit code 0 when it is.
    Healthcheck(HealthcheckArgs),
    /// Print a configuration file with every setting at its default.
    ExampleConfig,
    /// Ask the server that runs on a data directory, or act on it.
    Admin(AdminArgs),
    /// Print the API as an OpenAPI document.
    Openapi(OpenapiArgs),
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
    #[arg(long, env = "LANRAGE_CONTROL_LISTEN", value_name = "ADDR:PORT", value_parser = listen_address)]
    listen: Option<SocketAddr>,
    /// Address of metrics and the admin API [default: 127.0.0.1:9127]. Keep it on loopback.
    #[arg(long, env = "LANRAGE_CONTROL_ADMIN_LISTEN", value_name = "ADDR:PORT", value_parser = listen_address)]
    admin_listen: Option<SocketAddr>,
    /// How log lines look [default: text].
    #[arg(long, env = "LANRAGE_CONTROL_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Collector that traces of requests are sent to, by OTLP over plain HTTP, like http://127.0.0.1:4318 [default: none].
    #[arg(long, env = "LANRAGE_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<OtlpEndpoint>,
    /// postgres://… or sqlite:FILE [default: SQLite in the data directory]. Other users can see it on the command line: with a
    /// password in it, use the environment.
    #[arg(
        long,
        env = "LANRAGE_CONTROL_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    database_url: Option<DatabaseUrl>,
    /// redis://… that speeds up servers sharing a PostgreSQL [default: none]. With a password in it, use the environment.
    #[arg(long, env = "LANRAGE_REDIS_URL", hide_env_values = true, value_name = "URL")]
    redis_url: Option<RedisUrl>,
    /// The name to have a certificate for, from Let's Encrypt [default: none]. Agents do not need one.
    #[arg(long, env = "LANRAGE_DOMAIN", value_name = "NAME")]
    domain: Option<String>,
    /// Run a relay, with STUN, in the same process.
    #[arg(long, env = "LANRAGE_CONTROL_WITH_RELAY")]
    with_relay: bool,
    /// UDP and TCP port of the relay in the same process [default: 4443].
    #[arg(long, env = "LANRAGE_CONTROL_RELAY_PORT", value_name = "PORT", value_parser = udp_port)]
    relay_port: Option<u16>,
    /// Address of the relay's Prometheus metrics [default: none]. Keep it on loopback.
    #[arg(long, env = "LANRAGE_CONTROL_RELAY_METRICS_LISTEN", value_name = "ADDR:PORT")]
    relay_metrics_listen: Option<SocketAddr>,
    /// First UDP port of the relay's STUN service [default: 3478].
    #[arg(long, env = "LANRAGE_CONTROL_STUN_PORT", value_name = "PORT", value_parser = udp_port)]
    stun_port: Option<u16>,
    /// Second UDP port of the relay's STUN service [default: 3479].
    #[arg(long, env = "LANRAGE_CONTROL_STUN_SECOND_PORT", value_name = "PORT", value_parser = udp_port)]
    stun_second_port: Option<u16>,
}

#[derive(Debug, Args)]
pub struct OpenapiArgs {
    /// The admin API's instead.
    #[arg(long)]
    pub admin: bool,
}

#[derive(Debug, Args)]
pub struct RelayTokenArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Draw another token first. Relays that registered with the former one are parted with within seconds.
    #[arg(long)]
    pub renew: bool,
}

impl RelayTokenArgs {
    /// As [`CommonArgs::config`].
    pub fn config(self) -> Result<Config, ConfigError> {
        self.common.config()
    }
}

#[derive(Debug, Args)]
pub struct HealthcheckArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Where it listens [default: port 8443].
    #[arg(long, env = "LANRAGE_CONTROL_LISTEN", value_name = "ADDR:PORT", value_parser = listen_address)]
    listen: Option<SocketAddr>,
}

impl HealthcheckArgs {
    /// As [`CommonArgs::config`].
    pub fn config(self) -> Result<Config, ConfigError> {
        let mut config = self.common.config()?;
        config.server.listen = self.listen.or(config.server.listen);
        Ok(config)
    }
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "it is not an address and a port of this machine, like 0.0.0.0:8443 or [::]:8443".to_owned())
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
        config.server.admin_listen = self.admin_listen.unwrap_or(config.server.admin_listen);
        config.log.format = self.log_format.unwrap_or(config.log.format);
        config.tracing.otlp_endpoint = self.otlp_endpoint.or(config.tracing.otlp_endpoint);
        config.database.url = self.database_url.or(config.database.url);
        config.redis.url = self.redis_url.or(config.redis.url);
        config.acme.domain = self.domain.filter(|name| !name.is_empty()).or(config.acme.domain);
        let services = &mut config.services;
        services.with_relay |= self.with_relay;
        services.relay_port = self.relay_port.unwrap_or(services.relay_port);
        services.relay_metrics_listen = self.relay_metrics_listen.or(services.relay_metrics_listen);
        services.stun_port = self.stun_port.unwrap_or(services.stun_port);
        services.stun_second_port = self.stun_second_port.unwrap_or(services.stun_second_port);
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
        let text = "[server]\nlisten = \"127.0.0.1:1\"\ndata_dir = \"/a\"\n\
            [services]\nstun_port = 3\nstun_second_port = 4\n";
        std::fs::write(&file, text).unwrap();
        let args = [
            "lanrage-control",
            "serve",
            "--config",
            file.to_str().unwrap(),
            "--data-dir",
            "/b",
            "--stun-port",
            "5",
        ];
        let Command::Serve(serve) = Cli::try_parse_from(args).unwrap().command else {
            panic!("it is serve");
        };
        let config = serve.config().unwrap();
        assert_eq!(config.server.data_dir, PathBuf::from("/b"));
        assert_eq!(config.server.listen, Some("127.0.0.1:1".parse().unwrap()));
        assert_eq!((config.services.stun_port, config.services.stun_second_port), (5, 4));
    }

    #[test]
    fn a_wrong_number_is_explained_in_words() {
        for (flag, value, part) in [
            ("--stun-port", "abc", "not a UDP port from 0 to 65535"),
            ("--stun-second-port", "65536", "not a UDP port from 0 to 65535"),
            ("--listen", "8443", "like 0.0.0.0:8443"),
        ] {
            let args = ["lanrage-control", "serve", flag, value];
            let message = Cli::try_parse_from(args).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
