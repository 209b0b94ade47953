//! What the process was started with besides its arguments.

use std::ffi::OsString;
use std::path::PathBuf;

use shadowcat_gateway::Variables;

use crate::failure::Failure;

/// The environment, read once.
pub(crate) struct Process {
    environment: Vec<(OsString, OsString)>,
}

impl Process {
    pub(crate) fn new(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self { environment: environment.into_iter().collect() }
    }

    /// What children may inherit from.
    pub(crate) fn environment(&self) -> Vec<(OsString, OsString)> {
        self.environment.clone()
    }

    pub(crate) fn variables(&self) -> Variables {
        self.environment.iter().cloned().collect()
    }

    /// A variable that is set to something.
    pub(crate) fn variable(&self, name: &str) -> Option<OsString> {
        let found = self.environment.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    }

    /// The flag, else the variable.
    pub(crate) fn path(&self, flag: Option<&PathBuf>, variable: &str) -> Option<PathBuf> {
        flag.cloned().or_else(|| self.variable(variable).map(PathBuf::from))
    }

    /// This program, to be started again as a guard or as the demo server.
    pub(crate) fn program() -> Result<PathBuf, Failure> {
        std::env::current_exe()
            .map_err(|cause| Failure::caused("cannot find out which program this is", cause))
    }
}
