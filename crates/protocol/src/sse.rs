//! Server-sent events: bytes in, events out, and back.
//!
//! It follows the WHATWG rules but for one: an event with an `id` or `retry` and no data is reported, because MCP
//! servers begin a stream with one to give a place to resume from. What an event means is for the transports.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

/// A comment that shows an idle stream is alive.
pub const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

const BOM: &[u8] = b"\xef\xbb\xbf";

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The `event` field; `message` when there is none.
    pub kind: Option<Cow<'static, str>>,
    /// The `data` fields, joined by line feeds; none without such a field.
    pub data: Option<Bytes>,
    /// The `id` field.
    pub id: Option<Box<str>>,
    /// The `retry` field: how long to wait before connecting again.
    pub retry: Option<Duration>,
}

impl Event {
    /// An event that carries nothing but data.
    pub fn message(data: impl Into<Bytes>) -> Self {
        Self { data: Some(data.into()), ..Self::default() }
    }

    /// Nothing but a kind is nothing to act on.
    fn is_worth_reporting(&self) -> bool {
        self.data.is_some() || self.id.is_some() || self.retry.is_some()
    }
}

/// Why a stream is not read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SseError {
    /// One event is longer than the limit.
    #[error("an event is longer than {limit} bytes")]
    EventTooLong {
        /// In bytes.
        limit: usize,
    },
}

/// Finds the events in the bytes of a stream, however they are cut.
///
/// It keeps one unfinished event, up to the limit, and the events of the last `push` until they are taken.
#[derive(Debug)]
pub struct Decoder {
    event_bytes_max: usize,
    line: Vec<u8>,
    /// The last byte was a CR that ended a line: an LF behind it belongs to it.
    after_cr: bool,
    past_first_line: bool,
    event: Event,
    data: Option<BytesMut>,
    ready: VecDeque<Event>,
    failed: Option<SseError>,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new(event_bytes_max: usize) -> Self {
        Self {
            event_bytes_max,
            line: Vec::new(),
            after_cr: false,
            past_first_line: false,
            event: Event::default(),
            data: None,
            ready: VecDeque::new(),
            failed: None,
        }
    }

