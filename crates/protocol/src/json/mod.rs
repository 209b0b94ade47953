//! Reading and quoting of raw JSON text, without building a tree.
//!
//! A value here is a piece of its sender's text. Where an object repeats a key, the last one counts, as it does for
//! the parsers of JavaScript, Python and Rust; messages with repeated keys of their own are refused elsewhere.

mod canonical;
pub mod edit;
mod key;
mod layout;
mod scan;

use std::borrow::Cow;

use crate::span::Span;
pub use canonical::canonical;
pub(crate) use key::Key;
pub use layout::{compact, indented};
pub(crate) use scan::{Fault, Scanner};

/// For text that is a part of a message and so within the message's limit already.
const DEPTH_MAX: usize = 128;

/// The raw text of a member, found by walking objects; the text itself for an empty path.
pub fn get<'a>(text: &'a str, path: &[&str]) -> Option<&'a str> {
    path.iter().try_fold(trim(text), |object, name| {
        members(object).filter(|(key, _)| key == name).last().map(|(_, value)| value)
    })
}

/// The text of a JSON string; none if this is no string, or one with half a surrogate pair.
pub fn string(raw: &str) -> Option<Cow<'_, str>> {
    let raw = trim(raw);
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if is_plain(inner) {
        return Some(Cow::Borrowed(inner));
    }
    if !is_value(raw) {
        return None;
    }
    unescape(inner).map(Cow::Owned)
}

/// Whether a text stands for itself between the quotes of a JSON string.
pub fn is_plain(text: &str) -> bool {
    scan::plain_len(text.as_bytes()) == text.len()
}

/// A JSON string of this text.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    let (plain, rest) = text.split_at(scan::plain_len(text.as_bytes()));
    quoted.push_str(plain);
    for c in rest.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c < ' ' => {
                quoted.push_str(if c < '\u{10}' { "\\u000" } else { "\\u001" });
                quoted.extend(char::from_digit(u32::from(c) % 16, 16));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// The raw elements of an array; none for anything else. Ends at the first fault.
pub fn elements(raw_array: &str) -> impl Iterator<Item = &str> {
    let mut scanner = Scanner::new(raw_array, DEPTH_MAX);
    let mut more = scanner.enter(b'[').is_ok();
    let mut first = true;
    std::iter::from_fn(move || {
        more = more && scanner.next_element(first).unwrap_or(false);
        first = false;
        if !more {
            return None;
        }
        let element = scanner.value().ok();
        more = element.is_some();
        element.map(|span| span.of(raw_array))
    })
}

/// The keys, decoded, and raw values of an object; none for anything else. Ends at the first fault.
///
/// A key with half a surrogate pair is passed over: it equals nothing that could be looked for.
pub fn members(raw_object: &str) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
    let mut scanner = Scanner::new(raw_object, DEPTH_MAX);
    let mut more = scanner.enter(b'{').is_ok();
    let mut first = true;
    std::iter::from_fn(move || {
        while more {
            let member = next_member(&mut scanner, first);
            first = false;
            more = member.is_some();
            let (key, value) = member?;
            if let Some(key) = key_text(raw_object, key) {
                return Some((key, value.of(raw_object)));
            }
        }
        None
    })
}

/// Where a member of an object has its value; none where it is missing, or there more than once.
pub(crate) fn place(raw_object: &str, name: &str) -> Option<Span> {
    let mut scanner = Scanner::new(raw_object, DEPTH_MAX);
    scanner.enter(b'{').ok()?;
    let mut found = None;
    let mut first = true;
    while let Some((key, value)) = next_member(&mut scanner, first) {
        first = false;
        let is_meant = key_text(raw_object, key).is_some_and(|key| key == name);
        if is_meant && found.replace(value).is_some() {
            return None;
        }
    }
    found
}

fn next_member(scanner: &mut Scanner<'_>, first: bool) -> Option<(Span, Span)> {
    let key = scanner.next_key(first).ok()??;
    let value = scanner.value().ok()?;
    Some((key, value))
}

/// The text of a key that the scanner passed in this text.
#[inline]
pub(crate) fn key_text(text: &str, key: Span) -> Option<Cow<'_, str>> {
    let (start, end) = (key.start() + 1, key.end().checked_sub(1)?);
    let inner = text.get(start..end)?;
    // Read on behind the key, because whole words are quicker than what is left of one.
    let plain = text.as_bytes().get(start..).map_or(0, scan::plain_len);
    if plain < inner.len() { unescape(inner).map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// Whether the text is exactly one JSON value.
pub fn is_value(text: &str) -> bool {
    let mut scanner = Scanner::new(text, DEPTH_MAX);
    scanner.value().is_ok() && scanner.end().is_ok()
}

pub(crate) fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) && is_value(text)
}

/// Without the blanks of JSON around it, which are fewer than those of Unicode.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r'])
}

/// Decodes what stands between the quotes of a valid JSON string.
fn unescape(inner: &str) -> Option<String> {
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        text.push_str(plain);
        let (c, behind) = escaped_char(escaped)?;
        text.push(c);
        rest = behind;
    }
    text.push_str(rest);
    Some(text)
}

/// The character that an escape stands for, and what follows it.
fn escaped_char(escaped: &str) -> Option<(char, &str)> {
    let behind = escaped.get(1..)?;
    let c = match escaped.as_bytes().first()? {
        b'u' => return escaped_unicode(behind),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        itself => char::from(*itself),
    };
    Some((c, behind))
}

fn escaped_unicode(digits: &str) -> Option<(char, &str)> {
    let (unit, behind) = code_unit(digits)?;
    if let Some(c) = char::from_u32(unit) {
        return Some((c, behind));
    }
    let (second, behind) = code_unit(behind.strip_prefix("\\u")?)?;
    let pair = [u16::try_from(unit).ok()?, u16::try_from(second).ok()?];
    let c = char::decode_utf16(pair).next()?.ok()?;
    Some((c, behind))
}

fn code_unit(digits: &str) -> Option<(u32, &str)> {
    let unit = u32::from_str_radix(digits.get(..4)?, 16).ok()?;
    Some((unit, digits.get(4..)?))
}

#[cfg(test)]
mod tests;
