//! An upstream that is reached by HTTP: requests to it as both HTTP transports send them, and its failures as
//! refusals.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryFutureExt as _;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use shadowcat_pipeline::{Refusal, RefusalKind, UpstreamAnswer};
use shadowcat_protocol::Limits;

use crate::http_client::{Body, Client, ClientError, Target};
use crate::whole::{Unread, whole};

/// Both answer types, which every POST must offer (2025-03-26 and later, transports).
const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// Bytes of an error body that are passed on.
const ERROR_BODY_BYTES_MAX: usize = 64 * 1024;
/// How long an error body may take: the status is known and must not wait for it.
const ERROR_BODY_DEADLINE: Duration = Duration::from_secs(2);
/// How long a body may take that nobody reads.
const DISCARD_DEADLINE: Duration = Duration::from_secs(2);
/// Headers of an error answer a client needs to act on it.
const PASSED_ON: [&str; 4] = ["www-authenticate", "retry-after", "allow", "content-type"];

/// One upstream reached by HTTP.
#[derive(Clone)]
pub struct Remote {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Where its endpoint is.
    pub target: Target,
    /// The connections to it.
    pub client: Arc<Client>,
    /// Headers the operator adds to every request, such as its credentials.
    pub headers: HeaderMap,
    /// The bounds of a message.
    pub limits: Limits,
    /// How long the first byte of an answer may take.
    pub first_byte_max: Duration,
    /// The first wait before a cut stream is taken up again; doubled at each further try.
    pub reconnect_base: Duration,
}

impl Remote {
    /// The headers of a POST that says this of the message. A conversation in which it is always the same makes them once.
    pub(crate) fn post_headers(&self, said: HeaderMap) -> HeaderMap {
        let mut headers = self.with_own(said);
        headers.insert(ACCEPT, BOTH);
        headers.insert(CONTENT_TYPE, JSON);
        // Said again by the client for where it goes, which then needs no further room.
        headers.insert(HOST, self.target.host_header().clone());
        headers
    }

    /// POSTs one message with these [`Remote::post_headers`].
    pub(crate) fn post<'a>(
        &'a self,
        target: &'a Target,
        text: Bytes,
        headers: HeaderMap,
    ) -> impl Future<Output = Result<Response<Body>, Refusal>> + Send + 'a {
        let request = request(Method::POST, target, headers, text);
        self.send(target, request, self.first_byte_max)
    }

    /// Opens an event stream whose head comes within `head_max`.
    pub(crate) async fn get(
        &self,
        headers: HeaderMap,
        head_max: Duration,
    ) -> Result<Response<Body>, Refusal> {
        let mut request = request(Method::GET, &self.target, self.with_own(headers), Bytes::new());
        request.headers_mut().insert(ACCEPT, EVENT_STREAM);
        self.send(&self.target, request, head_max).await
    }

    /// Ends a session.
    pub(crate) async fn delete(&self, headers: HeaderMap) -> Result<Response<Body>, Refusal> {
        let request = request(Method::DELETE, &self.target, self.with_own(headers), Bytes::new());
        self.send(&self.target, request, self.first_byte_max).await
    }

    /// The headers of a message, and those of the operator.
    fn with_own(&self, mut headers: HeaderMap) -> HeaderMap {
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        headers
    }

    /// A combinator, not an `async fn`: that would hold the request a second time, in every exchange.
    fn send<'a>(
        &'a self,
        target: &'a Target,
        request: Request<Full<Bytes>>,
        first_byte_max: Duration,
    ) -> impl Future<Output = Result<Response<Body>, Refusal>> + Send + 'a {
        let sent = self.client.send(request, target, first_byte_max);
        sent.map_err(|error| refuse(error).with_upstream(&self.name))
    }

    /// Reads a body that has to be whole before it is passed on.
    pub(crate) async fn collect(&self, mut body: Body) -> Result<Bytes, Refusal> {
        let max = self.limits.message_bytes_max;
        whole(&mut body, max).await.map_err(|unread| match unread {
            Unread::TooLarge => self.broken(format!("the server's answer is over the limit of {max} bytes")),
            Unread::Cut(error) => self.broken("the server cut its answer short").with_cause(error),
        })
    }

    /// Reads what an accepted message was answered with to its end, so that the connection can be used again.
    pub(crate) async fn discard(&self, body: Body) {
        drop(tokio::time::timeout(DISCARD_DEADLINE, self.collect(body)).await);
    }

    /// An error answer as a refusal that keeps its status, the headers a client needs, and its body.
    pub(crate) async fn error_answer(&self, response: Response<Body>) -> UpstreamAnswer {
        let (parts, body) = response.into_parts();
        let headers = PASSED_ON.iter().filter_map(|name| {
            let value = parts.headers.get(*name)?.to_str().ok()?;
            Some(((*name).into(), value.into()))
        });
        let headers = headers.collect();
        let body = http_body_util::Limited::new(body, ERROR_BODY_BYTES_MAX).collect();
        let body = match tokio::time::timeout(ERROR_BODY_DEADLINE, body).await {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(_)) | Err(_) => Bytes::new(),
        };
        UpstreamAnswer { status: parts.status.as_u16(), headers, body }
    }

    /// The upstream broke the protocol, and how.
    pub(crate) fn broken(&self, detail: impl Into<String>) -> Refusal {
        Refusal::new(RefusalKind::UpstreamProtocol).with_upstream(&self.name).with_detail(detail)
    }

    /// The upstream answered with this HTTP error.
    pub(crate) fn refused(&self, answer: UpstreamAnswer) -> Refusal {
        let status =
            StatusCode::from_u16(answer.status).map_or_else(|_| String::new(), |status| status.to_string());
        Refusal::new(RefusalKind::UpstreamStatus(Box::new(answer)))
            .with_upstream(&self.name)
            .with_detail(format!("the server answered with HTTP status {}", status.trim()))
    }
}

fn request(method: Method, target: &Target, headers: HeaderMap, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = target.path_and_query();
    *request.headers_mut() = headers;
    request
}

/// What a failure of the client means for the exchange.
fn refuse(error: ClientError) -> Refusal {
    let kind = if error.is_timeout() && !error.never_sent() {
        RefusalKind::UpstreamTimeout
    } else if error.is_overloaded() {
        RefusalKind::BUSY
    } else if error.never_sent() {
        RefusalKind::UpstreamUnreachable
    } else {
        RefusalKind::UpstreamProtocol
    };
    let detail = error.safe_sentence();
    Refusal::new(kind).with_detail(detail).with_cause(error)
}

/// Adds a header whose value comes from a message; a value that no header can carry is left out.
pub(crate) fn insert(headers: &mut HeaderMap, name: &HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name.clone(), value);
    }
}

/// The media type of an answer, without its parameters.
pub(crate) fn media_type(response: &Response<Body>) -> &str {
    let value =
        response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}
