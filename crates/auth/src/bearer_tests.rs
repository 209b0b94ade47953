use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};

use super::*;
use crate::issuer::{Algorithm, IssuerSettings};
use crate::key_cache::{KeyCache, KeySource};
use crate::testing::{Documents, RSA, Signer};
use crate::tokens::Digest;
use crate::{Place, Url};

const ISSUER: &str = "https://login.example";
const RESOURCE: &str = "https://mcp.example/mcp";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "auth0|7", "aud": RESOURCE, "exp": now() + 600, "client_id": "app",
        "scope": "openid mcp", "role": "admin",
    })
}

fn with(mut base: Value, name: &str, value: Value) -> Value {
    base[name] = value;
    base
}

fn without(mut base: Value, name: &str) -> Value {
    base.as_object_mut().unwrap().remove(name);
    base
}

fn header() -> Value {
    json!({"alg":"RS256","kid":"k1","typ":"at+jwt"})
}

async fn bearer(keys: &[Value], algorithms: &[Algorithm]) -> Bearer {
    let documents = Documents::new("keys", &json!({ "keys": keys }).to_string());
    let source = KeySource::At(Place::File("keys".into()));
    let keys = KeyCache::new(Url::parse(ISSUER).unwrap(), source, documents);
    keys.load().await;
    let settings = IssuerSettings { audience: vec![RESOURCE.into()], algorithms: algorithms.to_vec() };
    Bearer {
        tokens: Tokens::from_iter([(Digest::of("written-down"), Principal::named("ann"))]),
        issuers: vec![Issuer::new(Arc::clone(&keys), settings)],
        scopes: vec!["mcp".into()],
    }
}

async fn rsa() -> Bearer {
    bearer(&[RSA.jwk("k1")], &Algorithm::ALL).await
}

async fn ask(bearer: &Bearer, token: &str) -> Result<Principal, Denial> {
    let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    bearer.authenticate(&HeaderMap::from_iter([(AUTHORIZATION, value)])).await
}

#[tokio::test]
async fn a_token_of_a_trusted_issuer_proves_somebody() {
    let bearer = rsa().await;
    let principal = ask(&bearer, &RSA.sign(&header(), &claims())).await.unwrap();
    assert_eq!(principal.name(), "https://login.example|auth0|7|app");
    assert_eq!(principal.claims()["role"], "admin");
    let left = principal.expires().unwrap().duration_since(SystemTime::now()).unwrap();
    assert!(left > Duration::from_mins(9) && left <= Duration::from_mins(11), "{left:?}");
    assert_eq!(ask(&bearer, "written-down").await.unwrap(), Principal::named("ann"));
    assert_eq!(bearer.authenticate(&HeaderMap::new()).await, Err(Denial::Missing));
}

#[tokio::test]
async fn every_algorithm_that_is_offered_verifies() {
    let signers = [
        (&*RSA, "RS256"),
        (&*RSA, "PS256"),
        (&Signer::p256(), "ES256"),
        (&Signer::p384(), "ES384"),
        (&Signer::ed25519(), "EdDSA"),
    ];
    let keys: Vec<Value> = signers.iter().map(|(signer, name)| signer.jwk(name)).collect();
    let all = bearer(&keys, &Algorithm::ALL).await;
    let none = bearer(&keys, &[]).await;
    for (signer, name) in signers {
        let token = signer.sign(&json!({"alg":name,"kid":name}), &claims());
        assert!(ask(&all, &token).await.is_ok(), "{name}");
        assert_eq!(ask(&none, &token).await, Err(Flaw::Header.into()), "{name}");
        let unnamed = signer.sign(&json!({ "alg": name }), &claims());
        assert!(ask(&all, &unnamed).await.is_ok(), "{name} without the name of a key");
    }
}

#[tokio::test]
async fn two_names_are_never_the_same_for_two() {
    let bearer = rsa().await;
    let mut names = Vec::new();
    for (subject, client) in [("a|b", "c"), ("a", "b|c"), ("a", "b%7Cc"), ("a|b|c", ""), ("a|b", "c|")] {
        let claims = with(with(claims(), "sub", subject.into()), "client_id", client.into());
        names.push(ask(&bearer, &RSA.sign(&header(), &claims)).await.unwrap().name().to_owned());
    }
    let azp = with(without(claims(), "client_id"), "azp", "other".into());
    names.push(ask(&bearer, &RSA.sign(&header(), &azp)).await.unwrap().name().to_owned());
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "{names:?}");
}

