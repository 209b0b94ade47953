//! What is known around a message.

use std::time::Duration;

use serde_json::Value;
use shadowcat_protocol::{Direction, Message, Request};

use crate::strict::{Content, Read};

/// The kinds of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Asks for an answer.
    Request,
    /// Asks for none.
    Notification,
    /// Is the answer.
    Answer,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Request, Self::Notification, Self::Answer];

    /// The kind of this message.
    pub fn of(message: &Message) -> Self {
        match message {
            Message::Request(_) => Self::Request,
            Message::Notification(_) => Self::Notification,
            Message::Response(_) => Self::Answer,
        }
    }
}

/// What is known around a message.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// Which way it travels.
    pub direction: Direction,
    /// The exchange.
    pub facts: &'a Facts<'a>,
    /// The request that an answer answers, or whose replies a notification is among.
    pub asked: Option<&'a Asked>,
    /// Of an answer: since its request.
    pub took: Option<Duration>,
}

/// What is known of an exchange. What is not known fits no pattern.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// The tag of the session.
    pub session: Option<&'a str>,
    /// Who asks.
    pub principal: Option<&'a str>,
    /// What the credential of who asks says of them: an object.
    pub claims: Option<&'a Value>,
    /// The name of the server behind the proxy.
    pub server: Option<&'a str>,
    /// `stdio`, `sse` or `http`.
    pub transport: &'a str,
    /// The revision that the client speaks.
    pub revision: &'a str,
    /// `legacy` or `modern`.
    pub era: &'a str,
    /// How the server is spoken with; not known before a connection has taken the exchange.
    pub upstream: Option<Speech<'a>>,
    /// Headers that travel with the message, names in lower case.
    pub headers: &'a [(Box<str>, Box<str>)],
}

/// How one side is spoken with.
#[derive(Clone, Copy, Debug)]
pub struct Speech<'a> {
    /// `stdio`, `sse` or `http`.
    pub transport: &'a str,
    /// The revision.
    pub revision: &'a str,
    /// `legacy` or `modern`.
    pub era: &'a str,
}

/// A request whose replies are judged; what is inside is read once for all of them.
#[derive(Debug)]
pub struct Asked {
    request: Request,
    params: Read,
}

impl Asked {
    /// Keeps a request for as long as its replies come.
    pub fn new(request: Request) -> Self {
        Self { request, params: Read::new() }
    }

    /// The request.
    pub fn request(&self) -> &Request {
        &self.request
    }

    pub(crate) fn params(&self) -> Content<'_> {
        Content::new(self.request.params().unwrap_or("{}"), &self.params)
    }
}
