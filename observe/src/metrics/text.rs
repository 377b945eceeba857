//! Prometheus' text format, which its tools check and everything else that scrapes reads too.

use std::fmt;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

/// What it is called in `Content-Type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything in the registry.
pub fn text(registry: &Registry) -> Result<String, fmt::Error> {
    let mut open_metrics = String::new();
    encode(&mut open_metrics, registry)?;
    Ok(classic(&open_metrics))
}

/// The library writes OpenMetrics. Prometheus' own format names a counter as its samples are named, and knows neither units nor
/// an end.
fn classic(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    // The family's help, until its type says what it is called.
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map(|(_, words)| words.trim_end_matches('.'));
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some(help) = help.take() {
                text += &format!("# HELP {name}{suffix} {help}\n");
            }
            text += &format!("# TYPE {name}{suffix} {kind}\n");
        } else if !line.starts_with('#') {
            text += line;
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::gauge::Gauge;

    use super::*;

    #[test]
    fn counters_are_named_as_their_samples_are() {
        let mut registry = Registry::default();
        registry.register("seen", "What was seen", <Counter>::default());
        registry.register("held", "What is held", <Gauge>::default());
        assert_eq!(
            text(&registry).unwrap(),
            "# HELP seen_total What was seen\n# TYPE seen_total counter\nseen_total 0\n\
             # HELP held What is held\n# TYPE held gauge\nheld 0\n"
        );
    }
}
