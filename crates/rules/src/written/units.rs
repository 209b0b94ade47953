//! Lengths of time and of bytes as an operator writes them: `30s`, `4MiB`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use shadowcat_filter::unit_bytes;

/// Longer waits are mistakes, and would overflow a clock when added to it.
const SPAN_MAX: Duration = Duration::from_hours(366 * 24);
/// More is a mistake, for a disk as well.
const SIZE_MAX: u64 = 1 << 50;

/// A length of time with its unit; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(Duration);

impl Span {
    /// Reads `30s`, `10m`, `1h 30m`.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let span = humantime::parse_duration(text.trim())
            .map_err(|_| "expected a length of time with its unit, such as 30s, 10m or 1h".to_owned())?;
        match span {
            Duration::ZERO => Err("expected a length of time above zero, such as 30s".to_owned()),
            span if span > SPAN_MAX => Err("expected at most 366 days".to_owned()),
            span => Ok(Self(span)),
        }
    }

    /// As the standard library has it.
    pub fn get(self) -> Duration {
        self.0
    }
}

/// A number of bytes with its unit; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(u64);

impl ByteSize {
    /// Reads `512B`, `32KiB`, `4MiB`, `1GiB` and the decimal `kB`, `MB`, `GB`.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        const RIGHT: &str = "expected a number of bytes with its unit, such as 512B, 32KiB or 4MiB";
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let Some(factor) = unit_bytes(unit.trim_start()) else { return Err(RIGHT.to_owned()) };
        let number: u64 = number.parse().map_err(|_| RIGHT.to_owned())?;
        match number.checked_mul(factor) {
            Some(0) => Err("expected a size above zero, such as 4MiB".to_owned()),
            Some(size) if size <= SIZE_MAX => Ok(Self(size)),
            _ => Err("expected at most 1048576GiB".to_owned()),
        }
    }

    /// As a number of bytes.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed(Self::parse, "a length of time such as 30s"))
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed(Self::parse, "a number of bytes such as 4MiB"))
    }
}

/// Runs a parser over a scalar, wherever it stands in the file.
struct Parsed<T>(fn(&str) -> Result<T, String>, &'static str);

impl<T> de::Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(E::custom)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A length of time with its unit: 500ms, 30s, 10m, 1h.",
            "examples": ["30s", "10m"]
        })
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A number of bytes with its unit: 512B, 32KiB, 4MiB.",
            "pattern": "^[0-9]+ ?(B|kB|KB|MB|GB|KiB|MiB|GiB)$",
            "examples": ["32KiB", "4MiB"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(ByteSize::parse("4MiB").unwrap().bytes(), 4 << 20);
        assert_eq!(ByteSize::parse("10 kB").unwrap().bytes(), 10_000);
        for wrong in ["", "4", "MiB", "-1B", "4 mib", "0B", "1048577GiB", "99999999999999999999B"] {
            assert!(ByteSize::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn spans_have_units() {
        assert_eq!(Span::parse("1m 30s").unwrap().get(), Duration::from_secs(90));
        for wrong in ["", "30", "0s", "-1s", "30 parsecs", "2years"] {
            assert!(Span::parse(wrong).is_err(), "{wrong}");
        }
    }
}
