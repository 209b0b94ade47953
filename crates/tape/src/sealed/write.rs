//! Bytes to blocks.

use serde_json::json;

use super::{BLOCK_BYTES_MAX, CIPHER, FORMAT, FileKey, HEAD_BYTES, SALT_BYTES, TAG_BYTES, checksum};
use crate::keys::{Key, to_hex};

/// Encrypts what one file is given.
#[derive(Debug)]
pub(crate) struct Sealing {
    key: FileKey,
    /// How many blocks were made.
    blocks: u64,
}

/// The system gives no random numbers, or its cryptography fails.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system gives no random numbers to encrypt with")]
pub(crate) struct SealError;

impl Sealing {
    /// A file's encryption, and the first line of that file.
    pub(crate) fn new(key: &Key) -> Result<(Self, Vec<u8>), SealError> {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|_| SealError)?;
        let salt = to_hex(&salt);
        // Not by serde: the first member is what the file is known by.
        let [cipher, id, salted] = [json!(CIPHER), json!(key.id()), json!(salt)];
        let line = format!(
            "{{\"record\":\"sealed\",\"format\":{FORMAT},\"cipher\":{cipher},\"key\":{id},\"salt\":{salted}}}\n"
        )
        .into_bytes();
        let file_key = FileKey::derive(key, salt.as_bytes(), line.clone()).ok_or(SealError)?;
        Ok((Self { key: file_key, blocks: 0 }, line))
    }

    /// Appends the blocks of these bytes. What was made and never written is undone by [`Sealing::rewind`].
    pub(crate) fn seal(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        for piece in bytes.chunks(BLOCK_BYTES_MAX) {
            let mut text = Vec::with_capacity(piece.len() + TAG_BYTES);
            text.extend_from_slice(piece);
            let bound = self.key.bound(self.blocks);
            let nonce = self.key.key.seal_in_place_append_tag(bound, &mut text).map_err(|_| SealError)?;
            let length = u32::try_from(text.len()).map_err(|_| SealError)?.to_be_bytes();
            out.reserve(HEAD_BYTES + text.len());
            out.extend_from_slice(&length);
            out.extend_from_slice(&checksum(length, self.blocks));
            out.extend_from_slice(nonce.as_ref());
            out.append(&mut text);
            self.blocks += 1;
        }
        Ok(())
    }

    /// How many blocks were made, for [`Sealing::rewind`].
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Goes on behind so many blocks. Their nonces are random, so that another block may take the place of one.
    pub(crate) fn rewind(&mut self, blocks: u64) {
        self.blocks = blocks;
    }
}
