//! The project's one test command: everything that says whether this tree is sound.

use std::process::Command;

use crate::conformance::{self, Options};
use crate::failure::Failure;
use crate::{peers, shell, tidy, tree};

/// Runs it all, stopping at the first thing that fails.
pub(crate) fn run() -> Result<(), Failure> {
    tidy::run()?;
    peers::install()?;
    let binary = conformance::build()?;
    if shell::succeeds("cargo", &["nextest", "--version"]) {
        shell::run(cargo().args(["nextest", "run", "--workspace"]))?;
        // nextest leaves the examples in the documentation to cargo.
        shell::run(cargo().args(["test", "--workspace", "--doc"]))?;
    } else {
        shell::run(cargo().args(["test", "--workspace"]))?;
    }
    conformance::run(&Options { binary: Some(binary), only: None })?;
    println!("every test passed: house rules, workspace, conformance directly and through shadowcat");
    Ok(())
}

fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(tree::root());
    cargo
}
