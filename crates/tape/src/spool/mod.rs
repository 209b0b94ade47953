//! A tape's bytes on their way to the disk, with the disk's failures. No threads and no clock: the time comes in.
//!
//! What was encoded stays in the buffer until all of it is in the file. When the disk takes nothing, the file is cut
//! back to its last whole record, further messages are counted, and the same buffer is tried again each second; then
//! a `lost` record takes the place of what was counted.

use std::fmt;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::time::{Duration, Instant};

use crate::line;
use crate::record::{End, Lost};

/// More is written at once, less waits until the queue is empty or [`FLUSH_EVERY`] has passed.
const BUFFER_BYTES: usize = 256 * 1024;
/// With the line that makes it enough, unless that is very long.
const BUFFER_CAPACITY: usize = BUFFER_BYTES + 64 * 1024;
const FLUSH_EVERY: Duration = Duration::from_millis(100);
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// The word on the tape for what the disk could not take.
const REASON: &str = "disk";

/// The file, as far as a spool needs one.
pub(crate) trait Disk: fmt::Debug + Send {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Cuts the file to this length and goes on writing there.
    fn cut(&mut self, len: u64) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
}

impl Disk for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(self, bytes)
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.flush()?;
        self.set_len(len)?;
        self.seek(SeekFrom::Start(len)).map(drop)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

#[derive(Debug)]
pub(crate) struct Spool {
    disk: Box<dyn Disk>,
    sync_every: Duration,
    buffer: Vec<u8>,
    buffered_frames: u64,
    written: Written,
    flushed_at: Instant,
    synced_at: Instant,
    unsynced: bool,
    fault: Option<Fault>,
    /// Lost since the disk failed.
    missing: Option<Lost>,
    /// All that was ever lost here or before.
    lost: u64,
    /// Of these, what the disk did not take.
    untaken: u64,
}

/// What is in the file for good, as far as a crash of the process goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

#[derive(Debug)]
struct Fault {
    cause: io::Error,
    retry_at: Instant,
}

impl Spool {
    /// A spool behind the first `bytes` of a file, which are whole.
    pub(crate) fn new(disk: Box<dyn Disk>, bytes: u64, sync_every: Duration, now: Instant) -> Self {
        Self {
            disk,
            sync_every,
            buffer: Vec::with_capacity(BUFFER_CAPACITY),
            buffered_frames: 0,
            written: Written { bytes, ..Written::default() },
            flushed_at: now,
            synced_at: now,
            unsynced: true,
            fault: None,
            missing: None,
            lost: 0,
            untaken: 0,
        }
    }

    /// Takes the line of a frame.
    pub(crate) fn frame(&mut self, seq: u64, line: &[u8], now: Instant) {
        self.write_frame(seq, |out| out.extend_from_slice(line), now);
    }

