//! `shadowcat tape`: the recordings, also while they are written.

mod export;
pub(crate) mod files;
mod import;
pub(crate) mod key_args;
mod make;
pub(crate) mod played;
mod range;
pub(crate) mod reading;
mod remove;
mod search;
mod show;
mod stats;
mod timeline;
mod validate;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};
use shadowcat_tape::{Keys, Listed, Redactor, Secrets, State, render};
use time::OffsetDateTime;

use crate::data_args::DataArgs;
use crate::failure::Failure;
use crate::output::{self, Listing};
use crate::process::Process;
use files::TapeFiles;
use key_args::KeyArgs;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory of the tapes [env: SHADOWCAT_RECORD] [default: `tapes` in the data directory]
    #[arg(long, value_name = "DIR", global = true)]
    record: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the tapes of a directory
    List(ListArgs),
    Show(show::Args),
    Search(search::Args),
    Stats(stats::Args),
    /// Write tapes in the formats of other tools
    Export(export::Args),
    /// Make a tape of a recording of another tool
    Import(import::Args),
    Validate(validate::Args),
    Redact(make::Redact),
    Merge(make::Merge),
    Cut(make::Cut),
    Rm(remove::Args),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    listing: Listing,
}

impl Args {
    pub(crate) fn run(&self, process: &Process) -> Result<(), Failure> {
        let paths = |tapes: &TapeFiles| tapes.paths(self.record.as_ref(), &self.data, process);
        let paths_or_all = |tapes: &TapeFiles| tapes.paths_or_all(self.record.as_ref(), &self.data, process);
        let keys = |args: &KeyArgs| args.keys(&self.data, process);
        match &self.action {
            Action::List(args) => {
                let dir = self.data.tapes(self.record.as_ref(), process)?;
                output::print(&list(&dir, &keys(&args.keys)?, &args.listing)?)
            }
            Action::Show(args) => args.run(&paths(&args.tapes)?, keys(&args.keys)?, process),
            Action::Search(args) => args.run(&paths_or_all(&args.tapes)?, keys(&args.keys)?, process),
            Action::Stats(args) => args.run(&paths_or_all(&args.tapes)?, keys(&args.keys)?),
            Action::Export(args) => args.run(&paths(&args.tapes)?, &keys(&args.keys)?),
            Action::Import(args) => args.run(self.data.tapes(self.record.as_ref(), process).ok().as_deref()),
            Action::Validate(args) => args.run(&paths(&args.tapes)?, &keys(&args.keys)?),
            Action::Redact(args) => args.run(&paths(&args.tapes)?, &keys(&args.keys)?),
            Action::Merge(args) => args.run(&paths(&args.tapes)?, &keys(&args.keys)?),
            Action::Cut(args) => args.run(&paths(&args.tapes)?, &keys(&args.keys)?),
            Action::Rm(args) => args.run(&paths(&args.tapes)?),
        }
    }
}

/// Replaces credentials, and these secrets, with a key of its own.
fn redactor(secrets: &Secrets) -> Result<Redactor, Failure> {
    Redactor::new(secrets).map_err(|cause| Failure::caused("redaction cannot be set up", cause))
}

fn list(dir: &Path, keys: &Keys, listing: &Listing) -> Result<String, Failure> {
    let tapes = shadowcat_tape::list(dir, keys)
        .map_err(|cause| Failure::caused(format!("{}: the tapes cannot be listed", dir.display()), cause))?;
    Ok(listing.text(&tapes, ["TAPE", "BEGUN", "MESSAGES", "LOST", "SIZE", "STATE"], row, described))
}

fn row(tape: &Listed) -> [String; 6] {
    [
        files::name(&tape.path),
        tape.created.map_or_else(|| "?".to_owned(), time),
        tape.frames.to_string(),
        tape.lost.to_string(),
        render::size(usize::try_from(tape.bytes).unwrap_or(usize::MAX)),
        word(tape.state).to_owned(),
    ]
}

fn described(tape: &Listed) -> Value {
    json!({
        "path": tape.path.to_string_lossy(),
        "tape": tape.tape,
        "begun": tape.created.map(time),
        "modified": tape.modified.map(time),
        "messages": tape.frames,
        "lost": tape.lost,
        "bytes": tape.bytes,
        "state": word(tape.state),
    })
}

fn word(state: State) -> &'static str {
    match state {
        State::Complete => "complete",
        State::Open => "open",
        State::Torn => "torn",
        State::Damaged => "damaged",
        State::Locked => "locked",
    }
}

fn time(time: OffsetDateTime) -> String {
    let since_1970 = Duration::try_from(time - OffsetDateTime::UNIX_EPOCH).unwrap_or_default();
    output::time_of_ms(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
