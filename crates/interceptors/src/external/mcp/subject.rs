//! What interceptors are asked about in one message: the message itself, and what is inside of it that was a message of its own
//! before 2026-07-28: questions of the server in its result, and their answers in the request that follows.

use shadowcat_protocol::json::edit::{Change, Edits, value_at};
use shadowcat_protocol::{Message, json, method};

use super::catalog::Phase;
use crate::external::verdict::Failure;

/// Questions, or answers, inside of one message.
const INSIDE_MAX: usize = 64;
const QUESTIONS: &str = "inputRequests";
const ANSWERS: &str = "inputResponses";

/// An event, and where its payload is within that of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) event: String,
    pub(super) phase: Phase,
    place: Vec<String>,
}

impl Subject {
    /// Its payload, within that of the message.
    pub(super) fn payload<'a>(&self, whole: &'a str) -> &'a str {
        value_at(whole, &self.place).unwrap_or("{}")
    }

    /// The payload of the message with another one for this.
    pub(super) fn changed(&self, whole: &str, payload: String) -> Result<String, Failure> {
        if self.place.is_empty() {
            return Ok(payload);
        }
        let edits = Edits::one(&self.place, Change::Set(payload));
        edits.apply(whole).map_err(|fault| Failure::nonsense(fault.to_string()))
    }
}

/// The subjects of a message whose payload this is, in the order in which they are asked about: answers inside before the request
/// that carries them, questions inside behind the result that brings them. An error is no payload of any event.
pub(super) fn subjects(message: &Message, method: &str, payload: &str) -> Result<Vec<Subject>, Failure> {
    let (phase, inside) = match message {
        Message::Request(_) => (Phase::Request, answers(payload)),
        Message::Notification(_) => (Phase::Request, Vec::new()),
        Message::Response(response) if response.result_json().is_some() => {
            (Phase::Response, questions(payload))
        }
        Message::Response(_) => return Ok(Vec::new()),
    };
    if inside.len() > INSIDE_MAX {
        return Err(Failure::nonsense(format!("more than {INSIDE_MAX} questions or answers in one message")));
    }
    let own = Subject { event: method.to_owned(), phase, place: Vec::new() };
    Ok(match phase {
        Phase::Request => inside.into_iter().chain([own]).collect(),
        Phase::Response => [own].into_iter().chain(inside).collect(),
    })
}

fn questions(payload: &str) -> Vec<Subject> {
    let Some(questions) = find(payload, QUESTIONS) else { return Vec::new() };
    let subject = |(key, raw): (std::borrow::Cow<'_, str>, &str)| {
        let event = json::get(raw, &["method"]).and_then(json::string)?.into_owned();
        let place = vec![QUESTIONS.to_owned(), key.into_owned(), "params".to_owned()];
        Some(Subject { event, phase: Phase::Request, place })
    };
    json::members(questions).filter_map(subject).collect()
}

fn answers(payload: &str) -> Vec<Subject> {
    let Some(answers) = find(payload, ANSWERS) else { return Vec::new() };
    let subject = |(key, raw): (std::borrow::Cow<'_, str>, &str)| {
        let place = vec![ANSWERS.to_owned(), key.into_owned()];
        Some(Subject { event: event_of(raw)?.to_owned(), phase: Phase::Response, place })
    };
    json::members(answers).filter_map(subject).collect()
}

/// Most messages have none, which is seen at once; unless one may be spelled with escapes.
fn find<'a>(payload: &'a str, key: &str) -> Option<&'a str> {
    (payload.contains(key) || payload.contains('\\')).then(|| json::get(payload, &[key])).flatten()
}

/// What an answer answers is not said beside it, but each kind has a member that the others have not.
fn event_of(answer: &str) -> Option<&'static str> {
    let has = |member| json::get(answer, &[member]).is_some();
    if has("action") {
        Some(method::ELICITATION)
    } else if has("roots") {
        Some(method::ROOTS_LIST)
    } else if has("role") {
        Some(method::SAMPLING)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shadowcat_protocol::{Id, Request, Response};

    fn told(message: &Message, payload: &str) -> Vec<(String, Phase, String)> {
        let subjects = subjects(message, method::TOOLS_CALL, payload).unwrap();
        subjects
            .into_iter()
            .map(|one| (one.event.clone(), one.phase, one.payload(payload).to_owned()))
            .collect()
    }

    #[test]
    fn questions_and_answers_inside_are_events_of_their_own() {
        let id = Id::from_u64(1);
        let result = r#"{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"message":"m"}}}}"#;
        let answer = Message::Response(Response::result(&id, result));
        assert_eq!(
            told(&answer, result),
            [
                (method::TOOLS_CALL.to_owned(), Phase::Response, result.to_owned()),
                (method::ELICITATION.to_owned(), Phase::Request, r#"{"message":"m"}"#.to_owned()),
            ]
        );
        let params = r#"{"name":"t","inputResponses":{"a":{"action":"accept"},"b":{"roots":[]},"c":{"role":"user"},"d":{}}}"#;
        let request = Message::Request(Request::new(&id, method::TOOLS_CALL, Some(params)));
        let events: Vec<_> =
            told(&request, params).into_iter().map(|(event, phase, _)| (event, phase)).collect();
        let of = |event: &str, phase| (event.to_owned(), phase);
        assert_eq!(
            events,
            [
                of(method::ELICITATION, Phase::Response),
                of(method::ROOTS_LIST, Phase::Response),
                of(method::SAMPLING, Phase::Response),
                of(method::TOOLS_CALL, Phase::Request),
            ]
        );
        let subjects = subjects(&request, method::TOOLS_CALL, params).unwrap();
        let changed = subjects[0].changed(params, r#"{"action":"decline"}"#.to_owned()).unwrap();
        assert_eq!(changed, params.replace("accept", "decline"));
    }

    #[test]
    fn too_many_inside_are_a_failure() {
        let members: Vec<String> =
            (0..=INSIDE_MAX).map(|key| format!(r#""{key}":{{"method":"roots/list"}}"#)).collect();
        let result = format!(r#"{{"inputRequests":{{{}}}}}"#, members.join(","));
        let answer = Message::Response(Response::result(&Id::from_u64(1), &result));
        assert!(subjects(&answer, method::TOOLS_CALL, &result).is_err());
    }
}
