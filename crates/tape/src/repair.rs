//! A damaged tape made whole: what can be read stays as it is, and what cannot is counted as lost at its place.

use std::io::BufRead;
use std::path::Path;

use crate::file::{FileError, TapeFile};
use crate::keys::Key;
use crate::reader::{ReadError, Reader};
use crate::record::{Header, Record};
use crate::reel;
use crate::tape::Summary;
use crate::validate::{Check, Report, Verdict};

/// The word on the tape for messages that could not be read any more.
const REASON: &str = "damaged";

/// What a repair did.
#[derive(Debug)]
pub struct Repaired {
    /// What was found.
    pub report: Report,
    /// Lines that are not in the copy.
    pub dropped: u64,
    /// What the copy holds.
    pub summary: Summary,
}

/// Why no copy was made.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// Nothing of the tape can be read.
    #[error("there is nothing of the tape that can be read")]
    Unreadable(#[source] ReadError),
    /// The copy cannot be written.
    #[error(transparent)]
    Write(#[from] FileError),
}

/// Writes a copy of a tape without what is damaged, encrypted with `seal` if there is one. Lines that are kept are kept
/// byte for byte, also those of a newer program.
///
/// # Errors
/// When nothing of the tape can be read, or the copy cannot be written.
pub fn repair<R: BufRead>(
    reader: &mut Reader<R>,
    copy: &Path,
    seal: Option<&Key>,
    progress: &mut dyn FnMut(u64),
) -> Result<Repaired, RepairError> {
    let (mut check, mut dropped) = (Check::default(), 0);
    let mut out = None;
    while let Some(line) = reader.next_line() {
        progress(reader.passed());
        if let Err(fault @ ReadError::Newer { .. }) = line {
            return Err(RepairError::Unreadable(fault));
        }
        let record = line.as_ref().ok().cloned().flatten();
        let verdict = check.take(reader.place(), line);
        let Verdict::Keep { missing } = verdict else {
            dropped += 1;
            continue;
        };
        let out = match &mut out {
            Some(out) => out,
            None => out.insert(begin(copy, seal, record.as_ref(), reader.text())?),
        };
        out.missing(missing, REASON)?;
        match record {
            Some(Record::Frame(frame)) => out.line(Some(frame.seq), reader.text())?,
            Some(Record::Lost(lost)) => out.lost(lost.count, &lost.reason)?,
            // The header is there, and the end is written anew.
            Some(Record::Header(_) | Record::End(_)) => {}
            None => out.line(None, reader.text())?,
        }
    }
    let Some(out) = out else { return Err(RepairError::Unreadable(ReadError::NoHeader)) };
    Ok(Repaired { report: check.report, dropped, summary: out.finish()? })
}

/// With the tape's own header, or with one that claims nothing in place of one that is damaged.
fn begin(
    copy: &Path,
    seal: Option<&Key>,
    first: Option<&Record>,
    line: &[u8],
) -> Result<TapeFile, RepairError> {
    if let Some(Record::Header(_)) = first {
        return Ok(TapeFile::with_header_line(copy, seal, line)?);
    }
    let created = match first {
        Some(Record::Frame(frame)) => frame.begun(),
        _ => time::OffsetDateTime::UNIX_EPOCH,
    };
    let header: Header = reel::header(created, false).map_err(FileError::from)?;
    Ok(TapeFile::with_header(copy, seal, &header)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::validate::tests::{lines, report};

    fn repaired(bytes: &[u8]) -> Result<(Vec<u8>, Repaired), RepairError> {
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("copy.tape.jsonl");
        let repaired = repair(&mut Reader::new(bytes), &copy, None, &mut |_| ())?;
        Ok((std::fs::read(copy).unwrap(), repaired))
    }

    #[test]
    fn a_sound_tape_is_copied_byte_for_byte_also_what_a_newer_program_wrote() {
        let whole = lines();
        let mut newer = Vec::new();
        crate::line::sealed(r#"{"record":"bookmark","seq":{"a":[1]}}"#, &mut newer);
        let bytes = [whole[..3].concat(), newer, whole[3..].concat()].concat();
        let (copy, repaired) = repaired(&bytes).unwrap();
        assert_eq!(String::from_utf8(copy).unwrap(), String::from_utf8(bytes).unwrap());
        assert_eq!(repaired.dropped, 0);
    }

    #[test]
    fn what_was_damaged_is_counted_as_lost_at_its_place() {
        let mut lines = lines();
        lines[2][40] ^= 1;
        lines.remove(5);
        let (copy, repaired) = repaired(&lines.concat()).unwrap();
        assert_eq!((repaired.dropped, repaired.report.missing), (1, 2));
        assert_eq!(repaired.summary, Summary { frames: 2, lost: 5, complete: true });
        let records: Vec<_> = Reader::new(copy.as_slice()).map(Result::unwrap).collect();
        assert!(matches!(&records[2], Record::Lost(lost) if (lost.since, lost.count) == (2, 1)));
        assert!(report(&copy).is_sound());
    }

    #[test]
    fn a_tape_without_its_header_gets_one_that_claims_nothing() {
        let (copy, _) = repaired(&lines()[1..].concat()).unwrap();
        let header = Reader::new(copy.as_slice()).next();
        assert!(matches!(header, Some(Ok(Record::Header(header))) if !header.redacted));
        assert!(report(&copy).is_sound());
        assert!(repaired(b"hello\n").is_err());
    }

    proptest! {
        #[test]
        fn whatever_was_done_to_a_tape_its_repaired_copy_is_sound_and_holds_nothing_new(
            cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..400), 1..4),
            bytes in proptest::collection::vec(any::<u8>(), 0..8),
        ) {
            let mut tape = lines().concat();
            for (place, length) in cuts {
                if tape.is_empty() {
                    break;
                }
                let start = place.index(tape.len());
                let end = (start + length).min(tape.len());
                tape.splice(start..end, bytes.iter().copied());
            }
            let Ok((copy, _)) = repaired(&tape) else { return Ok(()) };
            prop_assert!(report(&copy).is_sound());
            let frames = |bytes: &[u8]| -> Vec<Record> {
                let records = Reader::new(bytes).filter_map(Result::ok);
                records.filter(|record| matches!(record, Record::Frame(_))).collect()
            };
            let written = frames(&tape);
            prop_assert!(frames(&copy).iter().all(|frame| written.contains(frame)));
        }
    }
}
