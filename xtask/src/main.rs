//! Chores of the project, each a `cargo xtask` command: tests with their peers, conformance, house rules.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a chore talks to the person who started it")]

mod conformance;
mod failure;
mod peers;
mod process;
mod program;
mod release;
mod shell;
mod tally;
mod test;
mod tidy;
mod tree;

use std::process::ExitCode;

use conformance::Options;
use failure::Failure;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test          everything: house rules, peers, build, every test, the conformance comparison
  peers         install the clients and servers that tests talk to into tests/.peers
  conformance   compare the official suite's verdicts directly and through shadowcat
                [--binary PATH] [--only http|stdio|sse|client|bridge]
  release       build shadowcat as it is shipped, with the profile of its usual work
  profile       make that profile anew: needs `rustup component add llvm-tools`, and about half an hour
  tidy          check the house rules: layers, file sizes, open ends";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<ExitCode, Failure> {
    let (command, rest) = arguments.split_first().ok_or_else(|| Failure::said(USAGE))?;
    match (command.as_str(), rest) {
        ("test", []) => return Ok(test::run()),
        ("peers", []) => peers::install()?,
        ("conformance", options) => compare(&Options::parse(options)?)?,
        ("release", []) => release::build()?,
        ("profile", []) => release::profile()?,
        ("tidy", []) => tidy::run()?,
        _ => return Err(Failure::said(USAGE)),
    }
    Ok(ExitCode::SUCCESS)
}

fn compare(options: &Options) -> Result<(), Failure> {
    match conformance::run(options)?.failed {
        0 => Ok(()),
        differences => Err(Failure::said(format!("{differences} checks differ through shadowcat"))),
    }
}
