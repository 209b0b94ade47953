//! See `harness::http_body`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shadowcat_fuzz::harness::http_body(bytes));
