//! The keys of an issuer, read from a JWK set: those that sign tokens, and nothing that is shared or secret.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm as Jwa, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// Keys of one set at most: a token that names none of them is tried with each.
const KEYS_MAX: usize = 64;

/// The keys of one issuer.
#[derive(Debug, Default)]
pub(crate) struct Keys(Vec<Key>);

/// A key that may have signed a token.
#[derive(Debug)]
pub(crate) struct Key {
    id: Option<String>,
    algorithms: Vec<Jwa>,
    pub(crate) decoding: DecodingKey,
}

/// Why a document is no set of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeysError {
    /// It is something else.
    #[error("it is no JWK set: an object with a list `keys`")]
    NotSet,
    /// There are more than anybody needs.
    #[error("it holds more than {KEYS_MAX} keys")]
    TooMany,
    /// There is none, or each is for something else.
    #[error("it holds no key that can be used here")]
    None,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl Keys {
    /// Reads a JWK set. A key that is of no use here is passed over: sets hold keys for other purposes as well.
    pub(crate) fn parse(document: &[u8]) -> Result<Self, KeysError> {
        let Set { keys } = serde_json::from_slice(document).map_err(|_| KeysError::NotSet)?;
        if keys.len() > KEYS_MAX {
            return Err(KeysError::TooMany);
        }
        let keys: Vec<Key> = keys.into_iter().filter_map(Key::of).collect();
        if keys.is_empty() { Err(KeysError::None) } else { Ok(Self(keys)) }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The keys that may have signed a token with this header.
    pub(crate) fn fitting<'k>(
        &'k self,
        id: Option<&'k str>,
        algorithm: Jwa,
    ) -> impl Iterator<Item = &'k Key> {
        self.0.iter().filter(move |key| {
            key.algorithms.contains(&algorithm) && id.is_none_or(|id| key.id.as_deref() == Some(id))
        })
    }
}

impl Key {
    fn of(written: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(written).ok()?;
        let common = &jwk.common;
        let signs = common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        let verifies = common
            .key_operations
            .as_ref()
            .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        if !signs || !verifies {
            return None;
        }
        let mut algorithms = algorithms(&jwk.algorithm);
        if let Some(only) = common.key_algorithm {
            algorithms.retain(|algorithm| KeyAlgorithm::from(*algorithm) == only);
        }
        if algorithms.is_empty() {
            return None;
        }
        let decoding = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { id: jwk.common.key_id, algorithms, decoding })
    }
}

/// What a key of this kind may be used for. One that is shared with its issuer proves nothing: whoever checks with it
/// could have signed.
fn algorithms(parameters: &AlgorithmParameters) -> Vec<Jwa> {
    match parameters {
        AlgorithmParameters::RSA(_) => vec![Jwa::RS256, Jwa::PS256],
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => vec![Jwa::ES256],
            EllipticCurve::P384 => vec![Jwa::ES384],
            _ => Vec::new(),
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => vec![Jwa::EdDSA],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fitting(key: &Value, id: Option<&str>, algorithm: Jwa) -> usize {
        let set = json!({ "keys": [key] }).to_string();
        Keys::parse(set.as_bytes()).unwrap().fitting(id, algorithm).count()
    }

    #[test]
    fn a_key_is_used_for_what_it_is_made_for() {
        let rsa = json!({"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"});
        assert_eq!(fitting(&rsa, Some("a"), Jwa::RS256), 1);
        assert_eq!(fitting(&rsa, None, Jwa::PS256), 1);
        assert_eq!(fitting(&rsa, Some("b"), Jwa::RS256), 0);
        assert_eq!(fitting(&rsa, Some("a"), Jwa::RS512), 0);
        assert_eq!(fitting(&rsa, Some("a"), Jwa::HS256), 0);
        let ec = json!({"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"});
        assert_eq!(fitting(&ec, None, Jwa::ES256), 1);
        assert_eq!(fitting(&ec, Some("a"), Jwa::ES256), 0, "a token that names a key means that key");
        assert_eq!(fitting(&ec, None, Jwa::ES384), 0);
        let only = json!({"kty":"RSA","alg":"PS256","n":"AQAB","e":"AQAB"});
        assert_eq!((fitting(&only, None, Jwa::PS256), fitting(&only, None, Jwa::RS256)), (1, 0));
    }

    #[test]
    fn what_must_not_verify_is_passed_over() {
        for key in [
            json!({"kty":"oct","alg":"HS256","k":"c2VjcmV0"}),
            json!({"kty":"oct","k":"c2VjcmV0"}),
            json!({"kty":"RSA","use":"enc","n":"AQAB","e":"AQAB"}),
            json!({"kty":"RSA","key_ops":["encrypt"],"n":"AQAB","e":"AQAB"}),
            json!({"kty":"RSA","alg":"RSA-OAEP","n":"AQAB","e":"AQAB"}),
            json!({"kty":"RSA","alg":"none","n":"AQAB","e":"AQAB"}),
            json!({"kty":"RSA","n":"not base64!","e":"AQAB"}),
            json!({"kty":"EC","crv":"P-521","x":"AQ","y":"AQ"}),
            json!({"kty":"OKP","crv":"X25519","x":"AQ"}),
            json!({"kty":"new"}),
            json!("text"),
        ] {
            let set = json!({ "keys": [key] }).to_string();
            assert_eq!(Keys::parse(set.as_bytes()).err(), Some(KeysError::None), "{key}");
        }
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for document in ["", "[]", "{}", r#"{"keys":{}}"#, "<html>"] {
            assert_eq!(Keys::parse(document.as_bytes()).err(), Some(KeysError::NotSet), "{document}");
        }
        let many = json!({ "keys": vec![json!({}); KEYS_MAX + 1] }).to_string();
        assert_eq!(Keys::parse(many.as_bytes()).err(), Some(KeysError::TooMany));
    }
}
