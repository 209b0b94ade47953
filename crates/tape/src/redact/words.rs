//! The first look: one pass over every message for the words without which there is nothing to redact.

use std::ops::ControlFlow::{self, Break, Continue};
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
/// How many bytes the first look takes at once, at every second place: the head of a word and one byte before it or
/// behind it.
const NEAR: usize = HEAD + 1;
/// Texts are read in blocks of so many bytes, which begin so far apart that each place is in the first look of one.
const BLOCK: usize = 8;
const STEP: usize = BLOCK - NEAR + 2;
/// How many places the two tables have; powers of two. Few of them are taken.
const NEAR_PLACES: usize = 1 << 17;
const HEAD_PLACES: usize = 1 << 12;
/// No word has its head at this place.
const NONE: u8 = u8::MAX;

/// The words, and a bit for each piece of text that the head of one of them can be in: most pieces of most texts cost one
/// look at these bits. An automaton takes several times as long for the same, and this is the better part of what it
/// costs to record a message.
#[derive(Debug)]
pub(super) struct Words {
    near: Box<[u64; NEAR_PLACES / 64]>,
    /// The first word of the list whose head has this place.
    heads: Box<[u8; HEAD_PLACES]>,
    /// By the places of their heads.
    list: Vec<Word>,
    kinds: Kinds,
}

#[derive(Clone, Copy, Debug)]
struct Word {
    place: usize,
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
        let mut near = Box::new([0; NEAR_PLACES / 64]);
        let mut list = Vec::with_capacity(all.len());
        for (number, text) in all.into_iter().enumerate() {
            let text = text.as_bytes();
            let Some(head) = text.first_chunk().copied().map(folded) else { continue };
            for piece in pieces_with(head, text.get(HEAD)) {
                let place = place::<NEAR_PLACES>(piece);
                if let Some(bits) = near.get_mut(place / 64) {
                    *bits |= 1 << (place % 64);
                }
            }
            list.push(Word { place: place::<HEAD_PLACES>(head), number, text });
        }
        list.sort_by_key(|word| word.place);
        let mut heads = Box::new([NONE; HEAD_PLACES]);
        for (first, word) in (0..NONE).zip(&list).rev() {
            if let Some(head) = heads.get_mut(word.place) {
                *head = first;
            }
        }
        Self { near, heads, list, kinds: Kinds { shapes: names..shapes, schemes: shapes..schemes } }
    }

    /// Whether the text is worth a closer look.
    pub(super) fn are_in(&self, text: &[u8]) -> bool {
        self.find(text, |hit| if is_harmless(text, &hit) { Continue(()) } else { Break(()) }).is_break()
    }

    /// What the closer look is for. Overlaps count: `key://` is a name and an address.
    pub(super) fn suspicion(&self, text: &str) -> Suspicion {
        let text = text.as_bytes();
        let mut suspicion = Suspicion::default();
        let _all: ControlFlow<()> = self.find(text, |hit| {
            if hit.number < self.kinds.shapes.start {
                suspicion.names |= !is_harmless(text, &hit);
            } else if hit.number < self.kinds.shapes.end {
                suspicion.shapes = true;
            } else if hit.number < self.kinds.schemes.end {
                suspicion.schemes = true;
            } else {
                suspicion.addresses = true;
            }
            Continue(())
        });
        suspicion
    }

    /// Every word at every place, whatever its case. Loops and not iterators, which take twice as long for it.
    fn find(&self, text: &[u8], mut found: impl FnMut(Hit) -> ControlFlow<()>) -> ControlFlow<()> {
        let (mut start, mut near) = self.next_near(text, 0);
        while near != 0 {
            let first = start + 2 * near.trailing_zeros() as usize;
            self.find_at(text, first, &mut found)?;
            self.find_at(text, first + 1, &mut found)?;
            near &= near - 1;
            if near == 0 {
                (start, near) = self.next_near(text, start + STEP);
            }
        }
        (start..text.len()).try_for_each(|start| self.find_at(text, start, &mut found))
    }

    /// Where the next block begins that is near a word, and where in it; or, with no place in it, where what is left begins,
    /// which is less than a block.
    fn next_near(&self, text: &[u8], mut start: usize) -> (usize, u64) {
        let mut rest = text.get(start..).unwrap_or_default();
        while let Some(block) = rest.first_chunk() {
            let near = self.near(*block);
            if near != 0 {
                return (start, near);
            }
            start += STEP;
            rest = rest.get(STEP..).unwrap_or_default();
        }
        (start, 0)
    }

    /// A bit for every second place of the block at which, or behind which, a word may begin.
    fn near(&self, block: [u8; BLOCK]) -> u64 {
        let block = u64::from_le_bytes(block) & FOLDS;
        let bit = |look: usize| {
            #[expect(clippy::cast_possible_truncation, reason = "the four bytes that are looked at")]
            let place = place::<NEAR_PLACES>((block >> (16 * look)) as u32);
            (self.near.get(place / 64).map_or(0, |bits| bits >> (place % 64)) & 1) << look
        };
        bit(0) | bit(1) | bit(2)
    }

    #[inline]
    fn find_at(
        &self,
        text: &[u8],
        start: usize,
        found: &mut impl FnMut(Hit) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some(head) = text.get(start..).and_then(<[u8]>::first_chunk) else { return Continue(()) };
        let place = place::<HEAD_PLACES>(folded(*head));
        match self.heads.get(place) {
            None | Some(&NONE) => Continue(()),
            Some(first) => self.find_words(text, start, (place, *first), found),
        }
    }

    #[inline(never)]
    fn find_words(
        &self,
        text: &[u8],
        start: usize,
        (place, first): (usize, u8),
        found: &mut impl FnMut(Hit) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for word in self.list.iter().skip(first.into()).take_while(|word| word.place == place) {
            let at = start..start + word.text.len();
            if text.get(at.clone()).is_some_and(|piece| is_in_any_case(piece, word.text)) {
                found(Hit { number: word.number, at })?;
            }
        }
        Continue(())
    }
}

