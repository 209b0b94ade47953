//! Values that are secret because of where they stand in a message.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::Value;
use serde_json_path::{JsonPath, NormalizedPath};
use shadowcat_protocol::json;

use super::json::{skip_blanks, string_end, value_end};
use super::{Redacted, Redactor};

/// What makes a message one.
const ENVELOPE: [&str; 3] = ["/jsonrpc", "/id", "/method"];
/// What holds everything that could be meant, where the place itself cannot be looked for.
const CONTENT: [&str; 3] = ["/error", "/params", "/result"];

/// Replaces what stands at one of the paths, leaving every other byte alone.
pub(super) fn replace<'a>(redactor: &Redactor, paths: &[JsonPath], text: &'a str) -> Redacted<'a> {
    if paths.is_empty() {
        return Redacted { text: Cow::Borrowed(text), count: 0 };
    }
    let places = places(paths, text);
    let mut search = Search { text, places: &places, found: Vec::new() };
    search.value(skip_blanks(text, 0), &mut String::new());
    let (mut out, mut kept, mut count) = (String::new(), 0, 0);
    for range in search.found {
        let raw = text.get(range.clone()).unwrap_or_default();
        let Some(mark) = redactor.mark_of_value(raw) else { continue };
        out.push_str(text.get(kept..range.start).unwrap_or_default());
        out.push_str(&mark);
        kept = range.end;
        count += 1;
    }
    if count == 0 {
        return Redacted { text: Cow::Borrowed(text), count };
    }
    out.push_str(text.get(kept..).unwrap_or_default());
    Redacted { text: Cow::Owned(out), count }
}

/// The places as JSON pointers.
fn places(paths: &[JsonPath], text: &str) -> BTreeSet<String> {
    let Ok(message) = serde_json::from_str::<Value>(text) else {
        // Deeper than the library follows. Better no content on the tape than a secret.
        return CONTENT.map(str::to_owned).into();
    };
    let mut places = BTreeSet::new();
    for path in paths {
        places.extend(path.query_located(&message).locations().map(NormalizedPath::to_json_pointer));
    }
    places.retain(|pointer| !ENVELOPE.contains(&pointer.as_str()));
    places
}

struct Search<'a> {
    text: &'a str,
    places: &'a BTreeSet<String>,
    found: Vec<Range<usize>>,
}

impl Search<'_> {
    /// Looks at the value that begins here; says where it ends. Goes no deeper than there are places.
    fn value(&mut self, at: usize, pointer: &mut String) -> usize {
        let is_open = matches!(self.text.as_bytes().get(at), Some(b'{' | b'['));
        if self.places.contains(pointer) {
            let end = value_end(self.text, at);
            self.found.push(at..end);
            return end;
        }
        pointer.push('/');
        let is_above =
            self.places.range(pointer.clone()..).next().is_some_and(|place| place.starts_with(&*pointer));
        let end = if is_open && is_above { self.parts(at + 1, pointer) } else { value_end(self.text, at) };
        pointer.pop();
        end
    }

    /// Each member or element of what is open, up to behind its end.
    fn parts(&mut self, mut at: usize, pointer: &mut String) -> usize {
        let above = pointer.len();
        let mut number = 0_usize;
        loop {
            at = skip_blanks(self.text, at);
            match self.text.as_bytes().get(at) {
                None => return at,
                Some(b'}' | b']') => return at + 1,
                Some(b',') => {
                    at += 1;
                    continue;
                }
                Some(_) => {}
            }
            match self.key(at) {
                Some((key, value)) => {
                    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
                    at = value;
                }
                None => pointer.push_str(&number.to_string()),
            }
            number += 1;
            at = self.value(at, pointer);
            pointer.truncate(above);
        }
    }

    /// The key that stands here, if one does, and where its value begins.
    fn key(&self, at: usize) -> Option<(Cow<'_, str>, usize)> {
        let end = (self.text.as_bytes().get(at) == Some(&b'"')).then(|| string_end(self.text, at))?;
        let colon = skip_blanks(self.text, end);
        if self.text.as_bytes().get(colon) != Some(&b':') {
            return None;
        }
        let key = json::string(self.text.get(at..end)?).unwrap_or_default();
        Some((key, skip_blanks(self.text, colon + 1)))
    }
}
