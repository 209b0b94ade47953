//! The first look: one pass over every message for the words without which there is nothing to redact.

use std::ops::ControlFlow::{self, Break, Continue};
use std::ops::Range;
use std::sync::LazyLock;

/// The words, which are the same for all redactors: their table is large.
pub(super) static WORDS: LazyLock<Words> = LazyLock::new(Words::new);

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

/// How many bytes a look takes in.
const LOOK: usize = 4;
/// Texts are read in blocks of so many bytes.
const BLOCK: usize = 16;
/// How many pairs of bytes there are.
const PAIRS: usize = 1 << u16::BITS;

/// Looks are told apart by so many groups; each is a bit.
type Groups = u16;

/// The words, by what two neighbouring pairs of bytes tell of them. A text is read in pairs, and each word is known by four
/// bytes at an even place, or by fewer and any beside them, wherever it begins: most pairs of most texts cost one look at a
/// table that is read in few of its places. An automaton takes several times as long for the same, and this is the better part
/// of what it costs to record a message.
#[derive(Debug)]
pub(super) struct Words {
    /// For each pair, of which looks it is the first half, and of which the second.
    halves: Box<[[Groups; 2]; PAIRS]>,
    looks: [Vec<Look>; Groups::BITS as usize],
    kinds: Kinds,
}

/// Where in a word four bytes stand that begin at an even place of the text.
#[derive(Clone, Copy, Debug)]
struct Look {
    number: usize,
    word: &'static [u8],
    bytes: [Byte; LOOK],
    /// The bytes that are known, and the bits of them that count.
    piece: u32,
    mask: u32,
    /// How far the word begins before the end of these bytes.
    back: usize,
}

/// What one byte of a look may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Byte {
    /// This one, in either case.
    Is(u8),
    /// One of these letters in either case, or neither letter nor digit.
    Follows(&'static [u8]),
    Any,
}

/// Which words are of a kind, by their numbers; those before are names, those behind are addresses.
#[derive(Debug)]
struct Kinds {
    shapes: Range<usize>,
    schemes: Range<usize>,
}

/// How far a text was read: up to here, with the looks of whose first half was the last pair.
struct Place {
    at: usize,
    first: Groups,
}