    /// Takes the next bytes. After an error nothing is taken any more; the events before it can still be had.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), SseError> {
        match self.failed {
            Some(error) => Err(error),
            None => self.take(bytes).inspect_err(|error| self.failed = Some(*error)),
        }
    }

    /// The next finished event.
    pub fn next_event(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), SseError> {
        if self.after_cr && !bytes.is_empty() {
            self.after_cr = false;
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(end) = line_end(bytes) {
            let (line, rest) = bytes.split_at(end);
            self.finish_line(line)?;
            bytes = match rest {
                [b'\r'] => {
                    self.after_cr = true;
                    &[]
                }
                [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => rest,
                [] => &[],
            };
        }
        self.make_room_for(bytes.len())?;
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn finish_line(&mut self, end: &[u8]) -> Result<(), SseError> {
        self.make_room_for(end.len())?;
        if self.line.is_empty() {
            return self.read_line(end);
        }
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(end);
        self.read_line(&line)?;
        line.clear();
        // Kept for the next line unless it grew for a large one.
        if line.capacity() <= LINE_KEPT_MAX {
            self.line = line;
        }
        Ok(())
    }

    fn read_line(&mut self, line: &[u8]) -> Result<(), SseError> {
        let line = if self.past_first_line { line } else { line.strip_prefix(BOM).unwrap_or(line) };
        self.past_first_line = true;
        if line.is_empty() {
            self.dispatch();
            return Ok(());
        }
        self.read_field(line)
    }

    fn read_field(&mut self, line: &[u8]) -> Result<(), SseError> {
        if let Some(value) = value_of(line, b"data") {
            if let Some(data) = &mut self.data {
                data.put_u8(b'\n');
                data.put_slice(value);
            } else {
                self.data = Some(BytesMut::from(value));
            }
            return Ok(());
        }
        if let Some(value) = value_of(line, b"event") {
            let is_usual = value == USUAL_KIND.as_bytes();
            let kind = if is_usual { Cow::Borrowed(USUAL_KIND) } else { Cow::Owned(text(value).into()) };
            self.event.kind = Some(kind);
        } else if let Some(value) = value_of(line, b"id") {
            if !value.contains(&0) {
                self.event.id = Some(text(value));
            }
        } else if let Some(value) = value_of(line, b"retry")
            && value.iter().all(u8::is_ascii_digit)
            && let Ok(milliseconds) = text(value).parse::<u64>()
        {
            self.event.retry = Some(Duration::from_millis(milliseconds));
        }
        // A comment has no name; other fields are for others. What is no UTF-8 grows when it is read.
        self.make_room_for(0)
    }

    fn dispatch(&mut self) {
        let data = self.data.take().map(BytesMut::freeze);
        let event = Event { data, ..std::mem::take(&mut self.event) };
        if event.is_worth_reporting() {
            self.ready.push_back(event);
        }
    }

    fn make_room_for(&self, more: usize) -> Result<(), SseError> {
        let held = self.data.as_ref().map_or(0, BytesMut::len)
            + self.event.kind.as_ref().map_or(0, |kind| kind.len())
            + self.event.id.as_ref().map_or(0, |id| id.len());
        if held + self.line.len() + more > self.event_bytes_max {
            return Err(SseError::EventTooLong { limit: self.event_bytes_max });
        }
        Ok(())
    }
}

/// The largest line buffer that is kept between lines.
const LINE_KEPT_MAX: usize = 64 * 1024;

/// What servers call an event that has no need of a name.
const USUAL_KIND: &str = "message";

/// Most lines of a stream are either empty or data, whose ends are close or far.
fn line_end(bytes: &[u8]) -> Option<usize> {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    if bytes.first().is_some_and(is_end) { Some(0) } else { memchr::memchr2(b'\r', b'\n', bytes) }
}

/// The value of a field, if a line has this one: it may have no colon, and one blank behind the colon is left out.
fn value_of<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    match line.strip_prefix(name)? {
        [] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

fn text(value: &[u8]) -> Box<str> {
    match str::from_utf8(value) {
        Ok(text) => text.into(),
        Err(_) => String::from_utf8_lossy(value).into(),
    }
}

/// Appends an event. Line ends in the data become fields of their own; a kind or id cannot have any and loses them.
pub fn encode(event: &Event, out: &mut BytesMut) {
    put_event(event.kind.as_deref(), event.id.as_deref(), event.retry, event.data.as_deref(), out);
}

/// Appends an event that carries a message, without the detour of making one.
pub fn encode_message(kind: Option<&str>, id: Option<&str>, data: &[u8], out: &mut BytesMut) {
    put_event(kind, id, None, Some(data), out);
}

fn put_event(
    kind: Option<&str>,
    id: Option<&str>,
    retry: Option<Duration>,
    data: Option<&[u8]>,
    out: &mut BytesMut,
) {
    if let Some(kind) = kind {
        put_field(out, b"event: ", kind);
    }
    if let Some(id) = id {
        put_field(out, b"id: ", id);
    }
    if let Some(retry) = retry {
        put_field(out, b"retry: ", &retry.as_millis().to_string());
    }
    if let Some(data) = data {
        put_data(out, data);
    }
    out.put_u8(b'\n');
}

fn put_field(out: &mut BytesMut, name: &[u8], value: &str) {
    out.put_slice(name);
    if memchr::memchr2(b'\r', b'\n', value.as_bytes()).is_none() {
        out.put_slice(value.as_bytes());
    } else {
        value.split(['\r', '\n']).for_each(|piece| out.put_slice(piece.as_bytes()));
    }
    out.put_u8(b'\n');
}

fn put_data(out: &mut BytesMut, mut data: &[u8]) {
    out.reserve(data.len() + 8);
    loop {
        let end = memchr::memchr2(b'\r', b'\n', data);
        let (line, rest) = data.split_at(end.unwrap_or(data.len()));
        out.put_slice(b"data: ");
        out.put_slice(line);
        out.put_u8(b'\n');
        data = match rest {
            [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => rest,
            [] => return,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn events(chunks: &[&[u8]]) -> (Vec<Event>, Result<(), SseError>) {
        let mut decoder = Decoder::new(64);
        let pushed = chunks.iter().try_for_each(|chunk| decoder.push(chunk));
        (std::iter::from_fn(|| decoder.next_event()).collect(), pushed)
    }

    fn check(stream: &str, expected: &[Event]) {
        let (read, pushed) = events(&[stream.as_bytes()]);
        assert_eq!((read.as_slice(), pushed), (expected, Ok(())), "{stream:?}");
    }

    #[test]
    fn the_rules_of_the_format_hold() {
        let message = Event::message;
        check("data: a\n\ndata:b\r\rdata:  c\r\n\r\n", &[message("a"), message("b"), message(" c")]);
        check("\u{feff}data: a\n\n", &[message("a")]);
        check("\u{feff}\u{feff}data: a\n\n", &[]);
        check("data: a\ndata\ndata: b\n\n", &[message("a\n\nb")]);
        check(": comment\nother: x\ndata: a\n\n", &[message("a")]);
        check("event: x\n\n\n", &[]);
        check("data: cut", &[]);
        check("data: cut\n", &[]);
        check("data\n\n", &[message("")]);
        let bad_id = Event { retry: Some(Duration::from_millis(20)), ..message("a") };
        check("id: a\0b\nretry: 20\nretry: x\ndata: a\n\n", &[bad_id]);
    }

    #[test]
    fn a_priming_event_is_reported_with_and_without_empty_data() {
        let primed = |data| Event { id: Some("7".into()), data, ..Event::default() };
        check("id: 7\n\n", &[primed(None)]);
        check("id: 7\ndata:\n\n", &[primed(Some(Bytes::new()))]);
    }

    #[test]
    fn an_event_over_the_limit_ends_the_stream_behind_those_before_it() {
        let long = format!("data: a\n\ndata: {}\n\n", "x".repeat(80));
        let (read, pushed) = events(&[long.as_bytes()]);
        assert_eq!(read, [Event::message("a")]);
        assert_eq!(pushed, Err(SseError::EventTooLong { limit: 64 }));
        let mut decoder = Decoder::new(64);
        let endless = (0..100).find_map(|_| decoder.push(b"data: xxxx\n").err());
        assert_eq!(endless, Some(SseError::EventTooLong { limit: 64 }));
        assert!(decoder.push(b"\n\n").is_err() && decoder.next_event().is_none());
    }

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(vec![
            "data",
            ": ",
            ":",
            "\r",
            "\n",
            "\r\n",
            "id",
            "event",
            "retry",
            "12",
            "\u{feff}",
            "x",
            "{}",
            "\0",
            "long text",
        ]);
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn any_cut_of_the_bytes_gives_the_same_events(stream in stream(), cut in 1usize..8) {
            let cut: Vec<&[u8]> = stream.chunks(cut).collect();
            prop_assert_eq!(events(&cut), events(&[&stream]));
        }

        #[test]
        fn what_was_written_is_read(
            kind in prop::option::of("[^\r\n]{0,8}"), id in prop::option::of("[^\r\n\0]{0,8}"),
            data in prop::option::of("[^\r]{0,12}"), retry in prop::option::of(any::<u32>()),
        ) {
            let event = Event {
                kind: kind.map(Into::into),
                data: data.map(Bytes::from),
                id: id.map(Into::into),
                retry: retry.map(|ms| Duration::from_millis(ms.into())),
            };
            let mut written = BytesMut::new();
            encode(&event, &mut written);
            if let (Some(data), None) = (&event.data, event.retry) {
                let mut at_once = BytesMut::new();
                encode_message(event.kind.as_deref(), event.id.as_deref(), data, &mut at_once);
                prop_assert_eq!(&at_once, &written);
            }
            written.extend_from_slice(KEEP_ALIVE);
            let mut decoder = Decoder::new(4096);
            decoder.push(&written).unwrap();
            prop_assert_eq!(decoder.next_event(), Some(event.clone()).filter(Event::is_worth_reporting));
            prop_assert_eq!(decoder.next_event(), None);
        }
    }
}