#[tokio::test]
async fn claims_that_do_not_fit_prove_nobody() {
    let bearer = rsa().await;
    let cases = [
        (with(claims(), "exp", json!(now() - 3_600)), Flaw::Expired),
        (with(claims(), "nbf", json!(now() + 3_600)), Flaw::Early),
        (with(claims(), "exp", json!("tomorrow")), Flaw::Claims),
        (without(claims(), "exp"), Flaw::Claims),
        (with(claims(), "aud", "https://other.example/mcp".into()), Flaw::Audience),
        (with(claims(), "aud", "https://mcp.example/mcp/".into()), Flaw::Audience),
        (with(claims(), "aud", json!([])), Flaw::Audience),
        (without(claims(), "aud"), Flaw::Claims),
        (without(claims(), "sub"), Flaw::Claims),
        (with(claims(), "sub", "".into()), Flaw::Claims),
        (with(claims(), "sub", json!(7)), Flaw::Claims),
        (without(claims(), "iss"), Flaw::Issuer),
        (with(claims(), "iss", json!([ISSUER])), Flaw::Issuer),
        (with(claims(), "iss", "https://login.example/".into()), Flaw::Issuer),
    ];
    for (claims, flaw) in cases {
        let token = RSA.sign(&header(), &claims);
        assert_eq!(ask(&bearer, &token).await, Err(flaw.into()), "{claims}");
    }
    let several = with(claims(), "aud", json!(["https://other.example", RESOURCE]));
    assert!(ask(&bearer, &RSA.sign(&header(), &several)).await.is_ok());
}

#[tokio::test]
async fn headers_that_ask_for_more_prove_nobody() {
    let bearer = rsa().await;
    for (name, value) in [
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("RS512")),
        ("alg", json!("ES256")),
        ("crit", json!(["b64"])),
        ("crit", json!([])),
        ("typ", json!("dpop+jwt")),
        ("typ", json!("logout+jwt")),
        ("kid", json!("k2")),
    ] {
        let token = RSA.sign(&with(header(), name, value.clone()), &claims());
        assert!(matches!(ask(&bearer, &token).await, Err(Denial::Invalid(_))), "{name}: {value}");
    }
    for (name, value) in [
        ("typ", json!("JWT")),
        ("typ", json!("application/at+JWT")),
        // Where a token says that its own key is, nobody looks.
        ("jku", json!("https://evil.example/keys")),
        ("jwk", Signer::p256().jwk("k1")),
    ] {
        let token = RSA.sign(&with(header(), name, value.clone()), &claims());
        assert!(ask(&bearer, &token).await.is_ok(), "{name}: {value}");
    }
}

#[tokio::test]
async fn a_public_key_is_no_shared_secret() {
    let shared = json!({"kty":"oct","kid":"k1","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"});
    let bearer = bearer(&[RSA.jwk("k1"), shared], &Algorithm::ALL).await;
    let secret = jsonwebtoken::EncodingKey::from_secret(b"secret-secret-secret-secret");
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    header.kid = Some("k1".into());
    let token = jsonwebtoken::encode(&header, &claims(), &secret).unwrap();
    assert_eq!(ask(&bearer, &token).await, Err(Flaw::Header.into()));
}

#[tokio::test]
async fn a_key_of_somebody_else_signs_nothing() {
    let bearer = bearer(&[Signer::p256().jwk("k1")], &Algorithm::ALL).await;
    let token = Signer::p256().sign(&json!({"alg":"ES256","kid":"k1"}), &claims());
    assert_eq!(ask(&bearer, &token).await, Err(Flaw::Signature.into()));
}

