//! `shadowcat schema`: the shape of the configuration file, for editors.

use crate::failure::Failure;
use crate::output;

/// Prints the JSON schema of the configuration file.
pub(crate) fn run() -> Result<(), Failure> {
    output::print(&format!("{}\n", shadowcat_gateway::config::schema()))
}
