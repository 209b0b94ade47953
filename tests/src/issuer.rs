//! An issuer of tokens: its metadata, its keys, which change when a test wants it, and what it signs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::tls::{Authority, Identity};
use crate::upstream::{Reply, Seen, Upstream};

/// It is one of several on its server.
const PATH: &str = "/realms/main";

/// An issuer of tokens.
pub struct Issuer {
    /// The server with its metadata and keys, and where programs get tokens.
    pub upstream: Upstream,
    signer: Arc<Mutex<Signer>>,
}

/// What it signs with.
struct Signer {
    key: Ed25519KeyPair,
    kid: String,
}

impl Issuer {
    /// One on the loopback, in clear.
    pub async fn start() -> Self {
        let signer = Arc::new(Mutex::new(Signer::new("first")));
        let own = Arc::clone(&signer);
        let upstream = Upstream::start(move |seen| {
            let reply = answer(&seen, "http", &own);
            async move { reply }
        });
        Self { upstream: upstream.await, signer }
    }

    /// One behind TLS.
    pub async fn start_secure(authority: &Authority) -> Self {
        let signer = Arc::new(Mutex::new(Signer::new("first")));
        let own = Arc::clone(&signer);
        let identity = Identity::localhost(&["http/1.1"]);
        let upstream = Upstream::start_secure(authority, &identity, move |seen| {
            let reply = answer(&seen, "https", &own);
            async move { reply }
        });
        Self { upstream: upstream.await, signer }
    }

    /// Its identifier.
    pub fn url(&self) -> String {
        self.upstream.url(PATH)
    }

    /// Signs with a new key from now on, and publishes that one alone.
    pub fn change_key(&mut self, kid: &str) {
        *lock(&self.signer) = Signer::new(kid);
    }

    /// The requests for its keys so far.
    pub fn asked_for_keys(&self) -> usize {
        self.upstream.seen().iter().filter(|seen| seen.path == "/keys").count()
    }

    /// A token with these claims; `iss` is its own, unless they say otherwise.
    pub fn token(&self, claims: &Value) -> String {
        lock(&self.signer).sign(&self.url(), claims)
    }
}

/// Seconds since 1970, as tokens count them.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock behind 1970").as_secs()
}

fn lock(signer: &Mutex<Signer>) -> MutexGuard<'_, Signer> {
    signer.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Signer {
    fn new(kid: &str) -> Self {
        Self { key: Ed25519KeyPair::generate().expect("a key"), kid: kid.to_owned() }
    }

    fn keys(&self) -> Value {
        let public = URL_SAFE_NO_PAD.encode(self.key.public_key().as_ref());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "use": "sig", "x": public}]})
    }

    fn sign(&self, issuer: &str, claims: &Value) -> String {
        let mut all = json!({ "iss": issuer });
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

fn answer(seen: &Seen, scheme: &str, signer: &Mutex<Signer>) -> Reply {
    let origin = format!("{scheme}://{}", seen.header("host").unwrap_or_default());
    let issuer = format!("{origin}{PATH}");
    let metadata = format!("/.well-known/openid-configuration{PATH}");
    let told = match seen.path.as_str() {
        "/keys" => lock(signer).keys(),
        "/token" => token(&seen.body, &issuer, signer),
        path if path == metadata => json!({
            "issuer": issuer,
            "jwks_uri": format!("{origin}/keys"),
            "authorization_endpoint": format!("{origin}/authorize"),
            "token_endpoint": format!("{origin}/token"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["EdDSA"],
            "code_challenge_methods_supported": ["S256"],
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        }),
        _ => return Reply::empty(404),
    };
    Reply::json(200, told.to_string())
}

/// A token for a program, for the resource and the scope that it asks for.
fn token(form: &str, issuer: &str, signer: &Mutex<Signer>) -> Value {
    let field = |name: &str| {
        let value = form.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
        Some(value.replace("%3A", ":").replace("%2F", "/").replace('+', " "))
    };
    let claims = json!({
        "sub": "service", "client_id": "program", "exp": now() + 600,
        "aud": field("resource"), "scope": field("scope"),
    });
    json!({"access_token": lock(signer).sign(issuer, &claims), "token_type": "Bearer", "expires_in": 600})
}
