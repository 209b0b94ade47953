//! Rules in files of their own: read at the start, and again when one of them has changed.
//!
//! They are looked at from time to time instead of being told of by the system: that holds for whatever an editor or a
//! mounted volume does to a file (renaming another one over it, moving a link), on every file system, and costs two looks a
//! second at a few names.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use shadowcat_interceptors::rules::{Book, RuleMetrics};
use shadowcat_rules::{Rules, written};

use crate::config::{Loaded, RuleFile};
use crate::plan::{self, PlanError, PlanErrors};

/// How often files are looked at. A change is read at the look behind the one that has seen it, when whoever writes the
/// file has come to an end.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// The rules in force, and where they come from.
pub(crate) struct RuleFiles {
    sources: plan::Rules,
    book: Arc<Book>,
    reloads: Reloads,
}

/// How changed files were taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reloads {
    taken: Counter,
    refused: Counter,
    /// Why the files as they are now are not in force.
    fault: Arc<Mutex<Option<String>>>,
}

impl Reloads {
    /// Why the files as they are now are not in force, unless they are.
    pub(crate) fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, fault: Option<String>) {
        if fault.is_some() {
            self.refused.inc()
        } else {
            self.taken.inc()
        };
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

impl RuleFiles {
    /// Reads all rules; none if there are neither rules nor files that could hold some.
    pub(crate) fn open(sources: &plan::Rules, registry: &mut Registry) -> Result<Option<Self>, PlanErrors> {
        if sources.written.is_empty() && sources.files.is_empty() {
            return Ok(None);
        }
        let rules = read(sources)?;
        let reloads = Reloads::default();
        registry.register("rule_reloads", "Changed rules that are in force", reloads.taken.clone());
        let refused = reloads.refused.clone();
        registry.register("rule_reload_failures", "Changed rules that cannot be used", refused);
        let book = Arc::new(Book::new(rules, RuleMetrics::register(registry)));
        Ok(Some(Self { sources: sources.clone(), book, reloads }))
    }

    /// The rules in force.
    pub(crate) fn book(&self) -> Arc<Book> {
        Arc::clone(&self.book)
    }

    pub(crate) fn reloads(&self) -> Reloads {
        self.reloads.clone()
    }

    /// Follows the changes of the files, for ever.
    pub(crate) async fn follow(self) {
        if self.sources.files.is_empty() {
            return;
        }
        let mut known = looks(&self.sources.files);
        let mut seen = known.clone();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = looks(&self.sources.files);
            let has_settled = now == seen;
            seen.clone_from(&now);
            if has_settled && now != known {
                known = now;
                self.reload().await;
            }
        }
    }

    async fn reload(&self) {
        let sources = self.sources.clone();
        // Off the workers: many rules take their time.
        let read = tokio::task::spawn_blocking(move || read(&sources)).await;
        match read {
            Ok(Ok(rules)) => {
                tracing::info!(rules = rules.names().count(), "changed rules are in force");
                self.book.publish(rules);
                self.reloads.note(None);
            }
            Ok(Err(PlanErrors(faults))) => {
                for PlanError { place, sentence } in &faults {
                    tracing::error!("{place}: {sentence}; the rules from before stay in force");
                }
                self.reloads.note(faults.first().map(ToString::to_string));
            }
            Err(error) => {
                tracing::error!(%error, "changed rules could not be read; the rules from before stay in force");
                self.reloads.note(Some("changed rules could not be read".to_owned()));
            }
        }
    }
}

/// What tells that a file is another than before.
type Look = Option<(u64, i64, i64, u64)>;

fn looks(files: &[PathBuf]) -> Vec<Look> {
    let look = |file: &PathBuf| {
        let metadata = fs::metadata(file).ok()?;
        Some((metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.size()))
    };
    files.iter().map(look).collect()
}

