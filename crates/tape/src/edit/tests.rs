//! Cutting, merging and redacting, on tapes made for it.

use shadowcat_pipeline::Direction;
use time::{Duration, OffsetDateTime};

use super::*;
use crate::calls::Call;
use crate::file::TapeFile;
use crate::index::Point;
use crate::keys::Key;
use crate::open::key_of;
use crate::record::testing::frame;
use crate::record::{Action, Kind};
use crate::redact::{Redactor, Secrets};

const UP: Direction = Direction::ToServer;
const DOWN: Direction = Direction::ToClient;
const BEGUN: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

/// A message of an exchange, so many seconds after the beginning.
fn message(second: u32, exchange: u64, direction: Direction, method: Option<&str>) -> Frame {
    let kind = method.map_or(Kind::Response, |_| Kind::Request);
    let (at_us, time) = (u64::from(second) * 1_000_000, BEGUN + Duration::seconds(second.into()));
    Frame { at_us, time, exchange, ..frame(direction, kind, method, "{}") }
}

fn write(path: &Path, created: OffsetDateTime, frames: &[Frame]) {
    let mut tape = TapeFile::create(path, created, true).unwrap();
    for frame in frames {
        tape.frame(frame).unwrap();
    }
    tape.finish().unwrap();
}

fn frames(path: &Path) -> Vec<Frame> {
    let frame = |record| if let Record::Frame(frame) = record { Some(*frame) } else { None };
    Reader::open(path).unwrap().filter_map(|record| frame(record.unwrap())).collect()
}

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// A handshake, a call with a question in it that is translated on the way, and another session's call.
fn conversation() -> Vec<Frame> {
    let translated = |frame| Frame { hop: "wire".to_owned(), action: Action::Translated, ..frame };
    let question = |frame| Frame { related: Some(3), ..frame };
    let other = |frame| Frame { session: Some("ffff".to_owned()), ..frame };
    vec![
        message(0, 1, UP, Some("initialize")),
        message(1, 1, DOWN, None),
        Frame { kind: Kind::Notification, ..message(2, 2, UP, Some("notifications/initialized")) },
        message(10, 3, UP, Some("tools/call")),
        translated(message(10, 3, UP, Some("tools/call"))),
        question(message(11, 4, DOWN, Some("elicitation/create"))),
        question(message(12, 4, UP, None)),
        translated(message(13, 3, DOWN, None)),
        message(13, 3, DOWN, None),
        other(message(20, 5, UP, Some("tools/list"))),
        other(message(21, 5, DOWN, None)),
    ]
}

/// The seconds of what is left of the conversation.
fn cut_to(from: Option<u32>, to: Option<u32>, filter: &dyn Fn(&Call) -> bool, handshakes: bool) -> Vec<u64> {
    let dir = Dir::new();
    write(&dir.path("a"), BEGUN, &conversation());
    let point = |second: u32| Point::Time(BEGUN + Duration::seconds(second.into()));
    let selection = Selection { from: from.map(point), to: to.map(point), filter, handshakes };
    cut(&dir.path("a"), &Keys::default(), &selection, &dir.path("b"), None, &mut |_| ()).unwrap();
    let frames = frames(&dir.path("b"));
    assert!(frames.iter().map(|frame| frame.seq).eq(1..=frames.len() as u64));
    frames.iter().map(|frame| frame.at_us / 1_000_000).collect()
}

#[test]
fn a_cut_keeps_calls_whole_with_their_questions_and_both_hops() {
    let call = [10, 10, 11, 12, 13, 13];
    assert_eq!(cut_to(Some(11), Some(11), &|_| true, false), call);
    assert_eq!(cut_to(Some(13), Some(13), &|_| true, false), call);
    assert_eq!(cut_to(Some(14), None, &|_| true, false), [20, 21]);
    assert_eq!(cut_to(None, Some(0), &|_| true, false), [0, 1]);
    assert_eq!(
        cut_to(None, None, &|call| call.asked.method.as_deref() == Some("tools/list"), false),
        [20, 21]
    );
    assert_eq!(cut_to(None, None, &|call| call.asked.direction == DOWN, false), call);
}

