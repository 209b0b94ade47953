//! A file that is encrypted as it is written: each write of the spool is whole blocks of their own.

use std::fs::File;
use std::io::{self, Write as _};

use super::Sealing;
use crate::keys::Key;
use crate::spool::{Disk, write_all};

#[derive(Debug)]
pub(crate) struct SealedDisk<D = File> {
    disk: D,
    sealing: Sealing,
    /// What the last write became.
    sealed: Vec<u8>,
    /// How long the file is, and how many blocks it has, as far as it is whole.
    whole: (u64, u64),
}

/// Of a large write, the memory is given back.
const SEALED_BYTES_KEPT: usize = 512 * 1024;

/// A file that is written as it is, or encrypted if there is a key.
pub(crate) fn disk(file: File, key: Option<&Key>) -> io::Result<Box<dyn Disk>> {
    Ok(match key {
        Some(key) => Box::new(SealedDisk::begin(file, key)?),
        None => Box::new(file),
    })
}

impl SealedDisk {
    /// Writes the first line.
    pub(crate) fn begin(mut file: File, key: &Key) -> io::Result<Self> {
        let (sealing, line) = Sealing::new(key).map_err(io::Error::other)?;
        file.write_all(&line)?;
        Ok(Self { disk: file, sealing, sealed: Vec::new(), whole: (line.len() as u64, 0) })
    }
}

impl<D: Disk> Disk for SealedDisk<D> {
    /// All or nothing: what a failed write has left is cut off by [`Disk::cut`], which the spool calls next.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sealed.clear();
        self.sealed.shrink_to(SEALED_BYTES_KEPT);
        self.sealing.seal(bytes, &mut self.sealed).map_err(io::Error::other)?;
        write_all(&mut self.disk, &self.sealed)?;
        self.whole = (self.whole.0 + self.sealed.len() as u64, self.sealing.blocks());
        Ok(bytes.len())
    }

    /// The length is one of the text inside, and always that before the write that failed.
    fn cut(&mut self, _: u64) -> io::Result<()> {
        self.disk.cut(self.whole.0)?;
        self.sealing.rewind(self.whole.1);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.sync()
    }
}

/// Encrypts a stream to a file, in blocks of a good size.
pub(crate) struct SealedWriter {
    file: SealedDisk,
    block: Vec<u8>,
}

impl SealedWriter {
    /// Writes the first line.
    pub(crate) fn begin(file: File, key: &Key) -> io::Result<Self> {
        Ok(Self { file: SealedDisk::begin(file, key)?, block: Vec::new() })
    }

    /// Writes what is left.
    pub(crate) fn finish(mut self) -> io::Result<File> {
        self.flush()?;
        Ok(self.file.disk)
    }
}

impl io::Write for SealedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.block.extend_from_slice(bytes);
        if self.block.len() >= SEALED_BYTES_KEPT {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.block.is_empty() {
            self.file.write(&self.block)?;
            self.block.clear();
        }
        Ok(())
    }
}
