//! JSON as values, for texts that all parsers read alike.
//!
//! A rule that reads one of two members of the same name while the server reads the other is no rule: such a text is
//! not read at all.

use std::fmt;
use std::sync::OnceLock;

use memchr::{memchr, memmem};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};

/// Bytes of a text that each rule may look through by itself, before it is read for all of them.
const LOOKED_THROUGH_MAX: usize = 64 * 1024;

/// A text that cannot be judged by its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the message cannot be read in one way only: {}", self.0)
    }
}

/// A text, read once at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content<'v> {
    text: &'v str,
    read: &'v Read,
}

/// What was read of a text.
pub(crate) type Read = OnceLock<Result<Value, Unreadable>>;

impl<'v> Content<'v> {
    pub(crate) fn new(text: &'v str, read: &'v Read) -> Self {
        Self { text, read }
    }

    /// # Errors
    /// It can be read in more than one way.
    pub(crate) fn value(self) -> Result<&'v Value, &'v Unreadable> {
        self.read.get_or_init(|| parse(self.text)).as_ref()
    }

    pub(crate) fn text(self) -> &'v str {
        self.text
    }

    /// The text, if nobody has read it yet and looking through it costs less than reading it.
    pub(crate) fn unread(self) -> Option<&'v str> {
        (self.read.get().is_none() && self.text.len() <= LOOKED_THROUGH_MAX).then_some(self.text)
    }
}

/// Whether one of these escapes, each of which begins with a backslash, is in a JSON text.
pub(crate) fn has_escapes(text: &str, forms: &[&str]) -> bool {
    let text = text.as_bytes();
    // Most texts have none at all.
    memchr(b'\\', text).is_some() && forms.iter().any(|form| memmem::find(text, form.as_bytes()).is_some())
}

pub(crate) fn parse(text: &str) -> Result<Value, Unreadable> {
    let value: Result<Strict, _> = serde_json::from_str(text);
    value.map(|Strict(value)| value).map_err(|fault| Unreadable(fault.to_string()))
}

struct Strict(Value);

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Strict, E> {
        Ok(Strict(Number::from_f64(value).map_or(Value::Null, Value::Number)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Strict, E> {
        Ok(Strict(text.into()))
    }

    fn visit_string<E>(self, text: String) -> Result<Strict, E> {
        Ok(Strict(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Strict, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Strict(values.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strict, A::Error> {
        let mut members = Map::new();
        while let Some((key, Strict(value))) = map.next_entry::<String, Strict>()? {
            if members.insert(key, value).is_some() {
                return Err(de::Error::custom("a key is repeated"));
            }
        }
        Ok(Strict(members.into()))
    }
}

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_repeated_key_is_not_read_at_any_depth() {
        assert_eq!(parse(r#"{"a":[{"b":1,"c":null}]}"#), Ok(json!({"a": [{"b": 1, "c": null}]})));
        let told = parse(r#"{"a":[{"b":1,"b":2}]}"#).unwrap_err().to_string();
        assert!(told.contains("a key is repeated"), "{told}");
    }
}
