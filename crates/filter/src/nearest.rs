//! The word that was probably meant by a wrong one.

/// Words less like the written one than this are no suggestion: by a common beginning, which longer words share, or by
/// how many letters are wrong or swapped, which tells more about short ones.
const BEGINNING_MIN: f64 = 0.7;
const EDITS_MIN: f64 = 0.66;

/// The known word that was probably meant.
pub fn nearest<'w>(written: &str, words: &[&'w str]) -> Option<&'w str> {
    let written = written.to_lowercase();
    let by_beginning = |word: &str| strsim::jaro_winkler(&written, word);
    let by_edits = |word: &str| strsim::normalized_damerau_levenshtein(&written, word);
    let likeness = |word: &str| by_beginning(word).max(by_edits(word));
    let best = words.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (by_beginning(best) >= BEGINNING_MIN || by_edits(best) >= EDITS_MIN).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_word_has_a_nearest_right_one_or_none() {
        assert_eq!(nearest("Upstrem", &["listen", "upstream"]), Some("upstream"));
        assert_eq!(nearest("xyzzy", &["listen", "upstream"]), None);
        assert_eq!(nearest("any", &[]), None);
    }
}
