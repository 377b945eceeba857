//! Which trace a request belongs to, from one program to the next (W3C Trace Context, level 1).

use std::collections::HashMap;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use opentelemetry::Value;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

const TRACEPARENT: &str = "traceparent";

/// The header that has whoever answers go on with the trace of this span; none while there is no trace.
pub fn traceparent(span: &Span) -> Option<(HeaderName, HeaderValue)> {
    let context = span.context();
    if !context.span().span_context().is_valid() {
        return None;
    }
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&context, &mut carrier);
    let value = HeaderValue::from_str(carrier.get(TRACEPARENT)?).ok()?;
    Some((HeaderName::from_static(TRACEPARENT), value))
}

/// Makes this span, which has not begun, part of the trace that whoever asks names. What is no such name is passed over.
pub fn follow(span: &Span, headers: &HeaderMap) {
    let Some(value) = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()) else {
        return;
    };
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), value.to_owned())]);
    let context = TraceContextPropagator::new().extract(&carrier);
    if context.span().span_context().is_valid() {
        // Without a trace of our own there is nothing to follow with.
        let _ = span.set_parent(context);
    }
}

/// Says something of this span to the trace alone.
pub fn describe(span: &Span, name: &'static str, value: impl Into<Value>) {
    span.set_attribute(name, value);
}
