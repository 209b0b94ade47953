//! The only error that crosses the pipeline, and the one table of what a peer is told of it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shadowcat_protocol::{ErrorObject, Id, Response, codes, json};

/// Why an envelope was not answered: a reason a peer can be given, and a cause for the log only.
#[derive(Debug)]
pub struct Refusal {
    /// The reason, from a closed list.
    pub kind: RefusalKind,
    /// The upstream it concerns, by its name in the configuration.
    pub upstream: Option<Arc<str>>,
    /// A sentence that may be shown to the client: no paths, addresses or tokens of ours.
    pub detail: Option<String>,
    /// What really happened, for the log.
    pub cause: Option<Box<dyn Error + Send + Sync>>,
}

/// The reasons there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The server's process ended.
    UpstreamExited,
    /// No answer in time.
    UpstreamTimeout,
    /// The server sent something that is not MCP, or cut its answer short.
    UpstreamProtocol,
    /// The server could not be reached or started; the message never left.
    UpstreamUnreachable,
    /// The server answered with an HTTP error of its own, which is passed on as it is.
    UpstreamStatus(Box<UpstreamAnswer>),
    /// The server failed too often lately and is not asked for a while.
    BreakerOpen {
        /// When asking again makes sense.
        retry_after: Duration,
    },
    /// A bound of the proxy is reached.
    Overloaded {
        /// When asking again makes sense.
        retry_after: Duration,
    },
    /// The proxy is about to end.
    ShuttingDown,
    /// A message is larger than the limit.
    LimitBody,
    /// A queue is full and stays full.
    LimitQueue,
    /// There is no such session, or it is not the asker's.
    SessionUnknown,
    /// A session header is required and missing.
    SessionMissing,
    /// The server's session was lost and could not be set up again.
    SessionLost,
    /// The store of sessions does not answer.
    StoreUnavailable,
    /// A rule of the operator refuses it.
    PolicyDenied,
    /// The exchange was cancelled by its client.
    Cancelled,
    /// A tape stands in for the server, and this is not on it.
    NotRecorded,
    /// A rule of the operator breaks the answer, so that a client can be tried with a faulty server.
    Broken(Broken),
    /// The message itself is wrong.
    BadMessage {
        /// The JSON-RPC error code that names what is wrong.
        code: i64,
        /// `error.data` as JSON, where the protocol defines it.
        data: Option<String>,
    },
    /// A defect of the proxy.
    Internal,
}

/// How an answer is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It does not come: its connection or stream ends before.
    Cut,
    /// It is no JSON.
    Malformed,
}

/// An HTTP error answer of an upstream, kept whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamAnswer {
    /// The status code.
    pub status: u16,
    /// The headers a client needs to act on it (`WWW-Authenticate`, `Retry-After`, `Allow`, `Content-Type`).
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// The body, up to a bound.
    pub body: Bytes,
}

/// What a peer and an operator are told of one kind.
struct Told {
    reason: &'static str,
    code: i64,
    status: u16,
    sentence: &'static str,
    retryable: bool,
}

impl RefusalKind {
    /// A bound is reached that others leave in a moment.
    pub const BUSY: Self = Self::Overloaded { retry_after: Duration::from_secs(1) };

    /// The one table. Codes of our own lie outside -32768..-32000, which the protocol keeps for itself.
    fn told(&self) -> Told {
        let (reason, code, status, sentence, retryable) = match self {
            Self::UpstreamExited => ("upstream_exited", -31001, 200, "the server's process ended", true),
            Self::UpstreamTimeout => {
                ("upstream_timeout", -31002, 504, "the server did not answer in time", true)
            }
            Self::UpstreamProtocol => {
                ("upstream_protocol", -31003, 200, "the server broke the protocol", false)
            }
            Self::UpstreamUnreachable => {
                ("upstream_unreachable", -31004, 502, "the server could not be reached", true)
            }
            Self::UpstreamStatus(answer) => {
                ("upstream_status", -31005, answer.status, "the server refused the request", false)
            }
            Self::BreakerOpen { .. } => {
                ("breaker_open", -31006, 503, "the server failed repeatedly and is being left alone", true)
            }
            Self::Overloaded { .. } => ("overloaded", -31007, 503, "the proxy is at its limit", true),
            Self::ShuttingDown => ("shutting_down", -31008, 503, "the proxy is shutting down", true),
            Self::LimitBody => ("limit_body", -31009, 413, "the message is larger than the limit", false),
            Self::LimitQueue => ("limit_queue", -31010, 200, "the server does not take messages", true),
            Self::SessionUnknown => {
                ("session_unknown", -31011, 404, "no such session: initialize again", true)
            }
            Self::SessionMissing => (
                "session_missing",
                -31012,
                400,
                "the Mcp-Session-Id header is missing: initialize first",
                false,
            ),
            Self::SessionLost => (
                "session_lost",
                -31013,
                200,
                "the server's session was lost and could not be set up again",
                true,
            ),
            Self::StoreUnavailable => {
                ("store_unavailable", -31014, 503, "the session store does not answer", true)
            }
            Self::PolicyDenied => ("policy_denied", -31015, 403, "refused by a rule of the proxy", false),
            Self::Cancelled => ("cancelled", -31016, 200, "the request was cancelled", false),
            Self::NotRecorded => ("not_recorded", -31017, 200, "this is not on the tape", false),
            Self::Broken(Broken::Cut) => ("broken_cut", -31018, 200, "the answer is cut by a rule", true),
            Self::Broken(Broken::Malformed) => {
                ("broken_malformed", -31018, 200, "the answer is malformed by a rule", true)
            }
            Self::BadMessage { code, .. } => ("bad_message", *code, 400, "the message is not valid", false),
            Self::Internal => ("internal", -31000, 500, "the proxy failed; its log says why", false),
        };
        Told { reason, code, status, sentence, retryable }
    }

