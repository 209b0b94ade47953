//! Keys that are looked for, in a form in which they are quickly told apart.

/// A key that is looked for, and what it stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<T> {
    pub(crate) text: &'static str,
    pub(crate) meaning: T,
    /// The first bytes of the key and of the quote and the colon behind it, as a word.
    head: u64,
    /// Which bytes of the word count: all but for a short key.
    mask: u64,
    /// The last bytes of the same.
    tail: u64,
}

const WORD_BYTES: usize = 8;

/// What stands behind a key that is written as nearly everybody does.
const BEHIND: &[u8] = b"\":";

impl<T> Key<T> {
    pub(crate) const fn new(text: &'static str, meaning: T) -> Self {
        let len = text.len() + BEHIND.len();
        let mask = if len < WORD_BYTES { (1 << (8 * len)) - 1 } else { u64::MAX };
        Self { text, meaning, head: word(text, 0), mask, tail: word(text, len.saturating_sub(WORD_BYTES)) }
    }

    /// Whether a text begins with this key, the quote and the colon behind it. `head` is its first word.
    #[inline]
    pub(super) fn is_next(&self, head: u64, text: &[u8]) -> bool {
        head & self.mask == self.head && (self.mask != u64::MAX || self.goes_on(text))
    }

    #[inline]
    fn goes_on(&self, text: &[u8]) -> bool {
        let len = self.text.len() + BEHIND.len();
        let tail = text.get(..len).and_then(<[u8]>::last_chunk).map(|tail| u64::from_le_bytes(*tail));
        tail == Some(self.tail) && (len <= 2 * WORD_BYTES || text.starts_with(self.text.as_bytes()))
    }
}

/// Up to eight bytes of a key and of what stands behind it.
const fn word(text: &str, from: usize) -> u64 {
    let (mut word, mut number) = (0, 0);
    while number < WORD_BYTES && from + number < text.len() + BEHIND.len() {
        let rest = if from + number < text.len() {
            text.as_bytes().split_at(from + number).1
        } else {
            BEHIND.split_at(from + number - text.len()).1
        };
        if let [byte, ..] = rest {
            word |= (*byte as u64) << (8 * number);
        }
        number += 1;
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_told_from_all_that_differ_in_a_byte() {
        let name = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        for len in 1..name.len() {
            let key = Key::new(&name[..len], ());
            let written = format!("{}\":12345678", key.text).into_bytes();
            let is_next = |text: &[u8]| key.is_next(u64::from_le_bytes(*text.first_chunk().unwrap()), text);
            assert!(is_next(&written), "{len}");
            for place in 0..len + 2 {
                let mut other = written.clone();
                other[place] ^= 1;
                assert!(!is_next(&other), "{len} at {place}");
            }
            for end in 8..len + 2 {
                assert!(!is_next(&written[..end]), "{len} up to {end}");
            }
        }
    }
}
