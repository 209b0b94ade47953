//! What a server did for one message of its client: what it said and asked, in order and with the times between.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shadowcat_protocol::{Id, Message, Notification, Request, Response, json, meta, method};
use shadowcat_tape::{Call, Frame, Kind, message_limits};

/// The member in which a server gives a client something to bring back.
const STATE: &str = "requestState";

/// What happened for one message, in order.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// Until the answer and with it.
    pub steps: Vec<Step>,
    /// What the server said after it, of its own accord.
    pub after: Arc<[Step]>,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub struct Step {
    /// Since what happened before it.
    pub gap: Duration,
    /// What it is.
    pub act: Act,
}

/// The things that happen.
#[derive(Clone, Debug)]
pub enum Act {
    /// The server says something in its reply.
    Reply(Notification),
    /// The server says something of its own accord.
    Tell(Notification),
    /// The server asks the client something.
    Ask(Box<Question>),
    /// The client has answered the question of this number, counted within the scene.
    Answered(usize),
    /// The server answers, which is the end.
    Answer(Response),
    /// The server says nothing more until the client lets go.
    Silence,
}

/// A question of the server.
#[derive(Clone, Debug)]
pub struct Question {
    /// As it was asked.
    pub request: Request,
    /// What the client answered when it was recorded.
    pub answer: Option<Response>,
}

/// A message of the server's own accord, and the client's answer to it.
pub(super) struct Word {
    pub(super) asked: Frame,
    pub(super) answer: Option<Frame>,
}

impl Scene {
    /// Of a call and of what the server said around it.
    pub(super) fn new(call: &Call, words: &[Word], is_cancelled: bool) -> Self {
        let mut events: Vec<(u64, u64, Act)> = Vec::new();
        for frame in &call.between {
            if let Some(Message::Notification(note)) = parse(frame) {
                events.push((frame.seq, frame.at_us, Act::Reply(note)));
            }
        }
        let mut questions = 0;
        for word in words {
            let place = (word.asked.seq, word.asked.at_us);
            match parse(&word.asked) {
                Some(Message::Notification(note)) => events.push((place.0, place.1, Act::Tell(note))),
                Some(Message::Request(request)) => {
                    let answer = word.answer.as_ref().and_then(|frame| match parse(frame) {
                        Some(Message::Response(response)) => Some((frame.seq, frame.at_us, response)),
                        _ => None,
                    });
                    if let Some((seq, at, _)) = &answer {
                        events.push((*seq, *at, Act::Answered(questions)));
                    }
                    let answer = answer.map(|(_, _, response)| response);
                    events.push((place.0, place.1, Act::Ask(Box::new(Question { request, answer }))));
                    questions += 1;
                }
                _ => {}
            }
        }
        let end = call.answer.as_ref().and_then(|frame| match parse(frame) {
            Some(Message::Response(response)) => Some((frame.seq, frame.at_us, Act::Answer(response))),
            _ => None,
        });
        let end_seq = end.as_ref().map_or(u64::MAX, |(seq, _, _)| *seq);
        events.extend(end);
        events.sort_by_key(|(seq, _, _)| *seq);
        let mut before = call.asked.at_us;
        let mut steps = Vec::new();
        let mut after = Vec::new();
        let is_request = call.asked.kind == Kind::Request;
        for (seq, at, act) in events {
            let gap = Duration::from_micros(at.saturating_sub(before));
            before = before.max(at);
            let list = if is_request && seq <= end_seq { &mut steps } else { &mut after };
            list.push(Step { gap, act });
        }
        if is_request && call.answer.is_none() && (is_cancelled || stays_open(&call.asked)) {
            steps.push(Step { gap: Duration::ZERO, act: Act::Silence });
        }
        Self { steps, after: after.into() }
    }

    /// Its answer, where the tape has one.
    pub fn answer(&self) -> Option<&Response> {
        self.steps.iter().find_map(|step| match &step.act {
            Act::Answer(response) => Some(response),
            _ => None,
        })
    }

    /// The same with another answer.
    pub(super) fn with_answer(mut self, change: impl FnOnce(&Response) -> Response) -> Self {
        for step in &mut self.steps {
            if let Act::Answer(response) = &mut step.act {
                *response = change(response);
                break;
            }
        }
        self
    }
}

fn stays_open(asked: &Frame) -> bool {
    asked.method.as_deref() == Some(method::LISTEN)
}

/// The message of a frame, if it is one; what a careless import made of it is not played.
pub(super) fn parse(frame: &Frame) -> Option<Message> {
    Message::parse(Bytes::copy_from_slice(frame.message.as_bytes()), &message_limits()).ok()
}

/// What a result gives the client to bring back, as JSON.
pub(super) fn state_of(response: &Response) -> Option<&str> {
    json::get(response.result_json()?, &[STATE])
}

/// Whether a result asks the client for something before there is an answer.
pub(super) fn asks_for_input(response: &Response) -> bool {
    let kind = response.result_json().and_then(|result| json::get(result, &["resultType"]));
    kind.and_then(json::string).is_some_and(|kind| kind == "input_required")
}

/// What one live request puts in the place of what belongs to the recorded run.
#[derive(Clone, Debug)]
pub struct Live {
    id: Id,
    token: Option<Box<str>>,
    wants_log: bool,
    pub(super) state: Option<String>,
}

impl Live {
    pub(super) fn of(request: &Request, is_modern: bool) -> Self {
        Self {
            id: request.id().clone(),
            token: request.progress_token().map(Into::into),
            // A modern server must not log for a request that does not ask for it (2026-07-28, logging).
            wants_log: !is_modern || request.meta(meta::LOG_LEVEL).is_some(),
            state: None,
        }
    }

    /// The answer as this request's.
    pub fn answer(&self, recorded: &Response) -> Response {
        let mut answer = recorded.with_id(&self.id);
        if answer.subscription_id().is_some() {
            answer = answer.with_subscription_id(self.id.as_json());
        }
        let Some(state) = &self.state else { return answer };
        let result = answer.result_json().unwrap_or("{}");
        let members = json::members(result).map(|(name, value)| {
            let value = if name == STATE { json::quote(state) } else { value.to_owned() };
            format!("{}:{value}", json::quote(&name))
        });
        let result = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
        answer.with_result(&result)
    }

    /// A notification as one for this request; none if this request has not asked for it.
    pub fn reply(&self, recorded: &Notification) -> Option<Notification> {
        let note = match (recorded.progress_token(), &self.token) {
            (Some(_), Some(token)) if recorded.method() == method::PROGRESS => {
                recorded.with_progress_token(token)
            }
            (_, None) if recorded.method() == method::PROGRESS => return None,
            _ => recorded.clone(),
        };
        if note.method() == method::LOG_MESSAGE && !self.wants_log {
            return None;
        }
        Some(match note.subscription_id() {
            Some(_) => note.with_subscription_id(self.id.as_json()),
            None => note,
        })
    }
}
