//! What the fuzz targets run. The stable toolchain runs the same functions over the corpus, as tests of their crates.

#[path = "../../crates/filter/tests/harness/mod.rs"]
pub mod filter;
#[path = "../../crates/protocol/tests/harness/mod.rs"]
pub mod harness;
#[path = "../../crates/rules/tests/harness/mod.rs"]
pub mod rules;
#[path = "../../crates/tape/tests/harness/mod.rs"]
pub mod import_harness;
#[path = "../../crates/tape/tests/read_harness/mod.rs"]
pub mod read_harness;
