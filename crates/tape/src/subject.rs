//! What a filter can ask of a call on a tape, and of a single message.

use std::borrow::Cow;

use shadowcat_filter::{Field, Flag, Quantity, Subject};
use shadowcat_pipeline::Direction;
use shadowcat_protocol::json;

use crate::calls::Call;
use crate::record::{Frame, Kind, UpstreamSide};

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
            Field::Client => words_of_client(asked).into_iter().any(test),
            Field::Upstream => {
                self.upstream().is_some_and(|side| words_of_upstream(side).into_iter().any(test))
            }
        }
    }

    fn amount(&self, quantity: Quantity) -> Option<u64> {
        match quantity {
            Quantity::Took => self.took_us(),
            Quantity::Size => Some(self.bytes() as u64),
            Quantity::Time => micros(&self.asked),
        }
    }
}

/// One message for a filter, as rules see it under way: what names an answer is what it answers.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The message.
    pub frame: &'a Frame,
    /// What opened its exchange, if that is another one, and known.
    pub asked: Option<&'a Frame>,
}

impl<'a> Seen<'a> {
    fn asked_or_own(&self) -> &'a Frame {
        self.asked.unwrap_or(self.frame)
    }

    /// The tool, prompt, resource or task that it is about; replies have that of their request.
    fn name(&self) -> Option<Cow<'a, str>> {
        self.frame.name().or_else(|| self.asked?.name())
    }
}

impl Subject for Seen<'_> {
    fn is(&self, flag: Flag) -> bool {
        match flag {
            Flag::Failed => self.frame.is_failure(),
            Flag::Request => self.frame.kind == Kind::Request,
            Flag::Notification => self.frame.kind == Kind::Notification,
            Flag::Answer => self.frame.kind == Kind::Response,
            Flag::ToServer => self.frame.direction == Direction::ToServer,
            Flag::ToClient => self.frame.direction == Direction::ToClient,
        }
    }

    fn any(&self, field: Field, test: &mut dyn FnMut(&str) -> bool) -> bool {
        let Self { frame, .. } = *self;
        let is_answer = frame.kind == Kind::Response;
        match field {
            Field::Method => {
                frame.method.as_deref().or_else(|| self.asked?.method.as_deref()).is_some_and(test)
            }
            Field::Name => self.name().is_some_and(|name| test(&name)),
            Field::Code => frame.outcome().is_some_and(|outcome| outcome.code().is_some_and(test)),
            Field::AskedText if is_answer => self.asked.is_some_and(|asked| test(&asked.message)),
            Field::Text | Field::AskedText => test(&frame.message),
            Field::AnswerText => is_answer && test(&frame.message),
            Field::Id => id(&frame.message).is_some_and(|id| test(&id)),
            Field::Session => frame.session.as_deref().is_some_and(test),
            // A tape does not say who asked.
            Field::Principal => false,
            Field::Client => words_of_client(frame).into_iter().any(test),
            Field::Upstream => {
                let side = frame.upstream.as_ref().or(self.asked_or_own().upstream.as_ref());
                side.is_some_and(|side| words_of_upstream(side).into_iter().any(test))
            }
        }
    }

    fn amount(&self, quantity: Quantity) -> Option<u64> {
        match quantity {
            Quantity::Took => self.frame.took_us,
            Quantity::Size => Some(self.frame.message.len() as u64),
            Quantity::Time => micros(self.frame),
        }
    }
}

fn words_of_client(frame: &Frame) -> [&str; 3] {
    let client = &frame.client;
    [&client.transport, &client.revision, &client.era]
}

fn words_of_upstream(side: &UpstreamSide) -> [&str; 4] {
    [&side.name, &side.transport, &side.revision, &side.era]
}

/// When it passed: microseconds since 1970.
fn micros(frame: &Frame) -> Option<u64> {
    u64::try_from(frame.time.unix_timestamp_nanos() / 1_000).ok()
}

/// The id in the text of a message.
pub(crate) fn id(message: &str) -> Option<Cow<'_, str>> {
    let raw = json::get(message, &["id"]).filter(|raw| *raw != "null")?;
    Some(json::string(raw).unwrap_or(Cow::Borrowed(raw)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Action;
    use crate::record::testing::frame;
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
        Call { asked, between: Vec::new(), answer, ruled: Vec::new() }
    }

    #[track_caller]
    fn check(call: &impl Subject, fitting: &[&str], others: &[&str]) {
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

    #[test]
    fn an_answer_is_named_by_what_it_answers_and_is_itself_in_all_else() {
        let Call { asked, answer, .. } = call(Some(r#"{"id":7,"error":{"code":-32602}}"#));
        let answer = answer.unwrap();
        check(
            &Seen { frame: &answer, asked: Some(&asked) },
            &[
                "~m tools/call & ~t echo & ~s & ~e & ~c -32602 & ~to client",
                "~bq '\"x\"' & ~upstream docs & ~d >12ms",
            ],
            &["~q", "~z >50B", "~b '\"x\"'"],
        );
        check(
            &Seen { frame: &asked, asked: None },
            &["~q & ~t echo & ~to server & ~bq x"],
            &["~e", "~s", "~d >0s"],
        );
        check(&Seen { frame: &answer, asked: None }, &["~s & ~e"], &["~m *", "~t *", "~bq x"]);
    }
}