    /// Takes a frame whose line `write` appends to what is there, if it can be taken.
    pub(crate) fn write_frame(&mut self, seq: u64, write: impl FnOnce(&mut Vec<u8>), now: Instant) {
        if self.fault.is_some() {
            self.untaken += 1;
            self.lose(&Lost { since: seq, count: 1, reason: REASON.to_owned() });
            return;
        }
        write(&mut self.buffer);
        self.buffered_frames += 1;
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush(now);
        }
    }

    /// Takes a line that stands for no message.
    pub(crate) fn other(&mut self, line: &[u8], now: Instant) {
        self.buffer.extend_from_slice(line);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush(now);
        }
    }

    /// Takes note of messages that were lost here or before.
    pub(crate) fn lose(&mut self, lost: &Lost) {
        self.lost = self.lost.saturating_add(lost.count);
        if self.fault.is_none() {
            line::lost(lost, &mut self.buffer);
            return;
        }
        match &mut self.missing {
            Some(missing) => missing.count = missing.count.saturating_add(lost.count),
            None => self.missing = Some(Lost { reason: REASON.to_owned(), ..lost.clone() }),
        }
    }

    /// Does what is due: another try, a flush if `idle` or late, a sync.
    pub(crate) fn tick(&mut self, idle: bool, now: Instant) {
        if let Some(fault) = &self.fault {
            if now >= fault.retry_at {
                self.retry(now);
            }
            return;
        }
        let sync_is_due = self.unsynced && now.duration_since(self.synced_at) >= self.sync_every;
        // What is not in the file by now would wait for the sync after this one.
        if idle || sync_is_due || now.duration_since(self.flushed_at) >= FLUSH_EVERY {
            self.flush(now);
        }
        if sync_is_due {
            self.sync(now);
        }
    }

    /// When [`Spool::tick`] has something to do even if no message comes.
    pub(crate) fn next_tick(&self) -> Option<Instant> {
        match &self.fault {
            Some(fault) => Some(fault.retry_at),
            None => self.unsynced.then(|| self.synced_at + self.sync_every),
        }
    }

    /// Writes what is left and the last record. What cannot be written now is lost.
    pub(crate) fn finish(&mut self, now: Instant) {
        if self.fault.is_some() {
            self.retry(now);
        }
        self.flush(now);
        let end = End { frames: self.written.frames, lost: self.lost };
        if self.fault.is_none() {
            line::end(end, &mut self.buffer);
            self.flush(now);
            self.sync(now);
        }
        let left = std::mem::take(&mut self.buffered_frames);
        self.lost += left;
        self.untaken += left;
    }

    pub(crate) fn written(&self) -> Written {
        self.written
    }

    /// How long the file is or will be, as far as it is known.
    pub(crate) fn bytes(&self) -> u64 {
        self.written.bytes + self.buffer.len() as u64
    }

    /// Whether everything that was taken is in the file.
    pub(crate) fn is_clear(&self) -> bool {
        self.fault.is_none() && self.buffer.is_empty()
    }

    /// All that was ever lost here or before.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// What the disk did not take.
    pub(crate) fn untaken(&self) -> u64 {
        self.untaken
    }

    /// Why the disk takes nothing at present.
    pub(crate) fn fault(&self) -> Option<&io::Error> {
        self.fault.as_ref().map(|fault| &fault.cause)
    }

    fn retry(&mut self, now: Instant) {
        self.fault = None;
        if let Err(cause) = self.disk.cut(self.written.bytes) {
            self.fail(cause, now);
            return;
        }
        self.flush(now);
        if self.fault.is_none()
            && let Some(missing) = self.missing.take()
        {
            line::lost(&missing, &mut self.buffer);
            self.flush(now);
        }
    }

    fn flush(&mut self, now: Instant) {
        if self.fault.is_some() || self.buffer.is_empty() {
            return;
        }
        self.flushed_at = now;
        match write_all(self.disk.as_mut(), &self.buffer) {
            Ok(()) => {
                self.written.bytes += self.buffer.len() as u64;
                self.written.frames += std::mem::take(&mut self.buffered_frames);
                self.buffer.clear();
                self.buffer.shrink_to(BUFFER_CAPACITY);
                self.unsynced = true;
            }
            Err(cause) => self.fail(cause, now),
        }
    }

    fn sync(&mut self, now: Instant) {
        self.synced_at = now;
        match self.disk.sync() {
            Ok(()) => self.unsynced = false,
            Err(cause) => self.fail(cause, now),
        }
    }

    /// Leaves whole records in the file. Where even that fails, the next try overwrites the torn one.
    fn fail(&mut self, cause: io::Error, now: Instant) {
        if let Err(cause) = self.disk.cut(self.written.bytes) {
            tracing::debug!(%cause, "a torn record stays at the end of the tape");
        }
        self.fault = Some(Fault { cause, retry_at: now + RETRY_EVERY });
    }
}

pub(crate) fn write_all(disk: &mut dyn Disk, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match disk.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(())
}

