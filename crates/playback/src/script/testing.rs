//! Frames for tests.

use serde_json::Value;
use shadowcat_pipeline::Direction;
use shadowcat_tape::{Action, ClientSide, Frame, Header, Kind, Record};
use time::OffsetDateTime;

use crate::tapes::Tapes;

/// A frame of one session; the number of its frame is its time and one.
pub(crate) fn frame(exchange: u64, at_ms: u64, direction: Direction, message: &Value) -> Frame {
    let method = message.get("method").and_then(Value::as_str).map(str::to_owned);
    let kind = match (&method, message.get("id")) {
        (Some(_), Some(_)) => Kind::Request,
        (Some(_), None) => Kind::Notification,
        (None, _) => Kind::Response,
    };
    Frame {
        seq: at_ms + 1,
        at_us: at_ms * 1000,
        time: OffsetDateTime::UNIX_EPOCH,
        hop: "edge".to_owned(),
        direction,
        exchange,
        related: None,
        session: Some("a1b2".to_owned()),
        client: ClientSide {
            transport: "http".to_owned(),
            revision: "2025-11-25".to_owned(),
            era: "legacy".to_owned(),
        },
        upstream: None,
        kind,
        method,
        action: Action::Passed,
        took_us: (kind == Kind::Response).then_some(5000),
        rules: Vec::new(),
        redactions: 0,
        unfolded: false,
        message: message.to_string(),
    }
}

pub(crate) fn header() -> Header {
    Header {
        major: 1,
        minor: 0,
        program: "test".to_owned(),
        tape: String::new(),
        created: OffsetDateTime::UNIX_EPOCH,
        redacted: true,
        imported: None,
        previous: None,
        partial: false,
    }
}

/// Tapes with these frames, called `0.tape` and so on.
pub(crate) fn tapes(tapes: impl IntoIterator<Item = Vec<Frame>>) -> Tapes {
    let mut read = Tapes::default();
    for (number, frames) in tapes.into_iter().enumerate() {
        let records = frames.into_iter().map(|frame| Ok(Record::Frame(Box::new(frame))));
        read.read(&format!("{number}.tape"), records).unwrap();
    }
    read
}
