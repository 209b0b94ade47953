//! Notifications.

use bytes::Bytes;
use bytestring::ByteString;

use super::MethodName;
use super::build::{Draft, ParamsChange, is_token};
use super::outline::Params;
use crate::span::{Edit, Span};
use crate::{Id, json, method};

/// A message that asks for no answer.
#[derive(Clone, Debug)]
pub struct Notification {
    text: ByteString,
    method: MethodName,
    params: Span,
    request_id: Span,
    token: Span,
    subscription: Span,
}

impl Notification {
    /// A notification of our own. `params_json` is an object.
    pub fn new(method: &str, params_json: Option<&str>) -> Self {
        let mut draft = Draft::default();
        let method = draft.method(method);
        let (params, inner) = draft.params(params_json);
        Self::found(draft.finish(), method, params, &inner)
    }

    /// Withdraws the request with this id. The reason is for people.
    pub fn cancelled(id: &Id, reason: Option<&str>) -> Self {
        let reason = reason.map(|reason| format!(r#","reason":{}"#, json::quote(reason))).unwrap_or_default();
        Self::new(method::CANCELLED, Some(&format!(r#"{{"requestId":{}{reason}}}"#, id.as_json())))
    }

    pub(super) fn found(text: ByteString, method: MethodName, params: Span, inner: &Params) -> Self {
        Self {
            text,
            method,
            params,
            request_id: inner.request_id,
            token: inner.progress_token,
            subscription: inner.subscription,
        }
    }

    /// The method, decoded.
    pub fn method(&self) -> &str {
        self.method.get(&self.text)
    }

    /// The raw params, an object; `null` counts as none.
    pub fn params(&self) -> Option<&str> {
        self.params.found_in(&self.text).filter(|params| params.starts_with('{'))
    }

    /// The text as its sender wrote it.
    pub fn text(&self) -> &Bytes {
        self.text.as_bytes()
    }

    /// The same as characters.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `params.requestId`: the request that a cancellation is about.
    pub fn request_id(&self) -> Option<Id> {
        Id::parse_json(self.request_id.found_in(&self.text)?)
    }

    /// The raw `params.progressToken`, a string or a number: the request that progress is about.
    pub fn progress_token(&self) -> Option<&str> {
        self.token.found_in(&self.text).filter(|raw| is_token(raw))
    }

    /// The raw id of the `subscriptions/listen` request that this was sent for.
    pub fn subscription_id(&self) -> Option<&str> {
        self.subscription.found_in(&self.text)
    }

    /// The same notification about another request. All other bytes stay, as in the other edits; without the member
    /// it stays as it is.
    pub fn with_request_id(&self, id: &Id) -> Self {
        self.edited(self.request_id, id.as_json())
    }

    /// The same notification with another progress token, given as JSON.
    pub fn with_progress_token(&self, raw: &str) -> Self {
        self.edited(self.token, raw)
    }

    /// The same notification for another subscription, given as JSON.
    pub fn with_subscription_id(&self, raw: &str) -> Self {
        self.edited(self.subscription, raw)
    }

    /// The same notification with other params, an object.
    pub fn with_params(&self, params_json: &str) -> Self {
        let change = ParamsChange::new(&self.method, self.params, params_json);
        let edited = self.edited(change.place, &change.text);
        let (params, inner) = change.outline();
        Self::found(edited.text, edited.method, params, &inner)
    }

    fn edited(&self, place: Span, text: &str) -> Self {
        if place.is_absent() {
            return self.clone();
        }
        let edit = Edit { place, text };
        Self {
            text: edit.apply(&self.text),
            method: self.method.after(&edit),
            params: self.params.after(&edit),
            request_id: self.request_id.after(&edit),
            token: self.token.after(&edit),
            subscription: self.subscription.after(&edit),
        }
    }
}
