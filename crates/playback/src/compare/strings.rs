//! What a string may hold: marks in place of secrets, and JSON.

use serde_json::Value;

/// Texts longer than this are not looked into.
const JSON_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Whether a live text is one of those that a text with marks in place of secrets may have been.
pub(super) fn fits_marks(tape: &str, live: &str) -> bool {
    let mut pieces = pieces(tape).into_iter();
    let Some(first) = pieces.next() else { return tape == live };
    let Some(mut rest) = live.strip_prefix(first) else { return false };
    let mut last = None;
    for piece in pieces {
        if let Some(between) = last.replace(piece) {
            let Some((_, behind)) = rest.split_once(between) else { return false };
            rest = behind;
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}

/// What stands between the marks.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("[redacted:") {
        let Some((_, behind)) = behind.split_once(']') else { break };
        pieces.push(before);
        rest = behind;
    }
    pieces.push(rest);
    pieces
}

/// The object or array that a text is.
pub(super) fn json_in(text: &str) -> Option<Value> {
    let begins = text.trim_start().starts_with(['{', '[']);
    if !begins || text.len() > JSON_BYTES_MAX {
        return None;
    }
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_stands_for_any_secret_and_for_nothing_else() {
        let tape = "user=ann token=[redacted:0123456789ab] host=[redacted:aaaaaaaaaaaa].org";
        assert!(fits_marks(tape, "user=ann token=abc host=example.org"));
        assert!(!fits_marks(tape, "user=bob token=abc host=example.org"));
        assert!(!fits_marks(tape, "user=ann token=abc host=example.com"));
        assert!(fits_marks("[redacted:0123456789ab]", "anything"));
        assert!(fits_marks("plain", "plain") && !fits_marks("plain", "plainer"));
    }
}
