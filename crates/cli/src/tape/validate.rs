//! `shadowcat tape validate`: what is wrong with tapes, and copies without it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use shadowcat_tape::{Fault, FaultKind, Keys, ReadError, Repaired, Report, Summary, key_of};

use super::files::{TapeFiles, unreadable};
use super::key_args::KeyArgs;
use crate::failure::Failure;
use crate::output::{self, Listing};
use crate::progress::Progress;

/// Check tapes: each line, the numbers, and what the last record says
///
/// Exit code 0 says that they are sound, or with `--repair` that there is a sound copy of each.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) tapes: TapeFiles,
    #[command(flatten)]
    pub(super) keys: KeyArgs,
    /// Write a copy of each damaged tape, `NAME.repaired.tape.jsonl` beside it, with all that is whole
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    listing: Listing,
}

/// What is found of one tape.
struct Found {
    path: PathBuf,
    report: Report,
    /// It has a fault, and not only because it is being written just now.
    is_damaged: bool,
    is_being_written: bool,
    repaired: Option<(PathBuf, u64, Summary)>,
}

impl Args {
    pub(super) fn run(&self, tapes: &[PathBuf], keys: &Keys) -> Result<(), Failure> {
        let mut found = Vec::new();
        for tape in tapes {
            found.push(self.look(tape, keys)?);
        }
        if self.listing.is_json() {
            output::print(&format!("{:#}\n", Value::Array(found.iter().map(described).collect())))?;
        } else {
            output::print(&found.iter().map(told).collect::<String>())?;
        }
        match found.iter().filter(|found| found.is_damaged && found.repaired.is_none()).count() {
            0 => Ok(()),
            _ if self.repair => {
                Err(Failure::plain("a tape that is being written cannot be repaired; end it first"))
            }
            1 => Err(Failure::plain("the tape is damaged; `--repair` copies what is whole")),
            count => {
                Err(Failure::plain(format!("{count} tapes are damaged; `--repair` copies what is whole")))
            }
        }
    }

    fn look(&self, path: &Path, keys: &Keys) -> Result<Found, Failure> {
        let is_being_written = shadowcat_tape::is_being_written(path).unwrap_or(false);
        let mut reader = open(path, keys)?;
        let report = {
            let mut progress = progress(path, "checking");
            shadowcat_tape::validate(&mut reader, &mut |at| progress.at(at))
        };
        let is_damaged = report.faults.iter().any(|fault| !is_being_written || !is_torn(fault));
        let mut found = Found { path: path.to_owned(), report, is_damaged, is_being_written, repaired: None };
        if self.repair && is_damaged && !is_being_written {
            found.repaired = Some(repair(path, keys)?);
        }
        Ok(found)
    }
}

fn is_torn(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::Unreadable(ReadError::Torn { .. }))
}

fn repair(path: &Path, keys: &Keys) -> Result<(PathBuf, u64, Summary), Failure> {
    let mut reader = open(path, keys)?;
    let seal = key_of(path, keys).map_err(|cause| unreadable(path, cause))?;
    let copy = beside(path, seal.is_some());
    let mut progress = progress(path, "repairing");
    let done = shadowcat_tape::repair(&mut reader, &copy, seal, &mut |at| progress.at(at));
    let Repaired { dropped, summary, .. } =
        done.map_err(|cause| Failure::caused(format!("{}: cannot be repaired", path.display()), cause))?;
    Ok((copy, dropped, summary))
}

fn open(path: &Path, keys: &Keys) -> Result<shadowcat_tape::Reader<shadowcat_tape::Source>, Failure> {
    shadowcat_tape::open(path, keys).map_err(|cause| unreadable(path, cause))
}

fn progress(path: &Path, what: &'static str) -> Progress {
    Progress::over(path.metadata().map_or(0, |file| file.len()), what)
}

/// The copy is not compressed, whatever the damaged one is wrapped in; it is encrypted if that is.
fn beside(path: &Path, is_sealed: bool) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.split_once(".tape.").map_or(&*name, |(stem, _)| stem);
    let end = if is_sealed { ".enc" } else { "" };
    path.with_file_name(format!("{stem}.repaired.tape.jsonl{end}"))
}

