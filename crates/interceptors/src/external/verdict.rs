//! What somebody outside is asked, and what he may say.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use shadowcat_pipeline::{Direction, Origin};
use shadowcat_protocol::{Limits, Message};
use shadowcat_rules::{Asked, Kind, Outcome};

/// Somebody outside the proxy who decides over messages.
#[async_trait]
pub trait External: Send + Sync {
    /// Whether he has anything to say about such a message; costs next to nothing.
    fn concerns(&self, _: &Matter) -> bool {
        true
    }

    /// Asks him. Each question that this takes has to be answered within `time`.
    ///
    /// # Errors
    /// When there is no verdict.
    ///
    /// # Cancel safety
    /// Dropping the future withdraws the question.
    async fn ask(&self, matter: &Matter, time: Duration) -> Result<Opinion, Failure>;
}

/// A message, and what is known around it.
#[derive(Clone, Debug)]
pub struct Matter {
    /// What the configuration calls him who is asked.
    pub interceptor: Arc<str>,
    /// The message.
    pub message: Message,
    /// Which way it travels.
    pub direction: Direction,
    /// The exchange it belongs to.
    pub origin: Arc<Origin>,
    /// The name of the server behind the proxy.
    pub server: Arc<str>,
    /// Headers that travel with the message; no credentials are among them.
    pub headers: Arc<[(Box<str>, Box<str>)]>,
    /// The request that an answer answers, or whose replies a notification is among.
    pub asked: Option<Arc<Asked>>,
    /// Nobody waits for the verdict.
    pub is_audit: bool,
}

impl Matter {
    /// The kind of the message.
    pub fn kind(&self) -> Kind {
        Kind::of(&self.message)
    }

    /// The bytes that keeping it takes.
    pub(super) fn bytes(&self) -> usize {
        let asked = self.asked.as_ref().map_or(0, |asked| asked.request().text().len());
        self.message.text().len() + asked
    }

    /// The method of the message; an answer has that of its request.
    pub fn method(&self) -> &str {
        let asked = || self.asked.as_ref().map(|asked| asked.request().method());
        self.message.method().or_else(asked).unwrap_or_default()
    }
}

/// What he says.
#[derive(Debug)]
pub struct Opinion {
    /// What is to become of the message.
    pub verdict: Verdict,
    /// What failed without being a reason to refuse it.
    pub passed_over: Vec<Failure>,
    /// How many were not told who would have been told only.
    pub lost: u64,
}

impl From<Verdict> for Opinion {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, passed_over: Vec::new(), lost: 0 }
    }
}

/// What is to become of a message.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It goes on.
    Continue,
    /// This goes on in its place; [`edited`] has made sure that it may.
    Modify(Message),
    /// It is refused, with a sentence for whoever sent it.
    Block(Option<String>),
    /// This is its answer, or takes the place of the answer that it is.
    Mock(Outcome),
    /// It does not go on, and nobody is told.
    Drop,
}

impl Verdict {
    /// The word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Modify(_) => "modify",
            Self::Block(_) => "block",
            Self::Mock(_) => "mock",
            Self::Drop => "drop",
        }
    }
}

/// Why there is no verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In one word.
    pub reason: Reason,
    /// In one sentence, for the log. Never a secret.
    pub sentence: String,
    /// The HTTP status that he failed with, if there was one.
    pub status: Option<u16>,
}

/// Why there is no verdict, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It took too long.
    Timeout,
    /// He could not be reached.
    Unreachable,
    /// He said that he failed.
    Error,
    /// What he said makes no sense.
    Nonsense,
    /// The message is larger than he is sent.
    TooLarge,
    /// He failed too often lately, and is left alone for a while.
    BreakerOpen,
    /// Too many questions are waiting for him.
    Busy,
    /// The content of the message cannot be read for his condition.
    Unreadable,
    /// A defect.
    Panicked,
}

impl Reason {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Error => "error",
            Self::Nonsense => "nonsense",
            Self::TooLarge => "too_large",
            Self::BreakerOpen => "breaker_open",
            Self::Busy => "busy",
            Self::Unreadable => "unreadable",
            Self::Panicked => "panicked",
        }
    }
}

impl Failure {
    /// A failure.
    pub fn new(reason: Reason, sentence: impl Into<String>) -> Self {
        Self { reason, sentence: sentence.into(), status: None }
    }

    pub(super) fn timeout(time: Duration) -> Self {
        Self::new(Reason::Timeout, format!("no answer within {} ms", super::millis(time)))
    }

    pub(super) fn nonsense(sentence: impl Into<String>) -> Self {
        Self::new(Reason::Nonsense, sentence)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Failure {}

/// A message as somebody outside has edited it, if it may stand in the place of the original: whole, of the same kind and
/// method, and for the same request.
pub(super) fn edited(original: &Message, text: &str, limits: &Limits) -> Result<Message, Failure> {
    let edited = Message::parse(Bytes::copy_from_slice(text.as_bytes()), limits)
        .map_err(|error| Failure::nonsense(format!("the edited message is none: {error}")))?;
    let is_same = match (original, &edited) {
        (Message::Request(original), Message::Request(edited)) => {
            original.id() == edited.id() && original.method() == edited.method()
        }
        (Message::Notification(original), Message::Notification(edited)) => {
            original.method() == edited.method()
        }
        (Message::Response(original), Message::Response(edited)) => original.id() == edited.id(),
        _ => return Err(Failure::nonsense("the edited message is of another kind")),
    };
    if is_same {
        Ok(edited)
    } else {
        Err(Failure::nonsense("the edited message has another id or another method"))
    }
}

/// The longest sentence of somebody outside that is told to a client.
const SENTENCE_CHARS_MAX: usize = 500;

/// A sentence of somebody outside as it may be told: bounded, on one line.
pub(super) fn told(sentence: &str) -> String {
    let is_printed = |character: &char| !character.is_control();
    sentence.chars().take(SENTENCE_CHARS_MAX).filter(is_printed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edited_message_stands_in_the_place_of_the_same_message_only() {
        let read = |text: &str| Message::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::default());
        let request = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}"#;
        let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        let note = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#;
        for (original, text, is_taken) in [
            (
                request,
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"b","n":1.0}}"#,
                true,
            ),
            (request, r#"{"jsonrpc":"2.0","id":"1","method":"tools/call","params":{}}"#, false),
            (request, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, false),
            (request, answer, false),
            (request, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"a":1,"a":2}}"#, false),
            (request, "[]", false),
            (answer, r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}"#, true),
            (answer, r#"{"jsonrpc":"2.0","id":2,"result":{}}"#, false),
            (note, r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}"#, true),
            (note, r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#, false),
        ] {
            let outcome = edited(&read(original).unwrap(), text, &Limits::default());
            assert_eq!(outcome.is_ok(), is_taken, "{text}: {outcome:?}");
        }
    }

    #[test]
    fn what_clients_are_told_has_a_bound_and_no_line_ends() {
        assert_eq!(told("not\nthis\u{7} one"), "notthis one");
        assert_eq!(told(&"ä".repeat(1_000)).chars().count(), SENTENCE_CHARS_MAX);
    }
}
