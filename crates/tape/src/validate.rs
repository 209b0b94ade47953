//! Whether a tape is what was written: each line, the numbers, and what the last record says of the others.

use std::fmt;
use std::io::BufRead;

use crate::reader::{Place, ReadError, Reader};
use crate::record::{End, Record};

/// So many faults are named; the rest is counted.
const FAULTS_MAX: usize = 1_000;

/// What was found on a tape.
#[derive(Debug, Default)]
pub struct Report {
    /// Frames that can be read.
    pub frames: u64,
    /// Messages that the tape itself says it lacks.
    pub lost: u64,
    /// Messages that are missing without a word.
    pub missing: u64,
    /// The first faults, in the order of the tape.
    pub faults: Vec<Fault>,
    /// How many faults there are in all.
    pub faults_count: usize,
    /// Whether there is a last record: without it, the tape is being written or its program was killed.
    pub ended: bool,
}

/// One thing that is wrong, and where.
#[derive(Debug)]
pub struct Fault {
    /// The line.
    pub place: Place,
    /// What is wrong.
    pub kind: FaultKind,
}

/// The kinds of faults.
#[derive(Debug)]
pub enum FaultKind {
    /// The line cannot be read.
    Unreadable(ReadError),
    /// Messages are missing before this line.
    Gap {
        /// The number of the first.
        since: u64,
        /// How many.
        count: u64,
    },
    /// A number stands here that was there before.
    Order {
        /// The number.
        seq: u64,
    },
    /// A second header: another tape begins here.
    SecondHeader,
    /// Something comes behind the last record.
    BehindEnd,
    /// The last record's figures are others than those of the tape.
    Count {
        /// What it says.
        written: End,
        /// What is there.
        found: End,
    },
}

impl FaultKind {
    /// A stable word, for programs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unreadable(ReadError::Torn { .. }) => "torn",
            Self::Unreadable(ReadError::NoHeader) => "no_header",
            Self::Unreadable(ReadError::Newer { .. }) => "newer",
            Self::Unreadable(ReadError::Io { .. }) => "unreadable",
            Self::Unreadable(ReadError::Corrupt { .. }) => "damaged",
            Self::Gap { .. } => "gap",
            Self::Order { .. } => "order",
            Self::SecondHeader => "second_header",
            Self::BehindEnd => "behind_end",
            Self::Count { .. } => "count",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place;
        match &self.kind {
            FaultKind::Unreadable(fault @ ReadError::Io { source, .. }) => write!(f, "{fault}: {source}"),
            FaultKind::Unreadable(fault) => fault.fmt(f),
            FaultKind::Gap { since, count: 1 } => write!(f, "{place}: message {since} is missing before it"),
            FaultKind::Gap { since, count } => {
                write!(
                    f,
                    "{place}: messages {since} to {} are missing before it",
                    since.saturating_add(count - 1)
                )
            }
            FaultKind::Order { seq } => {
                write!(f, "{place}: message {seq} is not in order, or here a second time")
            }
            FaultKind::SecondHeader => {
                write!(f, "{place}: another tape begins here, with a header of its own")
            }
            FaultKind::BehindEnd => write!(f, "{place}: it comes behind the last record of the tape"),
            FaultKind::Count { written, found } => write!(
                f,
                "{place}: the last record says {} messages and {} lost, and there are {} and {}",
                written.frames, written.lost, found.frames, found.lost
            ),
        }
    }
}

/// Reads a tape to its end; `progress` is told the bytes that were read.
pub fn validate<R: BufRead>(reader: &mut Reader<R>, progress: &mut dyn FnMut(u64)) -> Report {
    let mut check = Check::default();
    while let Some(line) = reader.next_line() {
        check.take(reader.place(), line);
        progress(reader.passed());
    }
    check.report
}

/// What becomes of a line when the tape is repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It stays, behind so many messages that are missing.
    Keep { missing: u64 },
    /// It stands for nothing that can be kept.
    Drop,
}

/// Looks at one line after the other.
#[derive(Debug, Default)]
pub(crate) struct Check {
    pub(crate) report: Report,
    begun: bool,
    /// The number of the last message.
    seq: u64,
    /// Lines that were damaged since then: each may have been a message.
    damaged: u64,
}

impl Check {
    pub(crate) fn take(&mut self, place: Place, line: Result<Option<Record>, ReadError>) -> Verdict {
        let begun = std::mem::replace(&mut self.begun, true);
        if self.report.ended && line.is_ok() {
            self.fault(place, FaultKind::BehindEnd);
        }
        match line {
            Ok(Some(Record::Header(_))) if begun => {
                self.fault(place, FaultKind::SecondHeader);
                Verdict::Drop
            }
            Ok(Some(Record::Header(_)) | None) => Verdict::Keep { missing: 0 },
            Ok(Some(Record::Frame(frame))) => self.messages(place, frame.seq, 1, false),
            Ok(Some(Record::Lost(lost))) => self.messages(place, lost.since, lost.count, true),
            Ok(Some(Record::End(end))) => self.end(place, end),
            Err(fault) => {
                self.damaged += 1;
                self.fault(place, FaultKind::Unreadable(fault));
                Verdict::Drop
            }
        }
    }

    fn messages(&mut self, place: Place, first: u64, count: u64, lost: bool) -> Verdict {
        if first <= self.seq {
            self.fault(place, FaultKind::Order { seq: first });
            return Verdict::Drop;
        }
        let missing = self.gap(place, first - 1);
        self.seq = (first - 1).saturating_add(count);
        if lost {
            self.report.lost = self.report.lost.saturating_add(count);
        } else {
            self.report.frames += 1;
        }
        Verdict::Keep { missing }
    }

