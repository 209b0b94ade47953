//! Tokens of an issuer: JWTs (RFC 9068), checked by the issuer's keys, and the name and claims of whom they prove.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm as Jwa, Header, Validation};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use shadowcat_pipeline::Principal;

use crate::denial::{Denial, Flaw};
use crate::key_cache::{Found, KeyCache};

/// How far the clocks of an issuer and of this machine may differ. A token is accepted for so long behind its `exp`.
const LEEWAY: Duration = Duration::from_secs(30);

/// An algorithm that tokens may be signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// RSA, PKCS #1 v1.5, SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSA, PSS, SHA-256.
    #[serde(rename = "PS256")]
    Ps256,
    /// ECDSA on P-256.
    #[serde(rename = "ES256")]
    Es256,
    /// ECDSA on P-384.
    #[serde(rename = "ES384")]
    Es384,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Rs256, Self::Ps256, Self::Es256, Self::Es384, Self::EdDsa];

    fn jwa(self) -> Jwa {
        match self {
            Self::Rs256 => Jwa::RS256,
            Self::Ps256 => Jwa::PS256,
            Self::Es256 => Jwa::ES256,
            Self::Es384 => Jwa::ES384,
            Self::EdDsa => Jwa::EdDSA,
        }
    }
}

/// What is asked of an issuer's tokens.
#[derive(Clone, Debug)]
pub struct IssuerSettings {
    /// Whom a token may be for; one of these has to be among its `aud`.
    pub audience: Vec<String>,
    /// What it may be signed with.
    pub algorithms: Vec<Algorithm>,
}

/// An issuer whose tokens are accepted.
pub struct Issuer {
    keys: Arc<KeyCache>,
    /// What is asked of a token, for each algorithm that it may be signed with.
    validations: Vec<(Jwa, Validation)>,
}

/// What a token says of itself, which proves nothing.
pub(crate) struct Unproven {
    header: Header,
    pub(crate) issuer: String,
}

impl Unproven {
    /// # Errors
    /// [`Flaw::Unknown`] if it is no JWT, [`Flaw::Header`] if it is one that nobody here can check.
    pub(crate) fn read(token: &str) -> Result<Self, Flaw> {
        #[derive(Deserialize)]
        struct Iss {
            iss: String,
        }
        if token.split('.').count() != 3 {
            return Err(Flaw::Unknown);
        }
        // `none` is no algorithm that the library knows, and fails here.
        let header = jsonwebtoken::decode_header(token).map_err(|_| Flaw::Header)?;
        let claims = jsonwebtoken::dangerous::insecure_decode_claims::<Iss>(token);
        let issuer = claims.map_err(|_| Flaw::Issuer)?.iss;
        Ok(Self { header, issuer })
    }
}

impl Issuer {
    /// An issuer with these keys.
    pub fn new(keys: Arc<KeyCache>, settings: IssuerSettings) -> Self {
        let validation = |algorithm: Algorithm| {
            let mut validation = Validation::new(algorithm.jwa());
            validation.leeway = LEEWAY.as_secs();
            validation.validate_nbf = true;
            validation.set_issuer(&[keys.issuer().as_str()]);
            validation.set_audience(&settings.audience);
            validation.set_required_spec_claims(&["iss", "sub", "aud", "exp"]);
            (algorithm.jwa(), validation)
        };
        let validations = settings.algorithms.into_iter().map(validation).collect();
        Self { keys, validations }
    }

    pub(crate) fn name(&self) -> &str {
        self.keys.issuer().as_str()
    }

