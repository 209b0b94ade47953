//! `shadowcat tape`: the recordings, also while they are written.

mod show;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};
use shadowcat_tape::{Listed, State};
use time::OffsetDateTime;

use crate::data_args::DataArgs;
use crate::failure::Failure;
use crate::output::{self, Format, Listing};
use crate::process::Process;

/// List recordings, and show what is on them
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
    List(Listing),
    /// Show the messages on a tape, one line each
    Show {
        /// A file, or the name of one in the directory
        tape: PathBuf,
        /// `table` is one line a message; `json` prints the records as they are on the tape
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
}

impl Args {
    pub(crate) fn run(&self, process: &Process) -> Result<(), Failure> {
        match &self.action {
            Action::List(listing) => {
                let dir = self.data.tapes(self.record.as_ref(), process)?;
                output::print(&list(&dir, listing)?)
            }
            Action::Show { tape, output } => show::show(&self.find(tape, process)?, *output),
        }
    }

    /// The file itself, or the one of that name among the tapes.
    fn find(&self, tape: &Path, process: &Process) -> Result<PathBuf, Failure> {
        if tape.exists() {
            return Ok(tape.to_owned());
        }
        let inside = self.data.tapes(self.record.as_ref(), process).ok().map(|dir| dir.join(tape));
        inside.filter(|path| path.exists()).ok_or_else(|| {
            let sentence =
                "there is no such tape; `shadowcat tape list --record DIR` shows those of a directory";
            Failure::plain(format!("{}: {sentence}", tape.display()))
        })
    }
}

fn list(dir: &Path, listing: &Listing) -> Result<String, Failure> {
    let tapes = shadowcat_tape::list(dir)
        .map_err(|cause| Failure::caused(format!("{}: the tapes cannot be listed", dir.display()), cause))?;
    Ok(listing.text(&tapes, ["TAPE", "BEGUN", "MESSAGES", "LOST", "BYTES", "STATE"], row, described))
}

fn row(tape: &Listed) -> [String; 6] {
    [
        name(tape),
        tape.created.map_or_else(|| "?".to_owned(), time),
        tape.frames.to_string(),
        tape.lost.to_string(),
        tape.bytes.to_string(),
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

fn name(tape: &Listed) -> String {
    tape.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn word(state: State) -> &'static str {
    match state {
        State::Complete => "complete",
        State::Open => "open",
        State::Torn => "torn",
        State::Damaged => "damaged",
    }
}

fn time(time: OffsetDateTime) -> String {
    let since_1970 = Duration::try_from(time - OffsetDateTime::UNIX_EPOCH).unwrap_or_default();
    output::time_of_ms(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
