//! What is said to interceptors, and what they answer.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shadowcat_protocol::{Message, Response, json};

use super::subject::Subject;
use crate::external::verdict::{Failure, Matter, Reason, told};

/// The parameters that ask for a page of the list; the cursor is raw JSON.
pub(super) fn list(cursor: Option<&str>) -> String {
    match cursor {
        Some(cursor) => format!(r#"{{"cursor":{cursor}}}"#),
        None => "{}".to_owned(),
    }
}

/// What an interceptor is given of a message: the parameters of a request, the result of an answer.
pub(super) fn payload(message: &Message) -> &str {
    match message {
        Message::Request(request) => request.params(),
        Message::Notification(note) => note.params(),
        Message::Response(response) => response.result_json(),
    }
    .unwrap_or("{}")
}

/// The message with another payload.
pub(super) fn with_payload(message: &Message, payload: &str) -> Message {
    match message {
        Message::Request(request) => Message::Request(request.with_params(payload)),
        Message::Notification(note) => Message::Notification(note.with_params(payload)),
        Message::Response(response) => Message::Response(response.with_result(payload)),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Invocation<'a> {
    name: &'a str,
    event: &'a str,
    phase: &'static str,
    payload: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<&'a RawValue>,
    timeout_ms: u64,
    context: Context<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Context<'a> {
    principal: Principal<'a>,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Principal<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

/// The parameters that ask the interceptor of this name about a payload.
pub(super) fn invocation(
    name: &str,
    matter: &Matter,
    subject: &Subject,
    payload: &str,
    config: Option<&str>,
    timeout_ms: u64,
) -> Result<String, Failure> {
    let principal = matter.origin.principal.as_ref().map(shadowcat_pipeline::Principal::name);
    let invocation = Invocation {
        name,
        event: &subject.event,
        phase: subject.phase.as_str(),
        payload: raw(payload)?,
        config: config.map(raw).transpose()?,
        timeout_ms,
        context: Context {
            principal: Principal {
                r#type: if principal.is_some() { "user" } else { "anonymous" },
                id: principal,
            },
            timestamp: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            // The tag, as in logs and tapes: a session's id is a credential.
            session_id: matter.origin.session.as_ref().map(|session| &*session.0),
        },
    };
    serde_json::to_string(&invocation).map_err(|error| Failure::nonsense(error.to_string()))
}

fn raw(text: &str) -> Result<&RawValue, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::nonsense(format!("the payload is no JSON: {error}")))
}

/// The result in an answer; an error is a failure.
pub(super) fn result(answer: &Response) -> Result<String, Failure> {
    if let Some(result) = answer.result_json() {
        return Ok(result.to_owned());
    }
    let error = answer.error_json().unwrap_or("{}");
    let message = json::get(error, &["message"]).and_then(json::string).unwrap_or_default();
    let code = answer.error_code().unwrap_or_default();
    Err(Failure::new(Reason::Error, format!("it answered with error {code}: {}", told(&message))))
}

/// How bad a validator finds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Info,
    Warn,
    Error,
}

#[derive(Deserialize)]
struct Validation {
    valid: bool,
    severity: Option<Severity>,
    #[serde(default)]
    messages: Vec<Note>,
}

#[derive(Deserialize)]
struct Note {
    message: String,
    severity: Option<Severity>,
}

/// What a validator found: nothing, something that is only noted, or a reason to refuse.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Valid,
    Noted(String),
    Refused(String),
}

/// Reads what a validator answered. What is not valid and not said to be harmless is refused.
pub(super) fn finding(result: &str) -> Result<Finding, Failure> {
    let validation: Validation = serde_json::from_str(result)
        .map_err(|error| Failure::nonsense(format!("its answer is no validation: {error}")))?;
    if validation.valid {
        return Ok(Finding::Valid);
    }
    let worst = validation.messages.iter().filter_map(|note| note.severity).max();
    let severity = validation.severity.or(worst).unwrap_or(Severity::Error);
    let sentences: Vec<&str> = validation.messages.iter().map(|note| note.message.as_str()).collect();
    let sentence = told(&sentences.join("; "));
    Ok(if severity == Severity::Error { Finding::Refused(sentence) } else { Finding::Noted(sentence) })
}

#[derive(Deserialize)]
struct Mutation<'a> {
    modified: bool,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

/// The payload that a mutator made, if it made another one.
pub(super) fn mutated(result: &str) -> Result<Option<String>, Failure> {
    let mutation: Mutation<'_> = serde_json::from_str(result)
        .map_err(|error| Failure::nonsense(format!("its answer is no mutation: {error}")))?;
    match mutation.payload.map(RawValue::get) {
        _ if !mutation.modified => Ok(None),
        Some(payload) if payload.starts_with('{') => Ok(Some(payload.to_owned())),
        Some(_) | None => Err(Failure::nonsense("it says `modified` and gives no object as `payload`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wrong_and_bad_is_refused() {
        let refused = |sentence: &str| Finding::Refused(sentence.to_owned());
        for (result, expected) in [
            (r#"{"valid":true,"severity":"error"}"#, Finding::Valid),
            (r#"{"valid":false}"#, refused("")),
            (r#"{"valid":false,"severity":"warn"}"#, Finding::Noted(String::new())),
            (
                r#"{"valid":false,"messages":[{"message":"a","severity":"info"},{"message":"b","severity":"error"}]}"#,
                refused("a; b"),
            ),
            (
                r#"{"valid":false,"messages":[{"message":"a","severity":"info"}]}"#,
                Finding::Noted("a".to_owned()),
            ),
        ] {
            assert_eq!(finding(result).unwrap(), expected, "{result}");
        }
        for nonsense in ["{}", r#"{"valid":"no"}"#, r#"{"valid":false,"severity":"fatal"}"#] {
            assert!(finding(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn a_mutation_has_a_payload() {
        assert_eq!(mutated(r#"{"modified":false,"payload":[]}"#), Ok(None));
        assert_eq!(mutated(r#"{"modified":true,"payload":{"n":1.0}}"#), Ok(Some(r#"{"n":1.0}"#.to_owned())));
        for nonsense in [r#"{"modified":true}"#, r#"{"modified":true,"payload":"x"}"#, "{}"] {
            assert!(mutated(nonsense).is_err(), "{nonsense}");
        }
    }
}
