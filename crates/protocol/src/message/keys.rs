//! The keys of an object as they come: what a proxy decides by must be there once, and in one spelling.

use std::borrow::Cow;
use std::collections::HashSet;
use std::marker::PhantomData;

use super::ParseErrorKind;
use crate::json;
use crate::span::Span;

/// The keys that the proxy decides by in one kind of object. Types, because a list that is known when this is compiled is
/// looked through without a loop. Eight at most: they are counted in the bits of a byte.
pub(super) trait Vocabulary {
    const KEYS: &[&str];
}

/// The longest piece of a key that an error repeats, in characters.
const KEY_SHOWN_MAX: usize = 64;

/// How many keys that decide nothing are compared one by one; objects with more of them get a hash set.
const FEW: usize = 8;

/// The keys of one object so far: each may come once, in one spelling.
pub(super) struct Keys<'a, V> {
    text: &'a str,
    /// Which of the vocabulary have come, a bit each.
    pub(super) seen: u8,
    few: [&'a str; FEW],
    count: usize,
    many: Option<HashSet<Cow<'a, str>>>,
    vocabulary: PhantomData<V>,
}

impl<'a, V: Vocabulary> Keys<'a, V> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, seen: 0, few: [""; FEW], count: 0, many: None, vocabulary: PhantomData }
    }

    /// The decoded key; notes in `wrong` if it must not be there.
    #[inline]
    pub(super) fn admit(&mut self, key: Span, wrong: &mut Option<ParseErrorKind>) -> Cow<'a, str> {
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

    /// Whether a key has come that is not of the vocabulary.
    pub(super) fn has_others(&self) -> bool {
        self.count > 0 || self.many.is_some()
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
