//! What must hold for any bytes that are read as a tape. The fuzz target and the corpus test both call this.

use std::fs;
use std::path::Path;

use shadowcat_tape::{Index, Keys, Point, Reader, Record, Report, open, repair, validate};

/// Readers, the index, validation and repair agree about whatever bytes there are, and none of them panics.
pub fn tape_read(bytes: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("any.tape.jsonl");
    fs::write(&path, bytes).unwrap();
    let records: Vec<_> = Reader::new(bytes).collect();
    if let Ok(reader) = open(&path, &Keys::default())
        && !bytes.starts_with(b"(\xb5/\xfd")
    {
        assert_eq!(reader.count(), records.len());
    }
    let report = validate(&mut Reader::new(bytes), &mut |_| ());
    let faults = records.iter().filter(|record| record.is_err()).count();
    assert!(report.faults_count >= faults);
    assert!(report.frames <= frames(bytes).len() as u64);
    repaired(bytes, &report, dir.path());
    sought(&path);
}

/// A repaired copy is sound and makes nothing up.
fn repaired(bytes: &[u8], report: &Report, dir: &Path) {
    let copy = dir.join("copy.tape.jsonl");
    if repair(&mut Reader::new(bytes), &copy, None, &mut |_| ()).is_err() {
        assert!(!copy.exists());
        return;
    }
    let copy = fs::read(copy).unwrap();
    assert!(validate(&mut Reader::new(copy.as_slice()), &mut |_| ()).is_sound());
    let (written, kept) = (frames(bytes), frames(&copy));
    assert_eq!(kept.len() as u64, report.frames);
    assert!(kept.iter().all(|frame| written.contains(frame)));
}

/// An index and the way back from the end lead to places within the file.
fn sought(path: &Path) {
    let length = fs::metadata(path).unwrap().len();
    if let Ok(index) = Index::of(path, &mut |_| ()) {
        assert!(index.before(&Point::Seq(u64::MAX)).offset <= length);
    }
    let mut reader = Reader::open(path).unwrap();
    reader.next();
    reader.seek_last(3).unwrap();
    assert!(reader.filter_map(Result::ok).count() <= 4);
}

fn frames(bytes: &[u8]) -> Vec<Record> {
    let records = Reader::new(bytes).filter_map(Result::ok);
    records.filter(|record| matches!(record, Record::Frame(_))).collect()
}
