//! What an operator names as secret, besides what is known to be.

use regex::{Regex, RegexBuilder};
use serde_json_path::JsonPath;

/// Of each kind: all are tried on every message.
const SECRETS_MAX: usize = 256;
/// The compiled form of one pattern.
const PATTERN_BYTES_MAX: usize = 256 * 1024;
/// A longer name is prose, not a name.
const NAME_BYTES_MAX: usize = 128;

/// Names, places and patterns of secrets.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    pub(super) names: Vec<String>,
    pub(super) paths: Vec<JsonPath>,
    pub(super) patterns: Vec<Regex>,
}

/// Why something cannot be named as a secret.
#[derive(Debug, thiserror::Error)]
pub enum BadSecret {
    /// A name without a letter or a digit, or too long for one.
    #[error("`{0}` is no name; write it like `ssn` or `X-Internal-Id`")]
    Name(String),
    /// No JSONPath, or one to the whole message.
    #[error("`{path}` is no path to a secret: {why}; write it like `$.params.arguments.card` or `$..ssn`")]
    Path {
        /// What was written.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// No regular expression, or one that fits nothing at all.
    #[error("`{pattern}` is no pattern of a secret: {why}")]
    Pattern {
        /// What was written.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// More than is tried on every message.
    #[error("at most {SECRETS_MAX} of each kind; join patterns with `|`")]
    TooMany,
}

impl Secrets {
    /// What goes under this name: as a member of JSON, a header, a variable or a parameter. Case and separators do not
    /// matter.
    ///
    /// # Errors
    /// When it is no name.
    pub fn add_name(&mut self, name: &str) -> Result<(), BadSecret> {
        if name.len() > NAME_BYTES_MAX || !name.contains(|c: char| c.is_ascii_alphanumeric()) {
            return Err(BadSecret::Name(name.to_owned()));
        }
        push(&mut self.names, name.to_owned())
    }

    /// What stands at this JSONPath (RFC 9535) of a message.
    ///
    /// # Errors
    /// When it is no path to a part of a message.
    pub fn add_path(&mut self, path: &str) -> Result<(), BadSecret> {
        let bad = |why: String| BadSecret::Path { path: path.to_owned(), why };
        let parsed = JsonPath::parse(path).map_err(|fault| bad(fault.to_string()))?;
        if parsed.to_string() == "$" {
            return Err(bad("it is the whole message".to_owned()));
        }
        push(&mut self.paths, parsed)
    }

    /// What fits this regular expression; with a group in it, what fits the group.
    ///
    /// # Errors
    /// When it is none, or fits everywhere.
    pub fn add_pattern(&mut self, pattern: &str) -> Result<(), BadSecret> {
        let bad = |why: String| BadSecret::Pattern { pattern: pattern.to_owned(), why };
        let regex = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build();
        // The last line says what is wrong; those above it point into the expression.
        let last =
            |fault: regex::Error| fault.to_string().lines().last().unwrap_or_default().trim().to_owned();
        let regex = regex.map_err(|fault| bad(last(fault)))?;
        if regex.is_match("") {
            return Err(bad("it fits nothing at all, and so everywhere".to_owned()));
        }
        push(&mut self.patterns, regex)
    }

    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.paths.is_empty() && self.patterns.is_empty()
    }
}

/// Two are equal if they are written the same.
impl PartialEq for Secrets {
    fn eq(&self, other: &Self) -> bool {
        let written = |secrets: &Self| secrets.patterns.iter().map(Regex::to_string).collect::<Vec<_>>();
        self.names == other.names && self.paths == other.paths && written(self) == written(other)
    }
}

impl Eq for Secrets {}

fn push<T>(list: &mut Vec<T>, secret: T) -> Result<(), BadSecret> {
    if list.len() >= SECRETS_MAX {
        return Err(BadSecret::TooMany);
    }
    list.push(secret);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_no_secret_is_refused_with_the_way_out() {
        let mut secrets = Secrets::default();
        let told = [
            secrets.add_name("--").unwrap_err().to_string(),
            secrets.add_path("card").unwrap_err().to_string(),
            secrets.add_path("$").unwrap_err().to_string(),
            secrets.add_pattern("(").unwrap_err().to_string(),
            secrets.add_pattern("a*").unwrap_err().to_string(),
        ];
        for (told, part) in
            told.iter().zip(["like `ssn`", "like `$.", "whole message", "unclosed group", "everywhere"])
        {
            assert!(told.contains(part), "{told}");
        }
        assert!(secrets.is_empty());
        for _ in 0..SECRETS_MAX {
            secrets.add_name("ssn").unwrap();
        }
        assert!(matches!(secrets.add_name("ssn"), Err(BadSecret::TooMany)));
    }
}
