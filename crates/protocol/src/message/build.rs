//! Writes messages of our own, and params into messages of others.

use std::borrow::Cow;

use bytestring::ByteString;

use super::MethodName;
use super::outline::Params;
use crate::json;
use crate::method::usual;
use crate::span::Span;

/// A message that is being written, member by member.
#[derive(Debug)]
pub(super) struct Draft {
    text: String,
}

impl Default for Draft {
    fn default() -> Self {
        Self { text: String::from(r#"{"jsonrpc":"2.0""#) }
    }
}

impl Draft {
    /// Appends a member; where its value is.
    pub(super) fn member(&mut self, key: &str, value: &str) -> Span {
        self.text.push_str(",\"");
        self.text.push_str(key);
        self.text.push_str("\":");
        let start = self.text.len();
        self.text.push_str(value);
        Span::new(start, self.text.len())
    }

    pub(super) fn method(&mut self, method: &str) -> MethodName {
        let quoted = json::quote(method);
        let is_escaped = quoted.len() != method.len() + 2;
        let decoded =
            is_escaped.then(|| Cow::Owned(method.to_owned())).or_else(|| usual(method).map(Cow::Borrowed));
        MethodName { place: self.member("method", &quoted), decoded }
    }

    pub(super) fn params(&mut self, params_json: Option<&str>) -> (Span, Params) {
        let Some(params) = params_json.map(json::trim) else { return (Span::ABSENT, Params::default()) };
        let place = self.member("params", params);
        (place, Params::read(params).moved_by(place.start()))
    }

    pub(super) fn finish(mut self) -> ByteString {
        self.text.push('}');
        self.text.into()
    }
}

/// New params for a message: in the place of the old ones, or behind the method where there are none.
#[derive(Debug)]
pub(super) struct ParamsChange {
    pub(super) place: Span,
    pub(super) text: String,
    /// Where the params begin in `text`.
    offset: usize,
}

impl ParamsChange {
    pub(super) fn new(method: &MethodName, params: Span, params_json: &str) -> Self {
        let params_json = json::trim(params_json);
        if !params.is_absent() {
            return Self { place: params, text: params_json.to_owned(), offset: 0 };
        }
        let key = r#","params":"#;
        let behind = method.place.end();
        Self { place: Span::new(behind, behind), text: format!("{key}{params_json}"), offset: key.len() }
    }

    /// Where the new params are in the edited text, and what is inside.
    pub(super) fn outline(&self) -> (Span, Params) {
        let start = self.place.start() + self.offset;
        let params = self.text.get(self.offset..).unwrap_or_default();
        (Span::new(start, self.place.start() + self.text.len()), Params::read(params).moved_by(start))
    }
}

/// Progress tokens are strings or numbers; what else stands in their place is left alone.
pub(super) fn is_token(raw: &str) -> bool {
    raw.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit())
}
