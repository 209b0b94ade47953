//! See `harness::sse_stream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shadowcat_fuzz::harness::sse_stream(bytes));