    fn end(&mut self, place: Place, end: End) -> Verdict {
        let missing = self.gap(place, end.frames.saturating_add(end.lost));
        let found = End { frames: self.report.frames, lost: self.report.lost };
        // Where lines are damaged or missing, the figures cannot agree, and that has been told.
        if self.report.missing == 0 && found != end && !self.report.ended {
            self.fault(place, FaultKind::Count { written: end, found });
        }
        self.report.ended = true;
        Verdict::Keep { missing }
    }

    /// Takes note of what is missing up to the message of this number. A gap that damaged lines explain is no fault of
    /// its own.
    fn gap(&mut self, place: Place, last: u64) -> u64 {
        let (since, missing) = (self.seq.saturating_add(1), last.saturating_sub(self.seq));
        let damaged = std::mem::take(&mut self.damaged);
        if missing > damaged {
            self.fault(place, FaultKind::Gap { since, count: missing });
        }
        self.report.missing = self.report.missing.saturating_add(missing);
        self.seq = self.seq.max(last);
        missing
    }

    fn fault(&mut self, place: Place, kind: FaultKind) {
        self.report.faults_count += 1;
        if self.report.faults.len() < FAULTS_MAX {
            self.report.faults.push(Fault { place, kind });
        }
    }
}

impl Report {
    /// Whether all that was written is there.
    pub fn is_sound(&self) -> bool {
        self.faults_count == 0
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::line;
    use crate::line::FrameLine;
    use crate::record::testing::frame;
    use crate::record::{Frame, Kind, Lost};
    use crate::reel::header;
    use shadowcat_pipeline::Direction;

    /// A tape of seven lines: header, 1, 2, 3 to 5 lost, 6, 7, end.
    pub(crate) fn lines() -> Vec<Vec<u8>> {
        let mut lines = vec![Vec::new(); 7];
        line::header(&header(time::OffsetDateTime::UNIX_EPOCH, true).unwrap(), &mut lines[0]);
        for (place, seq) in [(1, 1), (2, 2), (4, 6), (5, 7)] {
            let ping = frame(Direction::ToServer, Kind::Request, Some("ping"), "{}");
            line::frame(&FrameLine::of(&Frame { seq, ..ping }), &mut lines[place]);
        }
        line::lost(&Lost { since: 3, count: 3, reason: "queue".to_owned() }, &mut lines[3]);
        line::end(End { frames: 4, lost: 3 }, &mut lines[6]);
        lines
    }

    pub(crate) fn report(bytes: &[u8]) -> Report {
        validate(&mut Reader::new(bytes), &mut |_| ())
    }

    fn told(lines: &[Vec<u8>]) -> Vec<String> {
        report(&lines.concat()).faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_whole_tape_is_sound_also_before_its_end() {
        let lines = lines();
        let report = report(&lines.concat());
        assert!(report.is_sound() && report.ended, "{report:?}");
        assert_eq!((report.frames, report.lost, report.missing), (4, 3, 0));
        for end in 1..7 {
            assert_eq!(told(&lines[..end]), [""; 0]);
        }
    }

    #[test]
    fn each_fault_is_told_with_its_place() {
        let whole = lines();
        let without = |gone: std::ops::Range<usize>| {
            let mut lines = whole.clone();
            lines.drain(gone);
            told(&lines)
        };
        let at = |line: usize| -> usize { whole[..line].iter().map(Vec::len).sum() };
        let place = at(4) - whole[1].len() - whole[2].len();
        assert_eq!(
            without(1..3),
            [format!("line 2 at byte {}: messages 1 to 2 are missing before it", at(1))]
        );
        assert_eq!(
            without(2..4),
            [format!("line 3 at byte {}: messages 2 to 5 are missing before it", at(2))]
        );
        assert_eq!(without(5..6), [format!("line 6 at byte {}: message 7 is missing before it", at(5))]);
        assert!(place < at(4));

        let mut twice = whole.clone();
        twice.insert(3, whole[1].clone());
        assert_eq!(
            told(&twice),
            [format!("line 4 at byte {}: message 1 is not in order, or here a second time", at(3))]
        );

        let mut longer = whole.clone();
        longer.push(whole[1].clone());
        assert!(told(&longer)[0].ends_with("behind the last record of the tape"));

        let mut two = whole.clone();
        two.extend(lines());
        assert!(
            told(&two).iter().any(|fault| fault.contains("another tape begins here")),
            "{:?}",
            told(&two)
        );

        let mut wrong = whole.clone();
        wrong[6].clear();
        line::end(End { frames: 3, lost: 4 }, &mut wrong[6]);
        assert!(told(&wrong)[0].ends_with("says 3 messages and 4 lost, and there are 4 and 3"));

        let mut torn = whole.clone();
        torn.truncate(6);
        torn[5].pop();
        assert!(told(&torn)[0].contains("the tape ends within line 6"));
    }

    #[test]
    fn a_gap_that_a_damaged_line_explains_is_told_once() {
        let mut lines = lines();
        lines[2][40] ^= 1;
        let report = report(&lines.concat());
        assert_eq!((report.faults_count, report.missing), (1, 1), "{report:?}");
        assert_eq!(report.faults[0].kind.word(), "damaged");
    }
}
