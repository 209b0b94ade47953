//! See `read_harness::tape_read`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shadowcat_fuzz::read_harness::tape_read(bytes));
