//! The first look: one pass over every message for the words without which there is nothing to redact.

use std::ops::Range;

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

/// How many bytes of a word are looked up; no word is shorter.
const HEAD: usize = 3;
/// As many heads as there are: five bits of each byte, in which a letter is the same in both cases.
const HEADS: usize = 1 << (5 * HEAD);

/// The words, and a bit for each head that one of them has: most places of most texts cost one look at these bits. An
/// automaton takes twice the time for the same, and this is the better part of what it costs to record a message.
#[derive(Debug)]
pub(super) struct Words {
    heads: Box<[u64; HEADS / 64]>,
    /// By their heads.
    list: Vec<(usize, Word)>,
    kinds: Kinds,
}

#[derive(Clone, Copy, Debug)]
struct Word {
    number: usize,
    text: &'static [u8],
}

/// Which words are of a kind, by their numbers; those before are names, those behind are addresses.
#[derive(Debug)]
struct Kinds {
    shapes: Range<usize>,
    schemes: Range<usize>,
}

/// A word that was found.
struct Hit {
    number: usize,
    at: Range<usize>,
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
    pub(super) fn new() -> Self {
        let mut all: Vec<&'static str> = NAMES.split_ascii_whitespace().collect();
        let names = all.len();
        all.extend(SHAPES.split_ascii_whitespace());
        let shapes = all.len();
        all.extend(SCHEMES.split_ascii_whitespace());
        let schemes = all.len();
        all.extend(ADDRESSES);
        let mut list = Vec::with_capacity(all.len());
        let mut heads = Box::new([0; HEADS / 64]);
        for (number, text) in all.into_iter().enumerate() {
            let text = text.as_bytes();
            let Some(head) = text.first_chunk().copied().map(head) else { continue };
            if let Some(bits) = heads.get_mut(head / 64) {
                *bits |= 1 << (head % 64);
            }
            list.push((head, Word { number, text }));
        }
        list.sort_by_key(|(head, _)| *head);
        Self { heads, list, kinds: Kinds { shapes: names..shapes, schemes: shapes..schemes } }
    }

    /// Whether the text is worth a closer look.
    pub(super) fn are_in(&self, text: &str) -> bool {
        self.hits(text).any(|hit| !is_harmless(text, &hit))
    }

    /// What the closer look is for. Overlaps count: `key://` is a name and an address.
    pub(super) fn suspicion(&self, text: &str) -> Suspicion {
        let mut suspicion = Suspicion::default();
        for hit in self.hits(text) {
            if hit.number < self.kinds.shapes.start {
                suspicion.names |= !is_harmless(text, &hit);
            } else if hit.number < self.kinds.shapes.end {
                suspicion.shapes = true;
            } else if hit.number < self.kinds.schemes.end {
                suspicion.schemes = true;
            } else {
                suspicion.addresses = true;
            }
        }
        suspicion
    }

    /// Every word at every place, whatever its case.
    fn hits<'t>(&'t self, text: &'t str) -> impl Iterator<Item = Hit> + 't {
        let text = text.as_bytes();
        let places = text.array_windows::<HEAD>().copied().map(head).enumerate();
        places.filter(|(_, head)| self.is_head(*head)).flat_map(move |(start, head)| {
            let from = self.list.partition_point(|(other, _)| *other < head);
            let same = self.list.iter().skip(from).take_while(move |(other, _)| *other == head);
            same.filter_map(move |(_, word)| {
                let at = start..start + word.text.len();
                let found = text.get(at.clone())?.eq_ignore_ascii_case(word.text);
                found.then_some(Hit { number: word.number, at })
            })
        })
    }

    fn is_head(&self, head: usize) -> bool {
        self.heads.get(head / 64).is_some_and(|bits| bits >> (head % 64) & 1 == 1)
    }
}

fn head(bytes: [u8; HEAD]) -> usize {
    bytes.iter().fold(0, |head, byte| head << 5 | usize::from(byte & 31))
}

fn is_harmless(text: &str, hit: &Hit) -> bool {
    match hit.number {
        TOKEN => {
            let before = text.as_bytes().get(..hit.at.start).unwrap_or_default();
            HARMLESS_BEFORE_TOKEN.iter().any(|word| {
                let start = before.len().wrapping_sub(word.len());
                before.get(start..).is_some_and(|end| end.eq_ignore_ascii_case(word.as_bytes()))
            })
        }
        CONNECTION => {
            let behind = text.as_bytes().get(hit.at.end..).unwrap_or_default();
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
        let words = Words::new();
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
        let all = [NAMES, SHAPES, SCHEMES].into_iter().flat_map(str::split_ascii_whitespace).chain(ADDRESSES);
        for word in all.filter(|word| *word != "connection") {
            for text in [format!("a {word} b"), word.to_ascii_uppercase(), format!("\u{e9}{word}")] {
                assert!(words.are_in(&text), "{text}");
            }
        }
        for name in ["connectionString", "CONNECTION_STRING", "connection-string", "Connection String"] {
            assert!(words.are_in(name), "{name}");
        }
    }
}
