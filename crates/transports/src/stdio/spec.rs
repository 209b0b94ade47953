//! What to run: program, arguments, directory and environment of a child. Nothing is started here, and no shell ever
//! sees any of it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

/// Names a child inherits unless the operator says otherwise; a trailing `*` stands for any ending.
///
/// Enough for interpreters to find themselves, their caches and their language, and nothing that carries a secret.
pub const INHERITED: &[&str] = &["HOME", "LANG", "LC_*", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"];

/// A command line as a list of words, with the place and the environment it runs in.
#[derive(Clone)]
pub struct Command {
    /// The upstream's name, for logs.
    pub name: Box<str>,
    /// The program; without a slash it is looked for in the `PATH` of `environment`.
    pub program: OsString,
    /// Arguments, handed over as they are.
    pub args: Vec<OsString>,
    /// Working directory; that of the proxy if there is none.
    pub cwd: Option<PathBuf>,
    /// The whole environment of the child.
    pub environment: Environment,
}

impl Command {
    pub(super) fn to_process(&self) -> tokio::process::Command {
        let mut process = tokio::process::Command::new(&self.program);
        process.args(&self.args).env_clear().envs(&self.environment.variables);
        if let Some(cwd) = &self.cwd {
            process.current_dir(cwd);
        }
        process
    }
}

impl fmt::Debug for Command {
    /// Arguments are counted, not shown: many servers take their token as one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("name", &self.name)
            .field("program", &self.program)
            .field("args", &self.args.len())
            .field("cwd", &self.cwd)
            .field("environment", &self.environment)
            .finish()
    }
}

/// The environment of a child, complete: what is not in here the child does not see.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// The variables of `snapshot` whose names are on the list `allowed`, usually [`INHERITED`].
    pub fn inherit<'a>(
        snapshot: impl IntoIterator<Item = (OsString, OsString)>,
        allowed: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let allowed: Vec<&str> = allowed.into_iter().collect();
        let variables =
            snapshot.into_iter().filter(|(name, _)| allowed.iter().any(|rule| matches(rule, name)));
        Self { variables: variables.collect() }
    }

    /// This environment with one variable set, over an inherited one of that name.
    #[must_use]
    pub fn with(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }
}

impl fmt::Debug for Environment {
    /// Names only: values are where secrets live.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

fn matches(rule: &str, name: &OsStr) -> bool {
    match rule.strip_suffix('*') {
        Some(start) => name.as_encoded_bytes().starts_with(start.as_bytes()),
        None => name == rule,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Vec<(OsString, OsString)> {
        [("PATH", "/bin"), ("LC_ALL", "C"), ("AWS_SECRET_ACCESS_KEY", "s3cret"), ("LC", "x"), ("PATHS", "y")]
            .map(|(name, value)| (name.into(), value.into()))
            .to_vec()
    }

    #[test]
    fn only_listed_names_are_inherited() {
        let environment = Environment::inherit(snapshot(), INHERITED.iter().copied());
        assert_eq!(environment, Environment::default().with("PATH", "/bin").with("LC_ALL", "C"));
    }

    #[test]
    fn a_set_variable_wins_over_an_inherited_one() {
        let environment = Environment::inherit(snapshot(), ["PATH"]).with("PATH", "/opt/bin");
        assert_eq!(environment, Environment::default().with("PATH", "/opt/bin"));
    }

    #[test]
    fn debug_output_holds_neither_values_nor_arguments() {
        let command = Command {
            name: "files".into(),
            program: "server".into(),
            args: vec!["--token=hidden".into()],
            cwd: None,
            environment: Environment::default().with("TOKEN", "hidden"),
        };
        let shown = format!("{command:?}");
        assert!(shown.contains("TOKEN") && !shown.contains("hidden"), "{shown}");
    }
}