fn told(found: &Found) -> String {
    let (path, report) = (found.path.display(), &found.report);
    let faults = if found.is_damaged { report.faults_count } else { 0 };
    let mut told = match faults {
        0 => format!("{path}: sound"),
        1 => format!("{path}: 1 fault"),
        count => format!("{path}: {count} faults"),
    };
    write!(told, ", {} messages", report.frames).ok();
    for (count, what) in [(report.lost, "lost while recording"), (report.missing, "missing")] {
        if count > 0 {
            write!(told, ", {count} {what}").ok();
        }
    }
    told.push_str(match (report.ended, found.is_being_written) {
        (_, true) => "; it is being written",
        (false, false) => "; it was not closed in order",
        (true, false) => "",
    });
    told.push('\n');
    if found.is_damaged {
        for fault in &report.faults {
            writeln!(told, "  {fault}").ok();
        }
    }
    if faults > report.faults.len() {
        writeln!(told, "  and {} more", faults - report.faults.len()).ok();
    }
    if let Some((copy, dropped, summary)) = &found.repaired {
        let copy = copy.display();
        writeln!(
            told,
            "  {copy} has the {} messages that are whole; {dropped} lines were dropped",
            summary.frames
        )
        .ok();
    }
    told
}

fn described(found: &Found) -> Value {
    let Report { frames, lost, missing, faults, faults_count, ended } = &found.report;
    let fault = |fault: &Fault| {
        json!({
            "line": fault.place.line,
            "offset": fault.place.offset,
            "fault": fault.kind.word(),
            "detail": fault.to_string(),
        })
    };
    let repaired = found.repaired.as_ref().map(|(copy, dropped, summary)| {
        json!({
            "path": copy.to_string_lossy(),
            "messages": summary.frames,
            "lost": summary.lost,
            "lines_dropped": dropped,
        })
    });
    json!({
        "path": found.path.to_string_lossy(),
        "sound": !found.is_damaged,
        "ended": ended,
        "being_written": found.is_being_written,
        "messages": frames,
        "lost": lost,
        "missing": missing,
        "faults_count": faults_count,
        "faults": faults.iter().map(fault).collect::<Vec<_>>(),
        "repaired": repaired,
    })
}

#[cfg(test)]
mod tests {
    use shadowcat_tape::{Settings, Tape, TapeFile};
    use time::OffsetDateTime;

    use super::*;

    fn args(repair: bool) -> Args {
        Args { repair, ..Args::default() }
    }

    fn tape(dir: &Path) -> PathBuf {
        let path = dir.join("a.tape.jsonl");
        let mut tape = TapeFile::create(&path, OffsetDateTime::UNIX_EPOCH, true).unwrap();
        tape.lost(2, "queue").unwrap();
        tape.finish().unwrap();
        path
    }

    #[test]
    fn a_sound_tape_is_said_to_be_sound() {
        let dir = tempfile::tempdir().unwrap();
        let path = tape(dir.path());
        let found = args(true).look(&path, &Keys::default()).unwrap();
        assert_eq!(told(&found), format!("{}: sound, 0 messages, 2 lost while recording\n", path.display()));
        assert_eq!(described(&found)["sound"], true);
        assert!(args(false).run(&[path], &Keys::default()).is_ok());
    }

    #[test]
    fn a_damaged_tape_is_repaired_into_a_copy_and_stays_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = tape(dir.path());
        let mut bytes = std::fs::read(&path).unwrap();
        let second = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        bytes[second + 30] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let failure = args(false).run(std::slice::from_ref(&path), &Keys::default()).unwrap_err();
        assert!(failure.told().contains("--repair"), "{}", failure.told());

        let found = args(true).look(&path, &Keys::default()).unwrap();
        assert!(told(&found).contains(&format!("line 2 at byte {second} is damaged")), "{}", told(&found));
        assert_eq!(described(&found)["faults"][0]["fault"], "damaged");
        let (copy, dropped, _) = found.repaired.unwrap();
        assert_eq!((copy.file_name().unwrap().to_str().unwrap(), dropped), ("a.repaired.tape.jsonl", 1));
        assert!(args(false).run(&[copy], &Keys::default()).is_ok());
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        assert!(args(true).run(&[path], &Keys::default()).unwrap_err().told().contains("is there already"));
    }

    #[test]
    fn what_is_torn_while_it_is_written_is_no_damage() {
        let dir = tempfile::tempdir().unwrap();
        let tape = Tape::create(dir.path(), Settings::default()).unwrap();
        let mut bytes = std::fs::read(tape.path()).unwrap();
        bytes.extend_from_slice(b"{\"crc\":");
        std::fs::write(tape.path(), bytes).unwrap();
        let found = args(true).look(&tape.path(), &Keys::default()).unwrap();
        assert!(!found.is_damaged && told(&found).ends_with("; it is being written\n"), "{}", told(&found));
    }
}
