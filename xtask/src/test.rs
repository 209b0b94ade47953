//! The project's one test command: everything that says whether this tree is sound.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use crate::conformance::{self, Options};
use crate::failure::Failure;
use crate::tally::Tally;
use crate::{peers, program, shell, tidy, tree};

/// Runs it all and ends with the line that counts it.
pub(crate) fn run() -> ExitCode {
    let mut tally = Tally::default();
    if let Err(failure) = everything(&mut tally) {
        eprintln!("xtask: {failure}");
        tally.failed += 1;
    }
    println!("{tally}");
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Stops only where the next phase cannot do without this one: a test that fails hides no other.
fn everything(tally: &mut Tally) -> Result<(), Failure> {
    phase("house rules", tidy::run)?;
    phase("peers", peers::install)?;
    let binary = phase("build", program::build)?;
    *tally += phase("tests", || workspace(&binary))?;
    let conformance = Options { binary: Some(binary), only: None };
    *tally += phase("conformance", || conformance::run(&conformance))?;
    Ok(())
}

fn phase<T>(name: &str, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    println!("\n==> {name}");
    let begun = Instant::now();
    let outcome = work();
    println!("==> {name}: {} s", begun.elapsed().as_secs());
    outcome
}

fn workspace(binary: &Path) -> Result<Tally, Failure> {
    if !shell::succeeds("cargo", &["nextest", "--version"]) {
        return counted(binary, &["test", "--workspace", "--locked", "--no-fail-fast"]);
    }
    let mut tally = counted(binary, &["nextest", "run", "--workspace", "--locked", "--no-fail-fast"])?;
    // nextest leaves the examples in the documentation to cargo.
    tally += counted(binary, &["test", "--workspace", "--locked", "--no-fail-fast", "--doc"])?;
    Ok(tally)
}

/// Runs a test runner to its end and adds up what it says.
fn counted(binary: &Path, arguments: &[&str]) -> Result<Tally, Failure> {
    let mut cargo = Command::new("cargo");
    cargo.args(arguments).current_dir(tree::root()).env("SHADOWCAT_BIN", binary);
    // Colours would be in the way of reading the lines.
    cargo.env("CARGO_TERM_COLOR", "never");
    let mut tally = Tally::default();
    let status = shell::watch(cargo, |line| tally += Tally::of_line(line).unwrap_or_default())?;
    if !status.success() && tally.failed == 0 {
        // It did not compile, or a test took its runner down.
        tally.failed = 1;
    }
    Ok(tally)
}
