//! Frames for tests.

use serde_json::Value;
use shadowcat_pipeline::Direction;
use shadowcat_tape::{Action, ClientSide, Frame, Kind};
use time::OffsetDateTime;

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
        redactions: 0,
        unfolded: false,
        message: message.to_string(),
    }
}
