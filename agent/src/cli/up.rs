use std::io::IsTerminal;
use std::net::SocketAddr;

use clap::Args;
use lanrage_observe::logs;
use lanrage_observe::traces::{OtlpEndpoint, Traces};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use super::output::{self, Progress};
use super::{Context, numbers, runtime, start};
use crate::api::{Failure, Reply, StatusReport};
use crate::driver::{self, UpOptions};

/// Start the agent. It goes to the background and comes back to its party.
#[derive(Debug, Args)]
pub(super) struct Up {
    /// Stay in the foreground and log to standard error (`LANRAGE_LOG` chooses how much, `LANRAGE_LOG_FORMAT=json` how).
    #[arg(long)]
    foreground: bool,
    /// Name of the network interface [default: the first free lanrageN].
    #[arg(long, value_name = "NAME")]
    tun_name: Option<String>,
    /// UDP port [default: in a party the one used last, else a free one].
    #[arg(long, value_name = "PORT", value_parser = port)]
    port: Option<u16>,
    /// Address for Prometheus, without a password, like 127.0.0.1:9128 [default: none]. Keep it on loopback.
    #[arg(long, env = "LANRAGE_METRICS_LISTEN", value_name = "ADDR:PORT", value_parser = listen_address)]
    metrics_listen: Option<SocketAddr>,
    /// Collector that traces of requests to the control server are sent to, by OTLP over plain HTTP [default: none].
    #[arg(long, env = "LANRAGE_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<OtlpEndpoint>,
    /// Tell the parent how the start went.
    #[arg(long, hide = true, requires = "foreground")]
    report_start: bool,
}

impl Up {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        if self.foreground {
            self.stay(context)
        } else {
            self.detach(context)
        }
    }

    fn detach(self, context: &Context) -> Result<(), Failure> {
        let progress = Progress::start(context.json);
        progress.step("starting the agent");
        let options = start::Options {
            tun_name: self.tun_name,
            port: self.port,
            metrics_listen: self.metrics_listen,
            otlp_endpoint: self.otlp_endpoint,
        };
        let status = runtime()?.block_on(start::in_background(context, &options))?;
        drop(progress);
        if context.json {
            return output::json(&status);
        }
        output::text(&sentence(&status))
    }

    fn stay(self, context: &Context) -> Result<(), Failure> {
        let _traces = observe(self.otlp_endpoint.as_ref())?;
        let report = self.report_start;
        let options = UpOptions {
            state_dir: context.state_dir.clone(),
            tun_name: self.tun_name,
            port: self.port,
            metrics_listen: self.metrics_listen,
            ready: Box::new(move || {
                if report {
                    start::report_start(&Reply::Done(serde_json::Value::Null));
                }
            }),
        };
        driver::run(options).inspect_err(|failure| {
            if report {
                start::report_start(&Reply::Failed(failure.clone()));
            }
        })
    }
}

fn port(text: &str) -> Result<u16, String> {
    numbers::within(text, 1..=u16::MAX, "a UDP port")
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "it is not an address and a port of this PC, like 127.0.0.1:9128".to_owned())
}

fn sentence(status: &StatusReport) -> String {
    let party = match &status.party {
        Some(party) => format!("back in the party {}", party.name),
        None => format!("in no party yet: {}", output::how_to_get_in()),
    };
    format!(
        "The agent is running on {} (UDP port {}), {party}.",
        status.device.tun, status.device.port
    )
}

/// Has what happens logged and, where a collector is named, traced until the answer is dropped.
fn observe(collector: Option<&OtlpEndpoint>) -> Result<Option<Traces>, Failure> {
    let wanted =
        std::env::var("LANRAGE_LOG").unwrap_or_else(|_| "warn,lanrage=info,lanrage_agent_core=info".to_owned());
    let wanted = logs::checked(&wanted).map_err(|error| Failure::new("log_level", format!("LANRAGE_LOG: {error}")))?;
    let filter = EnvFilter::new(wanted);
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = match std::env::var("LANRAGE_LOG_FORMAT").as_deref() {
        Ok("json") => lines.json().flatten_event(true).boxed(),
        _ => lines.boxed(),
    };
    let mut layers = vec![lines.with_filter(filter).boxed()];
    let traces = collector
        .map(|collector| Traces::start(collector, "lanrage"))
        .transpose();
    let traces = traces.map_err(|error| Failure::new("traces", format!("requests cannot be traced: {error}")))?;
    layers.extend(traces.as_ref().map(|traces| traces.layer().boxed()));
    // Only fails when a logger is set already, and then there is one.
    let _ = tracing_subscriber::registry().with(layers).try_init();
    Ok(traces)
}