#[tokio::test]
async fn one_changed_bit_makes_a_token_worthless() {
    // The smallest signature, so that there are few bits.
    let signer = Signer::ed25519();
    let bearer = bearer(&[signer.jwk("k1")], &Algorithm::ALL).await;
    let token = signer.sign(&json!({"alg":"EdDSA","kid":"k1"}), &claims());
    assert!(ask(&bearer, &token).await.is_ok());
    for place in 0..token.len() {
        for bit in 0..7 {
            let mut changed = token.clone().into_bytes();
            changed[place] ^= 1 << bit;
            let Ok(value) = HeaderValue::from_bytes(&[b"Bearer ", &changed[..]].concat()) else { continue };
            let answer = bearer.authenticate(&HeaderMap::from_iter([(AUTHORIZATION, value)])).await;
            assert!(answer.is_err(), "bit {bit} of byte {place}");
        }
    }
}

#[tokio::test]
async fn a_scope_that_is_missing_is_told_apart() {
    let bearer = rsa().await;
    for scopes in [json!("mcp"), json!("a mcp b"), json!(["a", "mcp"])] {
        for name in ["scope", "scp"] {
            let token = RSA.sign(&header(), &with(without(claims(), "scope"), name, scopes.clone()));
            assert!(ask(&bearer, &token).await.is_ok(), "{name}: {scopes}");
        }
    }
    for scopes in [json!(""), json!("mcp2"), json!("MCP"), json!(["mcp x"]), json!({"mcp": true})] {
        let token = RSA.sign(&header(), &with(claims(), "scope", scopes.clone()));
        assert!(matches!(ask(&bearer, &token).await, Err(Denial::Scope(_))), "{scopes}");
    }
}

#[tokio::test]
async fn without_keys_it_cannot_be_told() {
    let documents = Documents::new("keys", "");
    let source = KeySource::At(Place::File("keys".into()));
    let keys = KeyCache::new(Url::parse(ISSUER).unwrap(), source, documents);
    keys.load().await;
    let settings = IssuerSettings { audience: vec![RESOURCE.into()], algorithms: Algorithm::ALL.to_vec() };
    let issuers = vec![Issuer::new(keys, settings)];
    let bearer = Bearer { tokens: Tokens::default(), issuers, scopes: Vec::new() };
    let denied = ask(&bearer, &RSA.sign(&header(), &claims())).await.unwrap_err();
    assert_eq!((denied.status(), denied.code()), (503, None));
}

mod made_up {
    use std::sync::LazyLock;

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use tokio::runtime::{Builder, Runtime};

    use super::*;

    static BENCH: LazyLock<(Runtime, Bearer)> = LazyLock::new(|| {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let keys = [RSA.jwk("k1"), Signer::p256().jwk("k2"), Signer::ed25519().jwk("k3")];
        let bearer = runtime.block_on(bearer(&keys, &Algorithm::ALL));
        (runtime, bearer)
    });

    fn is_let_in(token: &str) -> bool {
        let (runtime, bearer) = &*BENCH;
        runtime.block_on(ask(bearer, token)).is_ok()
    }

    fn algorithm() -> impl Strategy<Value = String> {
        let known =
            prop::sample::select(vec!["RS256", "PS256", "ES256", "EdDSA", "HS256", "none", "rs256", ""]);
        prop_oneof![known.prop_map(str::to_owned), ".{0,8}"]
    }

    proptest! {
        #[test]
        fn no_text_is_let_in(parts in prop::collection::vec("[A-Za-z0-9_.-]{0,40}", 1..5)) {
            let token = parts.join(".");
            prop_assert!(!is_let_in(&token));
        }

        #[test]
        fn no_signature_that_was_not_made_is_let_in(
            alg in algorithm(),
            kid in prop::sample::select(vec!["k1", "k2", "k3", "k4"]),
            more in prop::collection::btree_map("[a-z]{2,4}", ".{0,8}", 0..3),
            signature in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut header = json!({"alg": alg, "kid": kid});
            for (name, value) in more {
                header[name] = value.into();
            }
            let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            let parts = [header.to_string(), claims().to_string()].map(|part| text(part.as_bytes()));
            let token = [&parts[..], &[text(&signature)]].concat().join(".");
            prop_assert!(!is_let_in(&token));
        }
    }
}
