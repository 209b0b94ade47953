//! Rules in files: read at the start, and again when one of them has changed. Of the configuration file only its rules are
//! read again.
//!
//! They are looked at from time to time instead of being told of by the system: that holds for whatever an editor or a
//! mounted volume does to a file (renaming another one over it, moving a link), on every file system, and costs two looks a
//! second at a few names.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use shadowcat_interceptors::rules::{Book, RuleMetrics};
use shadowcat_rules::{Rules, written};
use tokio::task::JoinError;

use crate::config::{Loaded, Mistake, RuleFile};
use crate::files;
use crate::plan::{self, MainFile, PlanError, PlanErrors};

/// How often files are looked at. A change is read at the look behind the one that has seen it, when whoever writes the
/// file has come to an end.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How long a disk may take before that is told.
const DISK_MAX: Duration = Duration::from_secs(10);
/// The largest file that is read.
const FILE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The rules in force, and where they come from.
pub(crate) struct RuleFiles {
    sources: plan::Rules,
    book: Arc<Book>,
    reloads: Reloads,
    /// What is in force, as it is written.
    in_force: Vec<written::Rule>,
    /// The keys beside the rules that were told to wait for a restart.
    told: Vec<String>,
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
            self.refused.inc();
        }
        self.set(fault);
    }

    fn set(&self, fault: Option<String>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

impl RuleFiles {
    /// Reads all rules; none if there are neither rules nor files that could hold some.
    pub(crate) fn open(sources: &plan::Rules, registry: &mut Registry) -> Result<Option<Self>, PlanErrors> {
        if !sources.are_possible() {
            return Ok(None);
        }
        let read = read(sources.written.clone().into(), &sources.files)?;
        let reloads = Reloads::default();
        registry.register("rule_reloads", "Changed rules that are in force", reloads.taken.clone());
        let refused = reloads.refused.clone();
        registry.register("rule_reload_failures", "Changed rules that cannot be used", refused);
        let book = Arc::new(Book::new(read.rules, RuleMetrics::register(registry)));
        let (sources, in_force) = (sources.clone(), read.written);
        Ok(Some(Self { sources, book, reloads, in_force, told: Vec::new() }))
    }

    /// The rules in force.
    pub(crate) fn book(&self) -> Arc<Book> {
        Arc::clone(&self.book)
    }

    pub(crate) fn reloads(&self) -> Reloads {
        self.reloads.clone()
    }

    /// Follows the changes of the files, for ever.
    pub(crate) async fn follow(mut self) {
        let main = self.sources.main.iter().map(|main| main.path.clone());
        let files: Vec<PathBuf> = main.chain(self.sources.files.clone()).collect();
        if files.is_empty() {
            return;
        }
        let files: Arc<[PathBuf]> = files.into();
        let mut known = self.looks(&files).await;
        let mut seen = known.clone();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.looks(&files).await;
            let has_settled = now == seen;
            seen.clone_from(&now);
            if has_settled && now != known {
                known = now;
                self.reload().await;
            }
        }
    }

    async fn looks(&self, files: &Arc<[PathBuf]>) -> Vec<Look> {
        let files = Arc::clone(files);
        // A look that failed is one at files that are not there.
        self.beside(move || looks(&files)).await.unwrap_or_default()
    }

    /// Does off the workers what may wait for a disk, and may take its time. A disk that does not answer is told of and waited for:
    /// each further question would take one more thread.
    async fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let mut working = tokio::task::spawn_blocking(work);
        if let Ok(done) = tokio::time::timeout(DISK_MAX, &mut working).await {
            return done;
        }
        let fault = format!("the files of rules gave no answer for {}", humantime::format_duration(DISK_MAX));
        tracing::error!("{fault}; the rules from before stay in force");
        let before = self.reloads.fault();
        self.reloads.note(Some(fault));
        let done = working.await;
        self.reloads.set(before);
        done
    }

    async fn reload(&mut self) {
        let sources = self.sources.clone();
        match self.beside(move || read_again(&sources)).await {
            Ok(Ok((read, others))) => {
                self.tell(others);
                self.publish(read);
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

    fn publish(&mut self, read: Read) {
        if read.written != self.in_force {
            tracing::info!(rules = read.written.len(), "changed rules are in force");
            self.reloads.taken.inc();
            self.book.publish(read.rules);
            self.in_force = read.written;
        }
    }

    /// Says once what else was changed.
    fn tell(&mut self, others: Vec<String>) {
        if let (Some(main), false) = (&self.sources.main, others.is_empty() || others == self.told) {
            let (path, keys) = (main.path.display(), others.join(", "));
            tracing::warn!(
                "{path}: {keys}: changed as well, which takes a restart; of this file only `rules` are read again"
            );
        }
        self.told = others;
    }
}

impl plan::Rules {
    /// Reads the files as a start does, and tells what is wrong with them.
    ///
    /// # Errors
    /// With everything that is wrong, each with its file and line.
    pub fn check_files(&self) -> Result<(), PlanErrors> {
        // What is in the configuration itself was looked at when the plan was made.
        if self.files.is_empty() {
            return Ok(());
        }
        read(self.written.clone().into(), &self.files).map(drop)
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
struct Read {
    written: Vec<written::Rule>,
    rules: Rules,
}

/// The rules, and which other keys of the configuration file are not as they were at the start.
fn read_again(sources: &plan::Rules) -> Result<(Read, Vec<String>), PlanErrors> {
    let Some(MainFile { path, keys }) = &sources.main else {
        return Ok((read(sources.written.clone().into(), &sources.files)?, Vec::new()));
    };
    let main = read_file(path, Loaded::parse).map_err(|fault| PlanErrors(vec![fault]))?;
    let mut others = keys.changed(&main.keys);
    others.retain(|key| key != "rules");
    Ok((read(main.into_rules(), &sources.files)?, others))
}

fn read(main: Loaded<RuleFile>, paths: &[PathBuf]) -> Result<Read, PlanErrors> {
    let (mut faults, mut files) = (Vec::new(), vec![main]);
    for path in paths {
        match read_file(path, Loaded::parse_rules) {
            Ok(file) => files.push(file),
            Err(fault) => faults.push(fault),
        }
    }
    if !faults.is_empty() {
        return Err(PlanErrors(faults));
    }
    let written: Vec<written::Rule> = files.iter().flat_map(|loaded| &loaded.file.rules).cloned().collect();
    match Rules::compile(&written) {
        Ok(rules) => Ok(Read { written, rules }),
        Err(faults) => {
            let told = |fault: shadowcat_rules::Fault| PlanError {
                place: place(&fault.place, &files),
                sentence: fault.sentence,
            };
            Err(PlanErrors(faults.into_iter().map(told).collect()))
        }
    }
}

fn read_file<F>(
    path: &Path,
    parse: impl FnOnce(&str, &str) -> Result<Loaded<F>, Mistake>,
) -> Result<Loaded<F>, PlanError> {
    let name = path.display().to_string();
    let fault = |sentence: String| PlanError { place: name.clone(), sentence };
    let text = files::read_again(path, FILE_BYTES_MAX);
    let text = text.map_err(|error| fault(format!("cannot be read: {error}")))?;
    if text.trim().is_empty() {
        return Err(fault("the file is empty; `rules: []` says that there are none".to_owned()));
    }
    parse(&name, &text).map_err(PlanError::from)
}

/// Where the fault of a rule is that was found among the rules of all files, as `rules[number]…`.
fn place(found: &str, files: &[Loaded<RuleFile>]) -> String {
    let Some((number, rest)) = found.strip_prefix("rules[").and_then(|found| found.split_once(']')) else {
        return found.to_owned();
    };
    let Ok(mut number) = number.parse::<usize>() else { return found.to_owned() };
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
        let rules = read(Loaded::default(), &files);
        let told = |errors: PlanErrors| {
            let short =
                |error: &PlanError| error.to_string().rsplit('/').next().unwrap_or_default().to_owned();
            errors.0.iter().map(short).collect()
        };
        rules.map(|read| read.written.len()).map_err(told)
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
        let told = read(Loaded::default(), &["/nowhere/r.yaml".into()]).err().unwrap().to_string();
        assert!(told.starts_with("/nowhere/r.yaml: cannot be read: No such file"), "{told}");
    }

    #[test]
    fn a_pipe_is_no_file_of_rules() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("r.yaml");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let told = read(Loaded::default(), &[pipe]).err().unwrap().to_string();
        assert!(told.contains("r.yaml: cannot be read: it is no regular file"), "{told}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_does_not_answer_is_told_of_until_it_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.yaml");
        fs::write(&path, ONE).unwrap();
        let sources = plan::Rules { written: Vec::new(), main: None, files: vec![path] };
        let files = RuleFiles::open(&sources, &mut Registry::default()).unwrap().unwrap();
        let (answer, asked) = std::sync::mpsc::sync_channel::<()>(1);
        let mut work = Box::pin(files.beside(move || asked.recv().is_ok()));
        assert!(futures_util::poll!(&mut work).is_pending());
        tokio::time::advance(DISK_MAX).await;
        assert!(futures_util::poll!(&mut work).is_pending());
        assert!(files.reloads().fault().unwrap().contains("no answer for 10s"));
        answer.send(()).unwrap();
        assert!(work.await.unwrap());
        assert_eq!(files.reloads().fault(), None);
    }

    #[test]
    fn of_the_configuration_the_rules_are_read_again_and_other_changes_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sc.yaml");
        let keys = Loaded::parse("", "rules: []\ntimeouts: {request: 1s}\n").unwrap().keys;
        let main = Some(MainFile { path: path.clone(), keys });
        let sources = plan::Rules { written: Vec::new(), main, files: Vec::new() };
        let again = |text: &str| {
            fs::write(&path, text).unwrap();
            read_again(&sources).map(|(read, others)| (read.written.len(), others))
        };
        assert_eq!(again(ONE), Ok((1, vec!["timeouts".to_owned()])));
        let others = ["log", "timeouts.request"].map(str::to_owned).into();
        assert_eq!(again("timeouts: {request: 2s}\nlog: {}\n"), Ok((0, others)));
        let told = again(&format!("timeouts: {{request: 1s}}\n{}", ONE.replace("drop", "dorp"))).unwrap_err();
        assert!(told.to_string().contains("sc.yaml:5:") && told.to_string().contains("`drop`"), "{told}");
        let told = again(&format!("{ONE}    stop: true\n    fail: wrong\n")).unwrap_err().to_string();
        assert!(told.contains("sc.yaml:6:") && told.contains("rules[0].fail"), "{told}");
        let told =
            again(&ONE.replace("    do:", "    when:\n      tool: /(/\n    do:")).unwrap_err().to_string();
        assert!(told.contains("sc.yaml:4: rules[0].when.tool: "), "{told}");
        assert!(again("").is_err(), "a file that is being written");
    }
}
