//! What is wrong with a file, in one sentence with its place and the way out.

use serde_saphyr::Error as Cause;
use shadowcat_filter::nearest;

use super::outline::Outline;

/// A file that cannot be read: where, why, and what may have been meant. Values of the file are not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {sentence}")]
pub struct Mistake {
    /// `path:line:column`, as far as it is known.
    pub place: String,
    /// What is wrong, and the way out where there is one.
    pub sentence: String,
}

impl Mistake {
    pub(super) fn new(path: &str, cause: &Cause, outline: &Outline) -> Self {
        let cause = cause.without_snippet();
        let Some(location) = cause.location().filter(|location| location.line() > 0) else {
            return Self { place: path.to_owned(), sentence: sentence(cause) };
        };
        let (line, column) = (location.line(), location.column());
        let place = format!("{path}:{line}:{column}");
        let sentence = match key(cause, outline.path_at(line, column)) {
            Some(key) => format!("{key}: {}", sentence(cause)),
            None => sentence(cause),
        };
        Self { place, sentence }
    }
}

/// An unknown key names itself in the sentence already.
fn key<'a>(cause: &Cause, at: Option<&'a str>) -> Option<&'a str> {
    match cause {
        Cause::SerdeUnknownField { field, .. } => parent(at, field),
        Cause::DuplicateMappingKey { key, .. } => parent(at, key.as_deref().unwrap_or_default()),
        _ => at,
    }
}

/// What is around the key that is wrong; in flow style the place is that already.
fn parent<'a>(at: Option<&'a str>, key: &str) -> Option<&'a str> {
    match at?.strip_suffix(key) {
        Some(parent) => parent.strip_suffix('.'),
        None => at,
    }
}

fn sentence(cause: &Cause) -> String {
    match cause {
        Cause::SerdeUnknownField { field, expected, .. } => {
            format!("unknown key `{field}`; {}", choices(field, expected))
        }
        Cause::SerdeUnknownVariant { variant, expected, .. } => {
            format!("unknown word `{variant}`; {}", choices(variant, expected))
        }
        Cause::SerdeInvalidType { unexpected, expected, .. }
        | Cause::SerdeInvalidValue { unexpected, expected, .. } => {
            format!("expected {}, found {}", plain(expected), kind(unexpected))
        }
        Cause::DuplicateMappingKey { key, .. } => {
            format!("key `{}` is written twice", key.as_deref().unwrap_or("?"))
        }
        Cause::Unexpected { expected, .. } => format!("expected {}", plain(expected)),
        Cause::InvalidScalar { ty, .. } => format!("expected {}", plain(ty)),
        Cause::InvalidBooleanStrict { .. } => "expected true or false".to_owned(),
        Cause::QuotingRequired { .. } => "expected a text; put the value in quotes".to_owned(),
        other => reworded(&first_line(&other.to_string())),
    }
}

/// Sentences that the parser words for programmers.
fn reworded(sentence: &str) -> String {
    match sentence.strip_prefix("missing field ") {
        Some(key) => format!("the key {key} is missing"),
        None => sentence.replace(
            "expected end of mapping after enum variant value",
            "one key is expected here; the next entry begins with `- `",
        ),
    }
}

/// The parser's words for what people call otherwise.
fn plain(expected: &str) -> &str {
    match expected {
        "mapping start" => "keys with values below it",
        "sequence start" => "a list, such as [a, b]",
        "string scalar" => "a single value",
        "boolean" => "true or false",
        "a nonzero u64" => "a whole number above 0",
        number if number.starts_with('u') => "a whole number, 0 or more",
        other => other,
    }
}

/// The kind of a value without the value, which may be a secret.
fn kind(unexpected: &str) -> &str {
    unexpected.split(['"', '`']).next().unwrap_or_default().trim_end()
}

/// The parser's own sentence without the place, which is told already.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let end = line.find(" at line ").unwrap_or(line.len());
    line.get(..end).unwrap_or(line).trim_start_matches("error: ").to_owned()
}

fn choices(written: &str, expected: &[&str]) -> String {
    match nearest(written, expected) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("expected one of {}", expected.join(", ")),
    }
}
