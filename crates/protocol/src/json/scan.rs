//! One strict pass over JSON text (RFC 8259): where values begin and end, no allocation, no recursion.
//!
//! The text is `&str`, so UTF-8 is settled before. A lone surrogate escape (`"\ud83d"`) is within the grammar and
//! passes: JavaScript writes one when it cuts a string inside an emoji. Only decoding such a string fails.

use super::Key;
use crate::span::Span;

/// The deepest nesting any limit can allow: the containers that are open fit into the bits of one `u128`.
const DEPTH_HARD_MAX: usize = 128;

const WORD_BYTES: usize = 8;

/// How far a string is read word by word before the vectorised search, which pays only for long ones.
const NEAR_BYTES: usize = 40;

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
    /// How many of the strings so far are written with escapes.
    pub(crate) escaped_count: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str, depth_max: usize) -> Self {
        let mut scanner =
            Self { text, at: 0, depth: 0, depth_max: depth_max.min(DEPTH_HARD_MAX), escaped_count: 0 };
        scanner.blanks();
        scanner
    }

    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    #[inline]
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
        let mut goes_on = self.nest(&mut open)?;
        loop {
            while !goes_on {
                open.pop();
                if open.is_empty() {
                    return Ok(());
                }
                goes_on = self.next_item(false, open.closing)?;
            }
            if open.closing == b'}' {
                self.key()?;
            }
            goes_on = if let Some(b'{' | b'[') = self.peek() {
                self.nest(&mut open)?
            } else {
                self.scalar()?;
                self.next_item(false, open.closing)?
            };
        }
    }

    /// Steps into one more container; whether there is anything in it.
    fn nest(&mut self, open: &mut Nesting) -> Result<bool, Fault> {
        if self.depth + open.depth >= self.depth_max {
            return Err(Fault::TooDeep);
        }
        open.push(if self.peek() == Some(b'{') { b'}' } else { b']' });
        self.at += 1;
        self.next_item(true, open.closing)
    }

    /// Passes an object; `member` is called before each key and must pass it and its value.
    #[inline]
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<Span, Fault> {
        let start = self.at;
        self.enter(b'{')?;
        if self.next_item(true, b'}')? {
            loop {
                member(self)?;
                if !self.next_item(false, b'}')? {
                    break;
                }
            }
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
        if self.next_item(first, b'}')? { self.key().map(Some) } else { Ok(None) }
    }

    /// Inside an array: whether there is another element. Stands before it then.
    pub(crate) fn next_element(&mut self, first: bool) -> Result<bool, Fault> {
        self.next_item(first, b']')
    }

    /// Passes a key; where it is, with its quotes. Stands before the value then.
    pub(crate) fn key(&mut self) -> Result<Span, Fault> {
        if self.peek() != Some(b'"') {
            return Err(self.fault());
        }
        let start = self.at;
        self.string()?;
        let key = Span::new(start, self.at);
        if self.solid() != Some(b':') {
            return Err(self.fault());
        }
        self.at += 1;
        self.blanks();
        Ok(key)
    }

    /// Passes the next key if it is one of these, written as nearly everybody does: without an escape, and the colon
    /// right behind it. Which it is; stands before the value then.
    #[inline(never)]
    pub(crate) fn usual_key<'k, T>(&mut self, keys: &'k [Key<T>]) -> Option<(usize, &'k Key<T>)> {
        let key = self.rest().strip_prefix(b"\"")?;
        let head = u64::from_le_bytes(*key.first_chunk()?);
        let found = keys.iter().enumerate().find(|(_, known)| known.is_next(head, key))?;
        self.at += found.1.text.len() + "\"\":".len();
        self.blanks();
        Some(found)
    }

    #[inline]
    fn next_item(&mut self, first: bool, closing: u8) -> Result<bool, Fault> {
        match self.solid() {
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

    #[inline(never)]
    fn scalar(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => self.string(),
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

    #[inline(never)]
    fn number(&mut self) -> Result<(), Fault> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        match self.peek() {
            Some(b'.' | b'e' | b'E') => self.fraction(),
            _ => Ok(()),
        }
    }

    #[inline(never)]
    fn fraction(&mut self) -> Result<(), Fault> {
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

    #[inline(never)]
    fn string(&mut self) -> Result<(), Fault> {
        self.at += 1;
        // Most strings are names, and end in their first word.
        match self.rest().first_chunk().map(|word| not_plain(u64::from_le_bytes(*word))) {
            Some(0) => {
                self.at += WORD_BYTES;
                self.long_string()
            }
            Some(found) => self.string_from(found.trailing_zeros() as usize / WORD_BYTES),
            None => self.long_string(),
        }
    }

    #[inline(never)]
    fn long_string(&mut self) -> Result<(), Fault> {
        self.string_from(plain_len(self.rest()))
    }

    /// Passes a string that stands for itself for so many bytes, and no further.
    #[inline]
    fn string_from(&mut self, plain_len: usize) -> Result<(), Fault> {
        self.at += plain_len;
        if self.peek() != Some(b'"') {
            return self.string_with_escapes();
        }
        self.at += 1;
        Ok(())
    }

    /// Passes what is left of a string from its first escape on.
    #[inline(never)]
    fn string_with_escapes(&mut self) -> Result<(), Fault> {
        self.escaped_count += 1;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                _ => return Err(self.fault()),
            }
            self.at += plain_len(self.rest());
        }
        self.at += 1;
        Ok(())
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

    #[inline]
    pub(crate) fn blanks(&mut self) {
        self.solid();
    }

    /// Passes blanks; what stands behind them. All that the grammar has is above the blank, so that one comparison tells
    /// that there are none.
    #[inline]
    fn solid(&mut self) -> Option<u8> {
        match self.peek() {
            Some(..=b' ') => self.behind_blanks(),
            byte => byte,
        }
    }

    #[inline(never)]
    fn behind_blanks(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
        self.peek()
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
    let mut near = 0;
    for word in rest.as_chunks().0 {
        let found = not_plain(u64::from_le_bytes(*word));
        if found != 0 {
            return near + found.trailing_zeros() as usize / WORD_BYTES;
        }
        near += WORD_BYTES;
        if near == NEAR_BYTES {
            return plain_len_of_long(rest);
        }
    }
    let tail = rest.get(near..).unwrap_or_default();
    near + tail.iter().position(|byte| !is_plain(*byte)).unwrap_or(tail.len())
}

/// The same of a string that is plain in what is near.
#[inline(never)]
fn plain_len_of_long(rest: &[u8]) -> usize {
    let far = rest.get(NEAR_BYTES..).unwrap_or_default();
    let end = memchr::memchr2(b'"', b'\\', far).unwrap_or(far.len());
    let plain = far.get(..end).unwrap_or_default();
    let control = has_control(plain).then(|| plain.iter().position(|byte| *byte < b' ')).flatten();
    NEAR_BYTES + control.unwrap_or(end)
}

/// Whether there is a control character. In words, because a program that is optimised for its size has no loops that
/// were vectorised for it.
fn has_control(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks();
    let found = words.iter().fold(0, |found, word| found | less_than(u64::from_le_bytes(*word), b' '));
    found & HIGHS != 0 || rest.iter().any(|byte| *byte < b' ')
}

const ONES: u64 = u64::from_le_bytes([1; WORD_BYTES]);
const HIGHS: u64 = ONES << 7;

/// The lowest bit that is set is in the first byte of eight, in little-endian order, that does not stand for itself. Those
/// above it mean nothing: a borrow may have come from below.
fn not_plain(word: u64) -> u64 {
    let spread = |byte: u8| ONES * u64::from(byte);
    // With its second bit turned the quote is a blank, and only control characters are below it.
    let below_quote = (word ^ spread(b'"' ^ b' ')).wrapping_sub(spread(b' ' + 1));
    let is_escape = (word ^ spread(b'\\')).wrapping_sub(ONES);
    (below_quote | is_escape) & !word & HIGHS
}

/// The high bits of bytes below the bound; of those above the lowest such byte, some say so wrongly.
fn less_than(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(ONES * u64::from(bound)) & !word
}

fn is_plain(byte: u8) -> bool {
    byte >= b' ' && byte != b'"' && byte != b'\\'
}

/// The containers that are open.
#[derive(Clone, Copy, Debug, Default)]
struct Nesting {
    /// What closes the innermost one.
    closing: u8,
    /// Which are arrays, innermost last: a bit each.
    arrays: u128,
    depth: usize,
}

impl Nesting {
    fn push(&mut self, closing: u8) {
        self.arrays = self.arrays << 1 | u128::from(closing == b']');
        self.closing = closing;
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.arrays >>= 1;
        self.closing = if self.arrays & 1 == 0 { b'}' } else { b']' };
        self.depth = self.depth.saturating_sub(1);
    }

    fn is_empty(self) -> bool {
        self.depth == 0
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
