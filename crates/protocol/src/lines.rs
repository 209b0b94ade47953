//! Newline framing, as on stdio: bytes in, lines out. What a line means is for the caller.

use std::borrow::Cow;
use std::collections::VecDeque;

use bytes::Bytes;
use thiserror::Error;

const BOM: &[u8] = b"\xef\xbb\xbf";
/// A line beyond this gets room for the longest one at once. Growing by steps, each a copy, would leave as much memory
/// behind as it takes; room that is not written to takes none.
const GROWS_UP_TO: usize = 1024 * 1024;

/// The text of a message without the line ends between its tokens. JSON has none elsewhere.
pub fn one_line(text: &[u8]) -> Cow<'_, [u8]> {
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    if memchr::memchr2(b'\n', b'\r', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut line = Vec::with_capacity(text.len());
    for piece in text.split(is_end) {
        line.extend_from_slice(piece);
    }
    Cow::Owned(line)
}

/// A line longer than the limit. It was dropped to its end, and the line behind it is read as ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a line of {bytes} bytes is longer than the limit")]
pub struct LineTooLong {
    /// How long it was.
    pub bytes: usize,
}

/// Finds the lines in the bytes of a stream, however they are cut.
///
/// A CR before the line end, a byte order mark at the start and blank lines are left out. It keeps one unfinished
/// line, up to the limit, and the lines of the last `push` until they are taken.
#[derive(Debug)]
pub struct Decoder {
    line_bytes_max: usize,
    line: Vec<u8>,
    /// The bytes of a too long line so far.
    dropped: Option<usize>,
    past_first_line: bool,
    ready: VecDeque<Result<Bytes, LineTooLong>>,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new(line_bytes_max: usize) -> Self {
        Self {
            line_bytes_max,
            line: Vec::new(),
            dropped: None,
            past_first_line: false,
            ready: VecDeque::new(),
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(end);
            self.finish_line(line);
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.keep(bytes);
    }

    /// The next finished line.
    pub fn next_line(&mut self) -> Option<Result<Bytes, LineTooLong>> {
        self.ready.pop_front()
    }

    /// Ends the stream: what stands behind the last line end counts as a line.
    pub fn finish(&mut self) {
        self.finish_line(&[]);
    }

    /// Adds to the unfinished line, or counts what is dropped of it.
    fn keep(&mut self, bytes: &[u8]) {
        if let Some(dropped) = &mut self.dropped {
            *dropped += bytes.len();
        } else if self.line.len() + bytes.len() > self.line_bytes_max {
            self.dropped = Some(self.line.len() + bytes.len());
            self.line = Vec::new();
        } else {
            let grown = self.line.len() + bytes.len();
            if grown > self.line.capacity() && grown > GROWS_UP_TO {
                self.line.reserve_exact(self.line_bytes_max - self.line.len());
            }
            self.line.extend_from_slice(bytes);
        }
    }

    fn finish_line(&mut self, end: &[u8]) {
        let is_whole = self.line.is_empty() && self.dropped.is_none() && end.len() <= self.line_bytes_max;
        let line = if is_whole {
            // The usual case: a line within one chunk is copied once, and to its size, so that it holds no more.
            Bytes::copy_from_slice(self.content(end))
        } else {
            self.keep(end);
            if let Some(bytes) = self.dropped.take() {
                self.past_first_line = true;
                self.ready.push_back(Err(LineTooLong { bytes }));
                return;
            }
            self.line.shrink_to_fit();
            let line = Bytes::from(std::mem::take(&mut self.line));
            line.slice_ref(self.content(&line))
        };
        self.past_first_line = true;
        if !line.iter().all(u8::is_ascii_whitespace) {
            self.ready.push_back(Ok(line));
        }
    }

    /// The line without the marks of its platform.
    fn content<'a>(&self, line: &'a [u8]) -> &'a [u8] {
        let line = if self.past_first_line { line } else { line.strip_prefix(BOM).unwrap_or(line) };
        line.strip_suffix(b"\r").unwrap_or(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: usize = 12;

    fn lines(chunks: &[&[u8]]) -> Vec<Result<Bytes, LineTooLong>> {
        let mut decoder = Decoder::new(MAX);
        for chunk in chunks {
            decoder.push(chunk);
            assert!(decoder.line.capacity() <= 2 * MAX);
        }
        decoder.finish();
        std::iter::from_fn(|| decoder.next_line()).collect()
    }

    fn check(stream: &str, expected: &[&str]) {
        let read: Vec<Bytes> = lines(&[stream.as_bytes()]).into_iter().map(Result::unwrap).collect();
        assert_eq!(read, expected, "{stream:?}");
    }

    #[test]
    fn marks_of_the_platform_and_blank_lines_are_left_out() {
        check("\u{feff}a\r\nb\n\r\n  \nc", &["a", "b", "c"]);
        check("a\rb\n", &["a\rb"]);
        check("a\n\u{feff}b\n", &["a", "\u{feff}b"]);
        check("\u{feff}\n\n", &[]);
    }

    #[test]
    fn a_warning_before_a_message_is_a_line_of_its_own() {
        let mut decoder = Decoder::new(1024);
        decoder.push(b"npm WARN x\n{\"jsonrpc\":\"2.0\",\"method\":\"m\"}\n");
        let parse = |line: Bytes| crate::Message::parse(line, &crate::Limits::default());
        assert!(parse(decoder.next_line().unwrap().unwrap()).is_err());
        assert_eq!(parse(decoder.next_line().unwrap().unwrap()).unwrap().method(), Some("m"));
    }

    #[test]
    fn a_too_long_line_is_reported_once_and_the_next_is_read() {
        let read = lines(&[b"0123456", b"789abc", b"def\nnext", b"\n"]);
        assert_eq!(read, [Err(LineTooLong { bytes: 16 }), Ok(Bytes::from("next"))]);
    }

    #[test]
    fn the_longest_line_takes_its_own_room_and_one_beyond_it_no_more() {
        const LONGEST: usize = 4 * 1024 * 1024;
        let mut decoder = Decoder::new(LONGEST);
        let chunk = vec![b'x'; 60_000];
        for _ in 0..LONGEST / chunk.len() {
            decoder.push(&chunk);
            assert!(decoder.line.capacity() <= LONGEST, "{}", decoder.line.capacity());
        }
        decoder.push(b"\n");
        assert_eq!(decoder.next_line().unwrap().unwrap().len(), LONGEST / chunk.len() * chunk.len());
        for _ in 0..=LONGEST / chunk.len() {
            decoder.push(&chunk);
            assert!(decoder.line.capacity() <= LONGEST, "{}", decoder.line.capacity());
        }
        assert_eq!(decoder.line.capacity(), 0);
    }

    proptest! {
        #[test]
        fn any_cut_of_the_bytes_gives_the_same_lines(
            pieces in prop::collection::vec(prop::sample::select(vec!["a", "\n", "\r", "\r\n", "\u{feff}", "0123456789", " "]), 0..30),
            cut in 1usize..7,
        ) {
            let stream = pieces.concat().into_bytes();
            let chunks: Vec<&[u8]> = stream.chunks(cut).collect();
            prop_assert_eq!(lines(&chunks), lines(&[&stream]));
        }
    }
}