#[test]
fn a_cut_takes_along_the_handshake_of_its_sessions_and_no_other() {
    assert_eq!(cut_to(Some(11), Some(11), &|_| true, true), [0, 1, 2, 10, 10, 11, 12, 13, 13]);
    assert_eq!(cut_to(Some(14), None, &|_| true, true), [20, 21]);
}

#[test]
fn what_is_lost_within_a_part_is_lost_in_the_cut() {
    let dir = Dir::new();
    let mut tape = TapeFile::create(&dir.path("a"), BEGUN, true).unwrap();
    for frame in conversation() {
        tape.frame(&frame).unwrap();
        tape.lost(1, "queue").unwrap();
    }
    tape.finish().unwrap();
    let selection = Selection { from: Some(Point::Seq(19)), to: None, filter: &|_| true, handshakes: false };
    let summary =
        cut(&dir.path("a"), &Keys::default(), &selection, &dir.path("b"), None, &mut |_| ()).unwrap();
    assert_eq!((summary.frames, summary.lost), (2, 2));
}

#[test]
fn tapes_are_merged_by_time_and_their_exchanges_stay_apart() {
    let dir = Dir::new();
    let early = [message(0, 1, UP, Some("a")), message(9, 1, DOWN, None)];
    let asked = Frame { related: Some(1), ..message(3, 2, DOWN, Some("c")) };
    write(&dir.path("early"), BEGUN, &early);
    write(&dir.path("late"), BEGUN + Duration::seconds(4), &[message(1, 1, UP, Some("b")), asked]);
    let tapes = ["late", "early"].map(|name| dir.path(name));
    merge(&tapes, &Keys::default(), &dir.path("both"), None, &mut |_| ()).unwrap();
    let frames = frames(&dir.path("both"));
    let seen: Vec<_> = frames
        .iter()
        .map(|frame| (frame.seq, frame.at_us / 1_000_000, frame.exchange, frame.method.as_deref()))
        .collect();
    assert_eq!(seen, [(1, 0, 3, Some("a")), (2, 5, 2, Some("b")), (3, 7, 4, Some("c")), (4, 9, 3, None)]);
    assert_eq!(frames[2].related, Some(2));
}

#[test]
fn tapes_of_one_run_go_on_counting_their_exchanges() {
    let dir = Dir::new();
    let piece = |name: &str, previous: Option<&str>, frame: Frame| {
        let header = Header {
            tape: name.to_owned(),
            previous: previous.map(str::to_owned),
            ..crate::record::testing::header()
        };
        let mut tape = TapeFile::with_header(&dir.path(name), None, &header).unwrap();
        tape.frame(&frame).unwrap();
        tape.finish().unwrap();
        dir.path(name)
    };
    let tapes = [
        piece("two", Some("one"), message(5, 1, DOWN, None)),
        piece("other", Some("gone"), message(3, 1, UP, Some("b"))),
        piece("one", Some("zero"), message(1, 1, UP, Some("a"))),
    ];
    merge(&tapes, &Keys::default(), &dir.path("all"), None, &mut |_| ()).unwrap();
    let exchanges: Vec<_> = frames(&dir.path("all")).iter().map(|frame| frame.exchange).collect();
    assert_eq!(exchanges, [5, 4, 5]);
}

