//! The lines of a tape, one at a time in bounded memory, with their places.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use crate::open::Source;

/// The longest line that is read: twice what the largest message may have that a proxy lets pass.
pub(crate) const LINE_BYTES_MAX: usize = 128 * 1024 * 1024;
/// A line buffer that grew beyond this for a large message is given back.
const LINE_BYTES_KEPT: usize = 1024 * 1024;
const BUFFER_BYTES: usize = 64 * 1024;
/// What is read at once on the way back from the end.
const BLOCK_BYTES: u64 = 64 * 1024;

/// Where a line begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its first byte.
    pub offset: u64,
    /// Its number, from 1; none where it was found from the end of the tape.
    pub line: Option<u64>,
}

impl Place {
    /// The first line.
    pub(crate) const START: Self = Self { offset: 0, line: Some(1) };
}

#[derive(Debug)]
pub(crate) struct Lines<R> {
    source: R,
    line: Vec<u8>,
    next: Place,
}

/// What was found at the next line's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A line with its end.
    Line,
    /// The beginning of one.
    Torn,
    Nothing,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(source: R) -> Self {
        Self { source, line: Vec::new(), next: Place::START }
    }

    /// Where the next line begins.
    pub(crate) fn next(&self) -> Place {
        self.next
    }

    /// The line that was read last, without its end. Of one that is too long only the beginning is there, and its
    /// checksum will not fit.
    pub(crate) fn line(&self) -> &[u8] {
        &self.line
    }

    /// Reads the next line.
    pub(crate) fn read(&mut self) -> io::Result<Found> {
        self.line.clear();
        self.line.shrink_to(LINE_BYTES_KEPT);
        let mut length = 0;
        loop {
            let available = match self.source.fill_buf() {
                Ok(available) => available,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => return Err(cause),
            };
            if available.is_empty() {
                return Ok(if length == 0 { Found::Nothing } else { Found::Torn });
            }
            let end = memchr::memchr(b'\n', available);
            let piece = available.get(..end.unwrap_or(available.len())).unwrap_or_default();
            let room = LINE_BYTES_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
            let used = piece.len() + usize::from(end.is_some());
            self.source.consume(used);
            length += used as u64;
            if end.is_some() {
                self.next.offset += length;
                self.next.line = self.next.line.map(|line| line + 1);
                return Ok(Found::Line);
            }
        }
    }
}

impl<R: BufRead + Send + 'static> Lines<R> {
    pub(crate) fn boxed(self) -> Lines<Source> {
        Lines { source: Box::new(self.source), line: self.line, next: self.next }
    }
}

impl<R: BufRead + Seek> Lines<R> {
    /// Goes on at a place.
    pub(crate) fn seek(&mut self, place: Place) -> io::Result<()> {
        self.source.seek(SeekFrom::Start(place.offset))?;
        self.next = place;
        Ok(())
    }
}

impl Lines<BufReader<File>> {
    /// The line at a place, from whichever the next one is; none if there is no whole one.
    pub(crate) fn read_at(&mut self, place: Place) -> io::Result<Option<&[u8]>> {
        let next = self.next;
        self.seek(place)?;
        let found = self.read()?;
        self.seek(next)?;
        Ok((found == Found::Line).then_some(self.line.as_slice()))
    }

    /// Where the last `count` whole lines of the file begin. The next line stays the same.
    pub(crate) fn last(&mut self, count: u64) -> io::Result<Place> {
        let offset = offset_of_last(self.source.get_mut(), count)?;
        self.seek(self.next)?;
        Ok(Place { offset, line: None })
    }
}

fn offset_of_last(file: &mut File, count: u64) -> io::Result<u64> {
    // One line end more than lines: that of the line before them.
    let mut left = count.saturating_add(1);
    let mut block = Vec::new();
    let mut at = file.seek(SeekFrom::End(0))?;
    while at > 0 {
        let start = at.saturating_sub(BLOCK_BYTES);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        file.by_ref().take(at - start).read_to_end(&mut block)?;
        for place in memchr::memrchr_iter(b'\n', &block) {
            left -= 1;
            if left == 0 {
                return Ok(start + place as u64 + 1);
            }
        }
        at = start;
    }
    Ok(0)
}

pub(crate) fn buffered<R: Read>(source: R) -> BufReader<R> {
    BufReader::with_capacity(BUFFER_BYTES, source)
}
