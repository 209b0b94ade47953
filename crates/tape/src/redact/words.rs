//! The first look: one pass over every message for the words without which there is nothing to redact.

use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, Match};

use super::RedactorError;

/// Parts of the names that `keys` knows, and of the parameters of an address. `progressToken` is told apart from the
/// first and `connection` without `string` from the second: they are in many messages that hold no secret, and must not
/// cost each of them the closer look.
const NAMES: &str = r#"token connection secret passw passphrase passcode pwd pass" pass= pass: auth" auth= auth: authorization
    apikey api_key api-key access_key access-key accesskey _key -key key= key" key: credential cookie session sessid
    requeststate request_state jwt dpop otp verifier assertion authcode auth_code devicecode device_code code= state=
    sid= sig= signature \u00"#;
/// How the tokens begin that are known by their shape.
const SHAPES: &str =
    "eyj sk- k_live_ k_test_ ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ xox xapp- akia asia aiza -----begin
    glpat- npm_ pypi- hf_ ya29. sg. dop_v1_ shpat_ hvs. age-secret";
const SCHEMES: &str = "bearer basic negotiate dpop";
/// A slash may be written with an escape in JSON.
const ADDRESSES: [&str; 2] = ["://", r":\/\/"];

const TOKEN: usize = 0;
const CONNECTION: usize = 1;
const HARMLESS_BEFORE_TOKEN: [&str; 2] = ["progress", "max"];
/// Without it behind, a connection is none that opens anything.
const STRING: &[u8] = b"string";

#[derive(Debug)]
pub(super) struct Words {
    automaton: AhoCorasick,
    shapes: Range<usize>,
    schemes: Range<usize>,
}

/// What a text may hold.
#[expect(clippy::struct_excessive_bools, reason = "a set: each is found on its own")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Suspicion {
    pub(super) names: bool,
    pub(super) shapes: bool,
    pub(super) schemes: bool,
    pub(super) addresses: bool,
}

impl Words {
    pub(super) fn new() -> Result<Self, RedactorError> {
        let mut words: Vec<&str> = NAMES.split_ascii_whitespace().collect();
        let names = words.len();
        words.extend(SHAPES.split_ascii_whitespace());
        let shapes = words.len();
        words.extend(SCHEMES.split_ascii_whitespace());
        let schemes = words.len();
        words.extend(ADDRESSES);
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::DFA))
            .build(words)
            .map_err(|cause| RedactorError::Pattern(Box::new(cause)))?;
        Ok(Self { automaton, shapes: names..shapes, schemes: shapes..schemes })
    }

    /// Whether the text is worth a closer look.
    pub(super) fn are_in(&self, text: &str) -> bool {
        self.automaton.find_iter(text).any(|hit| !is_harmless(text, &hit))
    }

    /// What the closer look is for. Overlaps count: `key://` is a name and an address.
    pub(super) fn suspicion(&self, text: &str) -> Suspicion {
        let mut suspicion = Suspicion::default();
        for hit in self.automaton.find_overlapping_iter(text) {
            let word = hit.pattern().as_usize();
            if word < self.shapes.start {
                suspicion.names |= !is_harmless(text, &hit);
            } else if word < self.shapes.end {
                suspicion.shapes = true;
            } else if word < self.schemes.end {
                suspicion.schemes = true;
            } else {
                suspicion.addresses = true;
            }
        }
        suspicion
    }
}

fn is_harmless(text: &str, hit: &Match) -> bool {
    match hit.pattern().as_usize() {
        TOKEN => {
            let before = text.as_bytes().get(..hit.start()).unwrap_or_default();
            HARMLESS_BEFORE_TOKEN.iter().any(|word| {
                let start = before.len().wrapping_sub(word.len());
                before.get(start..).is_some_and(|end| end.eq_ignore_ascii_case(word.as_bytes()))
            })
        }
        CONNECTION => {
            let behind = text.as_bytes().get(hit.end()..).unwrap_or_default();
            let mut letters = behind.iter().skip_while(|byte| !byte.is_ascii_alphanumeric());
            !STRING.iter().all(|letter| letters.next().is_some_and(|byte| byte.eq_ignore_ascii_case(letter)))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_where_they_overlap_and_harmless_ones_are_not() {
        let words = Words::new().unwrap();
        let found = words.suspicion("key://a");
        assert!(found.names && found.addresses && !found.shapes && !found.schemes);
        assert!(words.suspicion("BEARER x").schemes && words.suspicion("ghp_").shapes);
        for harmless in
            ["progressToken", "maxTokens", "connection 1, connection: a string", "all is well", ""]
        {
            assert!(!words.are_in(harmless), "{harmless}");
            assert_eq!(words.suspicion(harmless), Suspicion::default());
        }
        assert!(words.are_in("progressToken and token"));
        for name in ["connectionString", "CONNECTION_STRING", "connection-string", "Connection String"] {
            assert!(words.are_in(name), "{name}");
        }
    }
}
