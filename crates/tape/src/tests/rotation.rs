//! A run of several tapes: where one ends and the next begins, and what becomes of them.

use super::*;
use crate::{Keep, Key, Listed, OpenError, Rotate, TapeFile};

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","text":"all is well all is well all is well"}}"#;
/// Of each of these tests.
const CALLS: u64 = 40;

fn key(byte: &str) -> Key {
    Key::parse(&byte.repeat(32)).unwrap()
}

fn keys(byte: &str) -> Keys {
    [key(byte)].into_iter().collect()
}

/// A run of [`CALLS`] calls in tapes of about 3000 bytes.
async fn run(dir: &Path, keep: Keep, key: Option<Key>) -> Summary {
    let rotate = Rotate { bytes: Some(3_000), every: None };
    let tape = Tape::create(dir, Settings { rotate, keep, key, ..Settings::default() }).unwrap();
    let chain = chain(&tape);
    for _ in 0..CALLS {
        send(&chain, CALL).await;
    }
    tape.close(DEADLINE).await
}

fn all(dir: &Path, keys: &Keys) -> Vec<Vec<Record>> {
    let mut tapes: Vec<(Header, Vec<Record>)> = crate::files(dir)
        .unwrap()
        .iter()
        .map(|path| {
            let records: Vec<Record> = open(path, keys).unwrap().map(Result::unwrap).collect();
            let Record::Header(header) = &records[0] else { panic!("a header") };
            (header.clone(), records)
        })
        .collect();
    // Names tell the tapes of one second apart, and not their order.
    tapes.sort_by_key(|(header, _)| header.created);
    tapes.into_iter().map(|(_, records)| records).collect()
}

fn check_chain(tapes: &[Vec<Record>]) -> Vec<Frame> {
    let mut previous = None;
    let mut frames = Vec::new();
    for tape in tapes {
        let [Record::Header(header), middle @ .., Record::End(end)] = tape.as_slice() else {
            panic!("{tape:?}")
        };
        assert_eq!((&header.previous, header.minor), (&previous, crate::line::MINOR));
        previous = Some(header.tape.clone());
        assert_eq!(end.frames, middle.len() as u64);
        for (place, record) in middle.iter().enumerate() {
            let Record::Frame(frame) = record else { panic!("{record:?}") };
            assert_eq!(frame.seq, place as u64 + 1);
            frames.push((**frame).clone());
        }
    }
    frames
}

#[tokio::test]
async fn a_tape_that_is_full_is_closed_and_the_next_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let summary = run(dir.path(), Keep::default(), None).await;
    assert_eq!(summary, Summary { frames: 2 * CALLS, lost: 0, complete: true });
    let tapes = all(dir.path(), &Keys::default());
    assert!(tapes.len() > 3, "{}", tapes.len());
    let frames = check_chain(&tapes);
    assert_eq!(frames.len() as u64, 2 * CALLS);
    assert!(frames.windows(2).all(|pair| pair[0].at_us <= pair[1].at_us), "one clock for the run");
    assert!(frames.windows(2).all(|pair| pair[0].exchange <= pair[1].exchange));
}

#[tokio::test]
async fn an_old_tape_is_closed_by_the_next_message_and_not_by_silence() {
    let dir = tempfile::tempdir().unwrap();
    let rotate = Rotate { bytes: None, every: Some(Duration::from_nanos(1)) };
    let tape = Tape::create(dir.path(), Settings { rotate, ..Settings::default() }).unwrap();
    assert_eq!(list(dir.path()).unwrap().len(), 1);
    send(&chain(&tape), CALL).await;
    tape.close(DEADLINE).await;
    let tapes = all(dir.path(), &Keys::default());
    assert_eq!((tapes.len(), check_chain(&tapes).len()), (2, 2), "none of them is empty");
}

#[tokio::test]
async fn closed_tapes_are_compressed_and_read_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let keep = Keep { compress: true, ..Keep::default() };
    run(dir.path(), keep, None).await;
    let listed = list(dir.path()).unwrap();
    assert!(listed.iter().all(|tape| tape.path.to_string_lossy().ends_with(".tape.jsonl.zst")), "{listed:?}");
    assert!(listed.iter().all(|tape| tape.state == State::Complete), "{listed:?}");
    assert_eq!(listed.iter().map(|tape| tape.frames).sum::<u64>(), 2 * CALLS);
    check_chain(&all(dir.path(), &Keys::default()));
    let mode = std::fs::metadata(&listed[0].path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
}

