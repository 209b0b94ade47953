//! An encrypted tape: a line that says with which key, then blocks of AES-256-GCM. `docs/tape-format.md` has the layout.
//!
//! Each file has a key of its own, derived from the operator's, and each block is bound to the file's first line and to
//! its place among the blocks: none can be changed, moved or taken out unseen.

mod disk;
mod read;
#[cfg(test)]
mod tests;
mod write;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, RandomizedNonceKey};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::keys::Key;

pub(crate) use disk::{SealedWriter, disk};
pub(crate) use read::Unsealing;
pub(crate) use write::Sealing;

/// How an encrypted tape begins, and no other.
pub(crate) const MAGIC: &[u8] = br#"{"record":"sealed""#;
const FORMAT: u32 = 1;
const CIPHER: &str = "AES-256-GCM";
/// Separates this use of the operator's key from any other.
const PURPOSE: &[u8] = b"shadowcat sealed tape 1";
const SALT_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
/// What one block holds at most, before it is encrypted.
const BLOCK_BYTES_MAX: usize = 1024 * 1024;
/// Length and checksum of the length, then the nonce.
const HEAD_BYTES: usize = 4 + 4 + NONCE_LEN;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct FirstLine {
    record: String,
    format: u32,
    cipher: String,
    key: String,
    salt: String,
}

/// The key of one file.
#[derive(Debug)]
struct FileKey {
    key: RandomizedNonceKey,
    first_line: Vec<u8>,
}

impl FileKey {
    /// None if the library takes no such key, which it does.
    fn derive(key: &Key, salt: &[u8], first_line: Vec<u8>) -> Option<Self> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key.bytes()).ok()?;
        mac.update(PURPOSE);
        mac.update(salt);
        let derived = mac.finalize().into_bytes();
        Some(Self { key: RandomizedNonceKey::new(&AES_256_GCM, &derived).ok()?, first_line })
    }

    /// What a block is bound to: this file, and its number.
    fn bound(&self, block: u64) -> Aad<Vec<u8>> {
        let mut bound = self.first_line.clone();
        bound.extend_from_slice(&block.to_be_bytes());
        Aad::from(bound)
    }
}

/// Tells a changed length from a file that was cut.
fn checksum(length: [u8; 4], block: u64) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&block.to_be_bytes());
    hasher.update(&length);
    hasher.finalize().to_be_bytes()
}
