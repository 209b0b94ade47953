//! Why a text is not a message, and the error object that a peer is told with.

use bytes::Bytes;
use bytestring::ByteString;
use thiserror::Error;

use crate::json::{self, Fault};
use crate::{Id, Limits, codes};

/// The `error` member of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorObject {
    /// What went wrong, as a number.
    pub code: i64,
    /// What went wrong, as a sentence.
    pub message: String,
    /// More, as raw JSON.
    pub data: Option<String>,
}

impl ErrorObject {
    /// The object as JSON.
    pub fn to_json(&self) -> String {
        let mut text = format!(r#"{{"code":{},"message":{}"#, self.code, json::quote(&self.message));
        if let Some(data) = &self.data {
            text.push_str(r#","data":"#);
            text.push_str(data);
        }
        text.push('}');
        text
    }
}

/// Why a text is not a message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{kind}")]
pub struct ParseError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// The id of the message, to answer with, where the text lets it be known.
    pub id: Option<Id>,
}

impl ParseError {
    /// The JSON-RPC code that names what is wrong.
    pub fn code(&self) -> i64 {
        self.kind.code()
    }
}

impl From<ParseErrorKind> for ParseError {
    fn from(kind: ParseErrorKind) -> Self {
        Self { kind, id: None }
    }
}

/// The ways in which a text is not a message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseErrorKind {
    /// Longer than the limit.
    #[error("the message is longer than {limit} bytes")]
    TooLarge {
        /// In bytes.
        limit: usize,
    },
    /// Not JSON, or not UTF-8.
    #[error("the message is not JSON at byte {offset}")]
    NotJson {
        /// Of the first byte that cannot be there.
        offset: usize,
    },
    /// Nested deeper than the limit.
    #[error("the message is nested deeper than {limit} levels")]
    TooDeep {
        /// In levels.
        limit: usize,
    },
    /// JSON, but neither an object nor an array.
    #[error("the message is not an object")]
    NotObject,
    /// An array, where one message is asked for.
    #[error("a batch is not accepted here")]
    Batch,
    /// No array, where a batch is asked for.
    #[error("the text is not a batch")]
    NotBatch,
    /// An array of nothing.
    #[error("the batch is empty")]
    EmptyBatch,
    /// More messages than the limit.
    #[error("the batch has more than {limit} messages")]
    BatchTooLong {
        /// In messages.
        limit: usize,
    },
    /// A key twice in one object; parsers differ in which one they take.
    #[error("the key {key:?} is repeated")]
    DuplicateKey {
        /// The key, cut when long.
        key: Box<str>,
    },
    /// A key that some parsers take for one of the protocol's, in other case.
    #[error("the key {key:?} is a protocol key in the wrong case")]
    CaseVariantKey {
        /// The key.
        key: Box<str>,
    },
    /// A key of the protocol spelled with escapes, or one that cannot be decoded.
    #[error("the key {key:?} is spelled with escapes")]
    EscapedKey {
        /// The key as it was spelled, cut when long.
        key: Box<str>,
    },
    /// `jsonrpc` is missing or not `"2.0"`.
    #[error("jsonrpc must be \"2.0\"")]
    BadJsonRpc,
    /// The id is neither string nor number, is too long, or is missing where it must not.
    #[error("the id must be a string or a number of moderate length")]
    BadId,
    /// Neither a method nor a result nor an error.
    #[error("the message has no method, result or error")]
    NoMethod,
    /// The method is not a string.
    #[error("the method must be a string")]
    BadMethod,
    /// The parameters are not an object.
    #[error("params must be an object")]
    BadParams,
    /// The error is not an object.
    #[error("error must be an object")]
    BadError,
    /// More than one of method, result and error.
    #[error("the message has more than one of method, result and error")]
    Ambiguous,
}

impl ParseErrorKind {
    /// The JSON-RPC code that names it.
    pub fn code(&self) -> i64 {
        match self {
            Self::NotJson { .. } => codes::PARSE_ERROR,
            _ => codes::INVALID_REQUEST,
        }
    }

    pub(super) fn of(fault: Fault, limits: &Limits) -> Self {
        match fault {
            Fault::Syntax { offset } => Self::NotJson { offset: offset as usize },
            Fault::TooDeep => Self::TooDeep { limit: limits.depth_max },
        }
    }
}

/// The text as UTF-8, if it is not too long to be read.
pub(super) fn readable(text: Bytes, limits: &Limits) -> Result<ByteString, ParseErrorKind> {
    // Spans count in 32 bits.
    if text.len() > limits.message_bytes_max || u32::try_from(text.len()).is_err() {
        return Err(ParseErrorKind::TooLarge { limit: limits.message_bytes_max });
    }
    ByteString::try_from(text).map_err(|fault| ParseErrorKind::NotJson { offset: fault.valid_up_to() })
}
