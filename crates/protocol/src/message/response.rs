//! Responses.

use bytes::Bytes;
use bytestring::ByteString;

use super::ErrorObject;
use super::build::Draft;
use super::outline::scan_result;
use crate::Id;
use crate::json::{self, Scanner};
use crate::span::{Edit, Span};

/// A message that answers.
#[derive(Clone, Debug)]
pub struct Response {
    text: ByteString,
    id: Option<Id>,
    id_place: Span,
    /// Where the result is, or the error.
    outcome: Result<Span, Span>,
    subscription: Span,
}

impl Response {
    /// An answer of our own; the result is raw JSON.
    pub fn result(id: &Id, result_json: &str) -> Self {
        let mut draft = Draft::default();
        let id_place = draft.member("id", id.as_json());
        let result_json = json::trim(result_json);
        let outcome = draft.member("result", result_json);
        let subscription = subscription_in(result_json).moved_by(outcome.start());
        Self::found(draft.finish(), (Some(id.clone()), id_place), Ok(outcome), subscription)
    }

    /// An error of our own; without an id where the request's could not be read.
    pub fn error(id: Option<&Id>, error: &ErrorObject) -> Self {
        let mut draft = Draft::default();
        let id_place = draft.member("id", id.map_or("null", Id::as_json));
        let outcome = draft.member("error", &error.to_json());
        Self::found(draft.finish(), (id.cloned(), id_place), Err(outcome), Span::ABSENT)
    }

    pub(super) fn found(
        text: ByteString,
        (id, id_place): (Option<Id>, Span),
        outcome: Result<Span, Span>,
        subscription: Span,
    ) -> Self {
        Self { text, id, id_place, outcome, subscription }
    }

    /// The id of the request it answers; none when an error answers what could not be read.
    pub fn id(&self) -> Option<&Id> {
        self.id.as_ref()
    }

    /// Whether it says that the request failed, other than by what a tool says of itself in its result.
    pub fn is_error(&self) -> bool {
        self.outcome.is_err()
    }

    /// Whether a tool says in its result that it failed.
    pub fn is_tool_error(&self) -> bool {
        self.result_json().is_some_and(|result| json::get(result, &["isError"]) == Some("true"))
    }

    /// The raw result.
    pub fn result_json(&self) -> Option<&str> {
        self.outcome.ok()?.found_in(&self.text)
    }

    /// The raw error.
    pub fn error_json(&self) -> Option<&str> {
        self.outcome.err()?.found_in(&self.text)
    }

    /// The error's code, where it is an integer.
    pub fn error_code(&self) -> Option<i64> {
        json::get(self.error_json()?, &["code"])?.parse().ok()
    }

    /// The text as its sender wrote it.
    pub fn text(&self) -> &Bytes {
        self.text.as_bytes()
    }

    /// The same as characters.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The raw id of the `subscriptions/listen` request that this result ends.
    pub fn subscription_id(&self) -> Option<&str> {
        self.subscription.found_in(&self.text)
    }

    /// The same response to another request. All other bytes stay, as in the other edits.
    pub fn with_id(&self, id: &Id) -> Self {
        let edited = if self.id_place.is_absent() {
            // Behind the opening brace: the only place that is certain in a message without an id.
            let brace = self.text.find('{').map_or(0, |at| at + 1);
            let key = r#""id":"#;
            let edited = self.edited(Span::new(brace, brace), &format!("{key}{},", id.as_json()));
            let start = brace + key.len();
            Self { id_place: Span::new(start, start + id.as_json().len()), ..edited }
        } else {
            self.edited(self.id_place, id.as_json())
        };
        Self { id: Some(id.clone()), ..edited }
    }

    /// The same response for another subscription, given as JSON; as it is where it names none.
    pub fn with_subscription_id(&self, raw: &str) -> Self {
        if self.subscription.is_absent() { self.clone() } else { self.edited(self.subscription, raw) }
    }

    /// The same response with another result; an error stays as it is.
    pub fn with_result(&self, result_json: &str) -> Self {
        let Ok(place) = self.outcome else { return self.clone() };
        let result_json = json::trim(result_json);
        let subscription = subscription_in(result_json).moved_by(place.start());
        Self { subscription, ..self.edited(place, result_json) }
    }

    /// Where a member of the result has its value; none where it is missing, or there more than once.
    pub(crate) fn place_in_result(&self, name: &str) -> Option<Span> {
        let result = self.outcome.ok()?;
        json::place(self.result_json()?, name).map(|place| place.moved_by(result.start()))
    }

    pub(crate) fn edited(&self, place: Span, text: &str) -> Self {
        let edit = Edit { place, text };
        Self {
            text: edit.apply(&self.text),
            id: self.id.clone(),
            id_place: self.id_place.after(&edit),
            outcome: self.outcome.map(|span| span.after(&edit)).map_err(|span| span.after(&edit)),
            subscription: self.subscription.after(&edit),
        }
    }
}

fn subscription_in(result_json: &str) -> Span {
    let mut subscription = Span::ABSENT;
    let mut scanner = Scanner::new(result_json, usize::MAX);
    match scan_result(&mut scanner, &mut subscription) {
        Ok(_) => subscription,
        Err(_) => Span::ABSENT,
    }
}
