//! Secrets inside text: tokens that are known by their shape, and values behind a name.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::keys::Names;
use super::words::WORDS;
use super::{MARK_LEN, MARK_OPEN, Redactor, RedactorError, Secrets};

/// Tokens whose shape alone gives them away; all of the match is the secret.
const TOKENS: &str = r"(?x)
    -----BEGIN\ [A-Z0-9\ ]*PRIVATE\ KEY(?:\ BLOCK)?-----(?s:.*?)(?:-----END\ [A-Z0-9\ ]*PRIVATE\ KEY(?:\ BLOCK)?-----|\z)
  | \beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*){0,3}
  | \bsk-[A-Za-z0-9_-]{16,}
  | \b[sr]k_(?:live|test)_[A-Za-z0-9]{10,}
  | \bgh[pousr]_[A-Za-z0-9]{16,}
  | \bgithub_pat_[A-Za-z0-9_]{20,}
  | \bxox[abeoprs]-[A-Za-z0-9-]{8,}
  | \bxapp-[A-Za-z0-9-]{8,}
  | \b(?:AKIA|ASIA)[A-Z0-9]{12,}
  | \bAIza[A-Za-z0-9_-]{20,}
  | \bya29\.[A-Za-z0-9_-]{10,}
  | \bglpat-[A-Za-z0-9_-]{10,}
  | \bnpm_[A-Za-z0-9]{20,}
  | \bpypi-[A-Za-z0-9_-]{16,}
  | \bhf_[A-Za-z0-9]{16,}
  | \bdop_v1_[a-f0-9]{16,}
  | \bshpat_[A-Fa-f0-9]{16,}
  | \bhvs\.[A-Za-z0-9_-]{16,}
  | \bSG\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}
  | \bAGE-SECRET-KEY-1[A-Z0-9]{20,}
";

/// `Bearer abc`: group 1 is the secret.
const SCHEME: &str = r"(?i)\b(?:bearer|basic|dpop|negotiate)\s+([A-Za-z0-9._~+/=-]{6,})";

/// `https://user:pass@host`: group 1 is the secret.
const USER_INFO: &str = r#"://[^\s/:@"'\\]*:([^\s/@"'\\]+)@"#;

/// `?api_key=abc`, also in a form body: group 1 is the name, group 2 the secret.
const PARAMETER: &str = r#"(?i)(?:[?&;\#]|^|\s)([a-z0-9_.%-]{1,64}(?:\[\])?)=([^&\s"'\#<>\\;,]+)"#;

/// The names in [`named`].
const NAMES: &str = r"token|secret|passw(?:or)?d|passphrase|passcode|pwd|authorization|api[_-]?key|access[_-]?key(?:[_-]?id)?
        |secret[_-]?key|private[_-]?key|signing[_-]?key|encryption[_-]?key|shared[_-]?key|auth[_-]?key|credentials?
        |cookies?|session[_-]?id|sessid|request[_-]?state|jwt|dpop|otp|verifier|connection[_-]?string|client[_-]?assertion";

/// `"password": "abc"` in any depth of escapes, `password: abc`, `PASSWORD='abc'`: group 1 is the name, group 2 or 3
/// the secret. A header's value goes to the end of its line.
fn named(names: &str) -> String {
    let value = r#"
    (?: \\*["']? \s* (?:=>|[:=]) \s* \\*["'] ([^"'\\\r\n]+)
      | \\*["']? \s* (?:=>|[:=]) [\ \t]* ((?:(?:bearer|basic|digest|token|negotiate)\ +)? [^\s"'\\,;&<>(){}\[\]]+ (?:;\ *[^\s"'\\;]+=[^\s"'\\;]*)*)
    )"#;
    format!("(?ix) ([a-z0-9_.-]{{0,64}} (?:{names})) {value}")
}

/// The operator's names as they may be written: `internal_id` is also `internalId` and `INTERNAL-ID`.
fn own_names(secrets: &Secrets) -> Option<String> {
    let words = |name: &String| {
        let letters = name.chars().filter(char::is_ascii_alphanumeric);
        letters.map(String::from).collect::<Vec<_>>().join("[_.-]?")
    };
    let names: Vec<_> = secrets.names.iter().map(words).collect();
    (!names.is_empty()).then(|| names.join("|"))
}

