//! Proves to an endpoint that a question comes from here and was not changed: HMAC-SHA256, in the form of Standard Webhooks
//! (<https://www.standardwebhooks.com>), for which there are libraries in most languages.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Less can be guessed.
const BYTES_MIN: usize = 16;
/// In front of a secret that is written in base64.
const PREFIX: &str = "whsec_";

/// What both sides know, and nobody else. It is never shown.
#[derive(Clone)]
pub struct Secret(Hmac<Sha256>);

/// Why a text is no secret. The text is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// Too short to be one.
    #[error("the secret is shorter than {BYTES_MIN} bytes; `openssl rand -base64 32` makes one")]
    Short,
    /// Not as it is said to be written.
    #[error("what follows `{PREFIX}` is not base64")]
    NotBase64,
}

impl Secret {
    /// Reads a secret: base64 behind `whsec_`, else the bytes of the text itself.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, BadSecret> {
        let text = text.trim();
        let bytes = match text.strip_prefix(PREFIX) {
            Some(encoded) => STANDARD.decode(encoded).map_err(|_| BadSecret::NotBase64)?,
            None => text.as_bytes().to_vec(),
        };
        if bytes.len() < BYTES_MIN {
            return Err(BadSecret::Short);
        }
        Hmac::new_from_slice(&bytes).map(Self).map_err(|_| BadSecret::Short)
    }

    /// The value of the header that proves this question.
    pub(in crate::external) fn sign(&self, id: &str, sent_at: u64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{sent_at}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_published_example() {
        // The example of the reference libraries of Standard Webhooks.
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn what_is_no_secret_is_told_and_not_repeated() {
        assert_eq!(Secret::parse("short").unwrap_err(), BadSecret::Short);
        assert_eq!(Secret::parse("whsec_?").unwrap_err(), BadSecret::NotBase64);
        let secret = Secret::parse("plain text of some length\n").unwrap();
        assert_eq!(format!("{secret:?}"), "***");
    }
}
