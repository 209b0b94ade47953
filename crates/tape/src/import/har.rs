//! HTTP Archives: our own, and what browsers and proxies write of Streamable HTTP and HTTP+SSE.
//!
//! A `POST` of JSON-RPC is a message or a batch, its JSON or event-stream body what came back; the event stream of a
//! `GET` is what the server said there. A HAR keeps two times of an exchange: the first reply is set at the end of the
//! wait, the last at the end; a response that came over a `GET` at the end of the `POST` that it answers.

use std::collections::HashMap;
use std::io::BufRead;

use bytes::Bytes;
use shadowcat_pipeline::Direction;
use shadowcat_protocol::{Revision, headers, json, split_batch, sse};
use time::{Duration, OffsetDateTime};

use super::document::{Element, each};
use super::har_entry::{Body, Entry, Event, KnownSide, Timings, header};
use super::join::{Group, Held, Said, session_tag};
use super::{At, ImportError, Sink};
use crate::clock::{later, parse_rfc3339};
use crate::record::{UpstreamSide, message_limits};

const EVENTS: &str = "text/event-stream";
/// Longer than this no message is, and so no event.
const EVENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Reads the entries one by one; their messages are put in order at the end.
pub(super) fn read(source: impl BufRead, url: Option<&str>, sink: &mut Sink<'_>) -> Result<(), ImportError> {
    let mut archive = Archive { held: Held::default(), streamed: Vec::new(), url };
    let done = each(source, &["log", "entries"], "a HAR", &mut |element| archive.entry(element, sink));
    sink.unless_bad(done)?;
    archive.place_streamed();
    archive.held.join(sink)
}

struct Archive<'a> {
    held: Held,
    /// Which of the held came over a `GET`.
    streamed: Vec<usize>,
    url: Option<&'a str>,
}

/// What all messages of an entry have in common.
struct Common {
    at: At,
    group: Group,
    session: Option<String>,
    transport: String,
    revision: Option<Revision>,
    upstream: Option<UpstreamSide>,
    refused: Option<String>,
    begun: OffsetDateTime,
    first: OffsetDateTime,
    end: OffsetDateTime,
}

impl Common {
    fn said(&self, direction: Direction, time: OffsetDateTime, text: String) -> Said {
        // Only the answer itself was made by the proxy.
        let is_answer = direction == Direction::ToClient && json::get(&text, &["method"]).is_none();
        Said {
            at: self.at,
            time,
            direction,
            text,
            session: self.session.clone(),
            group: Some(self.group),
            transport: self.transport.clone(),
            revision: self.revision,
            upstream: self.upstream.clone(),
            refused: self.refused.clone().filter(|_| is_answer),
        }
    }
}