/// A word that was found, and is not harmless.
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
    fn new() -> Self {
        let (all, kinds) = all();
        let mut sorted: Vec<_> =
            all.iter().enumerate().flat_map(|(number, word)| Look::all_of(number, word.as_bytes())).collect();
        // Looks that begin alike share a group: what is the first half of one and the second of another is then no word.
        sorted.sort_by_key(|look| look.bytes);
        let mut halves = table();
        let mut looks = [const { Vec::new() }; Groups::BITS as usize];
        let size = sorted.len().div_ceil(looks.len());
        for (number, (group, members)) in looks.iter_mut().zip(sorted.chunks(size)).enumerate() {
            group.extend_from_slice(members);
            for look in members {
                look.note(1 << number, &mut halves);
            }
        }
        Self { halves, looks, kinds }
    }

    /// Whether the text is worth a closer look.
    pub(super) fn are_in(&self, text: &[u8]) -> bool {
        self.find(text, |_| Break(())).is_break()
    }

    /// What the closer look is for. Overlaps count: `key://` is a name and an address.
    pub(super) fn suspicion(&self, text: &str) -> Suspicion {
        let mut suspicion = Suspicion::default();
        let _all: ControlFlow<()> = self.find(text.as_bytes(), |hit| {
            if hit.number < self.kinds.shapes.start {
                suspicion.names = true;
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

    /// Every word at every place, whatever its case, but those that are harmless there.
    fn find(&self, text: &[u8], mut found: impl FnMut(Hit) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut place = Place { at: 0, first: 0 };
        while let Some(groups) = self.next_near(text, &mut place) {
            self.find_words(text, place.at, groups, &mut found)?;
        }
        Continue(())
    }

    /// The looks that the next two pairs may be, and the place behind these. Returns there and does not call from within:
    /// what the loop needs then stays in registers.
    #[inline(never)]
    fn next_near(&self, text: &[u8], place: &mut Place) -> Option<Groups> {
        let Place { mut at, mut first } = *place;
        let (blocks, rest) = text.get(at..).unwrap_or_default().as_chunks::<BLOCK>();
        for block in blocks {
            for (number, pair) in block.as_chunks().0.iter().enumerate() {
                let near = self.near(*pair, &mut first);
                if near != 0 {
                    *place = Place { at: at + 2 * number + 2, first };
                    return Some(near);
                }
            }
            at += BLOCK;
        }
        let (pairs, last) = rest.as_chunks();
        // What a text ends with, a word may end with as well.
        let padded = last.first().map(|last| [*last, 0]);
        for pair in pairs.iter().chain(&padded) {
            let near = self.near(*pair, &mut first);
            at += 2;
            if near != 0 {
                *place = Place { at, first };
                return Some(near);
            }
        }
        *place = Place { at, first };
        None
    }

    /// The looks that this pair ends, as far as one pair tells, and those that it begins.
    #[inline]
    fn near(&self, pair: [u8; 2], first: &mut Groups) -> Groups {
        let [begins, ends] =
            self.halves.get(usize::from(u16::from_le_bytes(pair))).copied().unwrap_or_default();
        std::mem::replace(first, begins) & ends
    }

    #[inline(never)]
    fn find_words(
        &self,
        text: &[u8],
        end: usize,
        mut groups: Groups,
        found: &mut impl FnMut(Hit) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let seen = four_before(text, end);
        while groups != 0 {
            let looks = self.looks.get(groups.trailing_zeros() as usize).map_or(&[][..], Vec::as_slice);
            groups &= groups - 1;
            for look in looks.iter().filter(|look| (seen ^ look.piece) & look.mask == 0) {
                if let Some(hit) = look.hit(text, end) {
                    found(hit)?;
                }
            }
        }
        Continue(())
    }
}

impl Look {
    /// Two looks at a word: one for each parity of the place where it begins.
    fn all_of(number: usize, word: &'static [u8]) -> [Self; 2] {
        let len = word.len();
        let ends = if number == CONNECTION {
            // Rare is what follows it, and not the word.
            [len - 2, len - 1]
        } else if len <= LOOK {
            return [Self::at(number, word, 1), Self::at(number, word, 0)];
        } else if word.last().is_some_and(u8::is_ascii_alphabetic) {
            [0, 1]
        } else {
            // A sign is rarer than the letters before it.
            [len - LOOK, len - LOOK - 1]
        };
        ends.map(|start| Self::at(number, word, start + 1))
    }

    /// A look that begins at this place of a word, counted from the byte before it.
    fn at(number: usize, word: &'static [u8], place: usize) -> Self {
        let byte = |offset: usize| match (place + offset).checked_sub(1) {
            None => Byte::Any,
            Some(at) => match word.get(at) {
                Some(letter) => Byte::Is(*letter),
                None if number == CONNECTION => {
                    Byte::Follows(STRING.get(..=at - word.len()).unwrap_or(STRING))
                }
                None => Byte::Any,
            },
        };
        let bytes = [byte(0), byte(1), byte(2), byte(3)];
        let known = bytes.map(|byte| if let Byte::Is(letter) = byte { (letter, !CASE) } else { (0, 0) });
        Self {
            number,
            word,
            bytes,
            piece: u32::from_le_bytes(known.map(|(letter, _)| letter)),
            mask: u32::from_le_bytes(known.map(|(_, bits)| bits)),
            back: place + LOOK - 1,
        }
    }

    /// Enters its halves in the table.
    fn note(&self, group: Groups, halves: &mut [[Groups; 2]; PAIRS]) {
        let [a, b, c, d] = self.bytes;
        for (half, (low, high)) in [(a.all(), b.all()), (c.all(), d.all())].iter().enumerate() {
            for (low, high) in low.iter().flat_map(|low| high.iter().map(move |high| (low, high))) {
                let pair = usize::from(u16::from_le_bytes([*low, *high]));
                if let Some(groups) = halves.get_mut(pair).and_then(|halves| halves.get_mut(half)) {
                    *groups |= group;
                }
            }
        }
    }

    /// The word, if it stands where the look says, and not where it is harmless.
    fn hit(&self, text: &[u8], end: usize) -> Option<Hit> {
        let start = end.checked_sub(self.back)?;
        let hit = Hit { number: self.number, at: start..start + self.word.len() };
        let stands = is_in_any_case(text.get(hit.at.clone())?, self.word);
        (stands && !is_harmless(text, &hit)).then_some(hit)
    }
}

impl Byte {
    fn all(self) -> Vec<u8> {
        match self {
            Self::Is(letter) => vec![letter, letter ^ CASE],
            Self::Follows(letters) => (0..=u8::MAX)
                .filter(|byte| !byte.is_ascii_alphanumeric() || letters.contains(&byte.to_ascii_lowercase()))
                .collect(),
            Self::Any => (0..=u8::MAX).collect(),
        }
    }
}

/// On the heap from the first: it is too large for a stack.
#[expect(clippy::expect_used, reason = "it has just been made so long")]
fn table() -> Box<[[Groups; 2]; PAIRS]> {
    vec![[0; 2]; PAIRS].try_into().expect("so many pairs")
}

/// All words, by their numbers.
fn all() -> (Vec<&'static str>, Kinds) {
    let mut all: Vec<&'static str> = NAMES.split_ascii_whitespace().collect();
    let names = all.len();
    all.extend(SHAPES.split_ascii_whitespace());
    let shapes = all.len();
    all.extend(SCHEMES.split_ascii_whitespace());
    let schemes = all.len();
    all.extend(ADDRESSES);
    (all, Kinds { shapes: names..shapes, schemes: shapes..schemes })
}

/// Four bytes of a text, or three and none.
fn four_before(text: &[u8], end: usize) -> u32 {
    let near = end.checked_sub(LOOK).and_then(|start| text.get(start..)).unwrap_or_default();
    let four = near.first_chunk().copied();
    u32::from_le_bytes(
        four.or_else(|| near.first_chunk().map(|[a, b, c]| [*a, *b, *c, 0])).unwrap_or_default(),
    )
}

/// The bit in which the cases of a letter differ.
const CASE: u8 = b'a' ^ b'A';

/// Whether they differ in the bit of the case only. A few signs differ in it too, which costs them a closer look; the
/// library's own comparison is made for longer texts.
fn is_in_any_case(piece: &[u8], word: &[u8]) -> bool {
    piece.iter().zip(word).all(|(byte, letter)| (byte ^ letter) & !CASE == 0)
}

/// Whether a word at this place is no name of a secret.
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

    fn found(text: &[u8]) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        let _all: ControlFlow<()> = WORDS.find(text, |hit| {
            found.push((hit.at.start, hit.number));
            Continue(())
        });
        found.sort_unstable();
        found
    }

    /// The same by a look at every place for every word.
    fn naive(text: &[u8]) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for (number, word) in all().0.into_iter().enumerate() {
            for (start, piece) in text.windows(word.len()).enumerate() {
                let hit = Hit { number, at: start..start + word.len() };
                if is_in_any_case(piece, word.as_bytes()) && !is_harmless(text, &hit) {
                    found.push((start, number));
                }
            }
        }
        found.sort_unstable();
        found
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let words: Vec<_> = all().0.into_iter().chain(["string", "progress", "max"]).collect();
        let word = prop::sample::select(words);
        prop_oneof![
            4 => word.clone().prop_map(|word| word.as_bytes().to_vec()),
            2 => (word, 1..9_usize).prop_map(|(word, cut)| word.as_bytes()[..cut.min(word.len())].to_vec()),
            1 => "[ -~\u{e9}\u{2014}]{0,9}".prop_map(String::into_bytes),
            1 => prop::collection::vec(any::<u8>(), 0..5),
        ]
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_a_look_at_every_place_finds(
            pieces in prop::collection::vec(piece(), 0..8),
            cases in any::<u64>(),
        ) {
            let mut text = pieces.concat();
            for (place, byte) in text.iter_mut().enumerate() {
                if cases.rotate_left(u32::try_from(place % 64).unwrap()) & 1 == 1 {
                    *byte = byte.to_ascii_uppercase();
                }
            }
            prop_assert_eq!(found(&text), naive(&text));
        }
    }

    #[test]
    fn every_word_is_found_wherever_it_begins_and_whatever_is_beside_it() {
        for (number, word) in all().0.into_iter().enumerate() {
            let word = if number == CONNECTION { "connection string" } else { word };
            for byte in 0..=u8::MAX {
                for start in BLOCK - 4..BLOCK {
                    let mut text = vec![byte; start];
                    text.extend_from_slice(word.as_bytes());
                    assert!(found(&text).contains(&(start, number)), "{word} behind {byte} at {start}");
                    text.push(byte);
                    assert!(found(&text).contains(&(start, number)), "{word} before {byte} at {start}");
                }
            }
            assert!(found(word.as_bytes()).contains(&(0, number)), "{word}");
        }
        for byte in (0..=u8::MAX).filter(|byte| !byte.is_ascii_alphanumeric()) {
            for start in 0..2 {
                for between in 0..5 {
                    let text =
                        [&[b' '].repeat(start), &b"Connection"[..], &[byte].repeat(between), b"String"]
                            .concat();
                    assert_eq!(found(&text), [(start, CONNECTION)], "{byte} {between} times");
                }
            }
        }
    }

    #[test]
    fn words_are_found_where_they_overlap_and_harmless_ones_are_not() {
        let words = &WORDS;
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
