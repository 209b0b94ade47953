//! Reads a text once and finds where the members are that a proxy needs; then decides what kind of message it is.

use std::borrow::Cow;

use bytes::Bytes;

use super::error::readable;
use super::keys::{Keys, Vocabulary};
use super::{Message, MethodName, Notification, ParseError, ParseErrorKind, Request, Response};
use crate::json::{self, Fault, Key, Scanner};
use crate::span::Span;
use crate::{Id, Limits, meta, method};

#[derive(Clone, Copy)]
enum Top {
    JsonRpc,
    Id,
    Method,
    Params,
    Result,
    Error,
}

impl Vocabulary for Top {
    const KEYS: &[Key<Self>] = &[
        Key::new("jsonrpc", Self::JsonRpc),
        Key::new("id", Self::Id),
        Key::new("method", Self::Method),
        Key::new("params", Self::Params),
        Key::new("result", Self::Result),
        Key::new("error", Self::Error),
    ];
}

#[derive(Clone, Copy)]
enum InParams {
    Meta,
    Name,
    Uri,
    TaskId,
    Arguments,
    RequestId,
    ProgressToken,
}

impl Vocabulary for InParams {
    const KEYS: &[Key<Self>] = &[
        Key::new("_meta", Self::Meta),
        Key::new("name", Self::Name),
        Key::new("uri", Self::Uri),
        Key::new("taskId", Self::TaskId),
        Key::new("arguments", Self::Arguments),
        Key::new("requestId", Self::RequestId),
        Key::new("progressToken", Self::ProgressToken),
    ];
}

#[derive(Clone, Copy)]
enum InMeta {
    ProgressToken,
    Subscription,
    /// What is only counted here.
    Another,
}

