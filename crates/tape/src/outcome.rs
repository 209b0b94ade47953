//! How an answer turned out.

use std::borrow::Cow;

use shadowcat_protocol::json;

use crate::record::{Action, Frame, Kind};

/// What an answer says of its call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// It gives a result.
    Result,
    /// It asks the client for something before there is a result; the client goes on with another call.
    InputRequired,
    /// It is the result of a tool that failed, and says so.
    ToolError {
        /// What it says for people: its first text.
        sentence: Option<Cow<'a, str>>,
    },
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

impl<'a> Outcome<'a> {
    /// Of a message of this text, which the proxy may have refused for a reason; none for what is no answer.
    pub(crate) fn of(kind: Kind, text: &'a str, refused: Option<&'a str>) -> Option<Self> {
        if kind != Kind::Response && refused.is_none() {
            return None;
        }
        let error = json::get(text, &["error"]);
        let sentence = || json::get(error?, &["message"]).and_then(json::string);
        if let Some(reason) = refused {
            return Some(Self::Refused { reason, sentence: sentence() });
        }
        let result = |member| json::get(text, &["result", member]);
        Some(match error {
            Some(error) => {
                Self::Error { code: json::get(error, &["code"]).unwrap_or("?"), sentence: sentence() }
            }
            None if result("isError") == Some("true") => Self::ToolError { sentence: told(text) },
            None if result("resultType") == Some(r#""input_required""#) => Self::InputRequired,
            None => Self::Result,
        })
    }

    /// Whether the call failed.
    pub fn is_failure(&self) -> bool {
        !matches!(self, Self::Result | Self::InputRequired)
    }

    /// The word for the kind of failure, as filters and figures name it; none for what is none.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Result | Self::InputRequired => None,
            Self::ToolError { .. } => Some("tool"),
            Self::Error { code, .. } => Some(code),
            Self::Refused { reason, .. } => Some(reason),
        }
    }
}

impl Frame {
    /// How it turned out; none for what is no answer.
    pub fn outcome(&self) -> Option<Outcome<'_>> {
        let refused =
            if let Action::Refused { reason } = &self.action { Some(reason.as_str()) } else { None };
        Outcome::of(self.kind, &self.message, refused)
    }

    /// The methods of what a result asks of the client before there is another.
    pub(crate) fn input_requests(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let requests = json::get(&self.message, &["result", "inputRequests"]);
        let method = |(_, request)| json::get(request, &["method"]).and_then(json::string);
        requests.into_iter().flat_map(json::members).filter_map(method)
    }
}

/// The first text in the content of a result.
fn told(message: &str) -> Option<Cow<'_, str>> {
    let content = json::get(message, &["result", "content"])?;
    json::elements(content).find_map(|item| json::get(item, &["text"]).and_then(json::string))
}
