//! Records to lines. Written by hand into one buffer: this runs once for every message of the proxy.

use shadowcat_pipeline::{Direction, Transport};
use shadowcat_protocol::{Revision, json};

use super::{BODY, CLOSE, DIGITS, MAJOR, MINOR, OPEN};
use crate::clock::{Rfc3339, rfc3339_of};
use crate::record::{Action, End, Frame, Header, Kind, Lost};

/// What a frame has in front of its other members, and a brace at its end.
const NUMBER_BYTES_MAX: usize = 48;

/// What a frame is written from, after redaction: words, because a frame may also come from a tape.
pub(crate) struct FrameLine<'a> {
    pub(crate) seq: u64,
    pub(crate) at_us: u64,
    pub(crate) time: Rfc3339,
    pub(crate) hop: Word<'a>,
    pub(crate) direction: Direction,
    pub(crate) exchange: u64,
    pub(crate) related: Option<u64>,
    pub(crate) session: Option<&'a str>,
    pub(crate) client: SideLine<'a>,
    /// Its name first.
    pub(crate) upstream: Option<(&'a str, SideLine<'a>)>,
    pub(crate) kind: Kind,
    pub(crate) method: Option<&'a str>,
    pub(crate) action: Word<'a>,
    pub(crate) reason: Option<&'a str>,
    pub(crate) rules: Vec<&'a str>,
    pub(crate) took_us: Option<u64>,
    pub(crate) redactions: u32,
    pub(crate) unfolded: bool,
    /// One line of JSON.
    pub(crate) message: &'a [u8],
}

/// A word of the format.
#[derive(Clone, Copy)]
pub(crate) struct Word<'a> {
    text: &'a str,
    is_own: bool,
}

impl<'a> Word<'a> {
    /// One of this program, which needs no escapes.
    pub(crate) fn own(text: &'static str) -> Self {
        Self { text, is_own: true }
    }

    /// One that stands on a tape.
    pub(crate) fn read(text: &'a str) -> Self {
        Self { text, is_own: false }
    }
}

