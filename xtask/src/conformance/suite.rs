//! Runs `@modelcontextprotocol/conformance` and reads the verdicts it leaves behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use serde_json::Value;

use crate::failure::Failure;
use crate::process::{Running, Speaks};
use crate::tree;

/// A requirement set has some fifty scenarios, each with a deadline of its own; most take milliseconds.
const RUN_WITHIN: Duration = Duration::from_mins(10);

/// The suite appends the time to the name of a scenario's folder: `-2026-11-21T05-29-09-042Z`.
const TIME_BYTES: usize = 25;

/// For each scenario and check the verdicts on it, sorted: a check can be made several times in a scenario.
pub(super) type Verdicts = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// A run of the suite.
pub(super) struct Outcome {
    pub(super) verdicts: Verdicts,
    status: ExitStatus,
    log: PathBuf,
}

impl Outcome {
    /// Fails unless every scenario that the requirement set scores passed.
    pub(super) fn require_success(&self) -> Result<(), Failure> {
        if self.status.success() {
            return Ok(());
        }
        Err(Failure::said(format!(
            "the server fails the suite without any proxy: see {}",
            self.log.display()
        )))
    }
}

/// Tests the server at `url` against everything a revision requires.
pub(super) fn test_server(url: &str, revision: &str, folder: &Path) -> Result<Outcome, Failure> {
    let log = folder.join("suite.log");
    let results = folder.join("results");
    let status = run(&["server", "--url", url, "--requirements", revision], &results, &log)?;
    Ok(Outcome { verdicts: read(&results, "server-")?, status, log })
}

/// Tests a client, one scenario at a time: the suite would start all of them at once and time some of them out.
pub(super) fn test_client(
    command: &str,
    revision: &str,
    scenarios: &[&str],
    folder: &Path,
) -> Result<Verdicts, Failure> {
    let results = folder.join("results");
    for scenario in scenarios {
        let log = folder.join(format!("{scenario}.log"));
        let arguments = ["client", "--command", command, "--scenario", scenario, "--spec-version", revision];
        // How a client exits is not compared: what the suite saw of it is.
        run(&arguments, &results, &log)?;
    }
    read(&results, "")
}

fn run(arguments: &[&str], results: &Path, log: &Path) -> Result<ExitStatus, Failure> {
    let suite = tree::installed().join("node/node_modules/@modelcontextprotocol/conformance/dist/index.js");
    let mut command = Command::new(tree::node());
    command.arg(suite).args(arguments).arg("--output-dir").arg(results);
    Running::start(&mut command, Speaks::Output, log, |_| None)?.finish(RUN_WITHIN)
}

fn read(results: &Path, prefix: &str) -> Result<Verdicts, Failure> {
    let mut verdicts = Verdicts::new();
    for entry in fs::read_dir(results).map_err(Failure::file(results))? {
        let folder = entry.map_err(Failure::file(results))?;
        let name = folder.file_name().to_string_lossy().into_owned();
        let stem = name.strip_prefix(prefix).unwrap_or(&name);
        let scenario = stem.get(..stem.len().saturating_sub(TIME_BYTES)).unwrap_or(stem);
        let path = folder.path().join("checks.json");
        let text = fs::read_to_string(&path).map_err(Failure::file(&path))?;
        let checks: Vec<Value> = serde_json::from_str(&text)
            .map_err(|cause| Failure::Json { what: path.display().to_string(), cause })?;
        add(verdicts.entry(scenario.to_owned()).or_default(), &checks);
    }
    Ok(verdicts)
}

fn add(verdicts: &mut BTreeMap<String, Vec<String>>, checks: &[Value]) {
    for check in checks {
        let member = |name| check.get(name).and_then(Value::as_str).unwrap_or_default();
        // An INFO is a line of the scenario's log, and how many there are depends on timing.
        if member("status") != "INFO" {
            let verdicts = verdicts.entry(format!("{} {}", member("id"), member("name"))).or_default();
            verdicts.push(member("status").to_owned());
            verdicts.sort_unstable();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_kept_for_each_check_and_notes_are_not() {
        let checks: Vec<Value> = serde_json::from_str(
            r#"[{"id":"a","name":"A","status":"SUCCESS"},
                {"id":"a","name":"A","status":"FAILURE"},
                {"id":"log","name":"Log","status":"INFO"}]"#,
        )
        .unwrap();
        let mut verdicts = BTreeMap::new();
        add(&mut verdicts, &checks);
        assert_eq!(verdicts.len(), 1);
        assert_eq!(verdicts["a A"], ["FAILURE", "SUCCESS"]);
    }
}
