//! `shadowcat tape redact`, `merge` and `cut`: new tapes from old ones, which stay as they are.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use shadowcat_filter::Filter;
use shadowcat_tape::{Call, EditError, FileError, Header, Key, Keys, Secrets, Selection, Summary, key_of};

use super::files::{TapeFiles, unreadable};
use super::key_args::KeyArgs;
use super::range::Range;
use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;

/// Write a copy of a tape without credentials
///
/// For a tape that was recorded without redaction, or before a rule was there. What was replaced before stays as it is.
#[derive(Debug, clap::Args)]
pub(super) struct Redact {
    #[command(flatten)]
    pub(super) tapes: TapeFiles,
    #[command(flatten)]
    pub(super) keys: KeyArgs,
    /// Replace what goes under this name too: members, headers, variables, parameters
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    /// Replace what stands at this JSONPath of a message too, such as `$.params.arguments.card`
    #[arg(long = "path", value_name = "JSONPATH")]
    paths: Vec<String>,
    /// Replace what fits this regular expression too, or its group if it has one
    #[arg(long = "pattern", value_name = "REGEX")]
    patterns: Vec<String>,
    #[command(flatten)]
    output: Output,
}

/// Join tapes to one, in the order of their times
///
/// Exchanges get new numbers, so that those of two tapes are never taken for one; sessions stay what they are.
#[derive(Debug, clap::Args)]
pub(super) struct Merge {
    #[command(flatten)]
    pub(super) tapes: TapeFiles,
    #[command(flatten)]
    pub(super) keys: KeyArgs,
    #[command(flatten)]
    output: Output,
}

/// Write a part of a tape as a tape of its own
///
/// Calls stay whole: with their answers, the questions in between and both sides of a bridge, if only one message of
/// them is within the part. The handshakes of their sessions come along, so that the part can be played.
#[derive(Debug, clap::Args)]
pub(super) struct Cut {
    #[command(flatten)]
    pub(super) tapes: TapeFiles,
    #[command(flatten)]
    pub(super) keys: KeyArgs,
    #[command(flatten)]
    range: Range,
    /// Only the calls that fit this expression; `shadowcat tape search --help` lists its operators
    #[arg(long, value_name = "EXPR")]
    filter: Option<Filter>,
    /// Leave out handshakes that are not within the part
    #[arg(long)]
    no_handshakes: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct Output {
    /// The new tape; a file that is there is never replaced
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    path: PathBuf,
    /// Write it unencrypted; otherwise it is encrypted with the key of the first tape that is
    #[arg(long)]
    plain: bool,
}

/// Each is an open file.
const TAPES_MAX: usize = 256;

impl Redact {
    pub(super) fn run(&self, tapes: &[PathBuf], keys: &Keys) -> Result<(), Failure> {
        let tape = only(tapes, "redact")?;
        let redactor = super::redactor(&self.secrets()?)?;
        let mut progress = Progress::over(bytes(tape), "redacting");
        let told = &mut |at| progress.at(at);
        header(tape, keys)?;
        let seal = self.output.seal(tapes, keys)?;
        let done = shadowcat_tape::redact(tape, keys, &redactor, &self.output.path, seal, told);
        let (summary, count) = done.map_err(failure)?;
        self.output.tell(summary, &format!("; {count} pieces replaced"))
    }

    fn secrets(&self) -> Result<Secrets, Failure> {
        let mut secrets = Secrets::default();
        let all = self.names.iter().try_for_each(|name| secrets.add_name(name));
        let all = all.and_then(|()| self.paths.iter().try_for_each(|path| secrets.add_path(path)));
        let all = all.and_then(|()| self.patterns.iter().try_for_each(|text| secrets.add_pattern(text)));
        all.map_err(|fault| Failure::usage(fault.to_string()))?;
        Ok(secrets)
    }
}

impl Merge {
    pub(super) fn run(&self, tapes: &[PathBuf], keys: &Keys) -> Result<(), Failure> {
        if tapes.len() > TAPES_MAX {
            return Err(Failure::usage(format!(
                "merge: at most {TAPES_MAX} tapes at one time; do it in parts"
            )));
        }
        let mut progress = Progress::over(tapes.iter().map(|tape| bytes(tape)).sum(), "merging");
        let told = &mut |at| progress.at(at);
        tapes.iter().try_for_each(|tape| header(tape, keys).map(drop))?;
        let seal = self.output.seal(tapes, keys)?;
        let done = shadowcat_tape::merge(tapes, keys, &self.output.path, seal, told);
        self.output.tell(done.map_err(failure)?, &format!("; from {} tapes", tapes.len()))
    }
}

impl Cut {
    pub(super) fn run(&self, tapes: &[PathBuf], keys: &Keys) -> Result<(), Failure> {
        let tape = only(tapes, "cut")?;
        let begun = header(tape, keys)?.created;
        let selection = Selection {
            from: self.range.from(begun),
            to: self.range.to(begun),
            filter: &|call: &Call| self.filter.as_ref().is_none_or(|filter| filter.matches(call)),
            handshakes: !self.no_handshakes,
        };
        // It is read twice.
        let mut progress = Progress::over(2 * bytes(tape), "cutting");
        let told = &mut |at| progress.at(at);
        let seal = self.output.seal(tapes, keys)?;
        let done = shadowcat_tape::cut(tape, keys, &selection, &self.output.path, seal, told);
        self.output.tell(done.map_err(failure)?, "")
    }
}

impl Output {
    /// The key of the first tape that is encrypted.
    fn seal<'k>(&self, tapes: &[PathBuf], keys: &'k Keys) -> Result<Option<&'k Key>, Failure> {
        if self.plain {
            return Ok(None);
        }
        for tape in tapes {
            let key = key_of(tape, keys).map_err(|cause| unreadable(tape, cause))?;
            if key.is_some() {
                return Ok(key);
            }
        }
        Ok(None)
    }

    fn tell(&self, summary: Summary, more: &str) -> Result<(), Failure> {
        let path = self.path.display();
        let lost = if summary.lost > 0 { format!(", {} lost", summary.lost) } else { String::new() };
        output::print(&format!("{path}: {} messages{lost}{more}\n", summary.frames))
    }
}

/// The header; of a tape whose other records may say more than this program writes, that is told.
fn header(tape: &Path, keys: &Keys) -> Result<Header, Failure> {
    let header = shadowcat_tape::header(tape, keys).map_err(failure)?;
    if header.is_newer() {
        let tape = tape.display();
        writeln!(
            io::stderr(),
            "shadowcat: {tape}: a newer shadowcat wrote it; what only that knows is left out"
        )
        .ok();
    }
    Ok(header)
}

fn only<'a>(tapes: &'a [PathBuf], command: &str) -> Result<&'a Path, Failure> {
    match tapes {
        [tape] => Ok(tape),
        _ => Err(Failure::usage(format!(
            "{command}: one tape at a time; `shadowcat tape merge` joins several"
        ))),
    }
}

fn bytes(tape: &Path) -> u64 {
    tape.metadata().map_or(0, |file| file.len())
}

fn failure(cause: EditError) -> Failure {
    match cause {
        EditError::Write(FileError::Exists { .. }) => Failure::plain(cause.to_string()),
        _ => Failure::caused("no tape was written", cause),
    }
}
