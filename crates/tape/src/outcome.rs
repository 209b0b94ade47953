//! How an answer turned out.

use std::borrow::Cow;

use shadowcat_protocol::json;

use crate::record::{Action, Frame, Kind};

/// What an answer says of its call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// It gives a result.
    Result,
    /// It is the result of a tool that failed, and says so.
    ToolError,
    /// It is a JSON-RPC error of the other side.
    Error {
        /// The number, as it is written.
        code: &'a str,
        /// What it says for people.
        sentence: Option<Cow<'a, str>>,
    },
    /// The proxy answered in place of the other side.
    Refused {
        /// The stable word for why.
        reason: &'a str,
        /// What it says for people.
        sentence: Option<Cow<'a, str>>,
    },
}

impl Outcome<'_> {
    /// Whether the call failed.
    pub fn is_failure(&self) -> bool {
        *self != Self::Result
    }

    /// The word for the kind of failure, as filters and figures name it; none for a result.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Result => None,
            Self::ToolError => Some("tool"),
            Self::Error { code, .. } => Some(code),
            Self::Refused { reason, .. } => Some(reason),
        }
    }
}

impl Frame {
    /// How it turned out; none for what is no answer.
    pub fn outcome(&self) -> Option<Outcome<'_>> {
        let error = json::get(&self.message, &["error"]);
        let sentence = || json::get(error?, &["message"]).and_then(json::string);
        if let Action::Refused { reason } = &self.action {
            return Some(Outcome::Refused { reason, sentence: sentence() });
        }
        if self.kind != Kind::Response {
            return None;
        }
        Some(match error {
            Some(error) => {
                Outcome::Error { code: json::get(error, &["code"]).unwrap_or("?"), sentence: sentence() }
            }
            None if json::get(&self.message, &["result", "isError"]) == Some("true") => Outcome::ToolError,
            None => Outcome::Result,
        })
    }
}
