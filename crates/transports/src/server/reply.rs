//! HTTP responses as the endpoints give them.

use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use shadowcat_pipeline::{Refusal, RefusalKind};
use shadowcat_protocol::Id;

use super::Body;

/// A short text.
pub(crate) fn plain(status: u16, text: impl Into<Bytes>) -> Response<Body> {
    typed(status, "text/plain; charset=utf-8", text.into())
}

/// The headers of a JSON text, made once: each one put in costs as much as a copy of all.
static JSON: LazyLock<HeaderMap> = LazyLock::new(|| {
    HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ])
});

/// A JSON text.
pub(crate) fn json(status: u16, text: Bytes) -> Response<Body> {
    with_headers(status, JSON.clone(), text)
}

pub(super) fn typed(status: u16, content_type: &'static str, text: Bytes) -> Response<Body> {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
    with_headers(status, headers, text)
}

fn with_headers(status: u16, headers: HeaderMap, text: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = headers;
    response
}

/// The answer to a message that earns none: accepted, without a body.
pub(crate) fn message() -> Response<Body> {
    let mut response = Response::new(Body::full(Bytes::new()));
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// A refusal: the upstream's own HTTP error as it came, or the status and JSON-RPC error of the reason.
pub(crate) fn refusal(refusal: &Refusal, id: Option<&Id>) -> Response<Body> {
    let Some(text) = refusal.answer(id) else {
        let mut response = json(200, Bytes::new());
        *response.body_mut() = Body::Cut(Some(Bytes::from_static(br#"{"jsonrpc":"2.0","#)));
        return response;
    };
    let mut response = json(refusal.kind.status(), text);
    if let RefusalKind::UpstreamStatus(answer) = &refusal.kind {
        for (name, value) in &answer.headers {
            let (Ok(name), Ok(value)) = (HeaderName::try_from(&**name), HeaderValue::try_from(&**value))
            else {
                continue;
            };
            // Our body is JSON-RPC; the upstream's own is for the log.
            if name != CONTENT_TYPE {
                response.headers_mut().append(name, value);
            }
        }
    }
    if let Some(wait) = refusal.kind.retry_after() {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    response
}

/// The response with one more header.
pub(crate) fn with_header(mut response: Response<Body>, name: &'static str, value: &str) -> Response<Body> {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    response
}
