//! What is held: the message, what it belongs to, and why it waits.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use shadowcat_pipeline::{Direction, Origin};
use shadowcat_protocol::{Message, Request};
use shadowcat_rules::Then;

use super::approvals::Claim;
use super::approver::Approver;

/// The number of a held message: `h-1`. Never given twice in one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeldId(pub(super) u64);

/// The number of a breakpoint: `b-1`. Never given twice in one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BreakpointId(pub(super) u64);

macro_rules! numbered {
    ($name:ident, $prefix:literal) => {
        impl $name {
            /// Reads what it was written as.
            pub fn parse(text: &str) -> Option<Self> {
                text.strip_prefix($prefix)?.parse().ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

numbered!(HeldId, "h-");
numbered!(BreakpointId, "b-");

/// Why a message is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It fits a breakpoint.
    Breakpoint(BreakpointId),
    /// A rule of this name holds it.
    Rule(Arc<str>),
    /// It needs an approval of this name.
    Approval(Arc<str>),
}

impl Cause {
    /// The word for its kind: `breakpoint`, `rule` or `approval`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Breakpoint(_) => "breakpoint",
            Self::Rule(_) => "rule",
            Self::Approval(_) => "approval",
        }
    }

    /// The number of the breakpoint, or the name of the rule or approval.
    pub fn name(&self) -> String {
        match self {
            Self::Breakpoint(id) => id.to_string(),
            Self::Rule(name) | Self::Approval(name) => name.to_string(),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.name())
    }
}

/// For how long a message is held, and what becomes of it then. What is not said is as the lot's settings have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// No longer than this.
    pub held_for: Option<Duration>,
    /// What becomes of it when nobody has let it go by then.
    pub then: Option<Then>,
}

/// A message on its way to be held.
#[derive(Clone, Debug)]
pub struct Stopped {
    /// The message.
    pub message: Message,
    /// The request that it answers, or among whose replies it is.
    pub asked: Option<Request>,
    /// The side it goes to.
    pub direction: Direction,
    /// The exchange it is part of.
    pub origin: Arc<Origin>,
    /// The name of the server behind the proxy.
    pub server: Arc<str>,
    /// Why it is held.
    pub cause: Cause,
    /// For how long.
    pub terms: Terms,
    /// What an approval of it is good for.
    pub(super) claim: Option<Claim>,
    /// Who is asked whether it may go on.
    pub(super) approver: Option<Arc<Approver>>,
}

impl Stopped {
    /// The bytes that holding it takes.
    pub(super) fn bytes(&self) -> usize {
        self.message.text().len() + self.asked.as_ref().map_or(0, |asked| asked.text().len())
    }
}

/// A message that is held.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its number.
    pub id: HeldId,
    /// The message and what it belongs to.
    pub stopped: Stopped,
    /// Since when.
    pub since: SystemTime,
    /// Until when at most.
    pub until: SystemTime,
    /// What becomes of it then.
    pub then: Then,
    /// Its sender waits no more. Only a call that needs an approval stays after that: a yes is kept for the same call
    /// when it comes again.
    pub is_abandoned: bool,
}

impl Held {
    /// The kind of message: `request`, `notification` or `answer`.
    pub fn kind(&self) -> &'static str {
        match self.stopped.message {
            Message::Request(_) => "request",
            Message::Notification(_) => "notification",
            Message::Response(_) => "answer",
        }
    }

    /// The method; an answer has that of its request.
    pub fn method(&self) -> Option<&str> {
        self.stopped.message.method().or_else(|| self.stopped.asked.as_ref().map(Request::method))
    }

    /// The tool, prompt, resource or task that it is about.
    pub fn name(&self) -> Option<String> {
        let request = match &self.stopped.message {
            Message::Request(request) => Some(request),
            Message::Notification(_) | Message::Response(_) => self.stopped.asked.as_ref(),
        };
        request.and_then(Request::name).map(std::borrow::Cow::into_owned)
    }

    /// The text of the message.
    pub fn text(&self) -> &str {
        self.stopped.message.as_str()
    }
}
