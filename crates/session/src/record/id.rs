//! The names a session goes by: its id, its namespace, and the id the upstream gave it.
//!
//! All three are unguessable or private to some degree, so none of them prints itself: see [`SessionId`].

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The longest session id that is looked at; ours have 32 characters.
pub const ID_BYTES_MAX: usize = 256;

/// 128 bits from the operating system.
const RANDOM_BYTES: usize = 16;

/// What a client shows to go on with its session.
///
/// Whoever knows it and passes for the same principal owns the session, so `Debug` and `Display` show only the
/// [tag](SessionId::tag).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// A new id that nobody can guess.
    ///
    /// # Errors
    /// When the operating system gives no random numbers; a weaker source would make sessions guessable.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut random = [0; RANDOM_BYTES];
        getrandom::fill(&mut random).map_err(NoRandomness)?;
        Ok(Self(hex(&random).into()))
    }

    /// An id as a client sends it: visible ASCII (2025-11-25 transports, session management), of bounded length.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=ID_BYTES_MAX).contains(&text.len());
        (fits && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Self(text.into()))
    }

    /// The id itself, for the wire and the store only.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands for the id in logs, tapes and tables: the first 8 hex characters of its SHA-256.
    pub fn tag(&self) -> String {
        tag(&self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId(#{})", self.tag())
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.tag())
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl TryFrom<String> for SessionId {
    type Error = NotASessionId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or(NotASessionId)
    }
}

/// The operating system gave no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random numbers for a session id")]
pub struct NoRandomness(#[source] getrandom::Error);

/// A text that cannot be a session id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session id is 1 to {ID_BYTES_MAX} visible ASCII characters")]
pub struct NotASessionId;

/// The session id an upstream gave us. It never reaches a client, a log or a tape.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UpstreamToken(String);

impl UpstreamToken {
    /// Keeps the upstream's id as it came.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// The token itself, for the upstream's eyes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UpstreamToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpstreamToken(#{})", tag(&self.0))
    }
}

/// A room of sessions that does not see the others, such as `forward/<name>` or `reverse/<route>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// The sessions of `shadowcat forward` to this upstream.
    pub fn forward(upstream: &str) -> Self {
        Self(format!("forward/{upstream}").into())
    }

    /// The sessions of this route of `shadowcat reverse`.
    pub fn reverse(route: &str) -> Self {
        Self(format!("reverse/{route}").into())
    }

    /// The name as stores keep it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Namespace {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl From<Namespace> for String {
    fn from(namespace: Namespace) -> Self {
        namespace.0.as_ref().to_owned()
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a store finds a record by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The room.
    pub namespace: Namespace,
    /// The session in it.
    pub id: SessionId,
}

impl Key {
    /// The session `id` of this namespace.
    pub fn new(namespace: Namespace, id: SessionId) -> Self {
        Self { namespace, id }
    }
}

fn tag(secret: &str) -> String {
    hex(Sha256::digest(secret.as_bytes()).get(..4).unwrap_or_default())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn generated_ids_are_128_bits_of_visible_ascii_and_differ() {
        let ids: HashSet<_> = (0..1_000).map(|_| SessionId::generate().unwrap()).collect();
        assert_eq!(ids.len(), 1_000);
        assert!(
            ids.iter()
                .all(|id| id.as_str().len() == 32 && SessionId::parse(id.as_str()).as_ref() == Some(id))
        );
    }

    #[test]
    fn only_visible_ascii_of_bounded_length_is_an_id() {
        for good in ["a", "!", "~", "user:1/2", &"x".repeat(ID_BYTES_MAX)] {
            assert!(SessionId::parse(good).is_some(), "{good}");
        }
        for bad in ["", " ", "a b", "a\n", "\u{7f}", "\u{e9}", "a\0", &"x".repeat(ID_BYTES_MAX + 1)] {
            assert!(SessionId::parse(bad).is_none(), "{bad:?}");
            assert!(serde_json::from_str::<SessionId>(&serde_json::to_string(bad).unwrap()).is_err());
        }
    }

    #[test]
    fn an_id_prints_as_the_start_of_its_hash() {
        let id = SessionId::parse("abc").unwrap();
        assert_eq!(format!("{id} {id:?}"), "ba7816bf SessionId(#ba7816bf)");
        assert_eq!(format!("{:?}", UpstreamToken::new("abc")), "UpstreamToken(#ba7816bf)");
    }
}
