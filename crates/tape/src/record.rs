//! The records of a tape as values. How they are written is in `line`.
//!
//! Names of transports, revisions and the like are words here, not enums: a tape from a newer program may know more of
//! them, and a reader shows what stands there.

use crate::line::{self, MAJOR, MINOR};
use crate::reader::LINE_BYTES_MAX;
use std::borrow::Cow;

use shadowcat_pipeline::Direction;
use shadowcat_protocol::{Limits, Message, json};
use time::OffsetDateTime;

/// One line of a tape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The first line.
    Header(Header),
    /// A message that passed.
    Frame(Box<Frame>),
    /// Messages that passed and are not on the tape.
    Lost(Lost),
    /// The last line of a tape that was closed in order.
    End(End),
}

/// What the tape is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The version of the format.
    pub major: u32,
    /// Additions to that version, which older readers pass over.
    pub minor: u32,
    /// The version of the program that wrote it.
    pub program: String,
    /// The tape's own id.
    pub tape: String,
    /// When it was begun.
    pub created: OffsetDateTime,
    /// Whether credentials were replaced before they were written.
    pub redacted: bool,
    /// The format of the recording that it was made from, if it was.
    pub imported: Option<String>,
    /// The id of the tape before it, of which this one is the continuation.
    pub previous: Option<String>,
    /// Whether only some exchanges were to be recorded: those that are not here were left out, and not lost.
    pub partial: bool,
}

impl Header {
    /// Whether a newer program wrote the tape, which may say things that this one passes over.
    pub fn is_newer(&self) -> bool {
        (self.major, self.minor) > (MAJOR, MINOR)
    }
}

/// The members of parameters that say what they are about.
const NAMES: [&str; 3] = ["name", "uri", "taskId"];

/// The bounds of a message that stands on a tape: those of its line, for whatever its proxy let pass.
pub fn message_limits() -> Limits {
    Limits { message_bytes_max: LINE_BYTES_MAX, ..Limits::default() }
}

/// One message, as it passed one point of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Numbers the messages of the tape, lost ones included.
    pub seq: u64,
    /// Microseconds since the tape was begun, by a clock that never jumps.
    pub at_us: u64,
    /// The same moment by the wall clock.
    pub time: OffsetDateTime,
    /// The point of the path: `edge` towards the client, `wire` towards the upstream.
    pub hop: String,
    /// Which way the message travels.
    pub direction: Direction,
    /// The exchange it belongs to: a message and all its replies have the same.
    pub exchange: u64,
    /// The exchange that made the server ask, where the server's transport tells.
    pub related: Option<u64>,
    /// A short hash of the session's id.
    pub session: Option<String>,
    /// The client's side.
    pub client: ClientSide,
    /// The upstream's side; none as long as no connection has taken the exchange.
    pub upstream: Option<UpstreamSide>,
    /// What kind of message it is.
    pub kind: Kind,
    /// The method; none for responses.
    pub method: Option<String>,
    /// What the proxy did with it.
    pub action: Action,
    /// What the operator's rules did to it, each as `rule: what`.
    pub rules: Vec<String>,
    /// For what answers: microseconds since the message that it answers passed here.
    pub took_us: Option<u64>,
    /// How many pieces of the message were replaced by redaction.
    pub redactions: u32,
    /// Whether line ends between tokens were left out of the message.
    pub unfolded: bool,
    /// The message as its sender wrote it, but for what the two members above say.
    pub message: String,
}

/// A text is no frame.
#[derive(Debug, thiserror::Error)]
#[error("not the frame of a tape: {0}")]
pub struct BadFrame(String);

impl Frame {
    /// The frame of an object with the members of a tape's line; a checksum among them is not looked at.
    ///
    /// # Errors
    /// When a member that each frame has is missing, or is another thing.
    pub fn parse(object: &str) -> Result<Self, BadFrame> {
        line::unsealed_frame(object).map_err(|fault| BadFrame(fault.to_string()))
    }

