//! Who is let in, on a server whose clients have to say who they are; and where those who cannot yet learn how.

use std::sync::Arc;

use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Method, Response, StatusCode};
use shadowcat_auth::{Authenticator, Denial, Resource, WELL_KNOWN};

use super::{Body, Incomer, json, plain, with_header};

/// The protection of a server's endpoints.
pub struct Protection {
    authenticator: Arc<dyn Authenticator>,
    /// Paths of this server and the endpoint that each belongs to, as its clients know it. The first is the main one.
    routes: Vec<(String, Resource)>,
}

impl Protection {
    /// Whoever `authenticator` knows is let in; the others are told of the endpoint whose path they asked for, or of the
    /// first.
    pub fn new(authenticator: Arc<dyn Authenticator>, routes: Vec<(String, Resource)>) -> Self {
        Self { authenticator, routes }
    }

    /// The metadata of an endpoint, for which nobody has to say who they are (RFC 9728, 3). It is found by the path that
    /// clients make of the endpoint's URL, and by the one that a proxy in front of this server may make of that.
    pub(super) fn metadata(&self, request: &Incomer) -> Option<Response<Body>> {
        let rest = request.path.strip_prefix(WELL_KNOWN)?;
        let is_meant =
            |(path, resource): &&(String, Resource)| path == rest || resource.metadata_path() == request.path;
        let found = self.routes.iter().find(is_meant).map(|(_, resource)| resource);
        let resource = if rest.is_empty() { found.or_else(|| self.main()) } else { found }?;
        if request.method != Method::GET && request.method != Method::HEAD {
            return Some(with_header(plain(405, "use GET\n"), "allow", "GET, HEAD"));
        }
        Some(json(200, resource.document().clone()))
    }

    /// Lets a request in, or gives the answer to whoever sent it.
    pub(super) async fn admit(&self, request: &mut Incomer) -> Result<(), Response<Body>> {
        match self.authenticator.authenticate(&request.headers).await {
            Ok(principal) => {
                request.principal = Some(principal);
                // It was for us, and nobody behind has any use for it.
                request.headers.remove(AUTHORIZATION);
                Ok(())
            }
            Err(denial) => Err(self.turned_away(&request.path, &denial)),
        }
    }

    fn turned_away(&self, path: &str, denial: &Denial) -> Response<Body> {
        let mut response = json(denial.status(), denial.told());
        let route = self.routes.iter().find(|(known, _)| known == path).map(|(_, resource)| resource);
        if let Some(challenge) = route.or_else(|| self.main()).and_then(|resource| resource.challenge(denial))
        {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        match denial.retry_after() {
            Some(after) => with_header(response, RETRY_AFTER.as_str(), &after.as_secs().to_string()),
            None => response,
        }
    }

    fn main(&self) -> Option<&Resource> {
        self.routes.first().map(|(_, resource)| resource)
    }
}

/// What an endpoint answered to somebody who is in: a challenge in it is that of a server behind us, which wants a token
/// that its own clients have, and would send ours to the wrong issuer.
pub(super) fn without_foreign_challenge(mut response: Response<Body>) -> Response<Body> {
    if response.headers_mut().remove(WWW_AUTHENTICATE).is_some()
        || response.status() == StatusCode::UNAUTHORIZED
    {
        *response.status_mut() = StatusCode::BAD_GATEWAY;
    }
    response
}
