//! The HTTP header rules of both eras, over names and bytes: no HTTP library is known here.
//!
//! A header is looked up by a function from its lower-case name to all of its values, so that a repeated header is
//! seen as one. What is mirrored in a header is untrusted until it was compared with the body.

mod modern;
mod params;
#[cfg(test)]
mod tests;
mod value;

pub use modern::check_modern;
pub use params::{BadAnnotation, ParamHeader, ParamKind, build_params, check_params, param_headers};
pub use value::{BadValue, decode_value, encode_value};

use crate::{ErrorObject, Revision, codes, json};

/// Names a legacy session.
pub const SESSION_ID: &str = "mcp-session-id";
/// Names the revision.
pub const PROTOCOL_VERSION: &str = "mcp-protocol-version";
/// Mirrors the method.
pub const METHOD: &str = "mcp-method";
/// Mirrors what the method works on.
pub const NAME: &str = "mcp-name";
/// Begins the names of headers that mirror arguments of tools.
pub const PARAM_PREFIX: &str = "mcp-param-";
/// Names the event behind which a stream is taken up again (legacy).
pub const LAST_EVENT_ID: &str = "last-event-id";

/// Why headers are not accepted; the HTTP status is 400, or 404 for a method that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HeaderFault {
    /// The JSON-RPC code.
    pub code: i64,
    /// A sentence for the client.
    pub message: String,
    /// `error.data` as JSON, where the protocol defines it.
    pub data: Option<String>,
}

impl HeaderFault {
    fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    fn mismatch(message: impl Into<String>) -> Self {
        Self::new(codes::HEADER_MISMATCH, message)
    }

    fn unsupported(requested: &str, supported: &[Revision]) -> Self {
        let names: Vec<String> = supported.iter().map(|revision| json::quote(revision.as_str())).collect();
        let data = format!(r#"{{"supported":[{}],"requested":{}}}"#, names.join(","), json::quote(requested));
        let message = "the protocol version is not supported";
        Self { data: Some(data), ..Self::new(codes::UNSUPPORTED_VERSION, message) }
    }

    /// The error to answer with.
    pub fn error_object(&self) -> ErrorObject {
        ErrorObject { code: self.code, message: self.message.clone(), data: self.data.clone() }
    }
}

/// The revision a legacy request names in its header; none when it names none, which earlier revisions allow.
///
/// A name that is not a revision's, or several, are refused (400).
pub fn legacy_version<'h>(header: impl Fn(&str) -> Vec<&'h [u8]>) -> Result<Option<Revision>, HeaderFault> {
    let fault = || HeaderFault::new(codes::INVALID_REQUEST, "the MCP-Protocol-Version header is not valid");
    match header(PROTOCOL_VERSION).as_slice() {
        [] => Ok(None),
        [one] => value::plain(one).and_then(Revision::parse).map(Some).ok_or_else(fault),
        _ => Err(fault()),
    }
}