    /// What a request or notification is about: the tool or prompt by name, the resource by URI, the task by id.
    pub fn name(&self) -> Option<Cow<'_, str>> {
        name(&self.message)
    }

    /// Whether it is an error, or the result of a tool that says so itself.
    pub fn is_failure(&self) -> bool {
        self.outcome().is_some_and(|outcome| outcome.is_failure())
    }

    /// When its tape was begun.
    pub(crate) fn begun(&self) -> OffsetDateTime {
        let since = i64::try_from(self.at_us).map_or(time::Duration::MAX, time::Duration::microseconds);
        self.time.checked_sub(since).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

/// What a message of this text is about.
pub(crate) fn name(message: &str) -> Option<Cow<'_, str>> {
    let params = json::get(message, &["params"])?;
    NAMES.iter().find_map(|member| json::get(params, &[member]).and_then(json::string))
}

/// How the client speaks to the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSide {
    /// `stdio`, `sse` or `http`.
    pub transport: String,
    /// The protocol revision.
    pub revision: String,
    /// `legacy` or `modern`.
    pub era: String,
}

/// How the proxy speaks to the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSide {
    /// Its name in the configuration.
    pub name: String,
    /// `stdio`, `sse` or `http`.
    pub transport: String,
    /// The protocol revision.
    pub revision: String,
    /// `legacy` or `modern`.
    pub era: String,
}

/// The kinds of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Asks for an answer.
    Request,
    /// Asks for none.
    Notification,
    /// Is the answer.
    Response,
}

impl Kind {
    pub(crate) fn of(message: &Message) -> Self {
        match message {
            Message::Request(_) => Self::Request,
            Message::Notification(_) => Self::Notification,
            Message::Response(_) => Self::Response,
        }
    }

    /// The word on the tape.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Notification => "notification",
            Self::Response => "response",
        }
    }
}

/// What the proxy did with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It went on.
    Passed,
    /// It went on in the words of another era than its sender's.
    Translated,
    /// The proxy answered with a refusal of its own, which is the message of the frame.
    Refused {
        /// The stable word for why.
        reason: String,
    },
    /// A word of a newer program.
    Other(String),
}

/// Messages that are not on the tape, at the place where they would stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The number of the first of them.
    pub since: u64,
    /// How many there are.
    pub count: u64,
    /// `queue` if the writer was behind, `disk` if the disk took nothing.
    pub reason: String,
}

/// The end of a tape that was closed in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// How many frames the tape holds.
    pub frames: u64,
    /// How many messages it lacks.
    pub lost: u64,
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use time::{Date, Month, PrimitiveDateTime, Time};

    /// The header of a tape of this format.
    pub(crate) fn header() -> Header {
        Header {
            major: MAJOR,
            minor: MINOR,
            program: "0.1.0".to_owned(),
            tape: "00ff".to_owned(),
            created: OffsetDateTime::UNIX_EPOCH,
            redacted: true,
            imported: None,
            previous: None,
            partial: false,
        }
    }

    /// A frame of a session over HTTP; times are fixed.
    pub(crate) fn frame(direction: Direction, kind: Kind, method: Option<&str>, message: &str) -> Frame {
        let date = Date::from_calendar_date(2026, Month::November, 21).unwrap();
        let time = PrimitiveDateTime::new(date, Time::from_hms_milli(12, 4, 5, 123).unwrap()).assume_utc();
        Frame {
            seq: 1,
            at_us: 0,
            time,
            hop: "edge".to_owned(),
            direction,
            exchange: 7,
            related: None,
            session: Some("a1b2c3d4".to_owned()),
            client: ClientSide {
                transport: "http".to_owned(),
                revision: "2025-11-25".to_owned(),
                era: "legacy".to_owned(),
            },
            upstream: None,
            kind,
            method: method.map(str::to_owned),
            action: Action::Passed,
            rules: Vec::new(),
            took_us: (kind == Kind::Response).then_some(12_345),
            redactions: 0,
            unfolded: false,
            message: message.to_owned(),
        }
    }
}
