//! What is sent about a message, and what may come back: JSON in which the message itself stands as its sender wrote it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use shadowcat_pipeline::{Direction, Origin};
use shadowcat_protocol::{ErrorObject, Limits, Message};
use shadowcat_rules::{Kind, Outcome, Then};

use crate::external::verdict::{Failure, Matter, Verdict, edited, told};
use crate::judged::facts;

/// The form of questions; a later one that old endpoints would misread has another number.
const FORM: u32 = 1;

/// A call that waits for an approval.
pub(crate) struct Petition<'a> {
    pub(crate) approval: &'a str,
    pub(crate) held: Waiting<'a>,
    pub(crate) origin: &'a Origin,
    pub(crate) server: &'a str,
    pub(crate) message: &'a Message,
}

/// Where and for how long it waits.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Waiting<'a> {
    pub(crate) id: &'a str,
    pub(crate) left_ms: u64,
    /// What becomes of it then.
    pub(crate) then: Then,
}

#[derive(Serialize)]
struct Question<'a> {
    form: u32,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    interceptor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<&'a str>,
    phase: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<Waiting<'a>>,
    direction: &'static str,
    exchange: String,
    session: Option<&'a str>,
    principal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<&'a Value>,
    server: &'a str,
    transport: &'a str,
    revision: &'a str,
    era: &'a str,
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Headers<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<&'a RawValue>,
    message: &'a RawValue,
}

/// Names with their values, as an object.
struct Headers<'a>(&'a [(Box<str>, Box<str>)]);

impl Serialize for Headers<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// The question about a message.
pub(super) fn question(matter: &Matter, id: &str) -> Result<Vec<u8>, Failure> {
    let facts = facts(&matter.origin, &matter.server, &matter.headers);
    let request = matter.asked.as_ref().map(|asked| raw(asked.request().text())).transpose()?;
    let question = Question {
        form: FORM,
        id,
        interceptor: Some(&matter.interceptor),
        approval: None,
        phase: match matter.kind() {
            Kind::Request => "request",
            Kind::Answer => "answer",
            Kind::Notification => "notification",
        },
        audit: Some(matter.is_audit),
        held: None,
        direction: word(matter.direction),
        exchange: matter.origin.exchange.to_string(),
        session: facts.session,
        principal: facts.principal,
        claims: facts.claims,
        server: &matter.server,
        transport: facts.transport,
        revision: facts.revision,
        era: facts.era,
        method: matter.method(),
        headers: Some(Headers(&matter.headers)),
        request,
        message: raw(matter.message.text())?,
    };
    written(&question)
}

/// The question whether a call may go on.
pub(super) fn petition(petition: &Petition<'_>, id: &str) -> Result<Vec<u8>, Failure> {
    let facts = facts(petition.origin, petition.server, &[]);
    written(&Question {
        form: FORM,
        id,
        interceptor: None,
        approval: Some(petition.approval),
        phase: "approval",
        audit: None,
        held: Some(petition.held),
        direction: word(Direction::ToServer),
        exchange: petition.origin.exchange.to_string(),
        session: facts.session,
        principal: facts.principal,
        claims: facts.claims,
        server: petition.server,
        transport: facts.transport,
        revision: facts.revision,
        era: facts.era,
        method: petition.message.method().unwrap_or_default(),
        headers: None,
        request: None,
        message: raw(petition.message.text())?,
    })
}

fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::ToServer => "to-server",
        Direction::ToClient => "to-client",
    }
}

fn written(question: &Question<'_>) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(question).map_err(|error| Failure::nonsense(error.to_string()))
}

fn raw(text: &[u8]) -> Result<&RawValue, Failure> {
    serde_json::from_slice(text)
        .map_err(|error| Failure::nonsense(format!("the message is no JSON: {error}")))
}

#[derive(Deserialize)]
struct Answer<'a> {
    verdict: Word,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<Fault<'a>>,
    reason: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Continue,
    Modify,
    Block,
    Mock,
    Drop,
}

#[derive(Deserialize)]
struct Fault<'a> {
    code: i64,
    message: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// The verdict in the body of an answer. Nothing at all means that the message goes on.
pub(super) fn verdict(body: &[u8], original: &Message, limits: &Limits) -> Result<Verdict, Failure> {
    if body.trim_ascii().is_empty() {
        return Ok(Verdict::Continue);
    }
    let answer: Answer<'_> = serde_json::from_slice(body)
        .map_err(|error| Failure::nonsense(format!("the answer is no verdict: {error}")))?;
    match answer.verdict {
        Word::Continue => Ok(Verdict::Continue),
        Word::Drop => Ok(Verdict::Drop),
        Word::Block => Ok(Verdict::Block(answer.reason)),
        Word::Modify => match answer.message {
            Some(text) => modified(original, text.get(), limits),
            None => Err(Failure::nonsense("`modify` without `message`")),
        },
        Word::Mock => mocked(&answer, original),
    }
}

/// What is said about a call that waits for an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Consent {
    pub(crate) word: ConsentWord,
    pub(crate) reason: Option<String>,
}

