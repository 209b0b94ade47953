//! JSON-RPC messages that keep their sender's text.
//!
//! Parsing finds the members a proxy routes by and remembers where they are; whatever else is inside stays unread
//! and untouched. Here are the three kinds of message and batches; how a text is read is in `outline`.

mod build;
mod error;
mod keys;
mod notification;
mod outline;
mod request;
mod response;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::Bytes;

pub use error::{ErrorObject, ParseError, ParseErrorKind};
pub use notification::Notification;
pub use request::Request;
pub use response::Response;

use crate::json::Scanner;
use crate::span::{Edit, Span};
use crate::{Id, Limits, lines};
use outline::Outline;

/// One JSON-RPC message.
#[derive(Clone, Debug)]
pub enum Message {
    /// Asks for an answer.
    Request(Request),
    /// Asks for none.
    Notification(Notification),
    /// Is the answer.
    Response(Response),
}

impl Message {
    /// Reads one message. What two parsers could read differently is refused.
    pub fn parse(text: Bytes, limits: &Limits) -> Result<Self, ParseError> {
        Outline::parse(text, limits)
    }

    /// Reads the messages of a text that may be a batch, in order. What is none is an error by itself.
    pub fn parse_each(
        text: &Bytes,
        limits: &Limits,
    ) -> impl DoubleEndedIterator<Item = Result<Self, ParseError>> + use<> {
        let limits = *limits;
        let (one, parts) = match Self::parse(text.clone(), &limits) {
            Err(error) if error.kind == ParseErrorKind::Batch => match split_batch(text, &limits) {
                Ok(parts) => (None, parts),
                Err(error) => (Some(Err(error)), Vec::new()),
            },
            one => (Some(one), Vec::new()),
        };
        one.into_iter().chain(parts.into_iter().map(move |part| Self::parse(part, &limits)))
    }

    /// The text as its sender wrote it.
    pub fn text(&self) -> &Bytes {
        match self {
            Self::Request(request) => request.text(),
            Self::Notification(notification) => notification.text(),
            Self::Response(response) => response.text(),
        }
    }

    /// The same as characters.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Request(request) => request.as_str(),
            Self::Notification(notification) => notification.as_str(),
            Self::Response(response) => response.as_str(),
        }
    }

    /// The text as one line, without a line end. Line ends between tokens are the only bytes that are left out:
    /// JSON has none inside strings.
    pub fn to_line(&self) -> Bytes {
        match lines::one_line(self.text()) {
            Cow::Borrowed(_) => self.text().clone(),
            Cow::Owned(line) => line.into(),
        }
    }

    /// The id that it has, or that of the request it answers; a notification has none, nor has the answer to what could not
    /// be read.
    pub fn id(&self) -> Option<&Id> {
        match self {
            Self::Request(request) => Some(request.id()),
            Self::Response(response) => response.id(),
            Self::Notification(_) => None,
        }
    }

    /// The method, if this is no response.
    pub fn method(&self) -> Option<&str> {
        match self {
            Self::Request(request) => Some(request.method()),
            Self::Notification(notification) => Some(notification.method()),
            Self::Response(_) => None,
        }
    }
}

/// The messages of a batch, as slices of its text. Each has still to be parsed.
pub fn split_batch(text: &Bytes, limits: &Limits) -> Result<Vec<Bytes>, ParseError> {
    let elements = batch_elements(text, limits)?;
    Ok(elements.into_iter().map(|span| text.slice(span.start()..span.end())).collect())
}

fn batch_elements(text: &Bytes, limits: &Limits) -> Result<Vec<Span>, ParseErrorKind> {
    let readable = error::readable(text.clone(), limits)?;
    // The array is the transport's, not a level of the messages inside.
    let mut scanner = Scanner::new(&readable, limits.depth_max.saturating_add(1));
    if scanner.peek() != Some(b'[') {
        return Err(ParseErrorKind::NotBatch);
    }
    let kind = |fault| ParseErrorKind::of(fault, limits);
    scanner.enter(b'[').map_err(kind)?;
    let mut elements = Vec::new();
    while scanner.next_element(elements.is_empty()).map_err(kind)? {
        if elements.len() == limits.batch_max {
            return Err(ParseErrorKind::BatchTooLong { limit: limits.batch_max });
        }
        elements.push(scanner.value().map_err(kind)?);
    }
    scanner.end().map_err(kind)?;
    if elements.is_empty() { Err(ParseErrorKind::EmptyBatch) } else { Ok(elements) }
}

/// A method's name: a place in the text, or its decoded form where the sender wrote escapes (`"tools\/call"`). The usual
/// ones are constants, because every step on a message's way asks for its method.
#[derive(Clone, Debug)]
struct MethodName {
    place: Span,
    decoded: Option<Cow<'static, str>>,
}

impl MethodName {
    fn after(&self, edit: &Edit<'_>) -> Self {
        Self { place: self.place.after(edit), decoded: self.decoded.clone() }
    }

    fn get<'a>(&'a self, text: &'a str) -> &'a str {
        match &self.decoded {
            Some(decoded) => decoded,
            None => Span::new(self.place.start() + 1, self.place.end() - 1).of(text),
        }
    }
}