impl Vocabulary for InMeta {
    const KEYS: &[Key<Self>] = &[
        Key::new("progressToken", Self::ProgressToken),
        Key::new(meta::SUBSCRIPTION, Self::Subscription),
        Key::new(meta::VERSION, Self::Another),
        Key::new(meta::CLIENT_INFO, Self::Another),
        Key::new(meta::CAPABILITIES, Self::Another),
        Key::new(meta::LOG_LEVEL, Self::Another),
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
        match InMeta::KEYS.iter().position(|known| known.text == key) {
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
        scanner.object(|scanner| {
            let place = match keys.pass(scanner, wrong)? {
                Some(InParams::Meta) if scanner.peek() == Some(b'{') => {
                    self.meta = self.scan_meta(scanner, wrong)?;
                    return Ok(());
                }
                Some(InParams::Name) => &mut self.name,
                Some(InParams::Uri) => &mut self.uri,
                Some(InParams::TaskId) => &mut self.task_id,
                Some(InParams::RequestId) => &mut self.request_id,
                Some(InParams::ProgressToken) => &mut self.progress_token,
                Some(InParams::Meta | InParams::Arguments) | None => &mut Span::default(),
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
        let place = scanner.object(|scanner| {
            let value = match keys.pass(scanner, wrong)? {
                Some(InMeta::ProgressToken) => &mut self.meta_token,
                Some(InMeta::Subscription) => &mut self.subscription,
                Some(InMeta::Another) | None => &mut Span::default(),
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

/// What kind of message it is: one that names a method, or the place of a result or an error.
enum Kind {
    Call(MethodName),
    Response(Result<Span, Span>),
}

impl Outline {
    pub(super) fn parse(text: Bytes, limits: &Limits) -> Result<Message, ParseError> {
        let mut outline = Self::default();
        let text = readable(text, limits)?;
        let scanned = outline.scan(&text, limits);
        let id = Some(outline.id.of(&text)).filter(|raw| raw.len() <= limits.id_bytes_max);
        let id = id.and_then(Id::of_value);
        if let Err(kind) = scanned {
            // Of a repeated id neither can be trusted to be the one that the sender waits for.
            let repeated = matches!(&kind, ParseErrorKind::DuplicateKey { key } if &**key == "id");
            return Err(ParseError { kind, id: id.filter(|_| !repeated) });
        }
        match (outline.kind(&text, id.as_ref()), id) {
            (Err(kind), id) => Err(ParseError { kind, id }),
            (Ok(Kind::Response(outcome)), id) => {
                let id = (id, outline.id);
                Ok(Message::Response(Response::found(text, id, outcome, outline.result_subscription)))
            }
            (Ok(Kind::Call(method)), Some(id)) => {
                let id = (id, outline.id);
                Ok(Message::Request(Request::found(text, id, method, outline.params, &outline.inner)))
            }
            (Ok(Kind::Call(method)), None) => {
                Ok(Message::Notification(Notification::found(text, method, outline.params, &outline.inner)))
            }
        }
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
        scanner.object(|scanner| {
            let key = keys.pass(scanner, &mut self.wrong)?;
            let opens_object = scanner.peek() == Some(b'{');
            let place = match key {
                Some(Top::Params) if opens_object => {
                    self.params = self.inner.scan(scanner, &mut self.wrong)?;
                    return Ok(());
                }
                Some(Top::Result) if opens_object => {
                    self.result = scan_result(scanner, &mut self.result_subscription)?;
                    return Ok(());
                }
                Some(Top::JsonRpc) => &mut self.jsonrpc,
                Some(Top::Id) => &mut self.id,
                Some(Top::Method) => &mut self.method,
                Some(Top::Params) => &mut self.params,
                Some(Top::Result) => &mut self.result,
                Some(Top::Error) => &mut self.error,
                None => &mut Span::default(),
            };
            *place = scanner.value()?;
            Ok(())
        })?;
        Ok(())
    }

    fn kind(&self, text: &str, id: Option<&Id>) -> Result<Kind, ParseErrorKind> {
        let kinds = [self.method, self.result, self.error].iter().filter(|span| !span.is_absent()).count();
        match kinds {
            0 => Err(ParseErrorKind::NoMethod),
            1 if self.method.is_absent() => self.outcome(text, id).map(Kind::Response),
            1 => self.called(text, id).map(Kind::Call),
            _ => Err(ParseErrorKind::Ambiguous),
        }
    }

    fn called(&self, text: &str, id: Option<&Id>) -> Result<MethodName, ParseErrorKind> {
        let is_string = self.method.within(0, 0, text).starts_with(b"\"");
        let name = Some(self.method).filter(|_| is_string).and_then(|place| json::key_text(text, place));
        let decoded = match name.ok_or(ParseErrorKind::BadMethod)? {
            Cow::Borrowed(name) => method::usual(name).map(Cow::Borrowed),
            Cow::Owned(decoded) => Some(Cow::Owned(decoded)),
        };
        if !matches!(self.params.within(0, 0, text).first(), None | Some(b'{' | b'n')) {
            return Err(ParseErrorKind::BadParams);
        }
        if id.is_none() && !self.id.is_absent() {
            return Err(ParseErrorKind::BadId);
        }
        Ok(MethodName { place: self.method, decoded })
    }

    fn outcome(&self, text: &str, id: Option<&Id>) -> Result<Result<Span, Span>, ParseErrorKind> {
        // Whoever could not read a request cannot know its id, and says so with an error for none.
        let may_lack_id = !self.error.is_absent() && matches!(self.id.of(text), "" | "null");
        if id.is_none() && !may_lack_id {
            return Err(ParseErrorKind::BadId);
        }
        if self.error.is_absent() {
            return Ok(Ok(self.result));
        }
        if !self.error.of(text).starts_with('{') {
            return Err(ParseErrorKind::BadError);
        }
        Ok(Err(self.error))
    }
}

/// Passes a result, and finds the subscription it belongs to.
pub(super) fn scan_result(scanner: &mut Scanner<'_>, subscription: &mut Span) -> Result<Span, Fault> {
    let text = scanner.text();
    scanner.object(|scanner| {
        let is_meta = scanner.key()?.within(1, 1, text) == b"_meta";
        if !is_meta || scanner.peek() != Some(b'{') {
            return scanner.value().map(drop);
        }
        scanner.object(|scanner| {
            let key = scanner.key()?;
            let value = scanner.value()?;
            if json::key_text(text, key).is_some_and(|key| key == meta::SUBSCRIPTION) {
                *subscription = value;
            }
            Ok(())
        })?;
        Ok(())
    })
}
