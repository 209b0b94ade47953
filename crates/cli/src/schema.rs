//! `shadowcat schema`: the shape of the configuration file, for editors.

use crate::failure::Failure;
use crate::output;

/// Print the JSON schema of the configuration file
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        output::print(&format!("{}\n", shadowcat_gateway::config::schema()))
    }
}
