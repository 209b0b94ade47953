//! Runs what the fuzz target runs over its corpus, so that it holds on the stable toolchain too.

#[expect(clippy::missing_panics_doc, reason = "a panic is how a fuzzer is told")]
pub mod harness;

use std::fs;
use std::io;
use std::path::Path;

fn seeds() -> io::Result<Vec<Vec<u8>>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/har_import");
    fs::read_dir(corpus)?.map(|seed| fs::read(seed?.path())).collect()
}

#[test]
fn archives_hold_what_the_fuzzer_asks() {
    let seeds = seeds().unwrap_or_default();
    assert!(!seeds.is_empty());
    for seed in &seeds {
        for end in 0..=seed.len() {
            harness::har_import(seed.get(..end).unwrap_or_default());
        }
        // A bit of each byte turned.
        for place in 0..seed.len() {
            let mut turned = seed.clone();
            if let Some(byte) = turned.get_mut(place) {
                *byte ^= 1 << (place % 8);
            }
            harness::har_import(&turned);
        }
    }
}