/// How one side speaks: transport, revision and era.
#[derive(Clone, Copy)]
pub(crate) enum SideLine<'a> {
    /// The members as they are written: see [`Sides`].
    Own(&'a str),
    /// The words that stand on a tape.
    Read([&'a str; 3]),
}

/// The words of this program for how a side speaks.
pub(crate) fn side_words(transport: Transport, revision: Revision) -> [&'static str; 3] {
    [transport.as_str(), revision.as_str(), revision.era().as_str()]
}

/// The members of each side that there can be, written once and not in every record.
#[derive(Debug)]
pub(crate) struct Sides(Vec<(Transport, Revision, String)>);

impl Sides {
    pub(crate) fn new() -> Self {
        let transports = [Transport::Http, Transport::Stdio, Transport::Sse];
        let pairs = transports.into_iter().flat_map(|transport| {
            // The newest are spoken most, and found first.
            Revision::ALL.into_iter().rev().map(move |revision| (transport, revision))
        });
        let written = pairs.map(|(transport, revision)| {
            let mut members = Vec::new();
            side(b"", SideLine::Read(side_words(transport, revision)), &mut members);
            (transport, revision, String::from_utf8(members).unwrap_or_default())
        });
        Self(written.collect())
    }

    pub(crate) fn line(&self, (transport, revision): (Transport, Revision)) -> SideLine<'_> {
        let mut all = self.0.iter();
        match all.find(|(spoken, of, _)| (*spoken, *of) == (transport, revision)) {
            Some((_, _, members)) => SideLine::Own(members),
            None => SideLine::Read(side_words(transport, revision)),
        }
    }
}

impl<'a> FrameLine<'a> {
    /// A frame as it was read, with the numbers and the message that it has now.
    pub(crate) fn of(frame: &'a Frame) -> Self {
        let (action, reason) = match &frame.action {
            Action::Passed => ("passed", None),
            Action::Translated => ("translated", None),
            Action::Refused { reason } => ("refused", Some(reason.as_str())),
            Action::Other(word) => (word.as_str(), None),
        };
        let client = &frame.client;
        Self {
            seq: frame.seq,
            at_us: frame.at_us,
            time: rfc3339_of(frame.time),
            hop: Word::read(&frame.hop),
            direction: frame.direction,
            exchange: frame.exchange,
            related: frame.related,
            session: frame.session.as_deref(),
            client: SideLine::Read([&client.transport, &client.revision, &client.era]),
            upstream: frame.upstream.as_ref().map(|side| {
                let words = [&*side.transport, &side.revision, &side.era];
                (side.name.as_str(), SideLine::Read(words))
            }),
            kind: frame.kind,
            method: frame.method.as_deref(),
            action: Word::read(action),
            reason,
            rules: frame.rules.iter().map(String::as_str).collect(),
            took_us: frame.took_us,
            redactions: frame.redactions,
            unfolded: frame.unfolded,
            message: frame.message.as_bytes(),
        }
    }
}

/// Appends a header line.
pub(crate) fn header(header: &Header, out: &mut Vec<u8>) {
    line(out, |out| {
        number(out, br#""record":"header","format":""#, MAJOR);
        number(out, b".", MINOR);
        text(out, br#"","program":""#, &header.program);
        text(out, br#","tape":""#, &header.tape);
        out.extend_from_slice(br#","created":""#);
        out.extend_from_slice(&rfc3339_of(header.created));
        out.extend_from_slice(if header.redacted {
            br#"","redacted":true"#
        } else {
            br#"","redacted":false"#
        });
        if let Some(format) = &header.imported {
            text(out, br#","imported":""#, format);
        }
        if let Some(previous) = &header.previous {
            text(out, br#","previous":""#, previous);
        }
        if header.partial {
            out.extend_from_slice(br#","partial":true"#);
        }
    });
}

/// Appends a frame line.
pub(crate) fn frame(frame: &FrameLine<'_>, out: &mut Vec<u8>) {
    line(out, |out| members(frame, out));
}

/// A frame as an object without checksum and line end, of its number and what [`unnumbered`] wrote.
pub(crate) fn unsealed(seq: u64, unnumbered: &[u8]) -> Vec<u8> {
    let mut object = Vec::with_capacity(unnumbered.len() + NUMBER_BYTES_MAX);
    object.push(b'{');
    sequence(seq, &mut object);
    object.extend_from_slice(unnumbered);
    object.push(b'}');
    object
}

fn members(frame: &FrameLine<'_>, out: &mut Vec<u8>) {
    sequence(frame.seq, out);
    unnumbered(frame, out);
}

fn sequence(seq: u64, out: &mut Vec<u8>) {
    number(out, br#""record":"frame","seq":"#, seq);
}

/// Appends all members of a frame that stand behind its number.
pub(crate) fn unnumbered(frame: &FrameLine<'_>, out: &mut Vec<u8>) {
    number(out, br#","at_us":"#, frame.at_us);
    out.extend_from_slice(br#","time":""#);
    out.extend_from_slice(&frame.time);
    word(out, br#"","hop":""#, frame.hop);
    word(out, br#","direction":""#, Word::own(frame.direction.as_str()));
    sides(frame, out);
    word(out, br#","kind":""#, Word::own(frame.kind.as_str()));
    if let Some(method) = frame.method {
        text(out, br#","method":""#, method);
    }
    action(frame, out);
    out.extend_from_slice(br#","message":"#);
    out.extend_from_slice(frame.message);
}

/// Appends a line that says what is missing here.
pub(crate) fn lost(lost: &Lost, out: &mut Vec<u8>) {
    line(out, |out| {
        number(out, br#""record":"lost","since":"#, lost.since);
        number(out, br#","count":"#, lost.count);
        text(out, br#","reason":""#, &lost.reason);
    });
}

/// Appends the last line.
pub(crate) fn end(end: End, out: &mut Vec<u8>) {
    line(out, |out| {
        number(out, br#""record":"end","frames":"#, end.frames);
        number(out, br#","lost":"#, end.lost);
    });
}

/// Appends any object as a line.
pub(crate) fn sealed(object: &str, out: &mut Vec<u8>) {
    let inner = object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
    line(out, |out| out.extend_from_slice(inner.as_bytes()));
}

fn sides(frame: &FrameLine<'_>, out: &mut Vec<u8>) {
    number(out, br#","exchange":"#, frame.exchange);
    if let Some(related) = frame.related {
        number(out, br#","related":"#, related);
    }
    if let Some(session) = frame.session {
        text(out, br#","session":""#, session);
    }
    side(br#","client":{"#, frame.client, out);
    if let Some((name, upstream)) = frame.upstream {
        text(out, br#","upstream":{"name":""#, name);
        side(b",", upstream, out);
    }
}

fn side<const N: usize>(before: &[u8; N], side: SideLine<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    match side {
        SideLine::Own(members) => out.extend_from_slice(members.as_bytes()),
        SideLine::Read([transport, revision, era]) => {
            text(out, br#""transport":""#, transport);
            text(out, br#","revision":""#, revision);
            text(out, br#","era":""#, era);
            out.push(b'}');
        }
    }
}

fn action(frame: &FrameLine<'_>, out: &mut Vec<u8>) {
    word(out, br#","action":""#, frame.action);
    if let Some(reason) = frame.reason {
        text(out, br#","reason":""#, reason);
    }
    for (number, rule) in frame.rules.iter().enumerate() {
        if number == 0 {
            text(out, br#","rules":[""#, rule);
        } else {
            text(out, b",\"", rule);
        }
    }
    if !frame.rules.is_empty() {
        out.push(b']');
    }
    if let Some(took) = frame.took_us {
        number(out, br#","took_us":"#, took);
    }
    if frame.redactions > 0 {
        number(out, br#","redactions":"#, frame.redactions);
    }
    if frame.unfolded {
        out.extend_from_slice(br#","unfolded":true"#);
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

const HEX: &[u8; 16] = b"0123456789abcdef";

fn digits(crc: u32) -> [u8; DIGITS] {
    let mut digits = [0; DIGITS];
    for (place, digit) in digits.iter_mut().enumerate() {
        let four_bits = (crc >> (28 - 4 * place)) & 0xf;
        *digit = HEX.get(four_bits as usize).copied().unwrap_or_default();
    }
    digits
}

/// A number behind the name of its member. What stands before it is of a known length, here and below, and so is copied in
/// place.
fn number<const N: usize>(out: &mut Vec<u8>, before: &[u8; N], number: impl itoa::Integer) {
    out.extend_from_slice(before);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A word behind what stands before it, which ends with its opening quote.
fn word<const N: usize>(out: &mut Vec<u8>, before: &[u8; N], word: Word<'_>) {
    if word.is_own {
        out.extend_from_slice(before);
        out.extend_from_slice(word.text.as_bytes());
        out.push(b'"');
    } else {
        text(out, before, word.text);
    }
}

/// A string behind what stands before it, which ends with its opening quote. Few need an escape, and nothing is allocated
/// for those that do not.
fn text<const N: usize>(out: &mut Vec<u8>, before: &[u8; N], value: &str) {
    out.extend_from_slice(before);
    if json::is_plain(value) {
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(json::quote(value).as_bytes().split_at(1).1);
    }
}
