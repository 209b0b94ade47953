//! One strict pass over JSON text (RFC 8259): where values begin and end, no allocation, no recursion.
//!
//! The text is `&str`, so UTF-8 is settled before. A lone surrogate escape (`"\ud83d"`) is within the grammar and
//! passes: JavaScript writes one when it cuts a string inside an emoji. Only decoding such a string fails.

use crate::span::Span;

/// The deepest nesting any limit can allow: the containers that are open fit into the bits of one `u128`.
const DEPTH_HARD_MAX: usize = 128;

/// How many words of a long string are looked at before the vectorised search, which pays only for long ones.
const NEAR_WORDS: usize = 5;
const WORD_BYTES: usize = 8;

/// Why a text is not read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The byte at this offset cannot be there.
    Syntax {
        /// From the start of the text, as [`Span`] counts.
        offset: u32,
    },
    /// Deeper than the limit.
    TooDeep,
}

/// A place in a JSON text and how deep it is.
#[derive(Clone, Debug)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    depth_max: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str, depth_max: usize) -> Self {
        let mut scanner = Self { text, at: 0, depth: 0, depth_max: depth_max.min(DEPTH_HARD_MAX) };
        scanner.blanks();
        scanner
    }

    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Demands that only blanks are left.
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        self.blanks();
        if self.at == self.text.len() { Ok(()) } else { Err(self.fault()) }
    }

    /// Passes one value of any kind.
    #[inline]
    pub(crate) fn value(&mut self) -> Result<Span, Fault> {
        let start = self.at;
        match self.peek() {
            Some(b'{' | b'[') => self.container()?,
            _ => self.scalar()?,
        }
        Ok(Span::new(start, self.at))
    }

    /// Passes an object or an array with all that is in it.
    fn container(&mut self) -> Result<(), Fault> {
        let mut open = Nesting::default();
        loop {
            let begins_another = match self.peek() {
                Some(b'{') => {
                    self.nest(&mut open, Container::Object)?;
                    self.next_key(true)?.is_some()
                }
                Some(b'[') => {
                    self.nest(&mut open, Container::Array)?;
                    self.next_element(true)?
                }
                _ => {
                    self.scalar()?;
                    self.follows(open)?
                }
            };
            if begins_another {
                continue;
            }
            open.pop();
            while !open.is_empty() && !self.follows(open)? {
                open.pop();
            }
            if open.is_empty() {
                return Ok(());
            }
        }
    }

    /// Passes an object; `member` is called behind each key and must pass its value.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Span) -> Result<(), Fault>,
    ) -> Result<Span, Fault> {
        let start = self.at;
        self.enter(b'{')?;
        let mut first = true;
        while let Some(key) = self.next_key(first)? {
            member(self, key)?;
            first = false;
        }
        self.depth -= 1;
        Ok(Span::new(start, self.at))
    }

    /// Steps into a container.
    pub(crate) fn enter(&mut self, opening: u8) -> Result<(), Fault> {
        if self.peek() != Some(opening) {
            return Err(self.fault());
        }
        if self.depth >= self.depth_max {
            return Err(Fault::TooDeep);
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// Inside an object: the next key with its quotes, or its end. Stands before the value then.
    pub(crate) fn next_key(&mut self, first: bool) -> Result<Option<Span>, Fault> {
        if !self.next_item(first, b'}')? {
            return Ok(None);
        }
        if self.peek() != Some(b'"') {
            return Err(self.fault());
        }
        let key = self.string()?;
        self.blanks();
        if self.peek() != Some(b':') {
            return Err(self.fault());
        }
        self.at += 1;
        self.blanks();
        Ok(Some(key))
    }

    /// Inside an array: whether there is another element. Stands before it then.
    pub(crate) fn next_element(&mut self, first: bool) -> Result<bool, Fault> {
        self.next_item(first, b']')
    }

    fn next_item(&mut self, first: bool, closing: u8) -> Result<bool, Fault> {
        self.blanks();
        match self.peek() {
            Some(byte) if byte == closing => {
                self.at += 1;
                return Ok(false);
            }
            Some(b',') if !first => {
                self.at += 1;
                self.blanks();
            }
            Some(_) if first => {}
            _ => return Err(self.fault()),
        }
        Ok(true)
    }

    /// Behind a value: whether the innermost open container goes on.
    fn follows(&mut self, open: Nesting) -> Result<bool, Fault> {
        match open.innermost() {
            Some(Container::Object) => Ok(self.next_key(false)?.is_some()),
            Some(Container::Array) => self.next_element(false),
            None => Ok(false),
        }
    }

    fn nest(&mut self, open: &mut Nesting, container: Container) -> Result<(), Fault> {
        if self.depth + open.depth >= self.depth_max {
            return Err(Fault::TooDeep);
        }
        open.push(container);
        self.at += 1;
        Ok(())
    }

    fn scalar(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => Err(self.fault()),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Fault> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(self.fault());
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), Fault> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(self.fault()) } else { Ok(()) }
    }

    fn string(&mut self) -> Result<Span, Fault> {
        let start = self.at;
        self.at += 1;
        self.at += plain_len(self.rest());
        if self.peek() != Some(b'"') {
            self.string_with_escapes()?;
        }
        self.at += 1;
        Ok(Span::new(start, self.at))
    }

    /// Passes what is left of a string before its last quote.
    #[inline(never)]
    fn string_with_escapes(&mut self) -> Result<(), Fault> {
        loop {
            match self.peek() {
                Some(b'"') => return Ok(()),
                Some(b'\\') => self.escape()?,
                _ => return Err(self.fault()),
            }
            self.at += plain_len(self.rest());
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let len = match self.rest() {
            [_, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [_, b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|byte| byte.is_ascii_hexdigit()) => 6,
            _ => return Err(self.fault()),
        };
        self.at += len;
        Ok(())
    }

    pub(crate) fn blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn fault(&self) -> Fault {
        Fault::Syntax { offset: u32::try_from(self.at).unwrap_or(u32::MAX) }
    }
}

/// How many bytes of a string stand for themselves before a quote, an escape, or a byte that cannot be there.
#[inline]
pub(super) fn plain_len(rest: &[u8]) -> usize {
    // Most strings are names, and end in their first word.
    match rest.first_chunk().copied().map(plain_in_word) {
        Some(WORD_BYTES) => plain_len_from(rest, WORD_BYTES),
        Some(len) => len,
        None => plain_len_from(rest, 0),
    }
}

/// The same of a string that is known to stand for itself up to `near`.
#[inline(never)]
fn plain_len_from(rest: &[u8], mut near: usize) -> usize {
    for _ in 0..NEAR_WORDS {
        let left = rest.get(near..).unwrap_or_default();
        let Some(word) = left.first_chunk().copied() else {
            return near + left.iter().position(|byte| !is_plain(*byte)).unwrap_or(left.len());
        };
        let len = plain_in_word(word);
        near += len;
        if len < WORD_BYTES {
            return near;
        }
    }
    let far = rest.get(near..).unwrap_or_default();
    let end = memchr::memchr2(b'"', b'\\', far).unwrap_or(far.len());
    let far = far.get(..end).unwrap_or_default();
    let len = if has_control(far) { far.iter().position(|byte| *byte < b' ').unwrap_or(end) } else { end };
    near + len
}

/// Whether there is a control character. In words, because a program that is optimised for its size has no loops that
/// were vectorised for it.
fn has_control(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks();
    let found = words.iter().fold(0, |found, word| found | less_than(u64::from_le_bytes(*word), b' '));
    found & HIGHS != 0 || rest.iter().any(|byte| *byte < b' ')
}

/// How many of eight bytes stand for themselves before one that does not.
fn plain_in_word(word: [u8; WORD_BYTES]) -> usize {
    not_plain(u64::from_le_bytes(word)).trailing_zeros() as usize / WORD_BYTES
}

const ONES: u64 = u64::from_le_bytes([1; WORD_BYTES]);
const HIGHS: u64 = ONES << 7;

/// The lowest bit that is set is in the first byte of eight, in little-endian order, that does not stand for itself. Those
/// above it mean nothing: a borrow may have come from below.
fn not_plain(word: u64) -> u64 {
    let is_byte = |byte: u8| less_than(word ^ (ONES * u64::from(byte)), 1);
    (less_than(word, b' ') | is_byte(b'"') | is_byte(b'\\')) & HIGHS
}

/// The high bits of bytes below the bound; of those above the lowest such byte, some say so wrongly.
fn less_than(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(ONES * u64::from(bound)) & !word
}

fn is_plain(byte: u8) -> bool {
    byte >= b' ' && byte != b'"' && byte != b'\\'
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Container {
    Object,
    Array,
}

/// The containers that are open, innermost last: a bit each.
#[derive(Clone, Copy, Debug, Default)]
struct Nesting {
    bits: u128,
    depth: usize,
}

impl Nesting {
    fn push(&mut self, container: Container) {
        self.bits = self.bits << 1 | u128::from(container == Container::Array);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.bits >>= 1;
        self.depth = self.depth.saturating_sub(1);
    }

    fn is_empty(self) -> bool {
        self.depth == 0
    }

    fn innermost(self) -> Option<Container> {
        match (self.depth, self.bits & 1) {
            (0, _) => None,
            (_, 0) => Some(Container::Object),
            _ => Some(Container::Array),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_is_plain_up_to_the_first_byte_that_is_not() {
        for byte in 0..=u8::MAX {
            for place in 0..80 {
                for behind in [b'a', b' ', 0, b'"', 0xff] {
                    let mut text = vec![b'!'; place];
                    text.extend([byte, behind, b'\\', b'z', b'"', 0x1f, b'a', b'a', b'a']);
                    let expected = text.iter().position(|byte| !is_plain(*byte));
                    assert_eq!(Some(plain_len(&text)), expected, "{byte} at {place}");
                }
            }
        }
        assert_eq!((plain_len(b""), plain_len(b"abc")), (0, 3));
    }
}
