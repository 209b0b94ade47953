//! Who is asking: the credential that came with a request, and whom it proves.
//!
//! This is the resource server's half of OAuth 2.1 (2026-07-28 authorization): tokens are checked here and issued
//! elsewhere. Beside them there are tokens that an operator writes down. A token is taken from the `Authorization`
//! header and from nowhere else. Nothing here opens a socket or a file: keys come by a [`Fetch`].
//!
//! | file | holds |
//! |---|---|
//! | `bearer.rs` | the whole check of one request |
//! | `header.rs` | the token in its header |
//! | `denial.rs` | why somebody is turned away, and what they are told |
//! | `tokens.rs` | tokens that are written down |
//! | `issuer.rs` | tokens of an issuer: signature, time, audience, scopes, name |
//! | `keys.rs`, `key_cache.rs` | an issuer's keys; keeping them fresh |
//! | `discovery.rs` | where an issuer says its keys are |
//! | `fetch.rs` | how documents are had |
//! | `loopback.rs` | what other machines cannot reach |
//! | `url.rs` | URLs that are trusted to say who somebody is |
//! | `resource.rs` | what is told of the protected endpoint |

mod bearer;
mod denial;
mod discovery;
mod fetch;
mod header;
mod issuer;
mod key_cache;
mod keys;
mod loopback;
mod resource;
#[cfg(test)]
mod testing;
mod tokens;
mod url;

use async_trait::async_trait;
use http::HeaderMap;
use shadowcat_pipeline::Principal;

pub use bearer::Bearer;
pub use denial::{Denial, Flaw};
pub use fetch::{FETCH_BYTES_MAX, FETCH_MAX, Fetch, FetchError, Place};
pub use header::{bearer, is_token};
pub use issuer::{Algorithm, Issuer, IssuerSettings};
pub use key_cache::{KeyCache, KeySource};
pub use loopback::{is_loopback, is_loopback_name};
pub use resource::{BadResource, Resource, WELL_KNOWN};
pub use tokens::{BadDigest, Digest, Tokens};
pub use url::{BadUrl, Url};

/// Tells who sent a request.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// Whom the headers of a request prove.
    ///
    /// # Errors
    /// A [`Denial`] if they prove nobody. It has no effect but that keys may be fetched.
    async fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, Denial>;
}