#[tokio::test]
async fn an_encrypted_run_reads_with_its_key_and_with_no_other() {
    for compress in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), Keep { compress, ..Keep::default() }, Some(key("ab"))).await;
        let frames = check_chain(&all(dir.path(), &keys("ab")));
        assert_eq!(frames.len() as u64, 2 * CALLS);
        for Listed { path, state, .. } in list(dir.path()).unwrap() {
            assert_eq!(state, State::Locked);
            let end = if compress { ".tape.jsonl.zst.enc" } else { ".tape.jsonl.enc" };
            assert!(path.to_string_lossy().ends_with(end), "{path:?}");
            let text = std::fs::read(&path).unwrap();
            assert!(!String::from_utf8_lossy(&text).contains("tools/call"));
            let fault = open(&path, &keys("cd")).err().unwrap();
            assert!(matches!(fault, OpenError::Locked { .. }), "{fault}");
        }
        let listed = crate::list(dir.path(), &keys("ab")).unwrap();
        assert!(listed.iter().all(|tape| tape.state == State::Complete), "{listed:?}");
    }
}

#[tokio::test]
async fn an_encrypted_tape_can_be_read_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let tape = Tape::create(dir.path(), Settings { key: Some(key("ab")), ..Settings::default() }).unwrap();
    send(&chain(&tape), CALL).await;
    assert!(tape.flush(DEADLINE).await);
    let records: Vec<_> = open(&tape.path(), &keys("ab")).unwrap().map(Result::unwrap).collect();
    assert_eq!(records.len(), 3, "{records:?}");
    tape.close(DEADLINE).await;
}

#[tokio::test]
async fn what_is_too_much_is_removed_oldest_first_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut begun = Vec::new();
    for day in 10..16 {
        let tape = Tape::create(dir.path(), Settings::default()).unwrap();
        tape.close(DEADLINE).await;
        let old = dir.path().join(format!("202601{day}T000000Z-00ff00.tape.jsonl"));
        std::fs::rename(tape.path(), &old).unwrap();
        begun.push(old);
    }
    let strangers = ["notes.txt", "kept.tape.jsonl", "20260101T000000Z-00ff00.tape.jsonl", ".tape-x.part"];
    for name in &strangers {
        std::fs::write(dir.path().join(name), "no tape\n").unwrap();
    }
    let written = Tape::create(dir.path(), Settings::default()).unwrap();
    let renamed = dir.path().join("20260101T000001Z-00ff00.tape.jsonl");
    std::fs::rename(written.path(), &renamed).unwrap();

    let keep = Keep { tapes: Some(4), ..Keep::default() };
    Tape::create(dir.path(), Settings { keep, ..Settings::default() }).unwrap().close(DEADLINE).await;
    let left: Vec<bool> = begun.iter().map(|path| path.exists()).collect();
    assert_eq!(
        left,
        [false, false, false, false, true, true],
        "with the one that is written and the new one"
    );
    assert!(renamed.exists(), "it is being written");
    assert!(strangers[..3].iter().all(|name| dir.path().join(name).exists()));
    assert!(!dir.path().join(strangers[3]).exists(), "half a tape of a killed program");
}

#[tokio::test]
async fn tapes_are_removed_by_their_age_and_by_their_bytes() {
    let old = || {
        let dir = tempfile::tempdir().unwrap();
        for day in 10..13 {
            let tape = TapeFile::create(
                &dir.path().join(format!("202601{day}T000000Z-00ff00.tape.jsonl")),
                time::OffsetDateTime::UNIX_EPOCH,
                true,
            );
            tape.unwrap().finish().unwrap();
        }
        dir
    };
    let left = |dir: &tempfile::TempDir| crate::files(dir.path()).unwrap().len();

    let dir = old();
    let path = dir.path().join("20260110T000000Z-00ff00.tape.jsonl");
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    drop(file);
    let keep = Keep { age: Some(Duration::from_hours(1)), ..Keep::default() };
    run(dir.path(), keep, None).await;
    assert!(!path.exists() && left(&dir) > 2);

    let dir = old();
    run(dir.path(), Keep { bytes: Some(8_000), ..Keep::default() }, None).await;
    let bytes: u64 = list(dir.path()).unwrap().iter().map(|tape| tape.bytes).sum();
    assert!(bytes <= 8_000 && left(&dir) >= 1, "{bytes}");
}

#[tokio::test]
async fn what_a_killed_program_left_half_done_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), Keep::default(), None).await;
    let plain = crate::files(dir.path()).unwrap();
    // It died after the compressed tape got its name, and before the plain one was removed.
    let both = format!("{}.zst", plain[0].display());
    std::fs::write(&both, zstd::encode_all(std::fs::File::open(&plain[0]).unwrap(), 0).unwrap()).unwrap();
    let keep = Keep { compress: true, ..Keep::default() };
    Tape::create(dir.path(), Settings { keep, ..Settings::default() }).unwrap().close(DEADLINE).await;
    let names = crate::files(dir.path()).unwrap();
    assert_eq!(names.len(), plain.len() + 1);
    assert!(names.iter().all(|path| path.to_string_lossy().ends_with(".zst")), "{names:?}");
    let frames: u64 = list(dir.path()).unwrap().iter().map(|tape| tape.frames).sum();
    assert_eq!(frames, 2 * CALLS);
}
