use lanrage_observe::traces::OtlpEndpoint;
use serde::{Deserialize, Deserializer, de};

/// `[tracing]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TracingConfig {
    /// Collector of traces (OTLP over plain HTTP). Default: none, and nothing is traced.
    #[serde(deserialize_with = "endpoint")]
    pub otlp_endpoint: Option<OtlpEndpoint>,
}

fn endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OtlpEndpoint>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(de::Error::custom)
}
