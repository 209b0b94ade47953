//! See `harness::mcp_headers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shadowcat_fuzz::harness::mcp_headers(bytes));