#[test]
fn a_tape_that_was_recorded_openly_is_redacted_and_what_was_redacted_stays() {
    let dir = Dir::new();
    let secret = r#"{"password":"hunter2","token":"[redacted:0123456789ab]","n":1.0}"#;
    let open = Frame { message: secret.to_owned(), ..message(1, 1, UP, Some("x?api_key=canary")) };
    let mut tape = TapeFile::create(&dir.path("open"), BEGUN, false).unwrap();
    tape.frame(&open).unwrap();
    tape.finish().unwrap();
    let redactor = Redactor::new(&Secrets::default()).unwrap();
    let (_, count) =
        redact(&dir.path("open"), &Keys::default(), &redactor, &dir.path("safe"), None, &mut |_| ()).unwrap();
    let text = std::fs::read_to_string(dir.path("safe")).unwrap();
    assert!(!text.contains("hunter2") && !text.contains("canary"), "{text}");
    assert!(text.contains(r#""token":"[redacted:0123456789ab]","n":1.0"#), "{text}");
    assert_eq!((count, frames(&dir.path("safe"))[0].redactions), (1, 1));
    assert!(header(&dir.path("safe"), &Keys::default()).unwrap().redacted);
}

#[test]
fn a_damaged_tape_is_not_made_into_one_that_looks_whole() {
    let dir = Dir::new();
    write(&dir.path("a"), BEGUN, &conversation());
    let mut bytes = std::fs::read(dir.path("a")).unwrap();
    let torn = bytes.len() - 200;
    std::fs::write(dir.path("torn"), &bytes[..torn]).unwrap();
    bytes[torn] ^= 1;
    std::fs::write(dir.path("damaged"), &bytes).unwrap();
    let merged = |name: &str| merge(&[dir.path(name)], &Keys::default(), &dir.path("b"), None, &mut |_| ());
    assert!(matches!(merged("damaged"), Err(EditError::Read { source: ReadError::Corrupt { .. }, .. })));
    assert!(!dir.path("b").exists());
    assert!(merged("torn").is_ok());
}

#[test]
fn what_is_made_with_a_key_is_encrypted_and_holds_the_same() {
    let dir = Dir::new();
    let key = Key::parse(&"ab".repeat(32)).unwrap();
    let keys = Keys::from_iter([key.clone()]);
    let (a, b, c, d) = (dir.path("a"), dir.path("b"), dir.path("c"), dir.path("d"));
    write(&a, BEGUN, &conversation());
    let everything = Selection { from: None, to: None, filter: &|_| true, handshakes: true };
    cut(&a, &keys, &everything, &b, Some(&key), &mut |_| ()).unwrap();
    merge(std::slice::from_ref(&b), &keys, &c, key_of(&b, &keys).unwrap(), &mut |_| ()).unwrap();
    let redactor = Redactor::new(&Secrets::default()).unwrap();
    redact(&c, &keys, &redactor, &d, key_of(&c, &keys).unwrap(), &mut |_| ()).unwrap();
    for tape in [&b, &c, &d] {
        let bytes = std::fs::read(tape).unwrap();
        assert!(memchr::memmem::find(&bytes, b"tools/call").is_none(), "{tape:?} is plain");
        assert!(open(tape, &Keys::default()).is_err());
        let record = |record: Record| if let Record::Frame(frame) = record { Some(*frame) } else { None };
        let read: Vec<_> = open(tape, &keys).unwrap().filter_map(|found| record(found.unwrap())).collect();
        assert_eq!(read.len(), conversation().len(), "{tape:?}");
    }
    // An encrypted tape that somebody compressed is one as well.
    let zipped = zstd::encode_all(std::fs::read(&a).unwrap().as_slice(), 0).unwrap();
    std::fs::write(&a, zipped).unwrap();
    assert_eq!(key_of(&a, &keys).unwrap(), None);
    let zipped = zstd::encode_all(std::fs::read(&d).unwrap().as_slice(), 0).unwrap();
    std::fs::write(&d, zipped).unwrap();
    assert_eq!(key_of(&d, &keys).unwrap(), Some(&key));
    assert!(key_of(&d, &Keys::default()).is_err());
    cut(&d, &keys, &everything, &dir.path("plain"), None, &mut |_| ()).unwrap();
    assert_eq!(frames(&dir.path("plain")).len(), conversation().len());
}
