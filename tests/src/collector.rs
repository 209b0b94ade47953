//! A collector of spans: takes OTLP over HTTP and reads it with the official types.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Status;
use prost::Message as _;

use crate::upstream::{Reply, Seen, Upstream};
use crate::wait::found;

/// A running collector.
pub struct Collector {
    /// Its HTTP side.
    pub upstream: Upstream,
}

/// A span as it was sent.
#[derive(Clone, Debug)]
pub struct Span {
    /// The name of the service.
    pub service: String,
    /// What it is called.
    pub name: String,
    /// The trace, as hex digits.
    pub trace: String,
    /// Its id, likewise.
    pub id: String,
    /// The id of its parent, likewise; empty if it has none.
    pub parent: String,
    /// The traces that it is linked to.
    pub links: Vec<String>,
    /// `SPAN_KIND_…` as a number.
    pub kind: i32,
    /// From its beginning to its end, in nanoseconds.
    pub took: u64,
    /// What is known of it.
    pub attributes: BTreeMap<String, String>,
    /// `STATUS_CODE_…` as a number.
    pub status: i32,
}

impl Collector {
    /// Takes all that comes.
    pub async fn start() -> Self {
        Self { upstream: Upstream::start(|_| async { Reply::json(200, "") }).await }
    }

    /// The keys of a configuration that send spans to it.
    pub fn config(&self) -> String {
        format!("telemetry:\n  otlp: '{}'\n", self.upstream.url(""))
    }

    /// The spans that have come so far.
    pub fn spans(&self) -> Vec<Span> {
        self.upstream.seen().iter().flat_map(read).collect()
    }

    /// Waits for a span of this name.
    pub async fn span(&self, name: &str) -> Span {
        found(format!("the span {name}"), || self.spans().into_iter().find(|span| span.name == name)).await
    }
}

/// The spans of one request.
fn read(seen: &Seen) -> Vec<Span> {
    assert_eq!(
        (seen.path.as_str(), seen.header("content-type")),
        ("/v1/traces", Some("application/x-protobuf"))
    );
    let request = ExportTraceServiceRequest::decode(seen.raw.clone()).expect("an export request");
    let mut spans = Vec::new();
    for of_resource in request.resource_spans {
        let resource = text(&of_resource.resource.expect("a resource").attributes);
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Span {
                service: resource.get("service.name").cloned().unwrap_or_default(),
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                links: span.links.iter().map(|link| hex(&link.trace_id)).collect(),
                kind: span.kind,
                took: span.end_time_unix_nano.checked_sub(span.start_time_unix_nano).expect("an end"),
                attributes: text(&span.attributes),
                status: span.status.map_or(0, |Status { code, .. }| code),
            });
        }
    }
    spans
}

fn text(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|any| any.value.clone()) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{}: {other:?}", attribute.key),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |digits, byte| format!("{digits}{byte:02x}"))
}
