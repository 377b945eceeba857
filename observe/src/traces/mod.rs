//! Traces by OTLP over HTTP, off unless a collector is named.
//!
//! Our spans become spans of a trace: an agent's request, the control server's answer to it, and each database operation that took.
//! Events are left out: log lines may name addresses. A thread of its own sends what has ended, once a second; what does not fit its
//! queue meanwhile is lost, so no request ever waits for a collector.

mod collector;
mod endpoint;
mod propagation;

use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use tracing::{Metadata, Subscriber};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use self::collector::Collector;
pub use self::endpoint::{NotACollector, OtlpEndpoint};
pub use self::propagation::{describe, follow, traceparent};

/// Spans that wait to be sent; what comes beyond is lost. A thousand requests a second have two spans each.
const QUEUE: usize = 2048;
/// How often they are sent, and how many at once.
const PAUSE: Duration = Duration::from_secs(1);
const BATCH: usize = 512;
/// Longest a batch may take. A collector that is not there takes none of it.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Longest the last batch keeps a program that ends.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Sends traces until it is dropped, then what is left.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// For the program `service`, to the collector at `endpoint`. Contacts nobody yet.
    pub fn start(endpoint: &OtlpEndpoint, service: &'static str) -> Result<Self, ExporterBuildError> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::default())
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint.traces())
            .with_timeout(TIMEOUT)
            .build()?;
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_scheduled_delay(PAUSE)
            .with_max_export_batch_size(BATCH)
            .build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_resource(Resource::builder().with_service_name(service).build())
            .build();
        Ok(Self { provider })
    }

    /// What makes our spans parts of a trace.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        OpenTelemetryLayer::new(self.provider.tracer("lanrage"))
            .with_location(false)
            .with_target(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(is_told))
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        // A collector that is away is told of already.
        let _ = self.provider.shutdown_with_timeout(LAST_WORDS);
    }
}

/// Spans that are parts of traces. Others are there for the log: they last for as long as a session does.
const TOLD: [&str; 3] = ["ask", "request", "database"];

fn is_told(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target().starts_with("lanrage") && TOLD.contains(&metadata.name())
}
