//! Runs what the fuzz target runs over its corpus, so that it holds on the stable toolchain too; and reads a tape of
//! every format version that there ever was.

#![expect(clippy::unwrap_used, reason = "a panic is how a test is told")]

#[expect(clippy::missing_panics_doc, reason = "a panic is how a fuzzer is told")]
pub mod read_harness;

use std::fs;
use std::path::{Path, PathBuf};

use shadowcat_tape::{Action, Frame, ReadError, Reader, Record};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn files(dir: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(root(dir)).unwrap();
    entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

fn sample(name: &str) -> Vec<u8> {
    fs::read(root("tests/testdata").join(name)).unwrap()
}

fn frames(bytes: &[u8]) -> Vec<Frame> {
    let frame = |record| if let Record::Frame(frame) = record { Some(*frame) } else { None };
    Reader::new(bytes).filter_map(|record| frame(record.unwrap())).collect()
}

#[test]
fn tapes_hold_what_the_fuzzer_asks_also_cut_and_flipped() {
    let seeds = files("../../fuzz/corpus/tape_read");
    assert!(!seeds.is_empty());
    for seed in seeds {
        read_harness::tape_read(&seed);
        for place in (0..seed.len()).step_by(23) {
            read_harness::tape_read(&seed[..place]);
            let mut flipped = seed.clone();
            flipped[place] ^= 1 << (place % 8);
            read_harness::tape_read(&flipped);
        }
    }
}

#[test]
fn no_flip_and_no_cut_of_a_real_tape_changes_a_frame_silently() {
    let whole = sample("1.0.tape.jsonl");
    let written = frames(&whole);
    let is_written = |read: &Record| match read {
        Record::Frame(frame) => written.contains(frame),
        _ => true,
    };
    for place in 0..whole.len() {
        assert!(Reader::new(&whole[..place]).flatten().all(|record| is_written(&record)), "cut at {place}");
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[place] ^= 1 << bit;
            let read: Vec<_> = Reader::new(flipped.as_slice()).collect();
            assert!(read.iter().any(Result::is_err), "byte {place} bit {bit}");
            assert!(read.iter().flatten().all(is_written), "byte {place} bit {bit}");
        }
    }
}

/// A sample of each version stays here for ever: whoever raises the version adds one.
#[test]
fn a_tape_of_every_version_reads_as_it_was_meant() {
    let sample_of_1_1 = sample("1.1.tape.jsonl");
    let Some(Ok(Record::Header(header))) = Reader::new(sample_of_1_1.as_slice()).next() else {
        panic!("a header")
    };
    assert_eq!((header.previous.as_deref(), header.partial), (Some("11ee11ee11ee11ee"), true));
    assert_eq!(frames(&sample_of_1_1), frames(&sample("1.0.tape.jsonl")));
    let mut ruled = frames(&sample("1.2.tape.jsonl"));
    assert_eq!(ruled[1].rules, ["no-shell: edit", "no-shell: tag a b"]);
    assert_eq!(ruled[6].rules, ["late: timeout"]);
    for frame in &mut ruled {
        frame.rules.clear();
    }
    assert_eq!(ruled, frames(&sample("1.1.tape.jsonl")));
    let frames = frames(&sample("1.0.tape.jsonl"));
    assert_eq!(frames.iter().map(|frame| frame.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 7, 8, 9]);
    let [call, wire, question, _, answer, _, refusal] = frames.as_slice() else { panic!("seven frames") };
    assert!(call.message.starts_with(r#"{ "jsonrpc" : "2.0","id":1.0,"method":"tools\/call""#));
    assert_eq!((call.redactions, call.unfolded, call.session.as_deref()), (1, true, Some("a1b2c3d4")));
    assert_eq!((wire.hop.as_str(), &wire.action), ("wire", &Action::Translated));
    assert_eq!((question.related, answer.took_us), (Some(7), Some(600)));
    assert_eq!(answer.upstream.as_ref().unwrap().revision, "2025-06-18");
    assert_eq!(refusal.action, Action::Refused { reason: "upstream_timeout".to_owned() });
}

#[test]
fn a_newer_minor_version_is_read_and_a_newer_major_one_is_refused() {
    let newer = sample("newer-minor.tape.jsonl");
    assert!(
        matches!(Reader::new(newer.as_slice()).next(), Some(Ok(Record::Header(header))) if header.is_newer())
    );
    assert_eq!(frames(&newer)[0].action, Action::Other("held".to_owned()));
    let newer = sample("newer-major.tape.jsonl");
    assert!(matches!(Reader::new(newer.as_slice()).next(), Some(Err(ReadError::Newer { major: 2 }))));
}

#[test]
fn the_version_that_is_written_has_a_sample() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new.tape.jsonl");
    shadowcat_tape::TapeFile::create(&path, time::OffsetDateTime::UNIX_EPOCH, true)
        .unwrap()
        .finish()
        .unwrap();
    let header = shadowcat_tape::header(&path, &shadowcat_tape::Keys::default()).unwrap();
    let name = format!("{}.{}.tape.jsonl", header.major, header.minor);
    assert!(root("tests/testdata").join(&name).exists(), "add tests/testdata/{name}, for ever");
}
