//! Runs what the fuzz targets run over their corpus, so that it holds on the stable toolchain too.

#[expect(clippy::missing_panics_doc, clippy::indexing_slicing, reason = "a panic is how a fuzzer is told")]
pub mod harness;

use std::fs;
use std::io;
use std::path::Path;

fn run(target: &str, check: fn(&[u8])) {
    let seeds = seeds(target).unwrap_or_default();
    assert!(!seeds.is_empty());
    for seed in &seeds {
        // Every beginning of a seed is an input too: that is what a cut connection leaves.
        for end in 0..=seed.len() {
            check(seed.get(..end).unwrap_or_default());
        }
    }
}

fn seeds(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    fs::read_dir(corpus)?.map(|seed| fs::read(seed?.path())).collect()
}

#[test]
fn http_bodies_hold_what_the_fuzzer_asks() {
    run("http_body", harness::http_body);
}

#[test]
fn event_streams_hold_what_the_fuzzer_asks() {
    run("sse_stream", harness::sse_stream);
}

#[test]
fn lines_hold_what_the_fuzzer_asks() {
    run("stdio_lines", harness::stdio_lines);
}

#[test]
fn headers_hold_what_the_fuzzer_asks() {
    run("mcp_headers", harness::mcp_headers);
}

#[test]
fn messages_hold_what_the_fuzzer_asks() {
    run("jsonrpc_diff", harness::jsonrpc_diff);
}
