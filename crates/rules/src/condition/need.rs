//! What a message needs to have in its content to fit a condition, told before any message is looked at.

use aho_corasick::AhoCorasick;
use memchr::memmem::Finder;
use regex_syntax::hir::literal::{ExtractKind, Extractor};

use super::{Condition, Path, Root};
use crate::strict::has_escapes;

/// Pieces of one rule at most: what begins with one of many texts is not told apart by them.
const PIECES_MAX: usize = 64;
/// Bytes of each piece where there are too many: `(?i)` makes two of every letter.
const SHORT_PIECE: usize = 4;

/// A condition only holds if the one value at this place is a text, or a list, that has one of these pieces in it.
#[derive(Debug)]
pub(crate) struct Need<'c> {
    pub(crate) root: Root,
    pub(crate) path: &'c Path,
    /// None is empty.
    pub(crate) pieces: Vec<Vec<u8>>,
}

impl Condition {
    /// One of its needs, if there is any that can be told.
    pub(crate) fn need(&self) -> Option<Need<'_>> {
        match self {
            Self::Content(root, path, demand) => {
                let pieces = demand.needs().filter(|_| path.only_place().is_some())?;
                Some(Need { root: *root, path, pieces })
            }
            Self::All(parts) => parts.iter().find_map(Self::need),
            _ => None,
        }
    }
}

/// Pieces that are looked for in what nobody has read yet.
#[derive(Debug)]
pub(super) enum Pieces {
    One(Box<Finder<'static>>),
    Many(AhoCorasick),
}

impl Pieces {
    /// None where they cannot be searched for in JSON: it has another form for what is in them.
    pub(super) fn new(pieces: &[Vec<u8>]) -> Option<Self> {
        let is_escaped = |byte: &u8| matches!(byte, ..b' ' | b'"' | b'\\');
        if pieces.iter().flatten().any(is_escaped) {
            return None;
        }
        if let [piece] = pieces {
            return Some(Self::One(Box::new(Finder::new(piece).into_owned())));
        }
        AhoCorasick::new(pieces).ok().map(Self::Many)
    }

    /// Whether none of them is in any string of this JSON text.
    pub(super) fn are_missing_in(&self, text: &str) -> bool {
        let are_there = match self {
            Self::One(piece) => piece.find(text.as_bytes()).is_some(),
            Self::Many(pieces) => pieces.is_match(text),
        };
        // Anything can also be written with `\u`, and `/` as `\/`.
        !are_there && !has_escapes(text, &[r"\u", r"\/"])
    }
}

/// Texts of which every text that a regular expression matches has one in it.
pub(super) fn of_regex(source: &str) -> Option<Vec<Vec<u8>>> {
    let hir = regex_syntax::parse(source).ok()?;
    [ExtractKind::Prefix, ExtractKind::Suffix].into_iter().find_map(|kind| {
        let mut found = Extractor::new().kind(kind.clone()).extract(&hir);
        if found.len().is_some_and(|len| len > PIECES_MAX) {
            match kind {
                ExtractKind::Prefix => found.keep_first_bytes(SHORT_PIECE),
                _ => found.keep_last_bytes(SHORT_PIECE),
            }
        }
        let mut pieces: Vec<Vec<u8>> =
            found.literals()?.iter().map(|piece| piece.as_bytes().to_vec()).collect();
        pieces.sort_unstable();
        pieces.dedup();
        let can_tell =
            (1..=PIECES_MAX).contains(&pieces.len()) && pieces.iter().all(|piece| !piece.is_empty());
        can_tell.then_some(pieces)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(source: &str) -> Option<Vec<String>> {
        let texts = |pieces: Vec<Vec<u8>>| pieces.into_iter().map(|piece| String::from_utf8(piece).unwrap());
        of_regex(source).map(|pieces| texts(pieces).collect())
    }

    #[test]
    fn a_piece_can_be_missing_only_where_no_escape_could_hide_it() {
        let pieces = Pieces::new(&[b"/etc/".to_vec()]).unwrap();
        assert!(pieces.are_missing_in(r#"{"a":"/home/etc","b":"\n"}"#));
        for there in [r#"["/etc/x"]"#, r#"["\/etc\/x"]"#, r#"["\u002fetc/x"]"#] {
            assert!(!pieces.are_missing_in(there), "{there}");
        }
        let many = Pieces::new(&["/etc/".into(), "/root/".into()]).unwrap();
        assert!(many.are_missing_in(r#"["/home/"]"#) && !many.are_missing_in(r#"["/root/"]"#));
        for piece in ["a\nb", "\"", "\\"] {
            assert!(Pieces::new(&[piece.into()]).is_none(), "{piece}");
        }
    }

    #[test]
    fn every_match_has_one_of_the_pieces_in_it() {
        let some = |pieces: &[&str]| Some(pieces.iter().map(|piece| (*piece).to_owned()).collect());
        assert_eq!(pieces("^/etc/"), some(&["/etc/"]));
        assert_eq!(pieces(r"\.(pem|key)$"), some(&[".key", ".pem"]));
        assert_eq!(pieces(r"\d+\.exe$"), some(&[".exe"]));
        assert_eq!(pieces(r".*\.exe"), some(&[".exe"]));
        assert_eq!(pieces("(?i)ab").map(|pieces| pieces.len()), Some(4));
        let many = of_regex("(?i)previous(ly given)? instructions").unwrap();
        assert!(many.len() <= PIECES_MAX && many.contains(&b"PreV".to_vec()), "{many:?}");
        for source in ["", ".*", "a*", "x|", r"\w+", r"^$", "[^a]"] {
            assert_eq!(pieces(source), None, "{source}");
        }
    }
}
