//! Tapes that a command line names: files, or names of those in the tapes' directory.

use std::error::Error;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use shadowcat_filter::nearest;

use crate::data_args::DataArgs;
use crate::failure::Failure;
use crate::process::Process;

/// So many candidates are named to choose from.
const CANDIDATES_MAX: usize = 5;

// The tapes that a command is about.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct TapeFiles {
    /// Tapes: files, or names of those in the directory, or a part of a name that only one has
    #[arg(value_name = "TAPE")]
    tapes: Vec<PathBuf>,
}

impl TapeFiles {
    /// Those that a command names by a flag.
    pub(crate) fn of(tapes: Vec<PathBuf>) -> Self {
        Self { tapes }
    }

    /// The files of the tapes, in the order they are named in; at least one has to be. `record` is the flag that names
    /// the directory, where a command has it.
    pub(crate) fn paths(
        &self,
        record: Option<&PathBuf>,
        data: &DataArgs,
        process: &Process,
    ) -> Result<Vec<PathBuf>, Failure> {
        if self.tapes.is_empty() {
            return Err(Failure::usage(
                "which tape? name a file or one that `shadowcat tape list --record DIR` shows",
            ));
        }
        self.tapes.iter().map(|tape| find(tape, || data.tapes(record, process))).collect()
    }

    /// The same; all tapes of the directory if none is named.
    pub(crate) fn paths_or_all(
        &self,
        record: Option<&PathBuf>,
        data: &DataArgs,
        process: &Process,
    ) -> Result<Vec<PathBuf>, Failure> {
        if self.tapes.is_empty() {
            all(&data.tapes(record, process)?)
        } else {
            self.paths(record, data, process)
        }
    }
}

/// The file itself, or the one of that name in the directory.
fn find(tape: &Path, dir: impl FnOnce() -> Result<PathBuf, Failure>) -> Result<PathBuf, Failure> {
    if tape.is_file() {
        return Ok(tape.to_owned());
    }
    if tape.is_dir() {
        let sentence = "this is a directory; name a tape in it, or the directory with `--record DIR`";
        return Err(Failure::plain(format!("{}: {sentence}", tape.display())));
    }
    let Ok(dir) = dir() else {
        let sentence =
            "there is no such file; for the name of a tape give `--record DIR` or `--data DIR` too";
        return Err(Failure::plain(format!("{}: {sentence}", tape.display())));
    };
    choose(&tape.to_string_lossy(), &all(&dir)?, &dir)
}

fn all(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    shadowcat_tape::files(dir)
        .map_err(|cause| Failure::caused(format!("{}: the tapes cannot be listed", dir.display()), cause))
}

/// The tape of this name; else the only one with this part in its name.
fn choose(written: &str, files: &[PathBuf], dir: &Path) -> Result<PathBuf, Failure> {
    let mut fitting = Vec::new();
    for file in files {
        match name(file) {
            whole if whole == written => return Ok(file.clone()),
            whole if whole.contains(written) => fitting.push(file.clone()),
            _ => {}
        }
    }
    match <[PathBuf; 1]>::try_from(fitting) {
        Ok([file]) => Ok(file),
        Err(fitting) => Err(Failure::plain(format!("{written}: {}", way_out(written, &fitting, files, dir)))),
    }
}

fn way_out(written: &str, fitting: &[PathBuf], files: &[PathBuf], dir: &Path) -> String {
    let dir = dir.display();
    if files.is_empty() {
        return format!("there is no such tape, nor any other in {dir}");
    }
    if !fitting.is_empty() {
        let named: Vec<String> = fitting.iter().take(CANDIDATES_MAX).map(|file| name(file)).collect();
        let more = if fitting.len() > CANDIDATES_MAX { ", ..." } else { "" };
        return format!("{} tapes in {dir} have that name: {}{more}", fitting.len(), named.join(", "));
    }
    let names: Vec<String> = files.iter().map(|file| name(file)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match nearest(written, &names) {
        Some(name) => format!("there is no such tape in {dir}; did you mean `{name}`?"),
        None => format!("there is no such tape; `shadowcat tape list --record {dir}` shows those there are"),
    }
}

/// The name of a tape, as lists show it.
pub(crate) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_else(|| OsStr::new("")).to_string_lossy().into_owned()
}

/// A file could not be opened, or not be read to its end.
pub(super) fn unreadable(path: &Path, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
    Failure::caused(format!("{}: cannot be read", path.display()), cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = [
        "20261121T120405Z-a1b2c3.tape.jsonl",
        "20261121T130000Z-d4e5f6.tape.jsonl",
        "20261122T080000Z-a1ffff.tape.jsonl",
    ];

    fn chosen(written: &str) -> Result<String, String> {
        let files = NAMES.map(PathBuf::from).to_vec();
        choose(written, &files, Path::new("tapes")).map(|path| name(&path)).map_err(|failure| failure.told())
    }

    #[test]
    fn a_tape_is_known_by_its_name_or_by_a_part_that_only_one_has() {
        assert_eq!(chosen(NAMES[1]).unwrap(), NAMES[1]);
        assert_eq!(chosen("a1b2c3").unwrap(), NAMES[0]);
        assert_eq!(chosen("20261122").unwrap(), NAMES[2]);
    }

    #[test]
    fn what_fits_several_tapes_names_them() {
        let told = chosen("20261121T").unwrap_err();
        assert!(told.contains("2 tapes") && told.contains(NAMES[0]) && told.contains(NAMES[1]), "{told}");
    }

    #[test]
    fn a_wrong_name_is_told_the_nearest_right_one() {
        let told = chosen("20261121T130000Z-d4e5e6.tape.jsonl").unwrap_err();
        assert!(told.contains(&format!("did you mean `{}`", NAMES[1])), "{told}");
        assert!(chosen("zzz").unwrap_err().contains("tape list"));
    }

    #[test]
    fn a_file_needs_no_directory_and_a_directory_is_no_tape() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("any");
        std::fs::write(&file, "").unwrap();
        let nowhere = || Err(Failure::usage("no directory"));
        assert_eq!(find(&file, nowhere).unwrap(), file);
        assert!(find(dir.path(), nowhere).unwrap_err().told().contains("directory"));
        assert!(find(Path::new("none"), nowhere).unwrap_err().told().contains("--record"));
    }

    #[test]
    fn an_empty_directory_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let told = find(Path::new("none"), || Ok(dir.path().to_owned())).unwrap_err().told();
        assert!(told.contains("nor any other"), "{told}");
    }
}
