//! See `import_harness::jsonl_import`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shadowcat_fuzz::import_harness::jsonl_import(bytes));
