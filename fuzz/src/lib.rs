//! What the fuzz targets run. The stable toolchain runs the same functions over the corpus, as a test of the protocol
//! crate.

#[path = "../../crates/protocol/tests/harness/mod.rs"]
pub mod harness;
