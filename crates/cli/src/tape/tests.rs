//! Listing and showing, on a tape made for it.

use shadowcat_tape::{Keys, Settings, Tape};

use super::reading::{Paint, Stop};
use super::*;
use crate::output::Format;

/// A directory with one tape on which nothing was said.
fn tapes() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    drop(Tape::create(dir.path(), Settings::default()).unwrap());
    let path = shadowcat_tape::list(dir.path(), &Keys::default()).unwrap().remove(0).path;
    (dir, path)
}

fn shown(path: &Path, output: Format) -> (String, bool) {
    let mut out = Vec::new();
    let mut args = show::Args::default();
    args.output = output;
    match args.tape(path, Paint::of(&Process::new([])), &mut out) {
        Ok(damage) => (String::from_utf8(out).unwrap(), damage.is_some()),
        Err(Stop::Read(_, cause)) => panic!("{cause}"),
        Err(Stop::Written(cause)) => panic!("{cause}"),
    }
}

#[test]
fn tapes_are_listed_with_their_state() {
    let (dir, path) = tapes();
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    for format in [Format::Table, Format::Json] {
        let listed = list(dir.path(), &Listing { output: format }).unwrap();
        assert!(listed.contains(&name) && listed.contains('Z'), "{listed}");
    }
    assert!(list(&dir.path().join("none"), &Listing::default()).unwrap_err().told().contains("none"));
}

#[test]
fn json_is_what_is_on_the_tape() {
    let (_dir, path) = tapes();
    let (text, is_faulty) = shown(&path, Format::Json);
    assert_eq!((text, is_faulty), (std::fs::read_to_string(&path).unwrap(), false));
}

#[test]
fn a_damaged_tape_is_shown_and_reported() {
    let (_dir, path) = tapes();
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{whole}nonsense\n{whole}")).unwrap();
    assert!(shown(&path, Format::Json).1);
    assert!(shown(&path, Format::Table).0.is_empty());
}