#[cfg(test)]
mod power_cut;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;
    use std::sync::{Arc, Mutex};

    /// A disk with so much room.
    #[derive(Clone, Debug, Default)]
    struct Small(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Small {
        fn with_room(room: usize) -> Self {
            let small = Self::default();
            small.0.lock().unwrap().1 = room;
            small
        }
        fn records(&self) -> Vec<Record> {
            let disk = self.0.lock().unwrap();
            assert!(disk.0.is_empty() || disk.0.ends_with(b"\n"), "only whole records");
            disk.0
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
                .map(|line| line::record(line).unwrap().unwrap())
                .collect()
        }
    }

    impl Disk for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut disk = self.0.lock().unwrap();
            let count = bytes.len().min(disk.1.saturating_sub(disk.0.len()));
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            disk.0.extend_from_slice(&bytes[..count]);
            Ok(count)
        }
        fn cut(&mut self, len: u64) -> io::Result<()> {
            self.0.lock().unwrap().0.truncate(usize::try_from(len).unwrap());
            Ok(())
        }
        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Any line will do: the spool does not look inside.
    fn line_of(seq: u64) -> Vec<u8> {
        let mut line = Vec::new();
        line::lost(&Lost { since: seq, count: 0, reason: "stands for a frame".to_owned() }, &mut line);
        line
    }

    #[test]
    fn a_full_disk_costs_frames_that_are_counted_and_the_tape_goes_on_when_there_is_room() {
        let mut now = Instant::now();
        let one = line_of(1).len();
        let disk = Small::with_room(2 * one + one / 2);
        let mut spool = Spool::new(Box::new(disk.clone()), 0, Duration::from_secs(1), now);
        for seq in 1..=6 {
            spool.frame(seq, &line_of(seq), now);
            spool.tick(true, now);
        }
        assert_eq!(disk.records().len(), 2);
        assert!(spool.fault().is_some());
        assert_eq!(
            (spool.untaken(), spool.written().frames),
            (3, 2),
            "4, 5 and 6 are lost, 3 waits in the buffer"
        );

        disk.0.lock().unwrap().1 = 100 * one;
        spool.tick(true, now);
        assert!(spool.fault().is_some(), "not before a second has passed");
        now += RETRY_EVERY;
        spool.tick(true, now);
        assert!(spool.fault().is_none());
        spool.frame(7, &line_of(7), now);
        spool.finish(now);
        let records = disk.records();
        assert_eq!(records.len(), 6);
        assert_eq!(records[3], Record::Lost(Lost { since: 4, count: 3, reason: "disk".to_owned() }));
        assert_eq!(records[5], Record::End(End { frames: 4, lost: 3 }));
    }

    #[test]
    fn what_is_in_the_buffer_at_the_end_of_a_full_disk_counts_as_lost() {
        let now = Instant::now();
        let one = line_of(1).len();
        let mut spool = Spool::new(Box::new(Small::with_room(2 * one)), 0, Duration::from_secs(1), now);
        for seq in 1..=10 {
            spool.frame(seq, &line_of(seq), now);
            spool.tick(true, now);
        }
        spool.finish(now);
        assert_eq!((spool.written().frames, spool.untaken()), (2, 8));
    }

    #[test]
    fn losses_of_the_queue_while_the_disk_is_full_are_counted_with_the_others() {
        let now = Instant::now();
        let disk = Small::with_room(0);
        let mut spool = Spool::new(Box::new(disk.clone()), 0, Duration::from_secs(1), now);
        spool.frame(1, &line_of(1), now);
        spool.tick(true, now);
        spool.frame(2, &line_of(2), now);
        spool.lose(&Lost { since: 3, count: 4, reason: "queue".to_owned() });
        spool.frame(7, &line_of(7), now);
        disk.0.lock().unwrap().1 = 1 << 20;
        spool.finish(now);
        assert_eq!(disk.records()[1], Record::Lost(Lost { since: 2, count: 6, reason: "disk".to_owned() }));
        assert_eq!(spool.untaken(), 2, "what the queue lost, the queue has counted");
    }
}
