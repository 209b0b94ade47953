//! Who may use the endpoint, as it is written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use shadowcat_auth::Algorithm;

use super::Secret;

/// Who may use the endpoint: clients that prove who they are by a bearer token.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// The URL of the endpoint as clients write it, such as `https://mcp.example.com/mcp`; that of the address that is
    /// listened on unless it is written.
    pub resource: Option<String>,
    /// Scopes that each token of an issuer needs.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Tokens that are written down.
    #[serde(default)]
    pub tokens: Vec<Token>,
    /// Who gives out tokens (JWTs) that are accepted.
    #[serde(default)]
    pub issuers: Vec<Issuer>,
}

/// A token that is written down: either `token` or `sha256`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Whom it proves: the principal that rules, sessions and approvals know.
    pub name: String,
    /// The token, which `${VAR}` takes from a variable.
    pub token: Option<Secret>,
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: Option<String>,
    /// What rules are told of whoever has it.
    #[serde(default)]
    pub claims: BTreeMap<String, Value>,
}

/// Who gives out tokens that are accepted.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// Its identifier, a URL: exactly what its tokens have as `iss`.
    pub issuer: String,
    /// Whom its tokens may be for, of which one has to be in their `aud`; the URL of the endpoint unless it is written.
    #[serde(default)]
    pub audience: Vec<String>,
    /// Its keys, a JWK set: the URL or the file; where the issuer's own metadata says unless it is written.
    pub jwks: Option<String>,
    /// What its tokens may be signed with; any of these unless it is written.
    pub algorithms: Option<Vec<Algorithm>>,
    /// Certificates (PEM) trusted for its servers besides the system's.
    pub ca_file: Option<PathBuf>,
}