    /// Whom a token proves, if it has all of these scopes.
    pub(crate) async fn check(
        &self,
        token: &str,
        unproven: &Unproven,
        scopes: &[String],
    ) -> Result<Principal, Denial> {
        let header = &unproven.header;
        // RFC 7515, 4.1.11: an extension that is not understood must not be passed over, and none is.
        if header.crit.is_some() || !is_access_token(header) {
            return Err(Flaw::Header.into());
        }
        let accepted = self.validations.iter().find(|(algorithm, _)| *algorithm == header.alg);
        let (_, validation) = accepted.ok_or(Flaw::Header)?;
        let keys = match self.keys.find(header.kid.as_deref(), header.alg).await {
            Found::Keys(keys) => keys,
            Found::NoKey => return Err(Flaw::Key.into()),
            Found::Nothing => return Err(Denial::Unavailable(self.name().into())),
        };
        let mut outcome = Err(Flaw::Key);
        for key in keys.fitting(header.kid.as_deref(), header.alg) {
            outcome = jsonwebtoken::decode::<Map<String, Value>>(token, &key.decoding, validation)
                .map(|proven| proven.claims)
                .map_err(|error| flaw(error.kind()));
            if outcome.as_ref().err() != Some(&Flaw::Signature) {
                break;
            }
        }
        let claims = outcome?;
        let principal = self.principal(claims)?;
        let has_all = scopes.iter().all(|scope| has_scope(principal.claims(), scope));
        if has_all { Ok(principal) } else { Err(Denial::Scope(principal.name().into())) }
    }

    /// Whom these claims are of: the issuer, who it says they are, and the program that they use. A name that is the same
    /// for two of them would let one into the other's sessions, so what separates the parts is not in the last one.
    fn principal(&self, claims: Map<String, Value>) -> Result<Principal, Flaw> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        // The library takes a list of issuers as well.
        if text("iss") != Some(self.name()) {
            return Err(Flaw::Issuer);
        }
        let subject = text("sub").ok_or(Flaw::Claims)?;
        let client = text("client_id").or_else(|| text("azp")).unwrap_or_default();
        let client = client.replace('%', "%25").replace('|', "%7C");
        let name = format!("{}|{subject}|{client}", self.name());
        let expires = claims.get("exp").and_then(Value::as_f64).and_then(end).ok_or(Flaw::Claims)?;
        // The library counts in whole seconds; streams end to the moment, and must not be opened again behind it.
        if expires <= SystemTime::now() {
            return Err(Flaw::Expired);
        }
        Ok(Principal::new(&name, claims, Some(expires)))
    }
}

/// When a token with this `exp` is accepted no more.
fn end(exp: f64) -> Option<SystemTime> {
    let since = Duration::try_from_secs_f64(exp).ok()?;
    UNIX_EPOCH.checked_add(since)?.checked_add(LEEWAY)
}

/// Many issuers give access tokens no type of their own; a token of another type is for another purpose.
fn is_access_token(header: &Header) -> bool {
    let Some(kind) = header.typ.as_deref().map(str::to_ascii_lowercase) else { return true };
    let kind = kind.strip_prefix("application/").unwrap_or(&kind);
    matches!(kind, "at+jwt" | "jwt")
}

/// Scopes are in `scope` (RFC 9068), or in `scp`, where some issuers have them; as words of a text, or as a list.
fn has_scope(claims: &Value, scope: &str) -> bool {
    ["scope", "scp"].iter().any(|name| match claims.get(name) {
        Some(Value::String(words)) => words.split(' ').any(|word| word == scope),
        Some(Value::Array(words)) => words.iter().any(|word| word == scope),
        _ => false,
    })
}

fn flaw(kind: &ErrorKind) -> Flaw {
    match kind {
        ErrorKind::ExpiredSignature => Flaw::Expired,
        ErrorKind::ImmatureSignature => Flaw::Early,
        ErrorKind::InvalidAudience => Flaw::Audience,
        ErrorKind::InvalidIssuer => Flaw::Issuer,
        ErrorKind::InvalidSignature
        | ErrorKind::InvalidAlgorithm
        | ErrorKind::InvalidKeyFormat
        | ErrorKind::Base64(_) => Flaw::Signature,
        _ => Flaw::Claims,
    }
}
