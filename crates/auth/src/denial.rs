//! Why somebody is turned away, and the little of it that they are told.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

/// When a client should try again whose token could not be checked.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(5);

/// Why a request was turned away. What it says is for the log; the client gets [`Denial::sentence`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// It came without a token.
    #[error("no bearer token came with the request")]
    Missing,
    /// There is no telling which token is meant.
    #[error("the Authorization header {0}")]
    Malformed(&'static str),
    /// The token proves nobody.
    #[error("the token is not accepted: {0}")]
    Invalid(Flaw),
    /// The token is good, and not for this.
    #[error("the token of {0} lacks a scope")]
    Scope(Box<str>),
    /// It cannot be told whether the token is good.
    #[error("the keys of {0} cannot be had")]
    Unavailable(Box<str>),
}

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It is none that is written down, and no JWT.
    #[error("it is none of the tokens that are known, and no JWT")]
    Unknown,
    /// It names an issuer that is not trusted, or none.
    #[error("its issuer is not trusted")]
    Issuer,
    /// Its header asks for what is not done here.
    #[error("its header names a type, an algorithm or an extension that is not accepted")]
    Header,
    /// No key of the issuer fits it.
    #[error("its issuer has no such key")]
    Key,
    /// It was not signed by the issuer.
    #[error("its signature is not its issuer's")]
    Signature,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its time has not come.
    #[error("it is not valid yet")]
    Early,
    /// It is for somebody else.
    #[error("it is for another audience")]
    Audience,
    /// Its claims lack something, or cannot be read.
    #[error("its claims lack `iss`, `sub`, `aud` or `exp`, or cannot be read")]
    Claims,
}

impl Denial {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::Missing | Self::Invalid(_) => 401,
            Self::Scope(_) => 403,
            Self::Unavailable(_) => 503,
        }
    }

    /// The error code of RFC 6750, 3.1; whoever sent no token made no error.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::Missing | Self::Unavailable(_) => None,
            Self::Malformed(_) => Some("invalid_request"),
            Self::Invalid(_) => Some("invalid_token"),
            Self::Scope(_) => Some("insufficient_scope"),
        }
    }

    /// What the client is told. That a token has expired is its client's own knowledge; what else is wrong with one is
    /// told to nobody who tries.
    pub fn sentence(&self) -> &'static str {
        match self {
            Self::Missing => "send a bearer token in the Authorization header",
            Self::Malformed(_) => "the Authorization header holds no bearer token that can be read",
            Self::Invalid(Flaw::Expired) => "the token has expired",
            Self::Invalid(_) => "the token is not accepted",
            Self::Scope(_) => "the token lacks a scope",
            Self::Unavailable(_) => "tokens cannot be checked at the moment",
        }
    }

    /// What the client is told, in the form of OAuth's errors.
    pub fn told(&self) -> Bytes {
        let code = self.code().unwrap_or(match self {
            Self::Unavailable(_) => "temporarily_unavailable",
            _ => "unauthorized",
        });
        json!({ "error": code, "error_description": self.sentence() }).to_string().into()
    }

    /// When the client should try again, where another token would not help.
    pub fn retry_after(&self) -> Option<Duration> {
        matches!(self, Self::Unavailable(_)).then_some(UNAVAILABLE_RETRY)
    }

    /// One word for what it is, for counters.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed(_) => "malformed",
            Self::Invalid(Flaw::Expired) => "expired",
            Self::Invalid(_) => "invalid",
            Self::Scope(_) => "scope",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

impl From<Flaw> for Denial {
    fn from(flaw: Flaw) -> Self {
        Self::Invalid(flaw)
    }
}
