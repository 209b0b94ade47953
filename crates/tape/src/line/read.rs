//! Lines to records.

use serde::Deserialize;
use serde_json::value::RawValue;
use shadowcat_pipeline::Direction;
use time::OffsetDateTime;

use super::{BODY, CLOSE, DIGITS, MAJOR, OPEN, migrations};
use crate::clock::parse_rfc3339;
use crate::record::{Action, ClientSide, End, Frame, Header, Kind, Lost, Record, UpstreamSide};

/// Why a line is no record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    #[error("the line does not begin with a checksum")]
    NoChecksum,
    #[error(
        "the line was changed after it was written: its checksum is {written:08x}, its text has {found:08x}"
    )]
    Changed { written: u32, found: u32 },
    #[error("the record lacks what it must have: {0}")]
    Incomplete(String),
    #[error("the tape has format {major}, this program reads up to {MAJOR}: use a newer shadowcat")]
    Newer { major: u32 },
}

/// The record of a line without its line end, in a tape of today; none for a kind of record that is not known here.
pub(crate) fn record(line: &[u8]) -> Result<Option<Record>, LineError> {
    record_of(line, MAJOR)
}

/// The same in a tape of a major version. A header says of which it is.
pub(crate) fn record_of(line: &[u8], major: u32) -> Result<Option<Record>, LineError> {
    let object = upgraded(object(line)?, major)?;
    let kind: RecordKind<'_> = parse(&object)?;
    match kind.record {
        "header" => {
            // Before anything else: a newer header may look different.
            let version = version(parse::<Format<'_>>(&object)?.format)?;
            let object = upgraded(object, version.0)?;
            parse::<HeaderLine>(&object)?.header(version).map(|header| Some(Record::Header(header)))
        }
        "frame" => Ok(Some(Record::Frame(Box::new(parse::<FrameLine<'_>>(&object)?.frame()?)))),
        "lost" => Ok(Some(Record::Lost(parse::<LostLine>(&object)?.into()))),
        "end" => Ok(Some(Record::End(parse::<EndLine>(&object)?.into()))),
        _ => Ok(None),
    }
}

fn upgraded(object: String, major: u32) -> Result<String, LineError> {
    migrations::upgraded(object, major).map_err(LineError::Incomplete)
}

/// The object of a line without the checksum.
pub(crate) fn object(line: &[u8]) -> Result<String, LineError> {
    let body = std::str::from_utf8(checked(line)?).map_err(incomplete)?;
    // The text after the checksum lacks only its brace to be an object of its own.
    Ok(format!("{{{body}"))
}

/// The frame of an object with the members of one, whatever else it has.
pub(crate) fn unsealed_frame(object: &str) -> Result<Frame, LineError> {
    parse::<FrameLine<'_>>(object)?.frame()
}

/// Where a line stands in its tape.
pub(crate) struct Position {
    /// The number of its message, or of the first of its lost ones.
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) time: Option<OffsetDateTime>,
}

/// Where a line stands, without a look at its message; none for one that has no number, and for a damaged one.
pub(crate) fn position(line: &[u8]) -> Option<Position> {
    let object = object(line).ok()?;
    let PositionLine { record, seq, time, since, count } = parse(&object).ok()?;
    match (record, seq, since, count) {
        ("frame", Some(seq), _, _) => {
            Some(Position { first: seq, last: seq, time: time.and_then(parse_rfc3339) })
        }
        ("lost", _, Some(since), Some(count)) => {
            Some(Position { first: since, last: since.saturating_add(count).saturating_sub(1), time: None })
        }
        _ => None,
    }
}

#[derive(Deserialize)]
struct PositionLine<'a> {
    record: &'a str,
    seq: Option<u64>,
    time: Option<&'a str>,
    since: Option<u64>,
    count: Option<u64>,
}

fn checked(line: &[u8]) -> Result<&[u8], LineError> {
    let digits = line
        .strip_prefix(OPEN)
        .and_then(|rest| rest.get(..DIGITS))
        .filter(|_| line.get(BODY - CLOSE.len()..BODY) == Some(CLOSE))
        .filter(|digits| digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')))
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .ok_or(LineError::NoChecksum)?;
    let written = u32::from_str_radix(digits, 16).map_err(|_| LineError::NoChecksum)?;
    let body = line.get(BODY..).unwrap_or_default();
    let found = crc32fast::hash(body);
    if written == found { Ok(body) } else { Err(LineError::Changed { written, found }) }
}

fn parse<'a, T: Deserialize<'a>>(object: &'a str) -> Result<T, LineError> {
    serde_json::from_str(object).map_err(incomplete)
}

fn incomplete(cause: impl std::fmt::Display) -> LineError {
    LineError::Incomplete(cause.to_string())
}

fn moment(text: &str) -> Result<OffsetDateTime, LineError> {
    parse_rfc3339(text).ok_or_else(|| incomplete(format_args!("{text:?} is no RFC 3339 time")))
}

#[derive(Deserialize)]
struct RecordKind<'a> {
    record: &'a str,
}

fn version(text: &str) -> Result<(u32, u32), LineError> {
    let (major, minor) = text
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?)))
        .ok_or_else(|| incomplete(format_args!("{text:?} is no format version")))?;
    if major > MAJOR { Err(LineError::Newer { major }) } else { Ok((major, minor)) }
}

