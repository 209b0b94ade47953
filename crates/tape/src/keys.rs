//! Keys of encrypted tapes: 32 bytes each, known by an id that tells nothing of them.

use std::fmt::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

pub(crate) const KEY_BYTES: usize = 32;
/// Eight bytes: enough to tell the keys of one operator apart.
const ID_BYTES: usize = 8;
/// So that the id is a hash of nothing else.
const ID_PURPOSE: &[u8] = b"shadowcat tape key";

/// The key of encrypted tapes. Its `Debug` shows the id only, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    bytes: [u8; KEY_BYTES],
    id: String,
}

/// A text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a key of 32 bytes as 64 hex digits or as base64; `openssl rand -hex 32` makes one")]
pub struct BadKey;

impl Key {
    /// Reads 64 hex digits, or base64; blanks around it are passed over.
    ///
    /// # Errors
    /// When it is neither, or not 32 bytes.
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        let text = text.trim();
        let bytes = hex(text).or_else(|| STANDARD.decode(text).ok()?.try_into().ok()).ok_or(BadKey)?;
        Ok(Self { bytes, id: id(&bytes) })
    }

    /// What the header of a tape calls it.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.id).finish()
    }
}

/// The keys somebody has, to read tapes with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys(Vec<Key>);

impl Keys {
    pub(crate) fn find(&self, id: &str) -> Option<&Key> {
        self.0.iter().find(|key| key.id == id)
    }
}

impl FromIterator<Key> for Keys {
    fn from_iter<T: IntoIterator<Item = Key>>(keys: T) -> Self {
        Self(keys.into_iter().collect())
    }
}

fn hex(text: &str) -> Option<[u8; KEY_BYTES]> {
    if text.len() != 2 * KEY_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; KEY_BYTES];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn id(bytes: &[u8; KEY_BYTES]) -> String {
    let digest = Sha256::new().chain_update(ID_PURPOSE).chain_update(bytes).finalize();
    to_hex(digest.get(..ID_BYTES).unwrap_or_default())
}

/// As lower-case digits.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        // Writing to memory cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_hex_and_from_base64() {
        let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";
        let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
        assert_eq!(Key::parse(hex).unwrap(), Key::parse(base64).unwrap());
        for wrong in ["", "00", &hex[1..], &format!("{hex}00"), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd"] {
            assert_eq!(Key::parse(wrong), Err(BadKey), "{wrong:?}");
        }
    }

    #[test]
    fn a_key_is_known_by_its_id_and_not_shown() {
        let key = Key::parse(&"ab".repeat(32)).unwrap();
        let keys: Keys = [key.clone()].into_iter().collect();
        assert_eq!(keys.find(key.id()), Some(&key));
        assert_eq!(keys.find("0000000000000000"), None);
        assert!(key.id().len() == 16 && !format!("{keys:?}").contains("abab"), "{keys:?}");
    }
}
