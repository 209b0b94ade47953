//! What must not reach the disk: credentials, found by the names they go under and by the shapes they have.
//!
//! Each is replaced by `[redacted:` and twelve hex digits of a keyed hash, so that equal stays equal within a tape and
//! nobody can try guesses against it: the key is random and never written. `words` takes the first look, `keys`
//! knows the names, `shapes` the shapes inside text, `json` walks a message; `secrets` is what an operator names besides,
//! `places` finds what stands where they say. When in doubt a value is replaced: a tape that lacks a word is a smaller
//! harm than one that holds a password.

mod json;
mod keys;
mod places;
mod secrets;
mod shapes;
#[cfg(test)]
pub(crate) mod tests;
mod words;

use std::borrow::Cow;
use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use serde_json_path::JsonPath;
use shadowcat_protocol::json::quote;

use crate::record::Frame;
pub use secrets::{BadSecret, Secrets};
use shapes::Shapes;

/// Twelve digits: enough that two secrets of one tape do not meet by chance.
const MARK_BYTES: usize = 6;
const MARK_OPEN: &str = "[redacted:";
const MARK_LEN: usize = MARK_OPEN.len() + 2 * MARK_BYTES + 1;

/// Replaces credentials, with the key of one tape.
#[derive(Debug)]
pub struct Redactor {
    shapes: Shapes,
    places: Vec<JsonPath>,
    mac: Hmac<Sha256>,
}

/// A text after redaction, and how many pieces were replaced.
#[derive(Debug, PartialEq, Eq)]
pub struct Redacted<'a> {
    /// The text; borrowed when nothing was replaced.
    pub text: Cow<'a, str>,
    /// How many pieces were replaced.
    pub count: u32,
}

/// The patterns of this program or the key cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum RedactorError {
    /// The system gives no random key.
    #[error("the system gives no random numbers for the tape's key")]
    NoRandom(#[from] getrandom::Error),
    /// A pattern does not compile.
    #[error("a redaction pattern is not valid")]
    Pattern(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Redactor {
    /// A redactor of what is known to be secret and of these, with a random key of its own.
    ///
    /// # Errors
    /// When the system has no random numbers to give.
    pub fn new(secrets: &Secrets) -> Result<Self, RedactorError> {
        let mut key = [0_u8; 32];
        getrandom::fill(&mut key)?;
        let mac = Hmac::new_from_slice(&key).map_err(|cause| RedactorError::Pattern(Box::new(cause)))?;
        Ok(Self { shapes: Shapes::new(secrets)?, places: secrets.paths.clone(), mac })
    }

    /// Redacts one line of valid JSON; what comes back is valid JSON again.
    pub fn json<'a>(&self, text: &'a str) -> Redacted<'a> {
        let placed = places::replace(self, &self.places, text);
        if !self.shapes.is_suspect(placed.text.as_bytes()) {
            return placed;
        }
        match placed.text {
            Cow::Borrowed(text) => json::redact(self, text),
            Cow::Owned(text) => {
                let Redacted { text, count } = json::redact(self, &text);
                Redacted { text: Cow::Owned(text.into_owned()), count: count + placed.count }
            }
        }
    }

    /// The line of a message, redacted; none if it stays as it is, as most do. They are not even looked at as text.
    pub(crate) fn line<'a>(&self, line: &'a [u8]) -> Option<Redacted<'a>> {
        if self.places.is_empty() && !self.shapes.is_suspect(line) {
            return None;
        }
        // What was read as a message is UTF-8.
        str::from_utf8(line).ok().map(|text| self.json(text))
    }

    /// Redacts a piece of plain text.
    pub fn text<'a>(&self, text: &'a str) -> Redacted<'a> {
        if !self.shapes.is_suspect(text.as_bytes()) {
            return Redacted { text: Cow::Borrowed(text), count: 0 };
        }
        let mut count = 0;
        let text = self.shapes.replace(text, &mut |secret| {
            count += 1;
            self.mark(secret)
        });
        Redacted { text, count }
    }

    /// Redacts a frame that is there already, and says how many pieces were replaced.
    pub(crate) fn frame(&self, frame: &mut Frame) -> u32 {
        let redacted = self.json(&frame.message);
        let count = redacted.count;
        if count > 0 {
            frame.message = redacted.text.into_owned();
            frame.redactions = frame.redactions.saturating_add(count);
        }
        if let Some(method) = &mut frame.method {
            *method = self.text(method).text.into_owned();
        }
        count
    }

    /// Whether a whole value was replaced already.
    fn is_mark(value: &str) -> bool {
        let digits = value.strip_prefix(MARK_OPEN).and_then(|rest| rest.strip_suffix(']'));
        digits.is_some_and(|digits| {
            digits.len() == 2 * MARK_BYTES && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
        })
    }

    /// What stands in place of a value of JSON; none if it tells nothing, or was replaced before.
    fn mark_of_value(&self, raw: &str) -> Option<String> {
        if matches!(raw, "" | "null" | "\"\"" | "{}" | "[]") {
            return None;
        }
        let secret = shadowcat_protocol::json::string(raw).unwrap_or(Cow::Borrowed(raw));
        (!Self::is_mark(&secret)).then(|| quote(&self.mark(&secret)))
    }

    /// What stands in place of a secret. Free of characters that any level of JSON escapes.
    fn mark(&self, secret: &str) -> String {
        let mut mac = self.mac.clone();
        mac.update(shapes::without_scheme(secret).as_bytes());
        let digest = mac.finalize().into_bytes();
        let mut mark = String::with_capacity(MARK_LEN);
        mark.push_str(MARK_OPEN);
        for byte in digest.iter().take(MARK_BYTES) {
            // Writing to memory cannot fail.
            let _ = write!(mark, "{byte:02x}");
        }
        mark.push(']');
        mark
    }
}