/// All rules there are, in the order in which they are looked at.
fn read(sources: &plan::Rules) -> Result<Rules, PlanErrors> {
    let mut faults = Vec::new();
    let mut files = Vec::new();
    for path in &sources.files {
        match read_file(path) {
            Ok(file) => files.push(file),
            Err(fault) => faults.push(fault),
        }
    }
    if !faults.is_empty() {
        return Err(PlanErrors(faults));
    }
    let written = files.iter().flat_map(|loaded| &loaded.file.rules);
    let all: Vec<written::Rule> = sources.written.iter().chain(written).cloned().collect();
    Rules::compile(&all).map_err(|faults| {
        let told = |fault: shadowcat_rules::Fault| PlanError {
            place: place(&fault.place, sources.written.len(), &files),
            sentence: fault.sentence,
        };
        PlanErrors(faults.into_iter().map(told).collect())
    })
}

fn read_file(path: &Path) -> Result<Loaded<RuleFile>, PlanError> {
    let name = path.display().to_string();
    let fault = |sentence: String| PlanError { place: name.clone(), sentence };
    let text = text(path).map_err(|error| fault(format!("cannot be read: {error}")))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(fault(format!("longer than {FILE_BYTES_MAX} bytes")));
    }
    if text.trim().is_empty() {
        return Err(fault("the file is empty; `rules: []` says that there are none".to_owned()));
    }
    let parsed = Loaded::parse_rules(&name, &text);
    parsed.map_err(|mistake| PlanError { place: mistake.place, sentence: mistake.sentence })
}

fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// Where the fault of a rule is that was found among the rules of all files, as `rules[number]…`.
fn place(found: &str, written: usize, files: &[Loaded<RuleFile>]) -> String {
    let Some((number, rest)) = found.strip_prefix("rules[").and_then(|found| found.split_once(']')) else {
        return found.to_owned();
    };
    let Some(mut number) = number.parse::<usize>().ok().and_then(|number| number.checked_sub(written)) else {
        return found.to_owned();
    };
    for loaded in files {
        if number < loaded.file.rules.len() {
            return loaded.place(&format!("rules[{number}]{rest}"));
        }
        number -= loaded.file.rules.len();
    }
    found.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(texts: &[&str]) -> Result<usize, Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let files: Vec<PathBuf> = (0..texts.len()).map(|at| dir.path().join(format!("{at}.yaml"))).collect();
        for (path, text) in files.iter().zip(texts) {
            fs::write(path, text).unwrap();
        }
        let rules = read(&plan::Rules { written: Vec::new(), files });
        let told = |errors: PlanErrors| {
            let short =
                |error: &PlanError| error.to_string().rsplit('/').next().unwrap_or_default().to_owned();
            errors.0.iter().map(short).collect()
        };
        rules.map(|rules| rules.names().count()).map_err(told)
    }

    const ONE: &str = "rules:\n  - name: one\n    do:\n      - drop: true\n";

    #[test]
    fn files_are_read_one_behind_the_other() {
        assert_eq!(said(&[ONE, "rules: []\n", &ONE.replace("one", "two")]), Ok(2));
    }

    #[test]
    fn a_fault_has_its_file_and_line() {
        let twice = said(&[ONE, ONE]).unwrap_err();
        assert!(twice[0].starts_with("1.yaml:2: rules[0].name: "), "{twice:?}");
        let bad = ONE.replace("    do:", "    when:\n      tool: /(/\n    do:");
        let told = said(&["rules: []", &bad]).unwrap_err();
        assert!(told[0].starts_with("1.yaml:4: rules[0].when.tool: "), "{told:?}");
        let told = said(&["rules:\n  - nam: x\n"]).unwrap_err();
        assert!(told[0].starts_with("0.yaml:2:") && told[0].contains("did you mean `name`?"), "{told:?}");
        assert!(said(&[" "]).unwrap_err()[0].contains("the file is empty"));
        assert!(said(&["listen: x\n"]).unwrap_err()[0].contains("unknown key `listen`"));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let sources = plan::Rules { written: Vec::new(), files: vec!["/nowhere/r.yaml".into()] };
        let told = read(&sources).unwrap_err().to_string();
        assert!(told.starts_with("/nowhere/r.yaml: cannot be read: No such file"), "{told}");
    }
}
