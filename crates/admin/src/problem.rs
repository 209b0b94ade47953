//! What is told when something is wrong: `application/problem+json` (RFC 9457).

use std::fmt;

use http::StatusCode;
use http::header::{ALLOW, HeaderValue, WWW_AUTHENTICATE};
use schemars::JsonSchema;
use serde::Serialize;
use shadowcat_filter::ParseError;
use shadowcat_interceptors::pause::{BreakpointError, DecideError};
use shadowcat_transports::server::{BodyError, Reply};

pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// Something is wrong with a request, or cannot be done.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    reason: &'static str,
    detail: String,
    column: Option<usize>,
    allow: Option<String>,
}

/// A problem as it is written (RFC 9457).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct Written<'a> {
    /// Always `about:blank`: the title is that of the status.
    r#type: &'a str,
    /// The name of the status.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What is wrong, as a sentence.
    detail: &'a str,
    /// What is wrong, as a word that stays the same.
    reason: &'a str,
    /// The character where a filter expression is wrong, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, reason: &'static str, detail: impl Into<String>) -> Self {
        Self { status, reason, detail: detail.into(), column: None, allow: None }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    pub(crate) fn unauthorized() -> Self {
        let detail = "send the token as `Authorization: Bearer TOKEN`; it is in the token file, or in `admin.json` in the \
                      data directory";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    pub(crate) fn not_held(sentence: impl fmt::Display) -> Self {
        let detail = format!("{sentence}; /v1/held lists what is");
        Self::new(StatusCode::NOT_FOUND, "not_held", detail)
    }

    pub(crate) fn method(allowed: String) -> Self {
        let detail = format!("this path knows {allowed}");
        Self {
            allow: Some(allowed),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        }
    }

    pub(crate) fn body(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is longer than it may be")
            }
            BodyError::TooSlow => {
                Self::new(StatusCode::REQUEST_TIMEOUT, "too_slow", "the body did not come in time")
            }
            BodyError::Cut => Self::bad_request("the body was cut short"),
        }
    }

    pub(crate) fn into_reply(self) -> Reply {
        let written = Written {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            detail: &self.detail,
            reason: self.reason,
            column: self.column,
        };
        let text = serde_json::to_vec(&written).unwrap_or_default();
        let mut reply = Reply::whole(self.status.as_u16(), MEDIA_TYPE, text);
        if self.status == StatusCode::UNAUTHORIZED {
            reply = reply.with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"shadowcat\""));
        }
        match self.allow.and_then(|allow| HeaderValue::from_str(&allow).ok()) {
            Some(allow) => reply.with(ALLOW, allow),
            None => reply,
        }
    }
}

impl From<ParseError> for Problem {
    fn from(error: ParseError) -> Self {
        let detail = format!("the filter is wrong at column {}: {}", error.column, error.sentence);
        Self { column: Some(error.column), ..Self::new(StatusCode::BAD_REQUEST, "bad_filter", detail) }
    }
}

impl From<BreakpointError> for Problem {
    fn from(error: BreakpointError) -> Self {
        match error {
            BreakpointError::Filter(error) => error.into(),
            BreakpointError::TooMany => Self::new(StatusCode::CONFLICT, "too_many", error.to_string()),
        }
    }
}

impl From<DecideError> for Problem {
    fn from(error: DecideError) -> Self {
        let reason = match error {
            DecideError::Gone(_) => return Self::not_held(error),
            DecideError::Bad(_) => "bad_message",
            DecideError::NoAnswer => "no_answer",
        };
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, reason, error.to_string())
    }
}
