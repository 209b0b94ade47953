//! Reads a text once and finds where the members are that a proxy needs; then decides what kind of message it is.

use std::borrow::Cow;

use bytes::Bytes;
use bytestring::ByteString;

use super::error::readable;
use super::keys::{Keys, Vocabulary};
use super::{Message, MethodName, Notification, ParseError, ParseErrorKind, Request, Response};
use crate::json::{self, Fault, Scanner};
use crate::span::Span;
use crate::{Id, Limits, meta, method};

struct Top;

impl Vocabulary for Top {
    const KEYS: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];
}

struct InParams;

impl Vocabulary for InParams {
    const KEYS: &[&str] = &["_meta", "name", "uri", "taskId", "arguments", "requestId", "progressToken"];
}

struct InMeta;

impl Vocabulary for InMeta {
    const KEYS: &[&str] = &[
        "progressToken",
        meta::SUBSCRIPTION,
        meta::VERSION,
        meta::CLIENT_INFO,
        meta::CAPABILITIES,
        meta::LOG_LEVEL,
    ];
}

/// Where the members of a message are.
#[derive(Debug, Default)]
pub(super) struct Outline {
    jsonrpc: Span,
    id: Span,
    method: Span,
    params: Span,
    result: Span,
    error: Span,
    inner: Params,
    result_subscription: Span,
    /// The first thing that is wrong though the text is JSON; reading goes on, to find the id.
    wrong: Option<ParseErrorKind>,
}

/// Which keys `_meta` has, so that few look for one that is not there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MetaKeys {
    /// A bit for each of the vocabulary.
    seen: u8,
    /// Whether there are any but those.
    others: bool,
}

impl MetaKeys {
    pub(super) fn may_have(self, key: &str) -> bool {
        match InMeta::KEYS.iter().position(|known| *known == key) {
            Some(number) => self.seen & (1 << number) != 0,
            None => self.others,
        }
    }
}

/// Where the members inside `params` are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Params {
    pub(super) meta: Span,
    pub(super) meta_keys: MetaKeys,
    name: Span,
    uri: Span,
    task_id: Span,
    pub(super) request_id: Span,
    /// `params.progressToken`, of a progress notification.
    pub(super) progress_token: Span,
    /// `params._meta.progressToken`, of a request.
    pub(super) meta_token: Span,
    pub(super) subscription: Span,
}

impl Params {
    /// The outline of params that a caller supplies; what cannot be read is not found.
    pub(super) fn read(params: &str) -> Self {
        let mut inner = Self::default();
        let mut unheeded = None;
        let mut scanner = Scanner::new(params, usize::MAX);
        if scanner.peek() == Some(b'{') && inner.scan(&mut scanner, &mut unheeded).is_err() {
            return Self::default();
        }
        inner
    }

    /// The member that names what this method works on.
    pub(super) fn name_for(&self, method: &str) -> Span {
        match method::name_member(method) {
            Some("name") => self.name,
            Some("uri") => self.uri,
            Some("taskId") => self.task_id,
            _ => Span::ABSENT,
        }
    }

    fn scan(&mut self, scanner: &mut Scanner<'_>, wrong: &mut Option<ParseErrorKind>) -> Result<Span, Fault> {
        let mut keys = Keys::<InParams>::new(scanner.text());
        scanner.object(|scanner, key| {
            let place = match &*keys.admit(key, wrong) {
                "_meta" if scanner.peek() == Some(b'{') => {
                    self.meta = self.scan_meta(scanner, wrong)?;
                    return Ok(());
                }
                "name" => &mut self.name,
                "uri" => &mut self.uri,
                "taskId" => &mut self.task_id,
                "requestId" => &mut self.request_id,
                "progressToken" => &mut self.progress_token,
                _ => return scanner.value().map(drop),
            };
            *place = scanner.value()?;
            Ok(())
        })
    }

    fn scan_meta(
        &mut self,
        scanner: &mut Scanner<'_>,
        wrong: &mut Option<ParseErrorKind>,
    ) -> Result<Span, Fault> {
        let mut keys = Keys::<InMeta>::new(scanner.text());
        let place = scanner.object(|scanner, key| {
            let value = match &*keys.admit(key, wrong) {
                "progressToken" => &mut self.meta_token,
                meta::SUBSCRIPTION => &mut self.subscription,
                _ => return scanner.value().map(drop),
            };
            *value = scanner.value()?;
            Ok(())
        })?;
        self.meta_keys = MetaKeys { seen: keys.seen, others: keys.has_others() };
        Ok(place)
    }

    /// The same outline, counted from the start of the text that the params are a part of.
    pub(super) fn moved_by(self, offset: usize) -> Self {
        Self {
            meta: self.meta.moved_by(offset),
            meta_keys: self.meta_keys,
            name: self.name.moved_by(offset),
            uri: self.uri.moved_by(offset),
            task_id: self.task_id.moved_by(offset),
            request_id: self.request_id.moved_by(offset),
            progress_token: self.progress_token.moved_by(offset),
            meta_token: self.meta_token.moved_by(offset),
            subscription: self.subscription.moved_by(offset),
        }
    }
}

