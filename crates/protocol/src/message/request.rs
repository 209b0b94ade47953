//! Requests.

use std::borrow::Cow;

use bytes::Bytes;
use bytestring::ByteString;

use super::MethodName;
use super::build::{Draft, ParamsChange, is_token};
use super::outline::{MetaKeys, Params};
use crate::span::{self, Edit, Span};
use crate::{Id, json};

/// A message that asks for an answer.
#[derive(Clone, Debug)]
pub struct Request {
    text: ByteString,
    id: Id,
    id_place: Span,
    method: MethodName,
    params: Span,
    meta: Span,
    meta_keys: MetaKeys,
    token: Span,
    name: Span,
}

impl Request {
    /// A request of our own. `params_json` is an object.
    pub fn new(id: &Id, method: &str, params_json: Option<&str>) -> Self {
        let mut draft = Draft::default();
        let id_place = draft.member("id", id.as_json());
        let method = draft.method(method);
        let (params, inner) = draft.params(params_json);
        Self::found(draft.finish(), (id.clone(), id_place), method, params, &inner)
    }

    pub(super) fn found(
        text: ByteString,
        (id, id_place): (Id, Span),
        method: MethodName,
        params: Span,
        inner: &Params,
    ) -> Self {
        let name = inner.name_for(method.get(&text));
        let Params { meta, meta_keys, meta_token: token, .. } = *inner;
        Self { text, id, id_place, method, params, meta, meta_keys, token, name }
    }

    /// The id.
    pub fn id(&self) -> &Id {
        &self.id
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

    /// The raw progress token, a string or a number, that the sender wants progress to be told with.
    pub fn progress_token(&self) -> Option<&str> {
        self.token.found_in(&self.text).filter(|raw| is_token(raw))
    }

    /// The raw value of a member of `params._meta`.
    pub fn meta(&self, key: &str) -> Option<&str> {
        let meta = self.meta.found_in(&self.text).filter(|_| self.meta_keys.may_have(key))?;
        json::get(meta, &[key])
    }

    /// What the method works on: the tool, prompt, resource or task. None for other methods, or if it is no string.
    pub fn name(&self) -> Option<Cow<'_, str>> {
        json::string(self.name.found_in(&self.text)?)
    }

    /// The same request under another id and, where it has a progress token, another token. All other bytes stay.
    pub fn with_ids(&self, id: &Id, progress_token: Option<u64>) -> Self {
        let renamed = Edit { place: self.id_place, text: id.as_json() };
        let edited = match progress_token.filter(|_| self.progress_token().is_some()) {
            Some(token) => {
                let token = Id::from_u64(token);
                let told = Edit { place: self.token, text: token.as_json() };
                self.edited(if told.place.start() < renamed.place.start() {
                    [told, renamed]
                } else {
                    [renamed, told]
                })
            }
            None => self.edited([renamed]),
        };
        Self { id: id.clone(), ..edited }
    }

    /// The same request with other params, an object.
    pub fn with_params(&self, params_json: &str) -> Self {
        let change = ParamsChange::new(&self.method, self.params, params_json);
        let edited = self.edited([Edit { place: change.place, text: &change.text }]);
        let (params, inner) = change.outline();
        Self::found(edited.text, (edited.id, edited.id_place), edited.method, params, &inner)
    }

    /// The same request with these edits, the one in front first.
    fn edited<const COUNT: usize>(&self, edits: [Edit<'_>; COUNT]) -> Self {
        // From behind, so that those still to come are where they were.
        let after = |place: Span| edits.iter().rev().fold(place, |place, edit| place.after(edit));
        Self {
            text: span::apply(&edits, &self.text),
            id: self.id.clone(),
            id_place: after(self.id_place),
            method: MethodName { place: after(self.method.place), decoded: self.method.decoded.clone() },
            params: after(self.params),
            meta: after(self.meta),
            meta_keys: self.meta_keys,
            token: after(self.token),
            name: after(self.name),
        }
    }
}
