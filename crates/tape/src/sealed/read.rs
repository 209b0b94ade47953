//! Blocks to bytes.

use std::io::{self, BufRead, Read};

use aws_lc_rs::aead::NONCE_LEN;

use super::{BLOCK_BYTES_MAX, CIPHER, FORMAT, FileKey, FirstLine, HEAD_BYTES, TAG_BYTES, checksum};
use crate::keys::{Key, Keys};
use crate::open::OpenError;

/// The longest first line that is looked at.
const FIRST_LINE_BYTES_MAX: u64 = 4096;

/// The first line, its salt, and the key that it names.
fn begin<'k>(source: &mut impl BufRead, keys: &'k Keys) -> Result<(Vec<u8>, String, &'k Key), OpenError> {
    let mut line = Vec::new();
    source.take(FIRST_LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\n") {
        return Err(OpenError::FirstLine);
    }
    let first: FirstLine = serde_json::from_slice(&line).map_err(|_| OpenError::FirstLine)?;
    if first.format > FORMAT || first.cipher != CIPHER {
        return Err(OpenError::UnknownCipher { cipher: first.cipher });
    }
    let key = keys.find(&first.key).ok_or(OpenError::Locked { key: first.key })?;
    Ok((line, first.salt, key))
}

/// Decrypts block by block. The end within a block is `UnexpectedEof`, a block that was changed is `InvalidData`.
pub(crate) struct Unsealing<R> {
    source: R,
    key: FileKey,
    /// How many blocks were read.
    blocks: u64,
    block: Vec<u8>,
    at: usize,
}

impl<R: BufRead> Unsealing<R> {
    /// Reads the first line and finds the key, which it gives too.
    pub(crate) fn new(mut source: R, keys: &Keys) -> Result<(Self, &Key), OpenError> {
        let (line, salt, named) = begin(&mut source, keys)?;
        let key = FileKey::derive(named, salt.as_bytes(), line).ok_or(OpenError::FirstLine)?;
        Ok((Self { source, key, blocks: 0, block: Vec::new(), at: 0 }, named))
    }

    /// The next block into `block`; false at the end of the file.
    fn next_block(&mut self) -> io::Result<bool> {
        self.block.clear();
        self.at = 0;
        if self.source.fill_buf()?.is_empty() {
            return Ok(false);
        }
        let mut head = [0; HEAD_BYTES];
        self.source.read_exact(&mut head)?;
        let (length, rest) = head.split_first_chunk::<4>().ok_or_else(|| self.changed())?;
        let (sum, nonce) = rest.split_first_chunk::<4>().ok_or_else(|| self.changed())?;
        let nonce: &[u8; NONCE_LEN] = nonce.try_into().map_err(|_| self.changed())?;
        let size = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if *sum != checksum(*length, self.blocks) || size > BLOCK_BYTES_MAX + TAG_BYTES {
            return Err(self.changed());
        }
        self.block.resize(size, 0);
        self.source.read_exact(&mut self.block)?;
        let bound = self.key.bound(self.blocks);
        let opened = self.key.key.open_in_place(nonce.into(), bound, &mut self.block).map(|text| text.len());
        let Ok(length) = opened else {
            self.block.clear();
            return Err(self.changed());
        };
        self.block.truncate(length);
        self.blocks += 1;
        Ok(true)
    }

    fn changed(&self) -> io::Error {
        let number = self.blocks + 1;
        let told = format!("block {number} of the encrypted tape is not what was written there");
        io::Error::new(io::ErrorKind::InvalidData, told)
    }
}

impl<R: BufRead> BufRead for Unsealing<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        // A block may be empty, and is not the end.
        while self.at >= self.block.len() && self.next_block()? {}
        Ok(self.block.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl<R: BufRead> Read for Unsealing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}
