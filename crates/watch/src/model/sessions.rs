//! The sessions that were seen, with what they did.

use std::borrow::Cow;

use shadowcat_pipeline::Direction;
use shadowcat_protocol::{json, meta};
use shadowcat_tape::{Frame, Kind};
use time::OffsetDateTime;

/// Sessions that are kept; beyond that the one that has been quiet for the longest goes.
const SESSIONS_MAX: usize = 1_000;
/// Longer names of clients are cut.
const NAME_CHARS_MAX: usize = 40;

/// One session, or all that is said without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) tag: Option<String>,
    /// What the client calls itself.
    pub(crate) client: Option<String>,
    /// `http 2025-11-25`.
    pub(crate) transport: String,
    pub(crate) upstream: Option<String>,
    pub(crate) messages: u64,
    pub(crate) failures: u64,
    /// Requests without their answers, in either direction.
    pub(crate) open: u64,
    pub(crate) latest: OffsetDateTime,
}

/// In the order in which they were first seen.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Vec<Session>);

impl Sessions {
    pub(crate) fn all(&self) -> &[Session] {
        &self.0
    }

    /// Counts a message of the client's side of the proxy.
    pub(crate) fn count(&mut self, frame: &Frame) {
        let session = self.of(frame);
        session.messages += 1;
        session.latest = frame.time;
        session.failures += u64::from(frame.is_failure());
        match frame.kind {
            Kind::Request => session.open += 1,
            Kind::Response => session.open = session.open.saturating_sub(1),
            Kind::Notification => {}
        }
        if session.upstream.is_none() {
            session.upstream = frame.upstream.as_ref().map(|side| side.name.clone());
        }
        if session.client.is_none() && frame.direction == Direction::ToServer {
            session.client = client(&frame.message);
        }
    }

    fn of(&mut self, frame: &Frame) -> &mut Session {
        let place = self.0.iter().position(|known| known.tag == frame.session);
        let place = place.unwrap_or_else(|| {
            if self.0.len() >= SESSIONS_MAX {
                self.forget_one();
            }
            self.0.push(begun(frame));
            self.0.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "it was found there, or was just put there")]
        &mut self.0[place]
    }

    fn forget_one(&mut self) {
        let quiet = self.0.iter().enumerate().min_by_key(|(_, session)| session.latest);
        if let Some((place, _)) = quiet {
            self.0.remove(place);
        }
    }
}

fn begun(frame: &Frame) -> Session {
    Session {
        tag: frame.session.clone(),
        client: None,
        transport: format!("{} {}", frame.client.transport, frame.client.revision),
        upstream: None,
        messages: 0,
        failures: 0,
        open: 0,
        latest: frame.time,
    }
}

/// What a client says that it is: in its handshake, or in each request of the newest revision.
fn client(message: &str) -> Option<String> {
    let places: [&[&str]; 2] = [&["params", "clientInfo"], &["params", "_meta", meta::CLIENT_INFO]];
    let info = places.into_iter().find_map(|place| json::get(message, place))?;
    let text = |member| json::get(info, &[member]).and_then(json::string).unwrap_or(Cow::Borrowed(""));
    let told = format!("{} {}", text("name"), text("version"));
    Some(told.trim().chars().take(NAME_CHARS_MAX).collect()).filter(|told: &String| !told.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{answer, request};

    #[test]
    fn a_session_counts_what_is_said_in_it() {
        let mut sessions = Sessions::default();
        let hello =
            r#"{"id":1,"method":"initialize","params":{"clientInfo":{"name":"editor","version":"3"}}}"#;
        sessions.count(&Frame { message: hello.to_owned(), ..request(1, "initialize", "") });
        sessions.count(&answer(1, "{}"));
        sessions.count(&request(2, "tools/call", "echo"));
        sessions.count(&request(3, "tools/call", "echo"));
        sessions.count(&answer(3, r#"{"error":{"code":1}}"#));
        sessions.count(&Frame { session: None, ..request(4, "ping", "") });
        let [session, without] = sessions.all() else { panic!("{sessions:?}") };
        assert_eq!((session.messages, session.failures, session.open), (5, 1, 1));
        assert_eq!(session.client.as_deref(), Some("editor 3"));
        assert_eq!(session.upstream.as_deref(), Some("docs"));
        assert_eq!((without.tag.as_deref(), without.messages), (None, 1));
    }

    #[test]
    fn beyond_the_bound_the_quietest_is_forgotten() {
        let mut sessions = Sessions::default();
        let of = |number: usize| Frame { session: Some(number.to_string()), ..request(1, "ping", "") };
        for number in 0..SESSIONS_MAX {
            let time = of(0).time + time::Duration::seconds(i64::try_from(number).unwrap());
            sessions.count(&Frame { time, ..of(number) });
        }
        let late = of(0).time + time::Duration::DAY;
        sessions.count(&Frame { time: late, ..of(0) });
        sessions.count(&Frame { time: late, ..of(SESSIONS_MAX) });
        let kept = |number: usize| sessions.all().iter().any(|known| known.tag == Some(number.to_string()));
        assert!(sessions.all().len() == SESSIONS_MAX && kept(0) && !kept(1) && kept(SESSIONS_MAX));
    }
}
