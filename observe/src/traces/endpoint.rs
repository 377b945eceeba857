use std::fmt;
use std::str::FromStr;

use hyper::Uri;

/// Where a collector takes OTLP over HTTP, like `http://127.0.0.1:4318`: without TLS, so on this machine or in a private network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint(String);

/// What cannot be a collector's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "traces go to a collector by plain HTTP, like http://127.0.0.1:4318: run one on this machine, it can pass them on by TLS"
)]
pub struct NotACollector;

impl OtlpEndpoint {
    /// Where traces go.
    pub(super) fn traces(&self) -> String {
        format!("{}/v1/traces", self.0)
    }
}

impl FromStr for OtlpEndpoint {
    type Err = NotACollector;

    fn from_str(text: &str) -> Result<Self, NotACollector> {
        let text = text.trim_end_matches('/');
        let uri: Uri = text.parse().map_err(|_| NotACollector)?;
        let authority = uri.authority().ok_or(NotACollector)?;
        let is_plain = uri.scheme_str() == Some("http") && uri.query().is_none();
        // A password would be in the configuration of a program that sends nothing secret.
        if !is_plain || authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(NotACollector);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_reached_by_plain_http() {
        for (text, traces) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://otel:4318/", "http://otel:4318/v1/traces"),
            ("http://[::1]:4318/otlp", "http://[::1]:4318/otlp/v1/traces"),
        ] {
            assert_eq!(text.parse::<OtlpEndpoint>().unwrap().traces(), traces);
        }
        for bad in [
            "https://otel:4318",
            "127.0.0.1:4318",
            "http://",
            "http://a:b@otel:4318",
            "http://otel?x=1",
            "",
        ] {
            assert_eq!(bad.parse::<OtlpEndpoint>(), Err(NotACollector), "{bad}");
        }
    }
}
