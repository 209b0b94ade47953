//! `shadowcat tape rm`: tapes and what belongs to them.

use std::fs;
use std::io::{self, BufRead as _, ErrorKind, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use super::files::{self, TapeFiles};
use crate::failure::Failure;
use crate::output;

/// Remove tapes, with their indexes
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) tapes: TapeFiles,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Remove a tape also while a program writes it; what it writes then is gone too
    #[arg(long)]
    force: bool,
}

impl Args {
    /// All of them or, if one must not be removed, none.
    pub(super) fn run(&self, tapes: &[PathBuf]) -> Result<(), Failure> {
        if !self.force {
            tapes.iter().try_for_each(|tape| refuse_written(tape))?;
        }
        if !self.yes && !confirmed(tapes)? {
            return Err(Failure::plain("nothing was removed"));
        }
        for tape in tapes {
            remove(tape)?;
            output::print(&format!("removed {}\n", tape.display()))?;
        }
        Ok(())
    }
}

fn refuse_written(tape: &Path) -> Result<(), Failure> {
    match shadowcat_tape::is_being_written(tape) {
        Ok(false) => Ok(()),
        Ok(true) => {
            let sentence = "is being written; end the proxy that writes it, or say `--force`";
            Err(Failure::plain(format!("{} {sentence}", tape.display())))
        }
        Err(cause) => Err(files::unreadable(tape, cause)),
    }
}

fn confirmed(tapes: &[PathBuf]) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("rm: nobody can be asked here; say `--yes`"));
    }
    let mut err = io::stderr().lock();
    for tape in tapes {
        writeln!(err, "  {}", files::name(tape)).ok();
    }
    write!(err, "Remove {} tapes for good? [y/N] ", tapes.len()).ok();
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|cause| Failure::caused("cannot read the answer", cause))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// The index first: without its tape it would be left behind.
fn remove(tape: &Path) -> Result<(), Failure> {
    let failed = |path: &Path, cause: io::Error| {
        Failure::caused(format!("{}: cannot be removed", path.display()), cause)
    };
    let index = shadowcat_tape::index_beside(tape);
    match fs::remove_file(&index) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => return Err(failed(&index, cause)),
        _ => {}
    }
    fs::remove_file(tape).map_err(|cause| failed(tape, cause))
}

#[cfg(test)]
mod tests {
    use shadowcat_tape::{Settings, Tape, TapeFile, index_beside};
    use time::OffsetDateTime;

    use super::*;

    fn args(yes: bool, force: bool) -> Args {
        Args { tapes: TapeFiles::default(), yes, force }
    }

    #[test]
    fn a_tape_goes_with_its_index_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["a.tape.jsonl", "b.tape.jsonl"] {
            TapeFile::create(&path(name), OffsetDateTime::UNIX_EPOCH, true).unwrap().finish().unwrap();
            fs::write(index_beside(&path(name)), "").unwrap();
        }
        args(true, false).run(&[path("a.tape.jsonl")]).unwrap();
        assert!(!path("a.tape.jsonl").exists() && !path("a.tape.idx").exists());
        assert!(path("b.tape.jsonl").exists() && path("b.tape.idx").exists());
    }

    #[test]
    fn a_tape_that_is_being_written_is_kept_with_all_others_unless_forced() {
        let dir = tempfile::tempdir().unwrap();
        let closed = dir.path().join("closed.tape.jsonl");
        TapeFile::create(&closed, OffsetDateTime::UNIX_EPOCH, true).unwrap().finish().unwrap();
        let tape = Tape::create(dir.path(), Settings::default()).unwrap();
        let both = [closed, tape.path()];
        let told = args(true, false).run(&both).unwrap_err().told();
        assert!(told.contains("is being written") && told.contains("--force"), "{told}");
        assert!(both.iter().all(|path| path.exists()));
        args(true, true).run(&both).unwrap();
        assert!(!both.iter().any(|path| path.exists()));
    }
}
