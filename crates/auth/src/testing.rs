//! For tests: documents by name, and keys with which tokens are signed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::fetch::{Fetch, FetchError, Place};

/// Documents that can change.
pub(crate) struct Documents {
    texts: Mutex<HashMap<String, String>>,
    asked: AtomicUsize,
    takes: Mutex<Duration>,
}

impl Documents {
    pub(crate) fn new(name: &str, text: &str) -> Arc<Self> {
        let texts = HashMap::from([(name.to_owned(), text.to_owned())]);
        Arc::new(Self { texts: Mutex::new(texts), asked: AtomicUsize::new(0), takes: Mutex::default() })
    }

    pub(crate) fn put(&self, name: &str, text: &str) {
        self.texts.lock().unwrap().insert(name.to_owned(), text.to_owned());
    }

    /// From now on each comes after so long.
    pub(crate) fn takes(&self, time: Duration) {
        *self.takes.lock().unwrap() = time;
    }

    /// How many were asked for.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Fetch for Documents {
    async fn fetch(&self, place: &Place) -> Result<Bytes, FetchError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let name = match place {
            Place::Url(url) => url.to_string(),
            Place::File(path) => path.display().to_string(),
        };
        let takes = *self.takes.lock().unwrap();
        tokio::time::sleep(takes).await;
        let text = self.texts.lock().unwrap().get(&name).cloned();
        text.map(Bytes::from).ok_or(FetchError::Status(404))
    }
}

/// A set of keys with these ids, good for nothing else.
pub(crate) fn set(ids: &[&str]) -> String {
    let key = |id: &&str| json!({"kty":"RSA","kid":id,"n":"AQAB","e":"AQAB"});
    json!({ "keys": ids.iter().map(key).collect::<Vec<_>>() }).to_string()
}

/// What signs tokens.
pub(crate) enum Signer {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair, &'static str),
    Ed(Ed25519KeyPair),
}

/// One pair for all tests: it takes long to make.
pub(crate) static RSA: LazyLock<Signer> =
    LazyLock::new(|| Signer::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()));

impl Signer {
    pub(crate) fn p256() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(), "P-256")
    }

    pub(crate) fn p384() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(), "P-384")
    }

    pub(crate) fn ed25519() -> Self {
        Self::Ed(Ed25519KeyPair::generate().unwrap())
    }

    /// The public half, as it stands in a set.
    pub(crate) fn jwk(&self, id: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({"kty":"RSA","kid":id,"use":"sig","n":text(&public.n),"e":text(&public.e)})
            }
            Self::Ec(pair, curve) => {
                let (x, y) =
                    pair.public_key().as_ref()[1..].split_at(if *curve == "P-256" { 32 } else { 48 });
                json!({"kty":"EC","crv":curve,"kid":id,"x":text(x),"y":text(y)})
            }
            Self::Ed(pair) => {
                json!({"kty":"OKP","crv":"Ed25519","kid":id,"x":text(pair.public_key().as_ref())})
            }
        }
    }

    /// A token with this header and these claims.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", text(header), text(claims));
        let random = aws_lc_rs::rand::SystemRandom::new();
        let signature = match self {
            Self::Rsa(pair) => {
                let mut out = vec![0; pair.public_modulus_len()];
                let padding: &dyn signature::RsaEncoding = if header["alg"] == "PS256" {
                    &signature::RSA_PSS_SHA256
                } else {
                    &signature::RSA_PKCS1_SHA256
                };
                pair.sign(padding, &random, message.as_bytes(), &mut out).unwrap();
                out
            }
            Self::Ec(pair, _) => pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
