//! The program under test, from the one build that everything else uses as well.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::failure::Failure;
use crate::{shell, tree};

/// Builds the workspace with all its tests and gives back where cargo put shadowcat.
///
/// Shadowcat alone would be a second build: what only the tests of other crates ask of a dependency changes its features.
pub(crate) fn build() -> Result<PathBuf, Failure> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--workspace", "--all-targets", "--locked"]).current_dir(tree::root());
    built(cargo)
}

/// Runs cargo, and gives back where it put shadowcat.
pub(crate) fn built(mut cargo: Command) -> Result<PathBuf, Failure> {
    let messages = shell::read(cargo.args(["--message-format", "json-render-diagnostics"]))?;
    messages
        .lines()
        .find_map(|line| executable(&serde_json::from_str(line).ok()?))
        .ok_or_else(|| Failure::said("cargo built it but named no shadowcat"))
}

/// Where the program is, if that is what the message tells: its unit tests have its name too.
fn executable(message: &Value) -> Option<PathBuf> {
    let target = message.get("target")?;
    let is_program =
        target.get("name")? == "shadowcat" && target.get("kind")? == &Value::from(["bin"].as_slice());
    let is_test = message.get("profile")?.get("test")? == true;
    let path = message.get("executable")?.as_str()?;
    (is_program && !is_test).then(|| Path::new(path).to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn artifact(name: &str, kind: &str, test: bool) -> Value {
        json!({"target": {"name": name, "kind": [kind]}, "profile": {"test": test}, "executable": "/t/x"})
    }

    #[test]
    fn the_program_is_told_from_tests_and_from_other_programs() {
        assert_eq!(executable(&artifact("shadowcat", "bin", false)), Some("/t/x".into()));
        assert_eq!(executable(&artifact("shadowcat", "bin", true)), None);
        assert_eq!(executable(&artifact("fake-stdio", "bin", false)), None);
        assert_eq!(executable(&json!({"reason": "build-finished", "success": true})), None);
    }
}
