//! See `harness::jsonrpc_diff`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shadowcat_fuzz::harness::jsonrpc_diff(bytes));
