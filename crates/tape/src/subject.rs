//! What a filter can ask of a call on a tape.

use std::borrow::Cow;

use shadowcat_filter::{Field, Flag, Quantity, Subject};
use shadowcat_pipeline::Direction;
use shadowcat_protocol::json;

use crate::calls::Call;
use crate::record::{Frame, Kind};

impl Call {
    fn has(&self, kind: Kind) -> bool {
        self.frames().any(|frame| frame.kind == kind)
    }

    /// Whether it failed.
    pub fn is_failure(&self) -> bool {
        self.frames().filter_map(Frame::outcome).any(|outcome| outcome.is_failure())
    }

    /// Microseconds from the request to its answer.
    pub fn took_us(&self) -> Option<u64> {
        self.frames().last().and_then(|frame| frame.took_us)
    }
}

impl Subject for Call {
    fn is(&self, flag: Flag) -> bool {
        match flag {
            Flag::Failed => self.is_failure(),
            Flag::Request => self.asked.kind == Kind::Request,
            Flag::Notification => self.asked.kind == Kind::Notification,
            Flag::Answer => self.has(Kind::Response),
            Flag::ToServer => self.asked.direction == Direction::ToServer,
            Flag::ToClient => self.asked.direction == Direction::ToClient,
        }
    }

    fn any(&self, field: Field, test: &mut dyn FnMut(&str) -> bool) -> bool {
        let asked = &self.asked;
        match field {
            Field::Method => asked.method.as_deref().is_some_and(test),
            Field::Name => asked.name().is_some_and(|name| test(&name)),
            Field::Code => {
                self.frames().filter_map(Frame::outcome).any(|outcome| outcome.code().is_some_and(&mut *test))
            }
            Field::Text => self.frames().any(|frame| test(&frame.message)),
            Field::AskedText => asked.kind != Kind::Response && test(&asked.message),
            Field::AnswerText => {
                self.frames().any(|frame| frame.kind == Kind::Response && test(&frame.message))
            }
            Field::Id => self.frames().find_map(|frame| id(&frame.message)).is_some_and(|id| test(&id)),
            Field::Session => asked.session.as_deref().is_some_and(test),
            // A tape does not say who asked.
            Field::Principal => false,
            Field::Client => {
                let client = &asked.client;
                [&client.transport, &client.revision, &client.era].into_iter().any(|word| test(word))
            }
            Field::Upstream => self.upstream().is_some_and(|side| {
                [&side.name, &side.transport, &side.revision, &side.era].into_iter().any(|word| test(word))
            }),
        }
    }

    fn amount(&self, quantity: Quantity) -> Option<u64> {
        match quantity {
            Quantity::Took => self.took_us(),
            Quantity::Size => Some(self.bytes() as u64),
            Quantity::Time => u64::try_from(self.asked.time.unix_timestamp_nanos() / 1_000).ok(),
        }
    }
}

/// The id in the text of a message.
pub(crate) fn id(message: &str) -> Option<Cow<'_, str>> {
    let raw = json::get(message, &["id"]).filter(|raw| *raw != "null")?;
    Some(json::string(raw).unwrap_or(Cow::Borrowed(raw)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::frame;
    use crate::record::{Action, UpstreamSide};
    use shadowcat_filter::Filter;

    const ASKED: &str = r#"{"id":7,"method":"tools/call","params":{"name":"echo","arguments":{"a":"x"}}}"#;

    fn call(answer: Option<&str>) -> Call {
        let mut asked = frame(Direction::ToServer, Kind::Request, Some("tools/call"), ASKED);
        asked.upstream = Some(UpstreamSide {
            name: "docs".to_owned(),
            transport: "stdio".to_owned(),
            revision: "2025-11-25".to_owned(),
            era: "legacy".to_owned(),
        });
        let answer = answer.map(|text| frame(Direction::ToClient, Kind::Response, None, text));
        Call { asked, between: Vec::new(), answer }
    }

    #[track_caller]
    fn check(call: &Call, fitting: &[&str], others: &[&str]) {
        for text in fitting {
            assert!(text.parse::<Filter>().unwrap().matches(call), "{text}");
        }
        for text in others {
            assert!(!text.parse::<Filter>().unwrap().matches(call), "{text}");
        }
    }

    #[test]
    fn a_call_is_found_by_all_that_is_on_the_tape_of_it() {
        check(
            &call(Some(r#"{"id":7,"result":{"content":"y"}}"#)),
            &[
                "~m tools/call & ~t echo & ~q & ~s & ~to server & !~e",
                "~bq '\"x\"' & ~bs '\"y\"' & ~b x & ~b y",
                "~d >12ms & ~d <13ms & ~z >100B & ~z <1kB & ~id 7",
                "~at >2026-11-21T12:04 & ~at <2026-11-21T12:05",
                "~session a1b2c3d4 & ~client http & ~client legacy & ~upstream docs & ~upstream stdio",
            ],
            &[
                "~n",
                "~e",
                "~to client",
                "~bq '\"y\"'",
                "~bs '\"x\"'",
                "~c *",
                "~client modern",
                "~principal *",
            ],
        );
    }

    #[test]
    fn failures_are_told_apart_by_their_words() {
        check(&call(Some(r#"{"result":{"isError":true}}"#)), &["~e", "~c tool"], &["~c -*"]);
        check(&call(Some(r#"{"error":{"code":-32602}}"#)), &["~e", "~c -32602"], &["~c tool"]);
        let mut refused = call(Some(r#"{"error":{"code":-31002}}"#));
        refused.answer.as_mut().unwrap().action = Action::Refused { reason: "upstream_timeout".to_owned() };
        check(&refused, &["~e", "~c upstream_*"], &["~c -31002"]);
    }

    #[test]
    fn a_call_without_an_answer_took_no_time_at_all() {
        check(&call(None), &["~q & !~s"], &["~d >0s", "~d <1h", "~s", "~e", "~bs a"]);
    }
}
