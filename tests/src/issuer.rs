//! An issuer of tokens: its metadata, its keys, which change when a test wants it, and what it signs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::tls::{Authority, Identity};
use crate::upstream::{Reply, Seen, Upstream};

/// Its clients are told of this one beside their own.
const PATH: &str = "/realms/main";

/// An issuer of tokens.
pub struct Issuer {
    /// The server with its metadata and keys.
    pub upstream: Upstream,
    published: Arc<Mutex<String>>,
    key: Ed25519KeyPair,
    kid: String,
}

impl Issuer {
    /// One on the loopback, in clear.
    pub async fn start() -> Self {
        let published = Arc::<Mutex<String>>::default();
        let documents = Arc::clone(&published);
        let upstream = Upstream::start(move |seen| {
            let reply =
                answer(&seen, &format!("http://{}", seen.header("host").unwrap_or_default()), &documents);
            async move { reply }
        });
        Self::of(upstream.await, published)
    }

    /// One behind TLS.
    pub async fn start_secure(authority: &Authority) -> Self {
        let published = Arc::<Mutex<String>>::default();
        let documents = Arc::clone(&published);
        let identity = Identity::localhost(&["http/1.1"]);
        let upstream = Upstream::start_secure(authority, &identity, move |seen| {
            let reply =
                answer(&seen, &format!("https://{}", seen.header("host").unwrap_or_default()), &documents);
            async move { reply }
        });
        Self::of(upstream.await, published)
    }

    fn of(upstream: Upstream, published: Arc<Mutex<String>>) -> Self {
        let mut issuer = Self { upstream, published, key: pair(), kid: String::new() };
        issuer.change_key("first");
        issuer
    }

    /// Its identifier.
    pub fn url(&self) -> String {
        self.upstream.url(PATH)
    }

    /// Signs with a new key from now on, and publishes that one alone.
    pub fn change_key(&mut self, kid: &str) {
        self.key = pair();
        kid.clone_into(&mut self.kid);
        let public = URL_SAFE_NO_PAD.encode(self.key.public_key().as_ref());
        let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "use": "sig", "x": public});
        *self.published.lock().unwrap_or_else(PoisonError::into_inner) = json!({ "keys": [key] }).to_string();
    }

    /// The requests for its keys so far.
    pub fn asked_for_keys(&self) -> usize {
        self.upstream.seen().iter().filter(|seen| seen.path == "/keys").count()
    }

    /// A token with these claims; `iss` is its own, unless they say otherwise.
    pub fn token(&self, claims: &Value) -> String {
        let mut all = json!({ "iss": self.url() });
        if let (Some(all), Some(claims)) = (all.as_object_mut(), claims.as_object()) {
            all.extend(claims.clone());
        }
        let header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": self.kid});
        let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", text(&header), text(&all));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

/// Seconds since 1970, as tokens count them.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock behind 1970").as_secs()
}

fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::generate().expect("a key")
}

fn answer(seen: &Seen, origin: &str, keys: &Mutex<String>) -> Reply {
    let metadata = format!("/.well-known/openid-configuration{PATH}");
    match seen.path.as_str() {
        "/keys" => Reply::json(200, keys.lock().unwrap_or_else(PoisonError::into_inner).clone()),
        path if path == metadata => {
            let document = json!({"issuer": format!("{origin}{PATH}"), "jwks_uri": format!("{origin}/keys")});
            Reply::json(200, document.to_string())
        }
        _ => Reply::empty(404),
    }
}
