//! No open ends: a word that promises work later names the issue that holds the promise.

use super::Source;

/// Spelt in two halves, so that this file keeps its own rule.
const WORDS: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];

/// Reports each such word without an issue number behind it, as in `(#12)`.
pub(super) fn faults(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources {
        for (index, line) in source.text.lines().enumerate() {
            if WORDS.iter().any(|word| is_open(line, word)) {
                faults.push(format!(
                    "{}:{} promises work without an issue number",
                    source.path.display(),
                    index + 1
                ));
            }
        }
    }
    faults
}

fn is_open(line: &str, word: &str) -> bool {
    line.split_once(word).is_some_and(|(_, after)| {
        !after.strip_prefix("(#").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_needs_an_issue() {
        let [word, _] = WORDS;
        assert!(is_open(&format!("// {word}: later"), word));
        assert!(!is_open(&format!("// {word}(#12): later"), word));
        assert!(!is_open("// done", word));
    }
}
