//! Records to lines. Written by hand into one buffer: this runs once for every message of the proxy.

use std::io::Write as _;

use shadowcat_pipeline::{Direction, Origin, Transport};
use shadowcat_protocol::{Era, Revision, json};
use time::OffsetDateTime;

use super::{BODY, CLOSE, DIGITS, MAJOR, MINOR, OPEN};
use crate::clock::push_rfc3339;
use crate::record::{End, Header, Kind, Lost};
use crate::recorder::Passed;

/// What a frame is written from, after redaction.
pub(crate) struct FrameLine<'a> {
    pub(crate) seq: u64,
    pub(crate) at_us: u64,
    pub(crate) time: OffsetDateTime,
    pub(crate) hop: &'a str,
    pub(crate) direction: Direction,
    pub(crate) origin: &'a Origin,
    pub(crate) kind: Kind,
    pub(crate) method: Option<&'a str>,
    pub(crate) passed: Passed,
    pub(crate) refused: Option<&'a str>,
    pub(crate) took_us: Option<u64>,
    pub(crate) redactions: u32,
    pub(crate) unfolded: bool,
    /// One line of JSON.
    pub(crate) message: &'a [u8],
}

/// Appends a header line.
pub(crate) fn header(header: &Header, out: &mut Vec<u8>) {
    line(out, |out| {
        put(out, format_args!(r#""record":"header","format":"{MAJOR}.{MINOR}""#));
        text(out, "program", &header.program);
        text(out, "tape", &header.tape);
        out.extend_from_slice(br#","created":""#);
        push_rfc3339(header.created, out);
        put(out, format_args!(r#"","redacted":{}"#, header.redacted));
    });
}

/// Appends a frame line.
pub(crate) fn frame(frame: &FrameLine<'_>, out: &mut Vec<u8>) {
    line(out, |out| {
        put(out, format_args!(r#""record":"frame","seq":{},"at_us":{},"time":""#, frame.seq, frame.at_us));
        push_rfc3339(frame.time, out);
        out.push(b'"');
        text(out, "hop", frame.hop);
        plain(out, "direction", direction(frame.direction));
        sides(frame.origin, out);
        plain(out, "kind", frame.kind.as_str());
        if let Some(method) = frame.method {
            text(out, "method", method);
        }
        action(frame, out);
        out.extend_from_slice(br#","message":"#);
        out.extend_from_slice(frame.message);
    });
}

/// Appends a line that says what is missing here.
pub(crate) fn lost(lost: &Lost, out: &mut Vec<u8>) {
    line(out, |out| {
        put(out, format_args!(r#""record":"lost","since":{},"count":{}"#, lost.since, lost.count));
        text(out, "reason", &lost.reason);
    });
}

/// Appends the last line.
pub(crate) fn end(end: End, out: &mut Vec<u8>) {
    line(out, |out| {
        put(out, format_args!(r#""record":"end","frames":{},"lost":{}"#, end.frames, end.lost));
    });
}

fn sides(origin: &Origin, out: &mut Vec<u8>) {
    put(out, format_args!(r#","exchange":{}"#, origin.exchange.get()));
    if let Some(related) = origin.related {
        put(out, format_args!(r#","related":{}"#, related.get()));
    }
    if let Some(session) = &origin.session {
        text(out, "session", &session.0);
    }
    out.extend_from_slice(br#","client":{"#);
    side(origin.transport, origin.revision, out);
    out.push(b'}');
    if let Some(upstream) = origin.upstream.get() {
        out.extend_from_slice(br#","upstream":{"name":"#);
        out.extend_from_slice(json::quote(&upstream.name).as_bytes());
        out.push(b',');
        side(upstream.transport, upstream.revision, out);
        out.push(b'}');
    }
}

fn side(transport: Transport, revision: Revision, out: &mut Vec<u8>) {
    let era = match revision.era() {
        Era::Legacy => "legacy",
        Era::Modern => "modern",
    };
    out.extend_from_slice(br#""transport":""#);
    out.extend_from_slice(transport.as_str().as_bytes());
    out.push(b'"');
    plain(out, "revision", revision.as_str());
    plain(out, "era", era);
}

fn action(frame: &FrameLine<'_>, out: &mut Vec<u8>) {
    match (frame.refused, frame.passed) {
        (None, Passed::AsWritten) => plain(out, "action", "passed"),
        (None, Passed::Translated) => plain(out, "action", "translated"),
        (Some(reason), _) => {
            plain(out, "action", "refused");
            text(out, "reason", reason);
        }
    }
    if let Some(took) = frame.took_us {
        put(out, format_args!(r#","took_us":{took}"#));
    }
    if frame.redactions > 0 {
        put(out, format_args!(r#","redactions":{}"#, frame.redactions));
    }
    if frame.unfolded {
        out.extend_from_slice(br#","unfolded":true"#);
    }
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::ToServer => "to_server",
        Direction::ToClient => "to_client",
    }
}

/// Frames what `body` writes: the checksum before it, brace and line end after it.
fn line(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(OPEN);
    out.extend_from_slice(&[b'0'; DIGITS]);
    out.extend_from_slice(CLOSE);
    body(out);
    out.push(b'}');
    let crc = crc32fast::hash(out.get(start + BODY..).unwrap_or_default());
    if let Some(place) = out.get_mut(start + OPEN.len()..start + OPEN.len() + DIGITS) {
        place.copy_from_slice(&digits(crc));
    }
    out.push(b'\n');
}

fn digits(crc: u32) -> [u8; DIGITS] {
    let mut digits = [0; DIGITS];
    for (place, digit) in digits.iter_mut().enumerate() {
        let four_bits = (crc >> (28 - 4 * place)) & 0xf;
        *digit = char::from_digit(four_bits, 16).map_or(b'0', |hex| hex as u8);
    }
    digits
}

fn put(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    // Writing to memory cannot fail.
    let _ = out.write_fmt(arguments);
}

/// A string member whose text may need escapes.
fn text(out: &mut Vec<u8>, name: &str, value: &str) {
    member(out, name);
    out.extend_from_slice(json::quote(value).as_bytes());
}

/// A string member whose text is a word of ours.
fn plain(out: &mut Vec<u8>, name: &str, word: &str) {
    member(out, name);
    out.push(b'"');
    out.extend_from_slice(word.as_bytes());
    out.push(b'"');
}

fn member(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(br#",""#);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(br#"":"#);
}
