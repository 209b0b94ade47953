//! What is known of one request, from its beginning to its end. Names and values follow the OpenTelemetry conventions for
//! MCP (semantic-conventions-genai, in development).

use std::time::{Instant, SystemTime};

use shadowcat_pipeline::{Direction, Envelope, Refusal, Transport};
use shadowcat_protocol::trace::TraceParent;
use shadowcat_protocol::{Message, Request, json, method};

use super::export::Spans;

/// The longest text of an attribute, in characters: whoever sends messages chooses most of them.
const TEXT_MAX: usize = 128;

/// Where a span is among others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) own: TraceParent,
    /// The span that it was begun in.
    pub(super) parent: Option<u64>,
    /// Another span that it was sent in.
    pub(super) link: Option<TraceParent>,
}

/// A span that has ended.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) place: Place,
    pub(super) name: String,
    pub(super) begun: SystemTime,
    pub(super) ended: SystemTime,
    pub(super) attributes: Vec<(&'static str, String)>,
    pub(super) has_failed: bool,
}

/// A span of a request that is on its way. It ends when this is dropped: that is when the request is over, however it ended.
pub(super) struct Open {
    span: Option<Span>,
    since: Instant,
    is_call: bool,
    spans: Spans,
}

impl Open {
    pub(super) fn new(request: &Request, envelope: &Envelope, place: Place, spans: Spans) -> Self {
        let begun = SystemTime::now();
        let (name, attributes) = (name(request), attributes(request, envelope));
        let span = Span { place, name, begun, ended: begun, attributes, has_failed: false };
        let is_call = request.method() == method::TOOLS_CALL;
        Self { span: Some(span), since: Instant::now(), is_call, spans }
    }

    pub(super) fn see(&mut self, reply: &Result<Message, Refusal>) {
        let response = match reply {
            Ok(Message::Response(response)) => response,
            Ok(_) => return,
            Err(refusal) => return self.refused(refusal),
        };
        if response.is_error() {
            let code = response.error_code().map(|code| code.to_string());
            self.failed(code.as_deref().unwrap_or("_OTHER"));
            self.add("rpc.response.status_code", code);
        } else if self.is_call && response.is_tool_error() {
            self.failed("tool_error");
        }
    }

    pub(super) fn refused(&mut self, refusal: &Refusal) {
        self.failed(refusal.kind.reason());
    }

    fn failed(&mut self, kind: &str) {
        if let Some(span) = &mut self.span {
            span.has_failed = true;
        }
        self.add("error.type", Some(kind.to_owned()));
    }

    fn add(&mut self, key: &'static str, value: Option<String>) {
        if let Some(span) = &mut self.span {
            span.attributes.extend(value.map(|value| (key, value)));
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(mut span) = self.span.take() {
            // By the clock that nobody sets.
            span.ended = span.begun + self.since.elapsed();
            self.spans.put(span);
        }
    }
}

/// The method, and what it works on where there are few of these: uris are many.
fn name(request: &Request) -> String {
    let target = request.name().filter(|_| member(request.method()).is_some_and(|(_, is_named)| is_named));
    let asked = cut(request.method());
    match target {
        Some(target) => format!("{asked} {}", cut(&target)),
        None => asked,
    }
}

/// What the target of a method is called, and whether spans are named by it.
fn member(asked: &str) -> Option<(&'static str, bool)> {
    match asked {
        method::TOOLS_CALL => Some(("gen_ai.tool.name", true)),
        method::PROMPTS_GET => Some(("gen_ai.prompt.name", true)),
        method::RESOURCES_READ | method::RESOURCES_SUBSCRIBE | method::RESOURCES_UNSUBSCRIBE => {
            Some(("mcp.resource.uri", false))
        }
        _ => None,
    }
}

fn attributes(request: &Request, envelope: &Envelope) -> Vec<(&'static str, String)> {
    let origin = &envelope.origin;
    let mut attributes = vec![
        ("mcp.method.name", cut(request.method())),
        ("mcp.protocol.version", origin.revision.as_str().to_owned()),
        (
            "jsonrpc.request.id",
            cut(&json::string(request.id().as_json()).unwrap_or(request.id().as_json().into())),
        ),
        ("shadowcat.exchange", origin.exchange.to_string()),
    ];
    attributes.extend(origin.session.as_ref().map(|tag| ("mcp.session.id", tag.to_string())));
    match (member(request.method()), request.name()) {
        (Some((key, true)), Some(target)) => attributes.push((key, cut(&target))),
        (Some((key, false)), Some(uri)) => attributes.push((key, cut(address(&uri)))),
        _ => {}
    }
    if request.method() == method::TOOLS_CALL {
        attributes.push(("gen_ai.operation.name", "execute_tool".to_owned()));
    }
    match origin.transport {
        // What a server asks reaches its client on the client's transport, but does not come from there.
        _ if envelope.direction == Direction::ToClient => {}
        Transport::Stdio => attributes.push(("network.transport", "pipe".to_owned())),
        Transport::Http | Transport::Sse => {
            attributes.push(("network.transport", "tcp".to_owned()));
            attributes.push(("network.protocol.name", "http".to_owned()));
        }
    }
    attributes
}

/// A uri without what may be secret in it: its user, its query and its fragment.
fn address(uri: &str) -> &str {
    let end = uri.find(['?', '#']).unwrap_or(uri.len());
    let address = uri.get(..end).unwrap_or_default();
    let authority = address.find("://").map_or(0, |at| at + "://".len());
    let rest = address.get(authority..).unwrap_or_default();
    let host_end = rest.find('/').unwrap_or(rest.len());
    let has_user = rest.get(..host_end).is_some_and(|authority| authority.contains('@'));
    if has_user { address.get(..authority).unwrap_or_default() } else { address }
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_in_a_uri_is_left_out() {
        for (uri, told) in [
            ("file:///a/b.txt", "file:///a/b.txt"),
            ("https://h/a?token=x#y", "https://h/a"),
            ("https://u:p@h/a", "https://"),
            ("https://h/a@b", "https://h/a@b"),
            ("plain", "plain"),
        ] {
            assert_eq!(address(uri), told);
        }
    }
}
