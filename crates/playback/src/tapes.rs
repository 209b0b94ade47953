//! Tapes in memory, as both ways of playing need them: what passed between clients and the proxy, joined to calls, run by
//! run. The tapes of one run of a proxy, each the continuation of the last, are one.

use std::iter::Peekable;
use std::ops::Range;

use shadowcat_tape::{Call, Calls, Frame, ReadError, Record};

/// Where client and proxy meet: what is played is what the two said, not what a bridge made of it.
const HOP: &str = "edge";
/// Bytes of all messages together.
const BYTES_MAX: usize = 1024 * 1024 * 1024;
/// What a message takes beside its own bytes, about.
const FRAME_BYTES: usize = 512;
/// The bits of a message's number among all tapes that are its number on its own.
const SEQ_BITS: u32 = 40;

/// Why a tape cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// One of them is not what was written.
    #[error(transparent)]
    Damaged(#[from] ReadError),
    /// There is more than fits into memory.
    #[error(
        "the tapes hold more than {} MiB: play a part of them, which `shadowcat tape cut` makes",
        BYTES_MAX / (1024 * 1024)
    )]
    TooMuch,
}

/// Where a message stands. Each tape numbers its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The number of its tape among those that were read, from 0.
    pub tape: usize,
    /// Its number there.
    pub seq: u64,
}

impl Place {
    /// Of a message of a run.
    pub(crate) fn of(frame: &Frame) -> Self {
        let tape = usize::try_from(frame.seq >> SEQ_BITS).unwrap_or_default();
        Self { tape, seq: frame.seq & ((1 << SEQ_BITS) - 1) }
    }

    /// As one number, in the order of places.
    fn number(self) -> u64 {
        (self.tape as u64) << SEQ_BITS | self.seq
    }
}

/// What is on tapes, read one after the other.
#[derive(Debug)]
pub struct Tapes {
    names: Vec<String>,
    runs: Vec<Run>,
    /// The last run, and its calls that have not ended.
    run: Run,
    open: Calls,
    /// The id of the last tape.
    last: Option<String>,
    bytes: usize,
}

/// The tapes of one run of a proxy.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// Which they are.
    pub(crate) tapes: Range<usize>,
    /// What passed, in the order of its beginning. The numbers of the frames are those of their places.
    pub(crate) calls: Vec<Call>,
    /// Messages that passed and are not on the tapes.
    pub(crate) lost: u64,
}

impl Default for Tapes {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            runs: Vec::new(),
            run: Run::default(),
            open: Calls::at(HOP),
            last: None,
            bytes: 0,
        }
    }
}

impl Tapes {
    /// Reads one more tape; its name is what people are told. One that ends within a record is being written, and is read
    /// as far as it is whole.
    ///
    /// # Errors
    /// It is damaged, or too much.
    pub fn read(
        &mut self,
        name: &str,
        records: impl Iterator<Item = Result<Record, ReadError>>,
    ) -> Result<(), LoadError> {
        let mut records = records.peekable();
        let tape = self.begin(name, &mut records);
        for record in records {
            match record {
                Ok(Record::Frame(frame)) if frame.hop == HOP => self.frame(tape, *frame)?,
                Ok(Record::Lost(lost)) => self.run.lost += lost.count,
                Ok(_) | Err(ReadError::Torn { .. }) => (),
                Err(cause) => return Err(cause.into()),
            }
        }
        Ok(())
    }

    /// Begins a tape and, unless it goes on with the last, a run.
    fn begin<I: Iterator<Item = Result<Record, ReadError>>>(
        &mut self,
        name: &str,
        records: &mut Peekable<I>,
    ) -> usize {
        let header = match records.peek() {
            Some(Ok(Record::Header(header))) => Some(header),
            _ => None,
        };
        let previous = header.and_then(|header| header.previous.as_ref());
        let goes_on = previous.is_some() && previous == self.last.as_ref();
        self.last = header.map(|header| header.tape.clone());
        let tape = self.names.len();
        self.names.push(name.to_owned());
        if !goes_on {
            self.end_run();
            self.run.tapes.start = tape;
        }
        self.run.tapes.end = tape + 1;
        tape
    }

    fn frame(&mut self, tape: usize, mut frame: Frame) -> Result<(), LoadError> {
        self.bytes += frame.message.len() + FRAME_BYTES;
        if self.bytes > BYTES_MAX {
            return Err(LoadError::TooMuch);
        }
        frame.seq = Place { tape, seq: frame.seq }.number();
        let ended = self.open.take(frame);
        self.run.calls.extend(ended);
        Ok(())
    }

    fn end_run(&mut self) {
        let open = std::mem::replace(&mut self.open, Calls::at(HOP));
        let mut run = std::mem::take(&mut self.run);
        run.calls.extend(open.rest());
        run.calls.sort_by_key(|call| call.asked.seq);
        if !run.tapes.is_empty() {
            self.runs.push(run);
        }
    }

    /// Their names and their runs.
    pub(crate) fn finish(mut self) -> (Vec<String>, Vec<Run>) {
        self.end_run();
        (self.names, self.runs)
    }
}