/// What stands behind `password:` in code and in prose about types, and is no secret.
const TYPE_WORDS: [&str; 14] = [
    "string",
    "str",
    "number",
    "boolean",
    "bool",
    "null",
    "none",
    "nil",
    "true",
    "false",
    "undefined",
    "required",
    "optional",
    "object",
];

/// Words before the credentials in an `Authorization` header.
const SCHEMES: [&str; 6] = ["bearer", "basic", "digest", "dpop", "negotiate", "token"];

#[derive(Debug)]
pub(super) struct Shapes {
    tokens: Regex,
    scheme: Regex,
    user_info: Regex,
    parameter: Regex,
    named: Regex,
    pub(super) names: Names,
    /// What the operator names.
    own_named: Option<Regex>,
    own: Vec<Regex>,
}

impl Shapes {
    pub(super) fn new(secrets: &Secrets) -> Result<Self, RedactorError> {
        // With the redactor, and not with the first message.
        LazyLock::force(&WORDS);
        let regex = |text: &str| Regex::new(text).map_err(|cause| RedactorError::Pattern(Box::new(cause)));
        Ok(Self {
            tokens: regex(TOKENS)?,
            scheme: regex(SCHEME)?,
            user_info: regex(USER_INFO)?,
            parameter: regex(PARAMETER)?,
            named: regex(&named(NAMES))?,
            names: Names::new(&secrets.names),
            own_named: own_names(secrets).map(|names| regex(&named(&names))).transpose()?,
            own: secrets.patterns.clone(),
        })
    }

    /// Whether the text is worth a closer look. One pass, for every message of the proxy.
    pub(super) fn is_suspect(&self, text: &[u8]) -> bool {
        self.own_named.is_some() || !self.own.is_empty() || WORDS.are_in(text)
    }

    /// Whether one of the operator's own patterns fits a piece of it.
    pub(super) fn fits_own(&self, text: &str) -> bool {
        self.own.iter().any(|pattern| pattern.is_match(text))
    }

    /// The text with every secret in it replaced by what `mark` makes of it. Tokens go first: what is behind a name
    /// may be one that holds blanks and line ends.
    pub(super) fn replace<'a>(&self, text: &'a str, mark: &mut impl FnMut(&str) -> String) -> Cow<'a, str> {
        let suspicion = WORDS.suspicion(text);
        let equals = memchr::memchr(b'=', text.as_bytes()).is_some();
        let assigns = equals || memchr::memchr(b':', text.as_bytes()).is_some();
        let mut text = Cow::Borrowed(text);
        if suspicion.shapes {
            replace(&mut text, &self.tokens, mark, |text, found| fresh(text, group(found, 0)));
        }
        if suspicion.schemes {
            replace(&mut text, &self.scheme, mark, |text, found| fresh(text, behind_a_scheme(found)));
        }
        if suspicion.addresses {
            replace(&mut text, &self.user_info, mark, |text, found| fresh(text, group(found, 1)));
        }
        if (suspicion.names || self.own_named.is_some()) && equals {
            replace(&mut text, &self.parameter, mark, |text, found| fresh(text, self.in_a_parameter(found)));
        }
        if suspicion.names && assigns {
            replace(&mut text, &self.named, mark, |text, found| fresh(text, self.behind_a_name(found)));
        }
        if let Some(own_named) = self.own_named.as_ref().filter(|_| assigns) {
            replace(&mut text, own_named, mark, |text, found| fresh(text, self.behind_a_name(found)));
        }
        for own in &self.own {
            replace(&mut text, own, mark, |text, found| {
                beside_marks(text, group(found, usize::from(found.len() > 1))?)
            });
        }
        text
    }

    fn in_a_parameter(&self, found: &Captures<'_>) -> Option<Range<usize>> {
        let name = found.get(1)?.as_str();
        if self.names.are_of_secrets(name) || is_secret_parameter(name) { group(found, 2) } else { None }
    }

    fn behind_a_name(&self, found: &Captures<'_>) -> Option<Range<usize>> {
        if !self.names.are_of_secrets(found.get(1)?.as_str()) {
            return None;
        }
        group(found, 2).or_else(|| group(found, 3).filter(|_| !is_plain_word(found)))
    }
}