impl Outline {
    pub(super) fn parse(text: Bytes, limits: &Limits) -> Result<Message, ParseError> {
        let mut outline = Self::default();
        let text = readable(text, limits)?;
        let scanned = outline.scan(&text, limits);
        let id = Some(outline.id.of(&text)).filter(|raw| raw.len() <= limits.id_bytes_max);
        let id = id.and_then(Id::parse_json);
        if let Err(kind) = scanned {
            // Of a repeated id neither can be trusted to be the one that the sender waits for.
            let repeated = matches!(&kind, ParseErrorKind::DuplicateKey { key } if &**key == "id");
            return Err(ParseError { kind, id: id.filter(|_| !repeated) });
        }
        let id_is_known = id.clone();
        outline.classify(text, id).map_err(|kind| ParseError { kind, id: id_is_known })
    }

    fn scan(&mut self, text: &str, limits: &Limits) -> Result<(), ParseErrorKind> {
        let mut scanner = Scanner::new(text, limits.depth_max);
        let kind = |fault| ParseErrorKind::of(fault, limits);
        match scanner.peek() {
            Some(b'{') => self.scan_members(&mut scanner).map_err(kind)?,
            Some(b'[') => return Err(ParseErrorKind::Batch),
            _ => {
                scanner.value().and_then(|_| scanner.end()).map_err(kind)?;
                return Err(ParseErrorKind::NotObject);
            }
        }
        scanner.end().map_err(kind)?;
        match self.wrong.take() {
            Some(wrong) => Err(wrong),
            None if self.jsonrpc.of(text) != "\"2.0\"" => Err(ParseErrorKind::BadJsonRpc),
            None => Ok(()),
        }
    }

    fn scan_members(&mut self, scanner: &mut Scanner<'_>) -> Result<(), Fault> {
        let mut keys = Keys::<Top>::new(scanner.text());
        scanner.object(|scanner, key| {
            let opens_object = scanner.peek() == Some(b'{');
            let place = match &*keys.admit(key, &mut self.wrong) {
                "params" if opens_object => {
                    self.params = self.inner.scan(scanner, &mut self.wrong)?;
                    return Ok(());
                }
                "result" if opens_object => {
                    self.result = scan_result(scanner, &mut self.result_subscription)?;
                    return Ok(());
                }
                "jsonrpc" => &mut self.jsonrpc,
                "id" => &mut self.id,
                "method" => &mut self.method,
                "params" => &mut self.params,
                "result" => &mut self.result,
                "error" => &mut self.error,
                _ => return scanner.value().map(drop),
            };
            *place = scanner.value()?;
            Ok(())
        })?;
        Ok(())
    }

    fn classify(self, text: ByteString, id: Option<Id>) -> Result<Message, ParseErrorKind> {
        let kinds = [self.method, self.result, self.error].iter().filter(|span| !span.is_absent()).count();
        match kinds {
            0 => Err(ParseErrorKind::NoMethod),
            1 if self.method.is_absent() => self.into_response(text, id),
            1 => self.into_call(text, id),
            _ => Err(ParseErrorKind::Ambiguous),
        }
    }

    fn into_call(self, text: ByteString, id: Option<Id>) -> Result<Message, ParseErrorKind> {
        let raw = self.method.of(&text);
        let decoded = match json::string(raw).ok_or(ParseErrorKind::BadMethod)? {
            Cow::Borrowed(name) => method::usual(name).map(Cow::Borrowed),
            Cow::Owned(decoded) => Some(Cow::Owned(decoded)),
        };
        if !matches!(
            self.params.found_in(&text).map(|raw| raw.as_bytes().first()),
            None | Some(Some(b'{' | b'n'))
        ) {
            return Err(ParseErrorKind::BadParams);
        }
        let method = MethodName { place: self.method, decoded };
        if self.id.is_absent() {
            return Ok(Message::Notification(Notification::found(text, method, self.params, &self.inner)));
        }
        let id = id.ok_or(ParseErrorKind::BadId)?;
        Ok(Message::Request(Request::found(text, (id, self.id), method, self.params, &self.inner)))
    }

    fn into_response(self, text: ByteString, id: Option<Id>) -> Result<Message, ParseErrorKind> {
        let raw = |span: Span| span.of(&text);
        // Whoever could not read a request cannot know its id, and says so with an error for none.
        let may_lack_id = !self.error.is_absent() && matches!(raw(self.id), "" | "null");
        if id.is_none() && !may_lack_id {
            return Err(ParseErrorKind::BadId);
        }
        if !self.error.is_absent() && !raw(self.error).starts_with('{') {
            return Err(ParseErrorKind::BadError);
        }
        let outcome = if self.error.is_absent() { Ok(self.result) } else { Err(self.error) };
        Ok(Message::Response(Response::found(text, (id, self.id), outcome, self.result_subscription)))
    }
}

/// Passes a result, and finds the subscription it belongs to.
pub(super) fn scan_result(scanner: &mut Scanner<'_>, subscription: &mut Span) -> Result<Span, Fault> {
    let text = scanner.text();
    scanner.object(|scanner, key| {
        if key.of(text) != "\"_meta\"" || scanner.peek() != Some(b'{') {
            return scanner.value().map(drop);
        }
        scanner.object(|scanner, key| {
            let value = scanner.value()?;
            if json::key_text(text, key).is_some_and(|key| key == meta::SUBSCRIPTION) {
                *subscription = value;
            }
            Ok(())
        })?;
        Ok(())
    })
}
