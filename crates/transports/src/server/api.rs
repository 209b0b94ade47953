//! An API of another crate on this server: the same connections and the same gate, and answers as values.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use http::Response;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use shadowcat_protocol::sse;

use super::body::{Events, event_stream};
use super::reply::typed;
use super::{Body, Endpoint, Incomer};

/// An API that has a server for itself.
#[async_trait]
pub trait Api: Send + Sync {
    /// Answers a request that is past the gate.
    async fn answer(&self, request: &mut Incomer) -> Reply;

    /// What somebody is told who is turned away at the gate.
    fn turned_away(&self, status: u16, sentence: &str) -> Reply;
}

/// An answer of an API.
pub struct Reply {
    status: u16,
    content: Content,
    headers: Vec<(HeaderName, HeaderValue)>,
}

enum Content {
    Whole { content_type: &'static str, text: Bytes },
    Events { events: BoxStream<'static, sse::Event>, keep_alive: Duration },
}

impl Reply {
    /// A text.
    pub fn whole(status: u16, content_type: &'static str, text: impl Into<Bytes>) -> Self {
        Self { status, content: Content::Whole { content_type, text: text.into() }, headers: Vec::new() }
    }

    /// Events as they come; a comment shows every `keep_alive` that a silent stream lives.
    pub fn events(events: BoxStream<'static, sse::Event>, keep_alive: Duration) -> Self {
        Self { status: 200, content: Content::Events { events, keep_alive }, headers: Vec::new() }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    fn into_response(self) -> Response<Body> {
        let mut response = match self.content {
            Content::Whole { content_type, text } => typed(self.status, content_type, text),
            Content::Events { events, keep_alive } => {
                event_stream(Body::Events(Box::new(Events::new(events, keep_alive))))
            }
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.extend(self.headers);
        response
    }
}

/// An [`Api`] as an endpoint, which owns every path.
pub(super) struct ApiEndpoint(pub(super) Arc<dyn Api>);

impl ApiEndpoint {
    pub(super) fn turned_away(api: &dyn Api, status: u16, sentence: &str) -> Response<Body> {
        api.turned_away(status, sentence).into_response()
    }
}

#[async_trait]
impl Endpoint for ApiEndpoint {
    fn owns(&self, _path: &str) -> bool {
        true
    }

    async fn answer(&self, request: &mut Incomer) -> Response<Body> {
        self.0.answer(request).await.into_response()
    }
}
