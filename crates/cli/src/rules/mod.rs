//! `shadowcat rules`: are rules right, and what would they have done?

mod check;
mod deed;
mod test;
mod trial;

use std::path::Path;

use clap::Subcommand;
use shadowcat_gateway::config::Loaded;
use shadowcat_rules::Rules;

use crate::config_file;
use crate::failure::Failure;
use crate::process::Process;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Check(check::Args),
    Test(test::Args),
}

impl Args {
    pub(crate) fn run(&self, process: &Process) -> Result<(), Failure> {
        match &self.action {
            Action::Check(args) => args.run(),
            Action::Test(args) => args.run(process),
        }
    }
}

/// The rules of a file: one of their own, or the configuration.
fn read(path: &Path) -> Result<(Loaded, Rules), Failure> {
    let loaded = config_file::read(path)?;
    let rules = shadowcat_gateway::rules(&loaded).map_err(|errors| Failure::usage(errors.to_string()))?;
    if rules.is_empty() {
        let sentence = "there are no rules in it; they stand in a list below `rules:`";
        return Err(Failure::usage(format!("{}: {sentence}", path.display())));
    }
    Ok((loaded, rules))
}