impl Archive<'_> {
    fn entry(&mut self, element: &Element<'_>, sink: &mut Sink<'_>) -> Result<(), ImportError> {
        let entry: Entry = match element.parse() {
            Ok(entry) => entry,
            Err(fault) => return sink.bad(element.at, format!("no entry of a HAR: {fault}")),
        };
        if self.url.is_some_and(|wanted| !entry.request.url.contains(wanted)) {
            sink.imported.foreign += 1;
            return Ok(());
        }
        match self.messages(&entry, element.at, sink) {
            Ok(found) => found.into_iter().try_for_each(|said| self.held.push(said)),
            Err(detail) => sink.bad(element.at, detail),
        }
    }

    fn messages(&mut self, entry: &Entry, at: At, sink: &mut Sink<'_>) -> Result<Vec<Said>, String> {
        let asked = entry.request.post_data.as_ref().map_or(Ok(None), Body::text)?;
        let is_post = entry.request.method.eq_ignore_ascii_case("POST");
        let asked = asked.filter(|text| is_post && is_json_rpc(text));
        let is_stream = entry.response.as_ref().is_some_and(|response| response.is(EVENTS));
        if entry.messages.is_none() && asked.is_none() && (is_post || !is_stream) {
            sink.imported.foreign += 1;
            return Ok(Vec::new());
        }
        let mut common = common(entry, at)?;
        if let Some(passed) = &entry.messages {
            return passed.iter().map(|passed| own(passed, &common)).collect();
        }
        let body = entry.response.as_ref().map_or(Ok(None), |response| response.content.text())?;
        let body = body.or_else(|| entry.event_source.as_deref().map(stream_of));
        let mut found = Vec::new();
        for text in asked.as_deref().map_or(Ok(Vec::new()), batch)? {
            found.push(common.said(Direction::ToServer, common.begun, text));
        }
        let replies = match body {
            Some(body) if is_stream => events(&body, &mut common)?,
            Some(body) if is_json_rpc(&body) => batch(&body)?,
            _ => Vec::new(),
        };
        if asked.is_none() {
            // What a site streams to its page, and what nobody said to anybody.
            if replies.is_empty() {
                sink.imported.foreign += 1;
            }
            let at = self.held.all().len();
            self.streamed.extend(at..at + replies.len());
            found
                .extend(replies.into_iter().map(|text| common.said(Direction::ToClient, common.first, text)));
            return Ok(found);
        }
        let is_due = found.iter().any(|said| json::get(&said.text, &["id"]).is_some());
        let is_accepted = entry.response.as_ref().is_some_and(|response| response.status == Some(202));
        if replies.is_empty() && is_due && !is_accepted {
            sink.imported.bodiless += 1;
        }
        let last = replies.len().saturating_sub(1);
        for (place, text) in replies.into_iter().enumerate() {
            let time = if place == last { common.end } else { common.first };
            found.push(common.said(Direction::ToClient, time, text));
        }
        Ok(found)
    }

    /// Sets the time of what came over a `GET`: not before what it answers, nor before what came before it.
    fn place_streamed(&mut self) {
        let streamed: std::collections::HashSet<usize> = self.streamed.drain(..).collect();
        let mut posted = HashMap::new();
        for (place, said) in self.held.all().iter().enumerate() {
            if !streamed.contains(&place)
                && let Some(id) = id(&said.text)
            {
                posted.insert((said.session.clone(), id), said.time);
            }
        }
        let (mut at, mut last) = (None, OffsetDateTime::UNIX_EPOCH);
        for (place, said) in self.held.all().iter_mut().enumerate() {
            if !streamed.contains(&place) {
                continue;
            }
            if at.replace(said.at) != Some(said.at) {
                last = said.time;
            }
            let is_answer = json::get(&said.text, &["method"]).is_none();
            let key = id(&said.text).filter(|_| is_answer).map(|id| (said.session.clone(), id));
            let asked = key.and_then(|key| posted.get(&key)).copied();
            // A microsecond: an answer is never at the moment of its question, which may stand behind it in the file.
            last = last.max(asked.map_or(last, |asked| asked + Duration::microseconds(1)));
            said.time = last;
        }
    }
}

fn id(text: &str) -> Option<String> {
    json::get(text, &["id"]).map(str::to_owned)
}

