//! What a client carries for us and must neither read nor change: AES-256-GCM under a key that only this process has.
//!
//! A sealed text is bound to what it was made for (its kind, its owner, the request it belongs to): opened for anything
//! else it is as wrong as a forged one. Keys change every hour, and the last one is still accepted. They are kept
//! nowhere: what a seal stands for (a parked call, a cursor of a session) ends with the process as well.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;

/// How long a key seals. It opens for as long again.
pub(crate) const KEY_LIFE: Duration = Duration::from_hours(1);
const KEY_BYTES: usize = 32;

/// Seals and opens. The first key is made when something is sealed: cryptography that most proxies never use would
/// otherwise be in the memory of each.
#[derive(Default)]
pub struct Seal(Mutex<Option<Keys>>);

struct Keys {
    since: Instant,
    current: RandomizedNonceKey,
    last: Option<RandomizedNonceKey>,
}

/// Why a text was not opened. Whoever made it up learns nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not sealed here, or not for this, or too long ago")]
pub struct Unsealed;

/// The system gave no randomness, or the key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no key could be made")]
pub struct NoKey;

impl Seal {
    /// A seal with a key of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// Seals `text`, bound to `purpose`.
    ///
    /// # Errors
    /// [`NoKey`] if the system gives no randomness.
    pub fn seal(&self, purpose: &[&str], text: &[u8]) -> Result<String, NoKey> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let current = key_of_now(&mut keys)?;
        let mut sealed = text.to_vec();
        let nonce = current.seal_in_place_append_tag(bound(purpose), &mut sealed).map_err(|_| NoKey)?;
        drop(keys);
        let mut whole = nonce.as_ref().to_vec();
        whole.append(&mut sealed);
        Ok(URL_SAFE_NO_PAD.encode(whole))
    }

    /// Opens what [`Seal::seal`] made for the same purpose.
    ///
    /// # Errors
    /// [`Unsealed`] for everything else.
    pub fn open(&self, purpose: &[&str], sealed: &str) -> Result<Vec<u8>, Unsealed> {
        let whole = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| Unsealed)?;
        let (nonce, text) = whole.split_first_chunk::<NONCE_LEN>().ok_or(Unsealed)?;
        let keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = keys.as_ref().ok_or(Unsealed)?;
        let age = keys.since.elapsed();
        let current = (age <= KEY_LIFE * 2).then_some(&keys.current);
        let last = keys.last.as_ref().filter(|_| age <= KEY_LIFE);
        for key in current.into_iter().chain(last) {
            let mut text = text.to_vec();
            if let Ok(opened) = key.open_in_place(nonce.into(), bound(purpose), &mut text) {
                return Ok(opened.to_vec());
            }
        }
        Err(Unsealed)
    }
}

/// The key that seals now.
fn key_of_now(keys: &mut Option<Keys>) -> Result<&RandomizedNonceKey, NoKey> {
    if keys.as_ref().is_none_or(|keys| keys.since.elapsed() > KEY_LIFE) {
        let current = fresh()?;
        let last = keys.take().map(|keys| keys.current);
        *keys = Some(Keys { since: Instant::now(), current, last });
    }
    keys.as_ref().map(|keys| &keys.current).ok_or(NoKey)
}

fn fresh() -> Result<RandomizedNonceKey, NoKey> {
    let mut key = [0; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| NoKey)?;
    RandomizedNonceKey::new(&AES_256_GCM, &key).map_err(|_| NoKey)
}

/// The parts of a purpose, each with its length, so that no two purposes read the same.
fn bound(purpose: &[&str]) -> Aad<Vec<u8>> {
    let mut bound = Vec::new();
    for part in purpose {
        bound.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bound.extend_from_slice(part.as_bytes());
    }
    Aad::from(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_for_the_same_purpose_only() {
        let seal = Seal::new();
        let sealed = seal.seal(&["state", "ann"], b"42").unwrap();
        assert_eq!(seal.open(&["state", "ann"], &sealed).unwrap(), b"42");
        for other in [&["state", "bob"][..], &["cursor", "ann"], &["state"], &["statea", "nn"]] {
            assert_eq!(seal.open(other, &sealed), Err(Unsealed), "{other:?}");
        }
    }

    #[test]
    fn a_changed_byte_anywhere_is_noticed() {
        let seal = Seal::new();
        let sealed = seal.seal(&["state"], b"payload").unwrap();
        for place in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(seal.open(&["state"], &changed), Err(Unsealed), "byte {place}");
        }
        for cut in 0..sealed.len() {
            assert_eq!(seal.open(&["state"], &sealed[..cut]), Err(Unsealed));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_opens_for_an_hour_behind_its_own_and_no_longer() {
        let hour_and_more = KEY_LIFE + Duration::from_mins(1);
        let seal = Seal::new();
        let first = seal.seal(&["state"], b"1").unwrap();
        tokio::time::advance(hour_and_more).await;
        assert_eq!(seal.open(&["state"], &first).unwrap(), b"1", "nobody has asked for another key");
        let second = seal.seal(&["state"], b"2").unwrap();
        assert_eq!(seal.open(&["state"], &first).unwrap(), b"1", "by the last key");
        tokio::time::advance(hour_and_more).await;
        assert_eq!(seal.open(&["state"], &first), Err(Unsealed), "the last key is over");
        assert_eq!(seal.open(&["state"], &second).unwrap(), b"2");
        let third = seal.seal(&["state"], b"3").unwrap();
        assert_eq!(seal.open(&["state"], &first), Err(Unsealed), "two keys later");
        assert_eq!(seal.open(&["state"], &second).unwrap(), b"2");
        tokio::time::advance(KEY_LIFE * 2 + Duration::from_mins(1)).await;
        assert_eq!(seal.open(&["state"], &third), Err(Unsealed), "a key that nobody followed");
    }

    #[test]
    fn another_process_has_another_key() {
        let sealed = Seal::new().seal(&["state"], b"x").unwrap();
        let other = Seal::new();
        assert_eq!(other.open(&["state"], &sealed), Err(Unsealed), "before it has a key");
        other.seal(&["state"], b"x").unwrap();
        assert_eq!(other.open(&["state"], &sealed), Err(Unsealed));
    }
}
