//! Request ids, kept as the JSON text their sender chose.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

use compact_str::{CompactString, ToCompactString as _};

use crate::json;

/// A request id: `1`, `"1"` and `1.0` are three ids, and none of them is turned into another.
///
/// Two strings are equal when they decode to the same text; two numbers when their digits are the same.
///
/// Ids up to 24 bytes, nearly all of them, are kept in place: each message has one, and it is copied at every turn.
#[derive(Clone)]
pub struct Id(CompactString);

impl Id {
    /// An id of our own making.
    pub fn from_u64(number: u64) -> Self {
        Self(number.to_compact_string())
    }

    /// The id in a JSON text, if it is a string or a number.
    pub fn parse_json(text: &str) -> Option<Self> {
        let text = json::trim(text);
        json::is_value(text).then(|| Self::of_value(text)).flatten()
    }

    /// The same of what is known to be one JSON value, without blanks around it.
    pub(crate) fn of_value(text: &str) -> Option<Self> {
        let fits = match text.as_bytes().first()? {
            b'"' => json::string(text).is_some(),
            b'-' | b'0'..=b'9' => true,
            _ => false,
        };
        fits.then(|| Self(text.into()))
    }

    /// The id as JSON, as its sender wrote it.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// The number, if the id is one that [`Id::from_u64`] makes.
    pub fn as_u64(&self) -> Option<u64> {
        self.0.parse().ok()
    }

    /// What is compared: escapes are spelling, the quotes in front are the type.
    fn value(&self) -> Cow<'_, str> {
        if memchr::memchr(b'\\', self.0.as_bytes()).is_none() {
            return Cow::Borrowed(&self.0);
        }
        match json::string(&self.0) {
            Some(decoded) => Cow::Owned(format!("\"{decoded}\"")),
            None => Cow::Borrowed(&self.0),
        }
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.value() == other.value()
    }
}

impl Eq for Id {}

impl Hash for Id {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value().hash(state);
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({})", self.0)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn id(text: &str) -> Id {
        Id::parse_json(text).unwrap()
    }

    #[test]
    fn a_number_and_a_string_of_its_digits_are_two_ids() {
        let ids: HashSet<Id> = ["1", "\"1\"", "1.0", "9007199254740993", "9007199254740992"].map(id).into();
        assert_eq!(ids.len(), 5);
    }

    #[test]
    fn an_escape_is_only_another_spelling() {
        assert_eq!(id(r#""a\/b""#), id(r#""a/b""#));
        assert_ne!(id(r#""a\\b""#), id(r#""ab""#));
        let ids: HashSet<Id> = [r#""\u0061""#, r#""a""#].map(id).into();
        assert_eq!(ids.len(), 1);
    }

    #[test]
    fn only_strings_and_numbers_are_ids() {
        for text in ["null", "true", "{}", "[1]", "", "01", "1 2", "\"a", "+1", r#""\ud800""#] {
            assert!(Id::parse_json(text).is_none(), "{text}");
        }
        assert_eq!(id(" 7 ").as_json(), "7");
    }

    #[test]
    fn our_own_ids_are_read_back_and_nothing_else_is() {
        assert_eq!(Id::from_u64(u64::MAX).as_u64(), Some(u64::MAX));
        for text in ["\"1\"", "1.0", "-1", "1e3", "18446744073709551616"] {
            assert_eq!(id(text).as_u64(), None, "{text}");
        }
    }
}
