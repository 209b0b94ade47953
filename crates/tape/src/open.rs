//! Opens a tape of any kind: plain, compressed, encrypted, or both. Its first bytes say which, not its name.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::index::{Index, Point};
use crate::keys::{Key, Keys};
use crate::reader::{Reader, buffered};
use crate::record::Record;
use crate::sealed::{self, Unsealing};

/// How a zstd frame begins.
pub(crate) const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// What decompressing may take in memory, as a power of two. Ours takes 2 MiB, `zstd -19` takes 8.
const WINDOW_LOG_MAX: u32 = 23;
/// A tape may be compressed and encrypted, in either order, and each at most once.
const LAYERS_MAX: usize = 2;

/// The bytes of a tape, whatever it is wrapped in.
pub type Source = Box<dyn BufRead + Send>;

/// Why a tape cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What the system says.
    #[error(transparent)]
    File(#[from] io::Error),
    /// It is encrypted, and the key is not there.
    #[error("the tape is encrypted, and the key with the id {key} was not given")]
    Locked {
        /// The id of its key.
        key: String,
    },
    /// It is encrypted in a way that this program does not know.
    #[error("the tape is encrypted with {cipher:?} in a format of its own: use a newer shadowcat")]
    UnknownCipher {
        /// What it says.
        cipher: String,
    },
    /// It is encrypted, and where it should say how, it is damaged.
    #[error("the first line of the encrypted tape is damaged: without it nothing of the tape can be read")]
    FirstLine,
}

/// Where in a tape reading begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At its header.
    #[default]
    Header,
    /// At this point or a little before it.
    Before(Point),
    /// At the last messages, so many of them; the lost in one place are one.
    Last(u64),
}

/// Opens a tape; `keys` are for encrypted ones.
///
/// # Errors
/// When the file cannot be read, or its key is not among `keys`. Whatever else is wrong, the reader says.
pub fn open(path: &Path, keys: &Keys) -> Result<Reader<Source>, OpenError> {
    let (source, passed) = source(path, keys)?;
    Ok(Reader::new(source).counted_by(passed))
}

/// Opens a tape to read it from there on. A plain tape is begun there, and gets an index for it; what is compressed or
/// encrypted has to be read up to there. `progress` is told the bytes of the file that were read before.
///
/// # Errors
/// Those of [`open`].
pub fn open_at(
    path: &Path,
    keys: &Keys,
    start: Start,
    progress: &mut dyn FnMut(u64),
) -> Result<Reader<Source>, OpenError> {
    let reader = match start {
        Start::Header => None,
        Start::Last(count) => Some(last(path, keys, count, progress)?),
        Start::Before(point) => before(path, &point, progress)?,
    };
    reader.map_or_else(|| open(path, keys), Ok)
}

/// None if there is no way but to read all before it, or if that will tell what is wrong.
fn before(
    path: &Path,
    point: &Point,
    progress: &mut dyn FnMut(u64),
) -> Result<Option<Reader<Source>>, OpenError> {
    let Some(mut reader) = plain(path)? else { return Ok(None) };
    let Ok(index) = Index::of(path, progress) else { return Ok(None) };
    reader.seek(index.before(point))?;
    Ok(Some(reader.boxed()))
}

fn last(
    path: &Path,
    keys: &Keys,
    count: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<Reader<Source>, OpenError> {
    if let Some(mut reader) = plain(path)? {
        reader.seek_last(count)?;
        return Ok(reader.boxed());
    }
    let mut messages = 0_u64;
    let mut reader = open(path, keys)?;
    while let Some(record) = reader.next() {
        messages += u64::from(matches!(record, Ok(Record::Frame(_) | Record::Lost(_))));
        progress(reader.passed());
    }
    let mut reader = open(path, keys)?;
    let mut before = messages.saturating_sub(count);
    while before > 0 {
        let Some(record) = reader.next() else { break };
        before -= u64::from(matches!(record, Ok(Record::Frame(_) | Record::Lost(_))));
    }
    Ok(reader)
}

/// A reader behind the header of a tape in which one can move about; none for any other, and for what is no tape.
fn plain(path: &Path) -> io::Result<Option<Reader<BufReader<File>>>> {
    let mut reader = Reader::open(path)?;
    Ok(matches!(reader.next(), Some(Ok(Record::Header(_)))).then_some(reader))
}

/// The key that a tape is encrypted with, in whichever of its layers; none if it is not.
///
/// # Errors
/// When the file cannot be read, or its key is not among `keys`.
pub fn key_of<'k>(path: &Path, keys: &'k Keys) -> Result<Option<&'k Key>, OpenError> {
    peel(Box::new(buffered(File::open(path)?)), keys).map(|(_, key)| key)
}

