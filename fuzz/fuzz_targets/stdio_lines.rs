//! See `harness::stdio_lines`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shadowcat_fuzz::harness::stdio_lines(bytes));
