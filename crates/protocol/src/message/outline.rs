//! Reads a text once and finds where the members are that a proxy needs; then decides what kind of message it is.

use std::borrow::Cow;
use std::collections::HashSet;
use std::marker::PhantomData;

use bytes::Bytes;
use bytestring::ByteString;

use super::error::readable;
use super::{Message, MethodName, Notification, ParseError, ParseErrorKind, Request, Response};
use crate::json::{self, Fault, Scanner};
use crate::span::Span;
use crate::{Id, Limits, meta, method};

/// The keys that the proxy decides by in one kind of object. Types, because a list that is known when this is compiled is
/// looked through without a loop.
trait Vocabulary {
    const KEYS: &[&str];
}

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

/// The longest piece of a key that an error repeats, in characters.
const KEY_SHOWN_MAX: usize = 64;

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

/// Where the members inside `params` are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Params {
    pub(super) meta: Span,
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
        scanner.object(|scanner, key| {
            let value = match &*keys.admit(key, wrong) {
                "progressToken" => &mut self.meta_token,
                meta::SUBSCRIPTION => &mut self.subscription,
                _ => return scanner.value().map(drop),
            };
            *value = scanner.value()?;
            Ok(())
        })
    }

    /// The same outline, counted from the start of the text that the params are a part of.
    pub(super) fn moved_by(self, offset: usize) -> Self {
        Self {
            meta: self.meta.moved_by(offset),
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

/// How many keys that decide nothing are compared one by one; objects with more of them get a hash set.
const FEW: usize = 8;

/// The keys of one object so far: each may come once, in one spelling.
struct Keys<'a, V> {
    text: &'a str,
    /// Which of the vocabulary have come, a bit each.
    seen: u32,
    few: [&'a str; FEW],
    count: usize,
    many: Option<HashSet<Cow<'a, str>>>,
    vocabulary: PhantomData<V>,
}

impl<'a, V: Vocabulary> Keys<'a, V> {
    fn new(text: &'a str) -> Self {
        Self { text, seen: 0, few: [""; FEW], count: 0, many: None, vocabulary: PhantomData }
    }

    /// The decoded key; notes in `wrong` if it must not be there.
    #[inline]
    fn admit(&mut self, key: Span, wrong: &mut Option<ParseErrorKind>) -> Cow<'a, str> {
        let place = key;
        let Some(key) = json::key_text(self.text, place) else {
            return escaped(place.of(self.text), wrong);
        };
        match V::KEYS.iter().position(|known| *known == key) {
            // PHP escapes every slash, which is why that one spelling is let through.
            Some(_) if matches!(key, Cow::Owned(_)) && has_other_escapes(place.of(self.text)) => {
                escaped(place.of(self.text), wrong);
            }
            Some(number) => {
                let before = self.seen;
                self.seen |= 1 << number;
                if before == self.seen {
                    wrong.get_or_insert_with(|| ParseErrorKind::DuplicateKey { key: shown(&key) });
                }
            }
            None if is_case_variant(&key, V::KEYS) => {
                wrong.get_or_insert_with(|| ParseErrorKind::CaseVariantKey { key: shown(&key) });
            }
            None if !self.insert(key.clone()) => {
                wrong.get_or_insert_with(|| ParseErrorKind::DuplicateKey { key: shown(&key) });
            }
            None => {}
        }
        key
    }

    /// Whether the key is new. Linear for few keys, hashed for many, so that an object of a million keys is read in
    /// linear time too.
    fn insert(&mut self, key: Cow<'a, str>) -> bool {
        let seen = self.few.get(..self.count).unwrap_or_default();
        if seen.iter().any(|earlier| *earlier == key) {
            return false;
        }
        if let (Cow::Borrowed(key), Some(free)) = (&key, self.few.get_mut(self.count)) {
            *free = key;
            self.count += 1;
            return self.many.as_ref().is_none_or(|many| !many.contains(*key));
        }
        self.many.get_or_insert_default().insert(key)
    }
}

/// Whether a key is written with escapes that nobody needs.
fn has_other_escapes(raw: &str) -> bool {
    raw.replace("\\/", "/").contains('\\')
}

fn escaped(raw: &str, wrong: &mut Option<ParseErrorKind>) -> Cow<'static, str> {
    wrong.get_or_insert_with(|| ParseErrorKind::EscapedKey { key: shown(raw) });
    Cow::Borrowed("")
}

/// Whether a parser that ignores case would take `key` for a known one. The long s and the Kelvin sign fold to ASCII
/// letters, and Go's decoder follows them.
fn is_case_variant(key: &str, known: &[&str]) -> bool {
    if key.is_ascii() {
        let is_near = |known: &&&str| {
            let first = |key: &str| key.as_bytes().first().map(u8::to_ascii_lowercase);
            known.len() == key.len() && first(known) == first(key)
        };
        return known.iter().filter(is_near).any(|known| key.eq_ignore_ascii_case(known));
    }
    let fold = |c| match c {
        'ſ' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    let folded: String = key.chars().map(fold).collect();
    known.iter().any(|known| folded.eq_ignore_ascii_case(known))
}

fn shown(key: &str) -> Box<str> {
    key.chars().take(KEY_SHOWN_MAX).collect::<String>().into_boxed_str()
}
