//! HTTP Archive 1.2: an entry for each call, as browsers' developer tools and HAR viewers show them.
//!
//! A tape holds messages and not HTTP, so what stands for HTTP here is made up from them: a request is a `POST` of the
//! message to an address made of the transport and the upstream's name, and what the server says unasked is a `GET`
//! with an event stream. What a HAR has no place for is in members of our own: `_messages`, in the form of Chrome's
//! `_webSocketMessages`, where a call is more than a request and its answer; `_shadowcat`, what else the tape says.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde_json::{Value, json};
use shadowcat_pipeline::Direction;
use shadowcat_protocol::{Revision, headers, method};
use time::OffsetDateTime;

use super::{Begun, Told};
use crate::calls::Call;
use crate::clock::rfc3339;
use crate::record::{Action, Frame, Kind, Lost};

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

#[derive(Default)]
pub(super) struct Har {
    /// An entry stands before the next.
    begun: bool,
}

impl Told for Har {
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let creator = json!({ "name": "Shadowcat", "version": env!("CARGO_PKG_VERSION") });
        write!(out, r#"{{"log":{{"version":"1.2","creator":{creator},"entries":["#)
    }

    fn tape(&mut self, _: &Begun<'_>, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn call(&mut self, call: &Call, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(if std::mem::replace(&mut self.begun, true) { b",\n" } else { b"\n" })?;
        serde_json::to_writer(out, &entry(call)).map_err(io::Error::from)
    }

    /// An entry that is no exchange would be shown as one.
    fn lost(&mut self, _: &Lost, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(b"\n]}}\n")
    }
}

fn entry(call: &Call) -> Value {
    let begun = call.asked.at_us;
    let first = call.frames().nth(1).map_or(begun, |frame| frame.at_us);
    let last = call.frames().last().map_or(begun, |frame| frame.at_us);
    let mut entry = json!({
        "startedDateTime": rfc3339(call.asked.time),
        "time": millis(begun, last),
        "request": request(call),
        "response": response(call),
        "cache": {},
        "timings": { "send": 0, "wait": millis(begun, first), "receive": millis(first, last) },
        "comment": title(&call.asked),
        "_resourceType": "fetch",
        "_shadowcat": known(call),
    });
    if let Some(session) = &call.asked.session {
        // The nearest a HAR has to a session: viewers group by it.
        set(&mut entry, "connection", session.as_str());
    }
    if is_stream(call) {
        set(&mut entry, "_messages", call.frames().map(message).collect::<Vec<_>>());
    }
    entry
}

/// Whether an HTTP request and one body do not tell all of it.
fn is_stream(call: &Call) -> bool {
    !call.between.is_empty() || call.asked.direction == Direction::ToClient
}

fn millis(from: u64, to: u64) -> f64 {
    // Microseconds of a century are exact in a double.
    #[expect(clippy::cast_precision_loss, reason = "no recording is longer than that")]
    let us = to.saturating_sub(from) as f64;
    us / 1000.0
}

fn request(call: &Call) -> Value {
    let frame = &call.asked;
    let asks = frame.direction == Direction::ToServer;
    let mut sent = Vec::new();
    if let Some(revision) = Revision::parse(&frame.client.revision)
        && revision.sends_version_header()
        // Before the handshake there is nothing that was agreed on.
        && frame.method.as_deref() != Some(method::INITIALIZE)
    {
        sent.push(header(headers::PROTOCOL_VERSION, revision.as_str()));
        if revision.mirrors_body_in_headers()
            && let Some(method) = frame.method.as_deref().filter(|_| asks)
        {
            sent.push(header(headers::METHOD, method));
            let name = method::name_member(method).and_then(|_| frame.name());
            sent.extend(name.map(|name| header(headers::NAME, &headers::encode_value(&name))));
        }
    }
    sent.push(header("accept", if asks { "application/json, text/event-stream" } else { EVENTS }));
    if asks {
        sent.push(header("content-type", JSON));
    }
    let mut request = json!({
        "method": if asks { "POST" } else { "GET" },
        "url": url(call),
        "httpVersion": http_version(frame),
        "cookies": [],
        "headers": sent,
        "queryString": [],
        "headersSize": -1,
        "bodySize": 0,
    });
    if asks {
        set(&mut request, "postData", json!({ "mimeType": JSON, "text": frame.message }));
        set(&mut request, "bodySize", frame.message.len());
    }
    request
}