/// The same in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ConsentWord {
    Approve,
    Deny,
    /// Not yet: somebody else decides, or nobody.
    Wait,
}

impl ConsentWord {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
            Self::Wait => "wait",
        }
    }
}

#[derive(Deserialize)]
struct Said {
    verdict: ConsentWord,
    reason: Option<String>,
}

/// What the body of an answer says about a call that waits. Nothing at all is no consent.
pub(super) fn consent(body: &[u8]) -> Result<Consent, Failure> {
    if body.trim_ascii().is_empty() {
        return Ok(Consent { word: ConsentWord::Wait, reason: None });
    }
    let Said { verdict, reason } = serde_json::from_slice(body)
        .map_err(|error| Failure::nonsense(format!("the answer is none to an approval: {error}")))?;
    let reason = reason.map(|reason| told(&reason)).filter(|reason| !reason.trim().is_empty());
    Ok(Consent { word: verdict, reason })
}

fn modified(original: &Message, text: &str, limits: &Limits) -> Result<Verdict, Failure> {
    if text.as_bytes() == original.text() {
        return Ok(Verdict::Continue);
    }
    edited(original, text, limits).map(Verdict::Modify)
}

fn mocked(answer: &Answer<'_>, original: &Message) -> Result<Verdict, Failure> {
    if let Message::Notification(_) = original {
        return Err(Failure::nonsense("`mock` for a notification, which has no answer"));
    }
    match (answer.result, &answer.error) {
        (Some(result), None) if result.get().starts_with('{') => {
            Ok(Verdict::Mock(Outcome::Result(result.get().to_owned())))
        }
        (Some(_), None) => Err(Failure::nonsense("`result` is no object")),
        (None, Some(Fault { code, message, data })) => {
            let data = data.map(|data| data.get().to_owned());
            Ok(Verdict::Mock(Outcome::Error(ErrorObject { code: *code, message: message.clone(), data })))
        }
        _ => Err(Failure::nonsense("`mock` needs one of `result` and `error`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shadowcat_protocol::{Id, Notification, Request};

    fn said(body: &str, original: &Message) -> String {
        match verdict(body.as_bytes(), original, &Limits::default()) {
            Ok(Verdict::Modify(edited)) => {
                format!("modify {}", edited.text().len())
            }
            Ok(verdict) => verdict.word().to_owned(),
            Err(failure) => failure.sentence,
        }
    }

    #[test]
    fn only_the_word_for_it_is_a_consent() {
        for (body, word, reason) in [
            (r#"{"verdict":"approve"}"#, ConsentWord::Approve, None),
            (r#"{"verdict":"deny","reason":"not\ntoday","more":1}"#, ConsentWord::Deny, Some("nottoday")),
            (r#"{"verdict":"wait","reason":" "}"#, ConsentWord::Wait, None),
            ("", ConsentWord::Wait, None),
            ("  \n", ConsentWord::Wait, None),
        ] {
            let consent = consent(body.as_bytes()).unwrap();
            assert_eq!((consent.word, consent.reason.as_deref()), (word, reason), "{body}");
        }
        for nonsense in ["{}", "true", r#"{"verdict":"continue"}"#, r#"{"verdict":"yes"}"#, "approve"] {
            let failure = consent(nonsense.as_bytes()).unwrap_err();
            assert!(failure.sentence.starts_with("the answer is none to an approval: "), "{nonsense}");
        }
        let twice = r#"{"verdict":"deny","verdict":"approve"}"#;
        assert!(consent(twice.as_bytes()).is_err(), "of two words none counts");
    }

    #[test]
    fn a_verdict_has_what_its_word_needs() {
        let request = Message::Request(Request::new(&Id::from_u64(1), "ping", None));
        let note = Message::Notification(Notification::new("n", None));
        let same = std::str::from_utf8(request.text()).unwrap();
        for (body, original, expected) in [
            ("", &request, "continue"),
            (r#"{"verdict":"continue","later":1}"#, &request, "continue"),
            (r#"{"verdict":"block","reason":"no"}"#, &request, "block"),
            (r#"{"verdict":"drop"}"#, &note, "drop"),
            (&format!(r#"{{"verdict":"modify","message":{same}}}"#), &request, "continue"),
            (r#"{"verdict":"modify"}"#, &request, "`modify` without `message`"),
            (r#"{"verdict":"mock","result":{}}"#, &request, "mock"),
            (r#"{"verdict":"mock","error":{"code":1,"message":"m","data":[1.0]}}"#, &request, "mock"),
            (r#"{"verdict":"mock","result":[]}"#, &request, "`result` is no object"),
            (r#"{"verdict":"mock"}"#, &request, "`mock` needs one of `result` and `error`"),
            (r#"{"verdict":"mock","result":{}}"#, &note, "`mock` for a notification, which has no answer"),
        ] {
            assert_eq!(said(body, original), expected, "{body}");
        }
        for nonsense in ["true", "{}", r#"{"verdict":"allow"}"#, r#"{"verdict":"drop","verdict":"continue"}"#]
        {
            assert!(said(nonsense, &request).starts_with("the answer is no verdict: "), "{nonsense}");
        }
    }
}
