//! Runs what the fuzz targets run over their corpora, so that it holds on the stable toolchain too.

pub mod harness;

use std::fs;
use std::io;
use std::path::Path;

fn seeds(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    fs::read_dir(corpus)?.map(|seed| fs::read(seed?.path())).collect()
}

fn check(target: &str, run: fn(&[u8])) {
    let seeds = seeds(target).unwrap_or_default();
    assert!(!seeds.is_empty());
    for seed in &seeds {
        for end in 0..=seed.len() {
            run(seed.get(..end).unwrap_or_default());
        }
        // A bit of each byte turned.
        for place in 0..seed.len() {
            let mut turned = seed.clone();
            if let Some(byte) = turned.get_mut(place) {
                *byte ^= 1 << (place % 8);
            }
            run(&turned);
        }
    }
}

#[test]
fn archives_hold_what_the_fuzzer_asks() {
    check("har_import", harness::har_import);
}

#[test]
fn exports_of_the_inspector_hold_what_the_fuzzer_asks() {
    check("inspector_import", harness::inspector_import);
}

#[test]
fn logs_hold_what_the_fuzzer_asks() {
    check("jsonl_import", harness::jsonl_import);
}
