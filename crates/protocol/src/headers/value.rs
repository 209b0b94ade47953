//! Header values: text as it is where HTTP can carry it, else between the marks `=?base64?` and `?=`.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

const PREFIX: &str = "=?base64?";
const SUFFIX: &str = "?=";

/// Why a header value is not a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadValue {
    /// Not visible ASCII and blanks.
    #[error("the header value has a character that headers must not have")]
    Character,
    /// Marked as encoded, and is not base64 of UTF-8.
    #[error("the header value is not valid base64 of UTF-8")]
    Encoding,
}

/// The text of a header value. Blanks around it do not count; marks in another case are no marks.
pub fn decode_value(value: &[u8]) -> Result<Cow<'_, str>, BadValue> {
    let text = plain(value).ok_or(BadValue::Character)?;
    let Some(encoded) = between_marks(text) else { return Ok(Cow::Borrowed(text)) };
    let bytes = STANDARD.decode(encoded).map_err(|_| BadValue::Encoding)?;
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| BadValue::Encoding)
}

/// The header value of a text.
pub fn encode_value(text: &str) -> Cow<'_, str> {
    let has_blank_ends = text.starts_with(' ') || text.ends_with(' ');
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if is_plain && !has_blank_ends && between_marks(text).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{PREFIX}{}{SUFFIX}", STANDARD.encode(text)))
}

/// The value without blanks around it, if it is visible ASCII and blanks.
pub(super) fn plain(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?.trim_matches([' ', '\t']);
    text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')).then_some(text)
}

fn between_marks(text: &str) -> Option<&str> {
    text.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)
}
