//! What stands behind an operator that looks at text: a text, one with wildcards, or a regular expression.

use std::fmt;

use regex::{Regex, RegexBuilder};

const WILDCARDS: [char; 2] = ['*', '?'];

/// The compiled form of one pattern, and of what its search may keep.
const REGEX_BYTES_MAX: usize = 256 * 1024;

/// A text, or what stands for many, compiled. Two are equal if they are written the same.
#[derive(Clone, Debug)]
pub struct Pattern {
    form: Form,
    /// The text itself; a word with `*` and `?`; the inside of `/.../`.
    source: String,
    /// Whether it is looked for within a text, or has to fit the whole.
    within: bool,
}

#[derive(Clone, Debug)]
enum Form {
    Text,
    /// What fits begins with the head, which is looked at first: nearly all that does not fit differs there.
    Wildcards {
        head: Box<str>,
        regex: Regex,
    },
    Regex {
        regex: Regex,
        ignore_case: bool,
    },
}

impl Pattern {
    /// Reads a pattern that stands by itself and has to fit the whole: `/.../` and `/.../i` are regular expressions,
    /// which may fit anywhere; else it is a text, with `*` and `?` for others.
    ///
    /// # Errors
    /// The rest of a sentence that begins with what is meant.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (body, ignore_case) = match text.strip_suffix("/i") {
            Some(body) => (Some(body), true),
            None => (text.strip_suffix('/'), false),
        };
        match body.and_then(|body| body.strip_prefix('/')).filter(|source| !source.is_empty()) {
            Some(source) => Self::regex(source, ignore_case, false),
            None => Self::word(text, false),
        }
    }

    /// The one text that fits, where no other does.
    pub fn only_text(&self) -> Option<&str> {
        matches!(self.form, Form::Text).then_some(self.source.as_str()).filter(|_| !self.within)
    }

    /// Exactly this text.
    pub(crate) fn text(source: &str, within: bool) -> Self {
        Self { form: Form::Text, source: source.to_owned(), within }
    }

    /// A word in which `*` stands for any text and `?` for one character; a text if neither is in it.
    pub(crate) fn word(source: &str, within: bool) -> Result<Self, String> {
        if !has_wildcard(source) {
            return Ok(Self::text(source, within));
        }
        let mut inside = String::new();
        for c in source.chars() {
            match c {
                '*' => inside.push_str(".*"),
                '?' => inside.push('.'),
                c => inside.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
            }
        }
        let whole = if within { inside } else { format!("^{inside}$") };
        let regex = regex(&format!("(?s){whole}"), false)?;
        let head = source.split(WILDCARDS).next().filter(|_| !within).unwrap_or_default().into();
        Ok(Self { form: Form::Wildcards { head, regex }, source: source.to_owned(), within })
    }

    /// What is looked for anywhere in a text.
    ///
    /// # Errors
    /// The rest of a sentence that begins with what is meant.
    pub fn regex(source: &str, ignore_case: bool, within: bool) -> Result<Self, String> {
        let regex = regex(source, ignore_case)?;
        Ok(Self { form: Form::Regex { regex, ignore_case }, source: source.to_owned(), within })
    }

    /// Whether this text is meant.
    pub fn fits(&self, text: &str) -> bool {
        match &self.form {
            Form::Text if self.within => text.contains(&self.source),
            Form::Text => text == self.source,
            Form::Wildcards { head, regex } => text.starts_with(&**head) && regex.is_match(text),
            Form::Regex { regex, .. } => regex.is_match(text),
        }
    }

    /// Whether it had to be compiled.
    pub(crate) fn is_compiled(&self) -> bool {
        !matches!(self.form, Form::Text)
    }
}

/// A regular expression that is bounded in what it takes when compiled.
///
/// # Errors
/// The rest of a sentence that begins with what is meant.
pub fn regex(source: &str, ignore_case: bool) -> Result<Regex, String> {
    RegexBuilder::new(source)
        .case_insensitive(ignore_case)
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|fault| match fault {
            regex::Error::CompiledTooBig(_) => "is too large when compiled; make it shorter".to_owned(),
            // The last line says what is wrong; those above it point into the expression.
            other => {
                let text = other.to_string();
                let last = text.lines().last().unwrap_or_default();
                format!("is wrong: {}", last.trim_start_matches("error: "))
            }
        })
}

fn has_wildcard(word: &str) -> bool {
    word.contains(WILDCARDS)
}

/// Whether a text needs no quotes: it is read as a word, and as nothing else.
fn is_plain(text: &str) -> bool {
    let begins_otherwise = |c: char| matches!(c, '~' | '!' | '/' | '"' | '\'');
    !text.is_empty()
        && !text.starts_with(begins_otherwise)
        && !text.contains(ends_word)
        && !has_wildcard(text)
}

/// What a word cannot have in it, and so ends at.
pub(crate) fn ends_word(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | '&' | '|')
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        let same_form = match (&self.form, &other.form) {
            (Form::Text, Form::Text) | (Form::Wildcards { .. }, Form::Wildcards { .. }) => true,
            (Form::Regex { ignore_case: one, .. }, Form::Regex { ignore_case: other, .. }) => one == other,
            _ => false,
        };
        same_form && self.source == other.source && self.within == other.within
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.form {
            Form::Text if !is_plain(&self.source) => {
                write!(f, "\"{}\"", self.source.replace('\\', "\\\\").replace('"', "\\\""))
            }
            Form::Text | Form::Wildcards { .. } => f.write_str(&self.source),
            Form::Regex { ignore_case, .. } => {
                let flag = if *ignore_case { "i" } else { "" };
                write!(f, "/{}/{flag}", self.source.replace('/', "\\/"))
            }
        }
    }
}
