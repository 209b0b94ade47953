//! The binary `shadowcat`.
fn main() {}