    /// The stable word for it: in `error.data`, logs, tapes and metric labels.
    pub fn reason(&self) -> &'static str {
        self.told().reason
    }

    /// The HTTP status when nothing of the answer has been sent yet.
    pub fn status(&self) -> u16 {
        match self {
            // The 2026-07-28 revision gives an unknown method a status of its own.
            Self::BadMessage { code: codes::METHOD_NOT_FOUND, .. } => 404,
            _ => self.told().status,
        }
    }

    /// How long a client should wait before it tries again, where that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::BreakerOpen { retry_after } | Self::Overloaded { retry_after } => Some(*retry_after),
            Self::ShuttingDown => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// Whether the fault is the proxy's own and belongs into the log as an error.
    pub fn is_defect(&self) -> bool {
        matches!(self, Self::Internal)
    }
}

impl Refusal {
    /// A refusal with nothing but its kind.
    pub fn new(kind: RefusalKind) -> Self {
        Self { kind, upstream: None, detail: None, cause: None }
    }

    /// A message that is wrong, with the sentence that says how.
    pub fn bad_message(code: i64, detail: impl Into<String>) -> Self {
        Self::new(RefusalKind::BadMessage { code, data: None }).with_detail(detail)
    }

    /// Adds a sentence the client may see.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds the upstream's name.
    #[must_use]
    pub fn with_upstream(mut self, name: &Arc<str>) -> Self {
        self.upstream = Some(Arc::clone(name));
        self
    }

    /// Adds the cause for the log.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The JSON-RPC error a client is given.
    pub fn error_object(&self) -> ErrorObject {
        let told = self.kind.told();
        let message = match &self.detail {
            Some(detail) => detail.clone(),
            None => told.sentence.to_owned(),
        };
        let data = match &self.kind {
            RefusalKind::BadMessage { data, .. } => data.clone(),
            _ => Some(self.data(&told)),
        };
        ErrorObject { code: told.code, message, data }
    }

    /// The JSON-RPC response for the request with this id.
    pub fn response(&self, id: Option<&Id>) -> Response {
        Response::error(id, &self.error_object())
    }

    /// The text that the asker is sent: the response, unless it is to be broken. `None` if it is cut.
    pub fn answer(&self, id: Option<&Id>) -> Option<Bytes> {
        let response = self.response(id);
        match self.kind {
            RefusalKind::Broken(Broken::Cut) => None,
            RefusalKind::Broken(Broken::Malformed) => {
                let text = response.text();
                Some(text.slice(..text.len() - text.len() / 3))
            }
            _ => Some(response.text().clone()),
        }
    }

    fn data(&self, told: &Told) -> String {
        let mut data = format!(r#"{{"origin":"shadowcat","reason":"{}""#, told.reason);
        if let Some(upstream) = &self.upstream {
            data.push_str(r#","upstream":"#);
            data.push_str(&json::quote(upstream));
        }
        if let RefusalKind::UpstreamStatus(answer) = &self.kind {
            data.push_str(r#","status":"#);
            data.push_str(&answer.status.to_string());
        }
        data + r#","retryable":"# + &told.retryable.to_string() + "}"
    }
}

impl From<RefusalKind> for Refusal {
    fn from(kind: RefusalKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.kind.told();
        write!(f, "{}: {}", told.reason, self.detail.as_deref().unwrap_or(told.sentence))?;
        if let Some(upstream) = &self.upstream {
            write!(f, " (upstream {upstream})")?;
        }
        Ok(())
    }
}

impl Error for Refusal {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_sees_reason_upstream_and_its_own_id_and_never_the_cause() {
        let refusal = Refusal::new(RefusalKind::UpstreamExited)
            .with_upstream(&Arc::from("files"))
            .with_detail("the server's process ended with exit status 3")
            .with_cause("read /home/secret: broken pipe");
        let response = refusal.response(Some(&Id::parse_json(r#""7""#).unwrap()));
        let text = std::str::from_utf8(response.text()).unwrap();
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(value["id"], "7");
        assert_eq!(value["error"]["code"], -31001);
        assert_eq!(value["error"]["message"], "the server's process ended with exit status 3");
        assert_eq!(
            value["error"]["data"],
            serde_json::json!({"origin":"shadowcat","reason":"upstream_exited","upstream":"files","retryable":true})
        );
        assert!(!text.contains("secret"));
    }

    #[test]
    fn an_answer_that_is_broken_on_purpose_is_so_for_the_asker_only() {
        let id = Id::from_u64(7);
        let parses = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).is_ok();
        let malformed = Refusal::new(RefusalKind::Broken(Broken::Malformed));
        assert!(!parses(&malformed.answer(Some(&id)).unwrap()));
        assert!(parses(malformed.response(Some(&id)).text()));
        assert_eq!(Refusal::new(RefusalKind::Broken(Broken::Cut)).answer(Some(&id)), None);
        let plain = Refusal::new(RefusalKind::Internal);
        assert_eq!(plain.answer(Some(&id)).as_ref(), Some(plain.response(Some(&id)).text()));
    }

    #[test]
    fn codes_of_our_own_lie_outside_the_range_the_protocol_reserves() {
        for kind in [RefusalKind::UpstreamExited, RefusalKind::Internal, RefusalKind::Cancelled] {
            assert!(!(-32768..=-32000).contains(&kind.told().code));
        }
    }
}