#[derive(Deserialize)]
struct Format<'a> {
    format: &'a str,
}

#[derive(Deserialize)]
struct HeaderLine {
    program: String,
    tape: String,
    created: String,
    redacted: bool,
    #[serde(default)]
    imported: Option<String>,
    previous: Option<String>,
    #[serde(default)]
    partial: bool,
}

impl HeaderLine {
    fn header(self, (major, minor): (u32, u32)) -> Result<Header, LineError> {
        let created = moment(&self.created)?;
        let Self { program, tape, redacted, imported, previous, partial, .. } = self;
        Ok(Header { major, minor, program, tape, created, redacted, imported, previous, partial })
    }
}

#[derive(Deserialize)]
struct FrameLine<'a> {
    seq: u64,
    at_us: u64,
    time: String,
    hop: String,
    direction: WrittenDirection,
    exchange: u64,
    related: Option<u64>,
    session: Option<String>,
    client: Side,
    upstream: Option<Side>,
    kind: WrittenKind,
    method: Option<String>,
    action: String,
    reason: Option<String>,
    #[serde(default)]
    rules: Vec<String>,
    took_us: Option<u64>,
    #[serde(default)]
    redactions: u32,
    #[serde(default)]
    unfolded: bool,
    #[serde(borrow)]
    message: &'a RawValue,
}

impl FrameLine<'_> {
    fn frame(self) -> Result<Frame, LineError> {
        let client = ClientSide {
            transport: self.client.transport,
            revision: self.client.revision,
            era: self.client.era,
        };
        Ok(Frame {
            seq: self.seq,
            at_us: self.at_us,
            time: moment(&self.time)?,
            hop: self.hop,
            direction: self.direction.into(),
            exchange: self.exchange,
            related: self.related,
            session: self.session,
            client,
            upstream: self.upstream.map(Side::upstream),
            kind: self.kind.into(),
            method: self.method,
            action: action(self.action, self.reason),
            rules: self.rules,
            took_us: self.took_us,
            redactions: self.redactions,
            unfolded: self.unfolded,
            message: self.message.get().to_owned(),
        })
    }
}

fn action(word: String, reason: Option<String>) -> Action {
    match (word.as_str(), reason) {
        ("passed", _) => Action::Passed,
        ("translated", _) => Action::Translated,
        ("refused", reason) => Action::Refused { reason: reason.unwrap_or_default() },
        _ => Action::Other(word),
    }
}

#[derive(Deserialize)]
struct Side {
    #[serde(default)]
    name: String,
    transport: String,
    revision: String,
    era: String,
}

impl Side {
    fn upstream(self) -> UpstreamSide {
        let Self { name, transport, revision, era } = self;
        UpstreamSide { name, transport, revision, era }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenDirection {
    ToServer,
    ToClient,
}

impl From<WrittenDirection> for Direction {
    fn from(written: WrittenDirection) -> Self {
        match written {
            WrittenDirection::ToServer => Self::ToServer,
            WrittenDirection::ToClient => Self::ToClient,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenKind {
    Request,
    Notification,
    Response,
}

impl From<WrittenKind> for Kind {
    fn from(written: WrittenKind) -> Self {
        match written {
            WrittenKind::Request => Self::Request,
            WrittenKind::Notification => Self::Notification,
            WrittenKind::Response => Self::Response,
        }
    }
}

#[derive(Deserialize)]
struct LostLine {
    since: u64,
    count: u64,
    reason: String,
}

impl From<LostLine> for Lost {
    fn from(line: LostLine) -> Self {
        let LostLine { since, count, reason } = line;
        Self { since, count, reason }
    }
}

#[derive(Deserialize)]
struct EndLine {
    frames: u64,
    lost: u64,
}

impl From<EndLine> for End {
    fn from(line: EndLine) -> Self {
        let EndLine { frames, lost } = line;
        Self { frames, lost }
    }
}
