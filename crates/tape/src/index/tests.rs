//! Seeking by an index, and indexes that are missing, old, damaged or of another tape.

use std::fs;

use shadowcat_pipeline::Direction;
use time::Duration;

use super::*;
use crate::file::TapeFile;
use crate::record::Kind;
use crate::record::testing::frame;

const FRAMES: u64 = 2_000;

/// A frame each second, one kilobyte each, but for one when the clock is set back by a minute.
fn at(seq: u64) -> OffsetDateTime {
    let back = if seq > FRAMES / 2 { 60 } else { 0 };
    OffsetDateTime::UNIX_EPOCH + Duration::seconds(i64::try_from(seq).unwrap() - back)
}

fn tape(dir: &Path) -> PathBuf {
    let path = dir.join("long.tape.jsonl");
    let mut tape = TapeFile::create(&path, OffsetDateTime::UNIX_EPOCH, true).unwrap();
    let message = format!(r#"{{"filler":"{}"}}"#, "x".repeat(700));
    for seq in 1..=FRAMES {
        let ping = frame(Direction::ToServer, Kind::Request, Some("ping"), &message);
        tape.frame(&Frame { time: at(seq), ..ping }).unwrap();
    }
    tape.finish().unwrap();
    path
}

fn index(path: &Path) -> Index {
    Index::of(path, &mut |_| ()).unwrap()
}

/// The numbers of the frames that are read from a point on, and how many were passed over before.
fn read_from(path: &Path, point: &Point) -> (Vec<u64>, usize) {
    let mut reader = Reader::open(path).unwrap();
    assert!(matches!(reader.next(), Some(Ok(Record::Header(_)))));
    reader.seek(index(path).before(point)).unwrap();
    let frames = reader.filter_map(|record| match record.unwrap() {
        Record::Frame(frame) => Some(frame),
        _ => None,
    });
    let (reached, before): (Vec<_>, Vec<_>) = frames.partition(|frame| point.is_reached_by(frame));
    (reached.iter().map(|frame| frame.seq).collect(), before.len())
}

#[test]
fn a_seek_meets_every_frame_behind_a_point_and_few_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = tape(dir.path());
    for seq in [1, 2, 700, FRAMES, FRAMES + 1] {
        let (reached, before) = read_from(&path, &Point::Seq(seq));
        assert_eq!(reached, (seq..=FRAMES).collect::<Vec<_>>());
        assert!(before < 300, "{before} frames before {seq}");
    }
    for seq in [1, 990, 1_500, FRAMES] {
        let (reached, _) = read_from(&path, &Point::Time(at(seq)));
        assert_eq!(reached, (1..=FRAMES).filter(|one| at(*one) >= at(seq)).collect::<Vec<_>>(), "{seq}");
    }
}

#[test]
fn an_index_is_kept_and_carried_on_when_the_tape_has_grown() {
    let dir = tempfile::tempdir().unwrap();
    let path = tape(dir.path());
    let whole = fs::read(&path).unwrap();
    let half = whole.iter().position(|byte| *byte == b'\n').unwrap() + whole.len() / 2;
    fs::write(&path, &whole[..half]).unwrap();
    let early = index(&path);
    assert_eq!(file::read(&beside(&path)), Some(early));

    fs::write(&path, &whole).unwrap();
    let mut read = Vec::new();
    let carried_on = Index::of(&path, &mut |offset| read.push(offset)).unwrap();
    assert!(read[0] > half as u64 - 2_000, "the first half is not read again");
    fs::remove_file(beside(&path)).unwrap();
    assert_eq!(carried_on, index(&path));
}

#[test]
fn an_index_that_is_damaged_or_of_another_tape_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = tape(dir.path());
    let right = index(&path);
    let kept = fs::read(beside(&path)).unwrap();
    for place in (0..kept.len()).step_by(7) {
        let mut flipped = kept.clone();
        flipped[place] ^= 1;
        fs::write(beside(&path), &flipped[..]).unwrap();
        assert_eq!(file::read(&beside(&path)), None, "byte {place}");
        fs::write(beside(&path), &kept[..place]).unwrap();
        assert_eq!(file::read(&beside(&path)), None, "cut at {place}");
    }
    assert_eq!(index(&path), right);

    // The same tape without its second line: every place is another.
    let whole = fs::read(&path).unwrap();
    let ends: Vec<_> = memchr::memchr_iter(b'\n', &whole).take(2).collect();
    fs::write(&path, [&whole[..=ends[0]], &whole[ends[1] + 1..]].concat()).unwrap();
    let (reached, _) = read_from(&path, &Point::Seq(1_500));
    assert_eq!(reached, (1_500..=FRAMES).collect::<Vec<_>>());

    fs::remove_file(beside(&path)).unwrap();
    fs::create_dir(beside(&path)).unwrap();
    assert_eq!(read_from(&path, &Point::Seq(FRAMES)).0, [FRAMES], "one that cannot be kept is no failure");
}

#[test]
fn the_last_messages_are_found_from_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = tape(dir.path());
    let last = |path: &Path, count| {
        let mut reader = Reader::open(path).unwrap();
        reader.next();
        reader.seek_last(count).unwrap();
        let frames = reader.filter_map(|record| match record {
            Ok(Record::Frame(frame)) => Some(frame.seq),
            _ => None,
        });
        frames.collect::<Vec<_>>()
    };
    assert_eq!(last(&path, 0), [0; 0]);
    assert_eq!(last(&path, 3), [1_998, 1_999, 2_000]);
    assert_eq!(last(&path, 500).len(), 500);
    assert_eq!(last(&path, u64::MAX).len(), 2_000);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 100]).unwrap();
    assert_eq!(last(&path, 2), [1_998, 1_999], "a torn line is none");
}
