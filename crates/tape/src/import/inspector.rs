//! What the protocol view of the MCP Inspector exports: `inspector-protocol-SERVER-TIME.json`.
//!
//! It is a list of entries, `{id, timestamp, direction, origin, message}`; a request that was answered has `response`
//! and `duration` (in milliseconds) too. `direction` is the kind of message, `origin` says who sent it. The Inspector's
//! other exports hold no conversation: its list of servers (`mcp.json`), its log messages, its console.

use std::io::BufRead;

use serde::Deserialize;
use serde_json::value::RawValue;
use shadowcat_pipeline::Direction;
use shadowcat_protocol::json;
use time::OffsetDateTime;

use super::document::{Element, each};
use super::join::{Held, Said};
use super::{At, ImportError, Sink};
use crate::clock::{later, parse_rfc3339};

#[derive(Deserialize)]
struct Entry<'a> {
    timestamp: String,
    #[serde(default)]
    origin: Option<String>,
    #[serde(borrow)]
    message: &'a RawValue,
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
    #[serde(default)]
    duration: Option<f64>,
}

pub(super) fn read(source: impl BufRead, sink: &mut Sink<'_>) -> Result<(), ImportError> {
    let mut held = Held::default();
    let what = "what the Inspector's protocol view exports (`inspector-protocol-….json`)";
    let done = each(source, &[], what, &mut |element| match messages(element) {
        Ok(found) => found.into_iter().try_for_each(|said| held.push(said)),
        Err(detail) => sink.bad(element.at, detail),
    });
    sink.unless_bad(done)?;
    held.join(sink)
}

fn messages(element: &Element<'_>) -> Result<Vec<Said>, String> {
    let entry: Entry<'_> = element.parse().map_err(|fault| {
        format!("no entry of the Inspector's protocol view ({fault}); its other views hold no conversation")
    })?;
    let begun = parse_rfc3339(&entry.timestamp)
        .ok_or_else(|| format!("its timestamp {:?} is no time", entry.timestamp))?;
    let (asks, answers) = match entry.origin.as_deref() {
        Some("client") => (Direction::ToServer, Direction::ToClient),
        Some("server") => (Direction::ToClient, Direction::ToServer),
        _ => {
            return Err(
                "its `origin` is neither `client` nor `server`: it was exported by an older Inspector; \
                         export it again with version 2.0 or newer"
                    .to_owned(),
            );
        }
    };
    let mut found = vec![said(element.at, begun, asks, entry.message)];
    if let Some(response) = entry.response {
        let ms = entry.duration.filter(|ms| *ms > 0.0).unwrap_or(0.0);
        let end = later(begun, ms * 1000.0).ok_or("its duration is out of bounds")?;
        found.push(said(element.at, end, answers, response));
    }
    Ok(found)
}

fn said(at: At, time: OffsetDateTime, direction: Direction, message: &RawValue) -> Said {
    Said {
        at,
        time,
        direction,
        // The Inspector lays its file out for people; the blanks are not the peer's.
        text: json::compact(message.get()),
        session: None,
        group: None,
        transport: "stdio".to_owned(),
        revision: None,
        upstream: None,
        refused: None,
    }
}
