//! The keys of an object as they come: what a proxy decides by must be there once, and in one spelling.

use std::borrow::Cow;
use std::collections::HashSet;
use std::marker::PhantomData;

use super::ParseErrorKind;
use crate::json::{self, Fault, Key, Scanner};
use crate::span::Span;

/// The keys that the proxy decides by in one kind of object. Eight at most: they are counted in the bits of a byte.
pub(super) trait Vocabulary: Copy + 'static {
    const KEYS: &[Key<Self>];

    /// The bits of all: a key that has none of them is neither one of these nor one in another case.
    const SKETCH: u64 = {
        let (mut sketch, mut rest) = (0, Self::KEYS);
        while let [key, behind @ ..] = rest {
            sketch |= sketched(key.text);
            rest = behind;
        }
        sketch
    };
}

/// A bit that tells of a key's first and last letter, in whatever case; all of them where one may fold to an ASCII letter.
const fn sketched(key: &str) -> u64 {
    match key.as_bytes() {
        [first @ ..=0x7f] => 1 << (*first & 0x1f),
        [first @ ..=0x7f, .., last @ ..=0x7f] => 1 << (((*first & 0x1f) * 2 + (*last & 0x1f) * 3) & 0x3f),
        _ => u64::MAX,
    }
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
    /// Plain ones, with their quotes.
    few: [Span; FEW],
    count: usize,
    many: Option<HashSet<Cow<'a, str>>>,
    vocabulary: PhantomData<V>,
}

impl<'a, V: Vocabulary> Keys<'a, V> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, seen: 0, few: [Span::ABSENT; FEW], count: 0, many: None, vocabulary: PhantomData }
    }

    /// Passes the next key; which of the vocabulary it is, if any. Notes in `wrong` if it must not be there.
    #[inline]
    pub(super) fn pass(
        &mut self,
        scanner: &mut Scanner<'a>,
        wrong: &mut Option<ParseErrorKind>,
    ) -> Result<Option<V>, Fault> {
        if let Some((number, key)) = scanner.usual_key(V::KEYS) {
            self.note(number, key.text, wrong);
            return Ok(Some(key.meaning));
        }
        let escaped_before = scanner.escaped_count;
        let key = scanner.key()?;
        Ok(self.admit(key, scanner.escaped_count == escaped_before, wrong))
    }

    /// Notes that a key of the vocabulary has come.
    #[inline]
    fn note(&mut self, number: usize, key: &str, wrong: &mut Option<ParseErrorKind>) {
        let before = self.seen;
        self.seen |= 1 << number;
        if before == self.seen {
            repeated(key, wrong);
        }
    }

    /// Whether a key that may be written in any way is one of the vocabulary.
    #[inline]
    fn admit(&mut self, place: Span, is_plain: bool, wrong: &mut Option<ParseErrorKind>) -> Option<V> {
        let key = self.text.get(place.start() + 1..place.end().saturating_sub(1)).unwrap_or_default();
        if is_plain && sketched(key) & V::SKETCH == 0 {
            self.admit_another(place, Cow::Borrowed(key), wrong);
            return None;
        }
        self.admit_doubtful(place, wrong)
    }

    /// The same of a key that is not plainly another.
    #[inline(never)]
    fn admit_doubtful(&mut self, place: Span, wrong: &mut Option<ParseErrorKind>) -> Option<V> {
        let raw = place.of(self.text);
        let Some(key) = json::key_text(self.text, place) else {
            escaped(raw, wrong);
            return None;
        };
        if let Some((number, known)) = V::KEYS.iter().enumerate().find(|(_, known)| known.text == key) {
            // PHP escapes every slash, which is why that one spelling is let through.
            if matches!(key, Cow::Owned(_)) && has_other_escapes(raw) {
                escaped(raw, wrong);
            } else {
                self.note(number, &key, wrong);
            }
            return Some(known.meaning);
        }
        if is_case_variant::<V>(&key) {
            wrong.get_or_insert_with(|| ParseErrorKind::CaseVariantKey { key: shown(&key) });
        } else {
            self.admit_another(place, key, wrong);
        }
        None
    }

    /// Admits a key that is not of the vocabulary.
    fn admit_another(&mut self, place: Span, key: Cow<'a, str>, wrong: &mut Option<ParseErrorKind>) {
        if self.has_another(&key) {
            return repeated(&key, wrong);
        }
        match (&key, self.few.get_mut(self.count)) {
            (Cow::Borrowed(_), Some(free)) => {
                *free = place;
                self.count += 1;
            }
            _ => {
                self.many.get_or_insert_default().insert(key);
            }
        }
    }

    /// Linear for few keys, hashed for many, so that an object of a million keys is read in linear time too.
    fn has_another(&self, key: &str) -> bool {
        let mut alike = self.few.iter().take(self.count).filter(|earlier| earlier.len() == key.len() + 2);
        alike.any(|earlier| earlier.within(1, 1, self.text) == key.as_bytes())
            || self.many.as_ref().is_some_and(|many| many.contains(key))
    }

    /// Whether a key has come that is not of the vocabulary.
    pub(super) fn has_others(&self) -> bool {
        self.count > 0 || self.many.is_some()
    }
}

#[cold]
fn repeated(key: &str, wrong: &mut Option<ParseErrorKind>) {
    wrong.get_or_insert_with(|| ParseErrorKind::DuplicateKey { key: shown(key) });
}

/// Whether a key is written with escapes that nobody needs.
fn has_other_escapes(raw: &str) -> bool {
    raw.replace("\\/", "/").contains('\\')
}

#[cold]
fn escaped(raw: &str, wrong: &mut Option<ParseErrorKind>) {
    wrong.get_or_insert_with(|| ParseErrorKind::EscapedKey { key: shown(raw) });
}

/// Whether a parser that ignores case would take `key` for a known one. The long s and the Kelvin sign fold to ASCII
/// letters, and Go's decoder follows them.
fn is_case_variant<V: Vocabulary>(key: &str) -> bool {
    let mut known = V::KEYS.iter().map(|known| known.text);
    if key.is_ascii() {
        return known.any(|known| key.eq_ignore_ascii_case(known));
    }
    let fold = |c| match c {
        'ſ' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    let folded: String = key.chars().map(fold).collect();
    known.any(|known| folded.eq_ignore_ascii_case(known))
}

fn shown(key: &str) -> Box<str> {
    key.chars().take(KEY_SHOWN_MAX).collect::<String>().into_boxed_str()
}