fn behind_a_scheme(found: &Captures<'_>) -> Option<Range<usize>> {
    group(found, 1).filter(|_| looks_random(found.get(1).map_or("", |value| value.as_str())))
}

/// The secret without the word before it that says what it is, so that it is equal to the same secret elsewhere.
pub(super) fn without_scheme(secret: &str) -> &str {
    match secret.split_once(' ') {
        Some((scheme, rest))
            if ["bearer", "basic", "dpop", "token"]
                .iter()
                .any(|known| scheme.eq_ignore_ascii_case(known)) =>
        {
            rest.trim_start()
        }
        _ => secret,
    }
}

/// Replaces the range that `secret` picks of each match; a mark that is already there stays.
fn replace(
    text: &mut Cow<'_, str>,
    pattern: &Regex,
    mark: &mut impl FnMut(&str) -> String,
    secret: impl Fn(&str, &Captures<'_>) -> Option<Range<usize>>,
) {
    let mut changed = String::new();
    let mut kept = 0;
    let mut from = 0;
    while let Some(found) = pattern.captures_at(text, from) {
        let all = found.get(0).map_or(from..from, |all| all.range());
        from = all.end.max(from + 1);
        let Some(range) = secret(text, &found).filter(|range| !range.is_empty()) else { continue };
        let value = text.get(range.clone()).unwrap_or_default();
        from = from.max(range.end);
        changed.push_str(text.get(kept..range.start).unwrap_or_default());
        changed.push_str(&mark(value));
        kept = range.end;
    }
    if kept > 0 {
        changed.push_str(text.get(kept..).unwrap_or_default());
        *text = Cow::Owned(changed);
    }
}

/// The range, or none if a mark stands there: what is known to be secret ends where a mark begins.
fn fresh(text: &str, range: Option<Range<usize>>) -> Option<Range<usize>> {
    range.filter(|range| text.get(range.clone()).is_some_and(|value| !value.starts_with(MARK_OPEN)))
}

/// The same for patterns that nobody here has written. A mark that reaches into the range goes as a whole.
fn beside_marks(text: &str, mut range: Range<usize>) -> Option<Range<usize>> {
    let from = range.start.saturating_sub(MARK_LEN);
    let near = text.as_bytes().get(from..text.len().min(range.end + MARK_LEN))?;
    for start in memchr::memmem::find_iter(near, MARK_OPEN) {
        let mark = from + start..from + start + MARK_LEN;
        if !text.get(mark.clone()).is_some_and(Redactor::is_mark)
            || mark.end <= range.start
            || range.end <= mark.start
        {
            continue;
        }
        if mark.start <= range.start && range.end <= mark.end {
            return None;
        }
        range = range.start.min(mark.start)..range.end.max(mark.end);
    }
    Some(range)
}

fn group(found: &Captures<'_>, index: usize) -> Option<Range<usize>> {
    found.get(index).map(|group| group.range())
}

/// `Basic understanding` is prose: a token has a digit, a sign, or capitals in other places than the first.
fn looks_random(value: &str) -> bool {
    value.len() >= 20 || value.chars().skip(1).any(|c| !c.is_ascii_lowercase())
}

/// Names that are a secret only in an address.
fn is_secret_parameter(name: &str) -> bool {
    ["key", "code", "sig", "signature", "state", "sid"].iter().any(|known| name.eq_ignore_ascii_case(known))
        || name.to_ascii_lowercase().ends_with("-signature")
}

/// Types, and the word before a token that is already replaced.
fn is_plain_word(found: &Captures<'_>) -> bool {
    let value = found.get(3).map_or("", |value| value.as_str());
    TYPE_WORDS.iter().chain(&SCHEMES).any(|word| value.eq_ignore_ascii_case(word))
}