fn response(call: &Call) -> Value {
    let (status, text, mime, body) = body(call);
    let sent = if mime.is_empty() { Vec::new() } else { vec![header("content-type", mime)] };
    json!({
        "status": status,
        "statusText": text,
        "httpVersion": http_version(&call.asked),
        "cookies": [],
        "headers": sent,
        "content": { "size": body.len(), "mimeType": if mime.is_empty() { "x-unknown" } else { mime }, "text": body },
        "redirectURL": "",
        "headersSize": -1,
        "bodySize": body.len(),
    })
}

fn body(call: &Call) -> (u16, &'static str, &'static str, String) {
    if is_stream(call) {
        return (200, "OK", EVENTS, events(call));
    }
    match &call.answer {
        Some(answer) => (200, "OK", JSON, answer.message.clone()),
        None if call.asked.kind == Kind::Notification => (202, "Accepted", "", String::new()),
        // As browsers say of a request that got no answer.
        None => (0, "", "", String::new()),
    }
}

/// What the server said, as it would stand in the stream. A message on a tape is one line.
fn events(call: &Call) -> String {
    let mut text = String::new();
    for frame in call.frames().filter(|frame| frame.direction == Direction::ToClient) {
        // Writing to memory cannot fail.
        let _ = write!(text, "event: message\ndata: {}\n\n", frame.message);
    }
    text
}

fn set(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value.into());
    }
}

fn header(name: &str, value: &str) -> Value {
    json!({ "name": name, "value": value })
}

fn http_version(frame: &Frame) -> &'static str {
    if frame.client.transport == "stdio" { "stdio" } else { "HTTP/1.1" }
}

/// `stdio://NAME/tools/call/echo`, `http://NAME/mcp`: on a pipe there is no other place for what is called.
fn url(call: &Call) -> String {
    let frame = &call.asked;
    let name = call.upstream().map_or("unknown", |upstream| upstream.name.as_str());
    let mut url = format!("{}://", if frame.client.transport == "stdio" { "stdio" } else { "http" });
    push_segment(name, &mut url);
    url.push('/');
    match frame.client.transport.as_str() {
        "stdio" => {
            for word in frame.method.iter().flat_map(|method| method.split('/')) {
                push_segment(word, &mut url);
                url.push('/');
            }
            if let Some(name) = frame.name() {
                push_segment(&name, &mut url);
            }
        }
        "sse" => url.push_str("messages"),
        _ => url.push_str("mcp"),
    }
    url
}

fn push_segment(text: &str, url: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            url.push(char::from(byte));
        } else {
            // Writing to memory cannot fail.
            let _ = write!(url, "%{byte:02X}");
        }
    }
}

fn title(frame: &Frame) -> String {
    let method = frame.method.as_deref().unwrap_or("?");
    frame.name().map_or_else(|| method.to_owned(), |name| format!("{method} {name}"))
}

fn message(frame: &Frame) -> Value {
    json!({
        "type": if frame.direction == Direction::ToServer { "send" } else { "receive" },
        "time": seconds(frame.time),
        "opcode": 1,
        "data": frame.message,
    })
}

/// Since 1970; a double holds the microseconds of our time.
fn seconds(time: OffsetDateTime) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "below 2^53 for another 250 years")]
    let us = (time.unix_timestamp_nanos() / 1000) as f64;
    us / 1_000_000.0
}

/// What the tape says of a call and a HAR has no place for.
fn known(call: &Call) -> Value {
    let frame = &call.asked;
    let mut known = json!({
        "exchange": frame.exchange,
        "direction": frame.direction.as_str(),
        "client": {
            "transport": frame.client.transport,
            "revision": frame.client.revision,
            "era": frame.client.era,
        },
    });
    if let Some(side) = call.upstream() {
        let side = json!({
            "name": side.name, "transport": side.transport, "revision": side.revision, "era": side.era,
        });
        set(&mut known, "upstream", side);
    }
    if let Some(related) = frame.related {
        set(&mut known, "related", related);
    }
    if let Some(session) = &frame.session {
        set(&mut known, "session", session.as_str());
    }
    if let Some(Action::Refused { reason }) = call.answer.as_ref().map(|answer| &answer.action) {
        set(&mut known, "refused", reason.as_str());
    }
    known
}