/// The bytes of the records of a tape, and a count of the bytes of its file that have been read for them.
pub(crate) fn source(path: &Path, keys: &Keys) -> Result<(Source, Arc<AtomicU64>), OpenError> {
    let passed = Arc::new(AtomicU64::new(0));
    let file = Counted { file: File::open(path)?, passed: Arc::clone(&passed) };
    peel(Box::new(buffered(file)), keys).map(|(source, _)| (source, passed))
}

/// What the layers of a tape are around, and the key that one of them took.
fn peel(mut source: Source, keys: &Keys) -> Result<(Source, Option<&Key>), OpenError> {
    let mut key = None;
    for _ in 0..LAYERS_MAX {
        // A fault is told by the reader, who meets it again and knows the place.
        let Ok(begin) = source.fill_buf() else { break };
        if begin.starts_with(sealed::MAGIC) {
            let (unsealing, with) = Unsealing::new(source, keys)?;
            (source, key) = (Box::new(unsealing), Some(with));
        } else if begin.starts_with(ZSTD_MAGIC) {
            source = Box::new(buffered(Inflating::new(source)?));
        } else {
            break;
        }
    }
    Ok((source, key))
}

/// A file that says how much of it has been read.
struct Counted {
    file: File,
    passed: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.passed.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Decompresses. What is no zstd is `InvalidData`, as in other decoders.
struct Inflating(zstd::stream::read::Decoder<'static, Source>);

impl Inflating {
    fn new(source: Source) -> io::Result<Self> {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
        decoder.window_log_max(WINDOW_LOG_MAX)?;
        Ok(Self(decoder))
    }
}

impl Read for Inflating {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|cause| match cause.kind() {
            io::ErrorKind::Other => io::Error::new(io::ErrorKind::InvalidData, cause),
            _ => cause,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::header;
    use crate::record::{End, Lost, Record};
    use crate::{ReadError, line};

    /// A tape of a hundred losses.
    fn tape() -> Vec<u8> {
        let mut out = Vec::new();
        line::header(&header(), &mut out);
        for since in 0..100 {
            line::lost(&Lost { since, count: 1, reason: "queue".to_owned() }, &mut out);
        }
        line::end(End { frames: 0, lost: 100 }, &mut out);
        out
    }

    fn read(bytes: &[u8]) -> Vec<Result<Record, ReadError>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tape.jsonl");
        std::fs::write(&path, bytes).unwrap();
        open(&path, &Keys::default()).unwrap().collect()
    }

    fn compressed() -> Vec<u8> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 0).unwrap();
        encoder.include_checksum(true).unwrap();
        io::copy(&mut tape().as_slice(), &mut encoder).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_compressed_tape_reads_like_a_plain_one() {
        let plain = read(&tape());
        assert_eq!(format!("{:?}", read(&compressed())), format!("{plain:?}"));
        assert!(matches!(plain.last(), Some(Ok(Record::End(_)))), "{plain:?}");
    }

    #[test]
    fn the_last_messages_are_the_same_whatever_the_tape_is_wrapped_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tape.jsonl");
        for bytes in [tape(), compressed(), tape()[..tape().len() - 20].to_vec()] {
            std::fs::write(&path, bytes).unwrap();
            let last = |count| {
                let reader = open_at(&path, &Keys::default(), Start::Last(count), &mut |_| ()).unwrap();
                let lost = reader.filter_map(|record| match record {
                    Ok(Record::Lost(lost)) => Some(lost.since),
                    _ => None,
                });
                lost.collect::<Vec<_>>()
            };
            assert_eq!(last(3), [97, 98, 99]);
            assert_eq!(last(0), [0_u64; 0]);
            assert_eq!(last(1_000).len(), 100);
        }
    }

    #[test]
    fn a_reader_says_how_much_of_a_compressed_file_it_has_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tape.jsonl.zst");
        std::fs::write(&path, compressed()).unwrap();
        let mut reader = open(&path, &Keys::default()).unwrap();
        while reader.next().is_some() {}
        assert_eq!((reader.passed(), reader.offset()), (compressed().len() as u64, tape().len() as u64));
    }

    #[test]
    fn a_compressed_tape_that_was_cut_is_torn() {
        let whole = compressed();
        for cut in 4..whole.len() {
            let read = read(&whole[..cut]);
            assert!(matches!(read.last(), Some(Err(ReadError::Torn { .. }))), "{cut}: {:?}", read.last());
        }
    }

    #[test]
    fn a_flip_of_every_bit_of_a_compressed_tape_is_reported() {
        let whole = compressed();
        let plain: Vec<Record> = read(&tape()).into_iter().filter_map(Result::ok).collect();
        for place in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[place] ^= 1 << (place % 8);
            let read = read(&flipped);
            let is_told = read.iter().any(Result::is_err);
            // Some bits of a zstd header mean nothing.
            assert!(is_told || read.len() == plain.len(), "byte {place}: {read:?}");
            let mut written = plain.iter();
            for record in read.iter().flatten() {
                assert!(written.any(|one| one == record), "{record:?} was not written");
            }
        }
    }
}
