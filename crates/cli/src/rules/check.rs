//! `shadowcat rules check`: what is wrong with rules?

use std::path::PathBuf;

use crate::failure::Failure;
use crate::output;

/// Read rules and say what is wrong with them, each with its line, or the order in which they are looked at
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A file with rules: the configuration file, or one with nothing but `rules:`
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Args {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let (_, rules) = super::read(&self.file)?;
        let names: Vec<&str> = rules.names().collect();
        let count = match names.len() {
            1 => "1 rule".to_owned(),
            count => format!("{count} rules, looked at in this order"),
        };
        output::print(&format!("{}: right; {count}: {}\n", self.file.display(), names.join(", ")))
    }
}
