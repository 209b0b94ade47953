//! The whole check of one request: its token is one that is written down, or one of an issuer that is trusted.

use async_trait::async_trait;
use http::HeaderMap;
use shadowcat_pipeline::Principal;

use crate::denial::{Denial, Flaw};
use crate::issuer::{Issuer, Unproven};
use crate::tokens::Tokens;
use crate::{Authenticator, header};

/// Everybody who is let in.
pub struct Bearer {
    /// Tokens that are written down.
    pub tokens: Tokens,
    /// Who else says who somebody is.
    pub issuers: Vec<Issuer>,
    /// What each token of an issuer has to be good for.
    pub scopes: Vec<String>,
}

#[async_trait]
impl Authenticator for Bearer {
    async fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, Denial> {
        let token = header::bearer(headers)?;
        if let Some(principal) = self.tokens.find(token) {
            return Ok(principal);
        }
        if self.issuers.is_empty() {
            return Err(Flaw::Unknown.into());
        }
        let unproven = Unproven::read(token)?;
        let issuer = self.issuers.iter().find(|issuer| issuer.name() == unproven.issuer);
        issuer.ok_or(Flaw::Issuer)?.check(token, &unproven, &self.scopes).await
    }
}

#[cfg(test)]
#[path = "bearer_tests.rs"]
mod tests;