/// Five bits of a byte, in which a letter is the same in both cases; and of eight of them.
const FOLD: u32 = 31;
const FOLDS: u64 = u64::from_le_bytes([31; BLOCK]);

/// The bit in which the cases of a letter differ.
const CASE: u8 = b'a' ^ b'A';

fn folded([first, second, third]: [u8; HEAD]) -> u32 {
    u32::from_le_bytes([first & 31, second & 31, third & 31, 0])
}

/// The pieces of text with this head at their beginning or at their end, folded.
fn pieces_with(head: u32, behind: Option<&u8>) -> impl Iterator<Item = u32> {
    let behind = behind.map(|byte| u32::from(*byte) & FOLD);
    (0..=FOLD).flat_map(move |any| [head | behind.unwrap_or(any) << (8 * HEAD), head << 8 | any])
}

/// The place of a piece of text among so many, by Fibonacci hashing.
fn place<const PLACES: usize>(piece: u32) -> usize {
    (piece.wrapping_mul(0x9E37_79B1) >> (u32::BITS - PLACES.trailing_zeros())) as usize
}

/// Whether they differ in the bit of the case only. A few signs differ in it too, which costs them a closer look; the
/// library's own comparison is made for longer texts.
fn is_in_any_case(piece: &[u8], word: &[u8]) -> bool {
    piece.iter().zip(word).all(|(byte, letter)| (byte ^ letter) & !CASE == 0)
}

fn is_harmless(text: &[u8], hit: &Hit) -> bool {
    match hit.number {
        TOKEN => {
            let before = text.get(..hit.at.start).unwrap_or_default();
            HARMLESS_BEFORE_TOKEN.iter().any(|word| {
                let start = before.len().wrapping_sub(word.len());
                before.get(start..).is_some_and(|end| end.eq_ignore_ascii_case(word.as_bytes()))
            })
        }
        CONNECTION => {
            let behind = text.get(hit.at.end..).unwrap_or_default();
            let mut letters = behind.iter().skip_while(|byte| !byte.is_ascii_alphanumeric());
            !STRING.iter().all(|letter| letters.next().is_some_and(|byte| byte.eq_ignore_ascii_case(letter)))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(words: &Words, text: &str) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        let _all: ControlFlow<()> = words.find(text.as_bytes(), |hit| {
            found.push((hit.at.start, hit.number));
            Continue(())
        });
        found.sort_unstable();
        found
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_a_look_at_every_place_finds(
            pieces in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(
                        [NAMES, SHAPES, SCHEMES, ":// :\\/\\/"].map(str::split_ascii_whitespace).into_iter().flatten().collect::<Vec<_>>()
                    ).prop_map(str::to_owned),
                    "[ -~\u{e9}]{0,9}",
                ],
                0..6,
            ),
            upper in any::<bool>(),
        ) {
            let text = pieces.concat();
            let text = if upper { text.to_ascii_uppercase() } else { text };
            let words = Words::new();
            let mut naive: Vec<_> = words
                .list
                .iter()
                .flat_map(|word| {
                    let places = text.as_bytes().windows(word.text.len()).enumerate();
                    places.filter(|(_, piece)| is_in_any_case(piece, word.text)).map(|(start, _)| (start, word.number))
                })
                .collect();
            naive.sort_unstable();
            prop_assert_eq!(found(&words, &text), naive);
        }
    }

    #[test]
    fn words_are_found_where_they_overlap_and_harmless_ones_are_not() {
        let words = Words::new();
        let found = words.suspicion("key://a");
        assert!(found.names && found.addresses && !found.shapes && !found.schemes);
        assert!(words.suspicion("BEARER x").schemes && words.suspicion("ghp_").shapes);
        for harmless in
            ["progressToken", "maxTokens", "connection 1, connection: a string", "all is well", ""]
        {
            assert!(!words.are_in(harmless.as_bytes()), "{harmless}");
            assert_eq!(words.suspicion(harmless), Suspicion::default());
        }
        assert!(words.are_in(b"progressToken and token"));
        let all = [NAMES, SHAPES, SCHEMES].into_iter().flat_map(str::split_ascii_whitespace).chain(ADDRESSES);
        for word in all.filter(|word| *word != "connection") {
            for text in [format!("a {word} b"), word.to_ascii_uppercase(), format!("\u{e9}{word}")] {
                assert!(words.are_in(text.as_bytes()), "{text}");
            }
        }
        for name in ["connectionString", "CONNECTION_STRING", "connection-string", "Connection String"] {
            assert!(words.are_in(name.as_bytes()), "{name}");
        }
    }
}
