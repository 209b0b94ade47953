//! Tokens that an operator writes down, each with a name.

use sha2::{Digest as _, Sha256};
use shadowcat_pipeline::Principal;
use subtle::ConstantTimeEq as _;

/// The SHA-256 of a token: all that is kept of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Digest([u8; 32]);

/// A text that is no SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no SHA-256; write 64 hexadecimal digits, as `printf %s TOKEN | sha256sum` prints them")]
pub struct BadDigest;

impl Digest {
    /// The digest of this token.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Whether it is that of this token. How long that takes says nothing about the token.
    pub fn is_of(&self, token: &str) -> bool {
        self.0.ct_eq(&Self::of(token).0).into()
    }

    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`BadDigest`] for anything else.
    pub fn parse(hex: &str) -> Result<Self, BadDigest> {
        let digits = hex.as_bytes();
        if digits.len() != 64 {
            return Err(BadDigest);
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
            let digit =
                |digit: &u8| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let [high, low] = pair else { return Err(BadDigest) };
            *byte = digit(high).ok_or(BadDigest)? * 16 + digit(low).ok_or(BadDigest)?;
        }
        Ok(Self(digest))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Tokens that are written down, and whom each proves.
#[derive(Debug, Default)]
pub struct Tokens(Vec<(Digest, Principal)>);

impl FromIterator<(Digest, Principal)> for Tokens {
    fn from_iter<I: IntoIterator<Item = (Digest, Principal)>>(tokens: I) -> Self {
        Self(tokens.into_iter().collect())
    }
}

impl Tokens {
    /// Whom this token proves. All are looked at, each in a time that says nothing about it.
    pub(crate) fn find(&self, token: &str) -> Option<Principal> {
        if self.0.is_empty() {
            return None;
        }
        let sent = Digest::of(token);
        let mut found = None;
        for (digest, principal) in &self.0 {
            if digest.0.ct_eq(&sent.0).into() {
                found = Some(principal.clone());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_its_digest() {
        let hex = "2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90";
        assert_eq!(Digest::parse(hex), Ok(Digest::of("alice")));
        assert_eq!(Digest::parse(&hex.to_uppercase()), Ok(Digest::of("alice")));
        let tokens = Tokens::from_iter([
            (Digest::of("secret-a"), Principal::named("ann")),
            (Digest::of("secret-b"), Principal::named("bob")),
        ]);
        assert_eq!(tokens.find("secret-b"), Some(Principal::named("bob")));
        assert_eq!(tokens.find("secret-c"), None);
        assert_eq!(Tokens::default().find(""), None);
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        let almost = "g".repeat(64);
        for text in ["", "abc", &almost, &"é".repeat(32), &"0".repeat(63), &"0".repeat(65)] {
            assert_eq!(Digest::parse(text), Err(BadDigest), "{text}");
        }
    }
}
