//! Walks the text of a message once and replaces what must go, leaving every other byte alone.

use std::borrow::Cow;

use shadowcat_protocol::json;

use super::{Redacted, Redactor, keys};

/// What makes a message one goes under these names, and is no secret because of them.
const ENVELOPE: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
/// JSON inside the strings of JSON is followed this far.
const NESTING_MAX: usize = 4;

/// Redacts valid JSON.
pub(super) fn redact<'a>(redactor: &Redactor, text: &'a str) -> Redacted<'a> {
    nested(redactor, text, 0)
}

fn nested<'a>(redactor: &Redactor, text: &'a str, nesting: usize) -> Redacted<'a> {
    let mut walk =
        Walk { redactor, text, nesting, out: String::new(), kept: 0, at: 0, open: Vec::new(), count: 0 };
    walk.run();
    let (count, mut out) = (walk.count, walk.out);
    if count == 0 {
        return Redacted { text: Cow::Borrowed(text), count };
    }
    out.push_str(text.get(walk.kept..).unwrap_or_default());
    Redacted { text: Cow::Owned(out), count }
}

struct Walk<'r, 'a> {
    redactor: &'r Redactor,
    text: &'a str,
    nesting: usize,
    out: String,
    /// Everything before this is in `out`.
    kept: usize,
    at: usize,
    open: Vec<Level>,
    count: u32,
}

/// An object or array that is open. The depth of a message is limited before it gets here.
#[derive(Default)]
struct Level {
    /// The members are definitions of a schema, by their names.
    schemas: bool,
    /// This is the definition of something secret.
    of_secret: bool,
    /// `{"name":"Authorization","value":...}`: the next `value` is a secret.
    value_is_secret: bool,
}

impl Walk<'_, '_> {
    fn run(&mut self) {
        while let Some(byte) = self.text.as_bytes().get(self.at).copied() {
            match byte {
                b'{' | b'[' => {
                    self.open.push(Level::default());
                    self.at += 1;
                }
                b'}' | b']' => {
                    self.open.pop();
                    self.at += 1;
                }
                b'"' => self.string(),
                b'-' | b'0'..=b'9' => self.number(),
                _ => self.at += 1,
            }
        }
    }

    /// A string is a key when a colon follows it.
    fn string(&mut self) {
        let start = self.at;
        let end = string_end(self.text, start);
        let colon = skip_blanks(self.text, end);
        self.at = end;
        if self.text.as_bytes().get(colon) != Some(&b':') {
            self.value(start, end);
            return;
        }
        let key = json::string(self.text.get(start..end).unwrap_or_default()).unwrap_or_default();
        self.value(start, end);
        self.at = skip_blanks(self.text, colon + 1);
        self.member(&key);
    }

    /// Decides by the key; `at` is at the value.
    fn member(&mut self, key: &str) {
        let value = self.text.as_bytes().get(self.at).copied();
        if self.nesting == 0 && self.open.len() == 1 && ENVELOPE.contains(&key) {
            if key == "id" && value != Some(b'"') {
                self.at = value_end(self.text, self.at);
            }
            return;
        }
        let level = self.open.last();
        let in_schemas = level.is_some_and(|level| level.schemas);
        let secret = self.redactor.shapes.names.are_of_secrets(key);
        if in_schemas && value == Some(b'{') {
            self.enter(Level { of_secret: secret, ..Level::default() });
        } else if secret
            || level.is_some_and(|level| level.of_secret && keys::is_schema_value(key))
            || level.is_some_and(|level| level.value_is_secret && key.eq_ignore_ascii_case("value"))
        {
            self.replace_value();
        } else if value == Some(b'{') && keys::holds_schemas(key) {
            self.enter(Level { schemas: true, ..Level::default() });
        } else if value == Some(b'"') && keys::names_its_sibling(key) {
            self.note_name();
        }
    }

    fn enter(&mut self, level: Level) {
        self.open.push(level);
        self.at += 1;
    }

    fn note_name(&mut self) {
        let raw = self.text.get(self.at..string_end(self.text, self.at)).unwrap_or_default();
        let secret = json::string(raw).is_some_and(|name| self.redactor.shapes.names.are_of_secrets(&name));
        if let Some(level) = self.open.last_mut() {
            level.value_is_secret = secret;
        }
    }

    /// The whole value goes, but for those that tell nothing: `null`, booleans, and what is empty.
    fn replace_value(&mut self) {
        let start = self.at;
        self.at = value_end(self.text, start);
        if !matches!(self.text.get(start..self.at), Some("true" | "false")) {
            self.replace(start, self.at);
        }
    }

    /// A number is looked at only for the operator's own patterns.
    fn number(&mut self) {
        let start = self.at;
        self.at = value_end(self.text, start);
        let raw = self.text.get(start..self.at).unwrap_or_default();
        if self.redactor.shapes.fits_own(raw) {
            self.replace(start, self.at);
        }
    }

    fn replace(&mut self, start: usize, end: usize) {
        let raw = self.text.get(start..end).unwrap_or_default();
        if let Some(mark) = self.redactor.mark_of_value(raw) {
            self.count += 1;
            self.splice(start, end, &mark);
        }
    }

    /// A string that is not under a secret's name: what is inside it counts.
    fn value(&mut self, start: usize, end: usize) {
        let raw = self.text.get(start..end).unwrap_or_default();
        let inner = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
        if !inner.contains('\\') {
            let redacted = self.redactor.text(inner);
            if redacted.count > 0 {
                self.count += redacted.count;
                self.splice(start + 1, end - 1, &redacted.text);
            }
            return;
        }
        // Half a surrogate pair has no decoded form; the escapes are then read as they stand.
        let decoded = json::string(raw).unwrap_or(Cow::Borrowed(inner));
        let redacted = self.decoded(&decoded);
        if redacted.count > 0 {
            self.count += redacted.count;
            self.splice(start, end, &json::quote(&redacted.text));
        }
    }

    fn decoded<'t>(&self, text: &'t str) -> Redacted<'t> {
        let is_json = text.trim_start().starts_with(['{', '[', '"'])
            && self.nesting < NESTING_MAX
            && self.redactor.shapes.is_suspect(text.as_bytes())
            && json::is_value(text);
        if is_json { nested(self.redactor, text, self.nesting + 1) } else { self.redactor.text(text) }
    }

    fn splice(&mut self, start: usize, end: usize, replacement: &str) {
        self.out.push_str(self.text.get(self.kept..start).unwrap_or_default());
        self.out.push_str(replacement);
        self.kept = end;
    }
}

/// Where the string that opens at `start` is over.
pub(super) fn string_end(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// Where the value that begins at `start` is over.
pub(super) fn value_end(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (start, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = string_end(text, at),
            b'{' | b'[' => (at, depth) = (at + 1, depth + 1),
            b'}' | b']' | b',' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => return at,
            b'}' | b']' => (at, depth) = (at + 1, depth - 1),
            _ => at += 1,
        }
        if depth == 0 && matches!(bytes.get(at.wrapping_sub(1)), Some(b'"' | b'}' | b']')) {
            return at;
        }
    }
    text.len()
}

pub(super) fn skip_blanks(text: &str, from: usize) -> usize {
    let blanks = text.as_bytes().get(from..).unwrap_or_default();
    from + blanks.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count()
}
