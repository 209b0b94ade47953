//! See `import_harness::inspector_import`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shadowcat_fuzz::import_harness::inspector_import(bytes));
