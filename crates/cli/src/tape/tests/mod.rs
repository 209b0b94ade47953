//! Listing, showing and exporting, on tapes made for it.

mod printed;

use shadowcat_tape::TapeFile;

use super::reading::Reading;
use super::timeline::Paint;
use super::*;
use crate::progress::Progress;

/// A directory with one tape on which nothing was said.
fn tapes() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tape.jsonl");
    TapeFile::create(&path, OffsetDateTime::UNIX_EPOCH, true).unwrap().finish().unwrap();
    (dir, path)
}

fn shown(path: &Path, listing: Listing) -> Result<String, Failure> {
    let mut out = Vec::new();
    let mut args = show::Args::default();
    args.listing = listing;
    let mut reading = Reading::new(Keys::default(), Progress::over(0, "reading"));
    let printed = args.tapes(&[path.to_owned()], Paint::of(&Process::new([])), &mut reading, &mut out);
    reading.end("standard output", printed).map(|()| String::from_utf8(out).unwrap())
}

#[test]
fn tapes_are_listed_with_their_state() {
    let (dir, path) = tapes();
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    for listing in [Listing::default(), Listing::as_json()] {
        let listed = list(dir.path(), &Keys::default(), &listing).unwrap();
        assert!(listed.contains(&name) && listed.contains('Z'), "{listed}");
    }
    assert!(
        list(&dir.path().join("none"), &Keys::default(), &Listing::default())
            .unwrap_err()
            .told()
            .contains("none")
    );
}

#[test]
fn json_is_what_is_on_the_tape() {
    let (_dir, path) = tapes();
    assert_eq!(shown(&path, Listing::as_json()).unwrap(), std::fs::read_to_string(&path).unwrap());
    assert_eq!(shown(&path, Listing::default()).unwrap(), "");
}

#[test]
fn a_damaged_tape_is_reported() {
    let (_dir, path) = tapes();
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{whole}nonsense\n{whole}")).unwrap();
    let told = shown(&path, Listing::default()).unwrap_err().told();
    assert!(told.contains("not all of it can be read") && told.contains("line 3"), "{told}");
}

#[derive(clap::Parser)]
struct Export {
    #[command(flatten)]
    args: export::Args,
}

/// What the command says, and what it wrote, if it wrote anything.
fn exported(arguments: &[&str], tape: &Path) -> (Result<(), String>, Option<String>) {
    let file = tape.with_extension("exported");
    std::fs::write(&file, "before").unwrap();
    let (tape, out) = (tape.to_str().unwrap(), file.to_str().unwrap());
    let line = [&["export"], arguments, &[tape, "-o", out]].concat();
    let done = <Export as clap::Parser>::parse_from(line).args.run(&[PathBuf::from(tape)], &Keys::default());
    let text = std::fs::read_to_string(&file).unwrap();
    (done.map_err(|failure| failure.told()), Some(text).filter(|text| text != "before"))
}

#[test]
fn what_was_recorded_openly_is_exported_without_credentials_unless_they_are_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let tape = dir.path().join("open.tape.jsonl");
    let recording = r#"[{"timestamp":"2026-11-21T12:00:00Z","origin":"client","message":
        {"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"password":"canary"}}}}]"#;
    let format = shadowcat_tape::import::Format::Inspector;
    let open = shadowcat_tape::import::Settings { format, skip_bad: false, redact: false };
    shadowcat_tape::import::import(recording.as_bytes(), &open, &tape).unwrap();

    for format in ["har", "jsonl", "markdown"] {
        let (done, text) = exported(&[format], &tape);
        assert!(done.is_ok() && text.is_some_and(|text| !text.contains("canary")), "{format}: {done:?}");
        let (done, text) = exported(&[format, "--no-redact"], &tape);
        assert!(done.is_ok() && text.is_some_and(|text| text.contains("canary")), "{format}: {done:?}");
    }
    let (done, text) = exported(&["test", "--lang", "pytest"], &tape);
    assert!(done.unwrap_err().contains("shadowcat tape redact") && text.is_none());
    assert!(exported(&["test", "--lang", "pytest", "--no-redact"], &tape).0.is_ok());
}

#[test]
fn what_is_no_tape_costs_no_file_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.txt");
    std::fs::write(&path, "Dear diary\n").unwrap();
    let (done, text) = exported(&["har"], &path);
    assert!(done.unwrap_err().contains("notes.txt: cannot be exported") && text.is_none());
}
