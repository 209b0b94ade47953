//! The HTTP server both HTTP listeners stand on: connections, the gate before every route, bodies and replies.
//!
//! What a path means is for the endpoints; nothing here knows MCP.

mod accept;
mod api;
mod body;
mod gate;
mod protection;
mod reply;
mod stall;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use http::{Method, Request, Response};
use hyper::body::{Body as _, Incoming};
use shadowcat_pipeline::Principal;

use crate::whole::{Unread, whole};
pub use accept::{HttpServer, ServeError, ServerSettings};
pub use api::{Api, Reply};
pub(crate) use body::{Body, SessionEvents, StatelessEvents, subscription_end};
pub use gate::{BadOrigin, Gate};
pub use protection::Protection;
pub(crate) use reply::{json, message, plain, refusal, with_header};

/// A request past the gate, its body not yet read.
pub struct Incomer {
    /// The method.
    pub method: Method,
    /// The path, as it was sent.
    pub path: String,
    /// What stands behind the question mark.
    pub query: Option<String>,
    /// The headers.
    pub headers: HeaderMap,
    /// Who sent it, on a server that asks.
    pub principal: Option<Principal>,
    body: Incoming,
}

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// It is longer than it may be.
    TooLarge,
    /// It did not come in time.
    TooSlow,
    /// It did not come to its end.
    Cut,
}

impl Incomer {
    fn new(request: Request<Incoming>) -> Self {
        let (parts, body) = request.into_parts();
        Self {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            headers: parts.headers,
            principal: None,
            body,
        }
    }

    /// The single value of a header as text; `None` if it is absent, doubled or not ASCII.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next()?;
        if values.next().is_some() {
            return None;
        }
        first.to_str().ok().map(str::trim_ascii)
    }

    /// Whether the body says of itself that it is JSON.
    pub fn is_json(&self) -> bool {
        let kind = self.header(&CONTENT_TYPE).and_then(|value| value.split(';').next());
        kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    }

    /// Reads the body up to `max` bytes within `deadline`. What its length announces as too large is not read at all.
    pub async fn read_body(&mut self, max: usize, deadline: Duration) -> Result<Bytes, BodyError> {
        if self.body.size_hint().lower() > max as u64 {
            return Err(BodyError::TooLarge);
        }
        match tokio::time::timeout(deadline, whole(&mut self.body, max)).await {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(Unread::TooLarge)) => Err(BodyError::TooLarge),
            Ok(Err(Unread::Cut(_))) => Err(BodyError::Cut),
            Err(_) => Err(BodyError::TooSlow),
        }
    }
}

/// What answers the requests of some paths.
#[async_trait]
pub(crate) trait Endpoint: Send + Sync {
    /// Whether this path is its own.
    fn owns(&self, path: &str) -> bool;
    /// Whether one of its paths is for everybody, on a server whose clients have to say who they are.
    fn is_open(&self, _path: &str) -> bool {
        false
    }
    /// Answers one request.
    async fn answer(&self, request: &mut Incomer) -> Response<Body>;
}

/// Small pages of the gateway: health, readiness, metrics.
pub trait Pages: Send + Sync {
    /// The page at this path, if there is one, for somebody who has said who they are or not.
    fn page(&self, path: &str, is_known: bool) -> Option<Page>;
}

/// A page made on request.
pub struct Page {
    /// The HTTP status.
    pub status: u16,
    /// The media type.
    pub content_type: &'static str,
    /// The text.
    pub body: String,
}

/// The page that says what passes.
const METRICS: &str = "/metrics";

/// [`Pages`] as an endpoint.
pub(crate) struct PagesEndpoint(pub(crate) Arc<dyn Pages>);

#[async_trait]
impl Endpoint for PagesEndpoint {
    fn owns(&self, path: &str) -> bool {
        path == METRICS || self.is_open(path)
    }

    /// Whoever looks whether the proxy lives has no token.
    fn is_open(&self, path: &str) -> bool {
        matches!(path, "/health" | "/healthz" | "/livez" | "/ready" | "/readyz")
    }

    async fn answer(&self, request: &mut Incomer) -> Response<Body> {
        if request.method != Method::GET && request.method != Method::HEAD {
            return with_header(plain(405, "use GET"), "allow", "GET, HEAD");
        }
        match self.0.page(&request.path, request.principal.is_some()) {
            Some(page) => {
                let response = with_header(plain(page.status, page.body), "content-type", page.content_type);
                with_header(response, "cache-control", "no-store")
            }
            None => plain(404, "no such page"),
        }
    }
}
