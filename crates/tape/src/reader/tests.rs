use std::io::{BufReader, Cursor};

use proptest::prelude::*;

use super::*;
use crate::record::{End, Lost, testing};

/// A header, four records that differ in length, and the end.
fn records() -> Vec<Record> {
    let mut records = vec![Record::Header(testing::header())];
    for since in [1, 20, 300, 4_000] {
        records.push(Record::Lost(Lost { since, count: 1, reason: "é\n\"".repeat(3) }));
    }
    records.push(Record::End(End { frames: 0, lost: 4 }));
    records
}

fn tape() -> Vec<u8> {
    let mut out = Vec::new();
    for record in records() {
        match record {
            Record::Header(header) => line::header(&header, &mut out),
            Record::Lost(lost) => line::lost(&lost, &mut out),
            Record::End(end) => line::end(end, &mut out),
            Record::Frame(_) => unreachable!("none here"),
        }
    }
    out
}

fn read(bytes: &[u8]) -> Vec<Result<Record, ReadError>> {
    Reader::new(BufReader::with_capacity(7, Cursor::new(bytes))).collect()
}

/// Whatever was done to the file: a record that is read is one that was written, and they come in order.
fn assert_nothing_made_up(read: &[Result<Record, ReadError>]) {
    let mut written = records().into_iter();
    for record in read.iter().flatten() {
        assert!(written.any(|one| one == *record), "{record:?} was not written, or not here");
    }
}

#[test]
fn a_whole_tape_reads_as_it_was_written() {
    let read: Vec<_> = read(&tape()).into_iter().map(Result::unwrap).collect();
    assert_eq!(read, records());
}

#[test]
fn a_cut_at_every_byte_leaves_what_is_before_and_reports_one_torn_line() {
    let tape = tape();
    for cut in 0..tape.len() {
        let read = read(&tape[..cut]);
        let whole = memchr::memchr_iter(b'\n', &tape[..cut]).count();
        assert_nothing_made_up(&read);
        assert_eq!(read.iter().flatten().count(), whole, "cut at {cut}");
        let start = tape[..cut].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        match read.last() {
            Some(Err(ReadError::Torn { place })) => assert_eq!(place.offset, start as u64),
            Some(Err(ReadError::NoHeader)) => assert_eq!(cut, 0),
            last => assert_eq!(start, cut, "{last:?}"),
        }
    }
}

#[test]
fn a_flip_of_every_bit_is_reported_and_changes_no_record() {
    let tape = tape();
    for place in 0..tape.len() {
        for bit in 0..8 {
            let mut flipped = tape.clone();
            flipped[place] ^= 1 << bit;
            let read = read(&flipped);
            assert_nothing_made_up(&read);
            assert!(read.iter().any(Result::is_err), "byte {place} bit {bit}");
        }
    }
}

#[test]
fn a_damaged_line_is_reported_with_its_place_and_reading_goes_on() {
    let mut tape = tape();
    let second = tape.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    tape[second + 30] ^= 1;
    let read = read(&tape);
    assert!(
        matches!(read[1], Err(ReadError::Corrupt { place, .. }) if place == Place { offset: second as u64, line: Some(2) }),
        "{:?}",
        read[1]
    );
    assert_eq!(read.iter().flatten().count(), records().len() - 1);
}

#[test]
fn what_is_no_tape_is_said_to_be_none() {
    for text in ["", "\n", "hello\nworld\n", "{\"jsonrpc\":\"2.0\"}\n"] {
        let read = read(text.as_bytes());
        assert!(matches!(read.as_slice(), [Err(ReadError::NoHeader)]), "{text:?}: {read:?}");
    }
}

#[test]
fn a_tape_without_its_first_line_is_read_after_a_warning() {
    let tape = tape();
    let second = tape.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let read = read(&tape[second..]);
    assert!(matches!(read[0], Err(ReadError::NoHeader)));
    assert_eq!(read.iter().flatten().count(), records().len() - 2);
}

proptest! {
    #[test]
    fn no_bytes_at_all_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        assert_nothing_made_up(&read(&bytes));
    }

    #[test]
    fn no_mutilation_makes_up_a_record(
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..40), 1..4),
        bytes in proptest::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut tape = tape();
        for (place, length) in cuts {
            let start = place.index(tape.len());
            let end = (start + length).min(tape.len());
            tape.splice(start..end, bytes.iter().copied());
            if tape.is_empty() {
                break;
            }
        }
        assert_nothing_made_up(&read(&tape));
    }
}