fn common(entry: &Entry, at: At) -> Result<Common, String> {
    let begun = parse_rfc3339(&entry.started_date_time)
        .ok_or_else(|| format!("its startedDateTime {:?} is no time", entry.started_date_time))?;
    // -1 stands for "does not apply".
    let took = entry.time.filter(|ms| *ms > 0.0).unwrap_or(0.0);
    let end = later(begun, took * 1000.0).ok_or("its time is out of bounds")?;
    let waited = entry.timings.as_ref().map_or(0.0, waited);
    let first = later(begun, waited * 1000.0).map_or(end, |first| first.min(end));
    let mut common = Common {
        at,
        group: if entry.known.is_some() { Group::Call(at.number()) } else { Group::Http(at.number()) },
        session: None,
        transport: "http".to_owned(),
        revision: None,
        upstream: None,
        refused: None,
        begun,
        first,
        end,
    };
    if let Some(known) = &entry.known {
        common.session.clone_from(&known.session);
        common.transport.clone_from(&known.client.transport);
        common.revision = Revision::parse(&known.client.revision);
        common.upstream = known.upstream.as_ref().map(KnownSide::upstream);
        common.refused.clone_from(&known.refused);
        return Ok(common);
    }
    let sent = &entry.request.headers;
    let answered =
        entry.response.as_ref().and_then(|response| header(&response.headers, headers::SESSION_ID));
    common.session = header(sent, headers::SESSION_ID).or(answered).map(session_tag);
    common.revision = header(sent, headers::PROTOCOL_VERSION).and_then(Revision::parse);
    if let Some(id) = common.session.is_none().then(|| session_of_url(&entry.request.url)).flatten() {
        common.session = Some(session_tag(id));
        "sse".clone_into(&mut common.transport);
    }
    Ok(common)
}

/// HTTP+SSE names the session in the address of its `POST`s.
fn session_of_url(url: &str) -> Option<&str> {
    let (_, query) = url.split_once('?')?;
    let pairs = query.split(['&', '#']).filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(name, _)| matches!(*name, "sessionId" | "session_id")).map(|(_, value)| value)
}

fn waited(timings: &Timings) -> f64 {
    let parts = [timings.blocked, timings.dns, timings.connect, timings.send, timings.wait];
    parts.into_iter().flatten().filter(|ms| *ms > 0.0).sum()
}

/// A message of our own export.
fn own(passed: &super::har_entry::Passed, common: &Common) -> Result<Said, String> {
    let direction = match passed.way.as_str() {
        "send" => Direction::ToServer,
        "receive" => Direction::ToClient,
        other => return Err(format!("a message is neither sent nor received but {other:?}")),
    };
    let epoch = OffsetDateTime::UNIX_EPOCH;
    let time = later(epoch, passed.time * 1_000_000.0).ok_or("the time of a message is out of bounds")?;
    Ok(common.said(direction, time, passed.data.clone()))
}

/// The stream that a browser took apart and kept no body of.
fn stream_of(events: &[Event]) -> String {
    let event = |event: &Event| {
        let data: Vec<&str> = event.data.lines().collect();
        format!("event: {}\ndata: {}\n\n", event.event_name, data.join("\ndata: "))
    };
    events.iter().map(event).collect()
}

/// The data of the events that are messages. HTTP+SSE's first event names its session.
fn events(body: &str, common: &mut Common) -> Result<Vec<String>, String> {
    let mut decoder = sse::Decoder::new(EVENT_BYTES_MAX);
    decoder.push(body.as_bytes()).map_err(|fault| fault.to_string())?;
    // A recording that was ended with its stream lacks the blank line behind the last event.
    decoder.push(b"\n\n").map_err(|fault| fault.to_string())?;
    let mut found = Vec::new();
    while let Some(event) = decoder.next_event() {
        let data = String::from_utf8_lossy(event.data.as_deref().unwrap_or_default()).into_owned();
        if event.kind.as_deref() == Some("endpoint") {
            "sse".clone_into(&mut common.transport);
            common.session = session_of_url(&data).map(session_tag);
        } else if is_json_rpc(&data) {
            found.extend(batch(&data)?);
        }
    }
    Ok(found)
}

/// Whether it is meant to be JSON-RPC, whole or not.
fn is_json_rpc(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[']) && text.contains("\"jsonrpc\"")
}

fn batch(text: &str) -> Result<Vec<String>, String> {
    if !text.trim_start().starts_with('[') {
        return Ok(vec![text.to_owned()]);
    }
    let parts = split_batch(&Bytes::copy_from_slice(text.as_bytes()), &message_limits());
    let parts = parts.map_err(|fault| format!("no batch of messages: {fault}"))?;
    Ok(parts.iter().map(|part| String::from_utf8_lossy(part).into_owned()).collect())
}
