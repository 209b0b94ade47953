//! Runs what the fuzz target runs over its corpus, so that it holds on the stable toolchain too.

#[expect(clippy::missing_panics_doc, reason = "a panic is how a fuzzer is told")]
pub mod harness;

use std::fs;
use std::io;
use std::path::Path;

fn seeds() -> io::Result<Vec<Vec<u8>>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/rules");
    fs::read_dir(corpus)?.map(|seed| fs::read(seed?.path())).collect()
}

#[test]
fn rules_hold_what_the_fuzzer_asks() {
    let seeds = seeds().unwrap_or_default();
    assert!(!seeds.is_empty());
    for seed in &seeds {
        // Every beginning of a seed is an input too.
        for end in 0..=seed.len() {
            harness::rules(seed.get(..end).unwrap_or_default());
        }
    }
}
