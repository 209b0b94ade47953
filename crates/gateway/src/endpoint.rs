//! The way to an HTTP endpoint that is no server of MCP, a webhook or a collector of spans: the client that carries messages to
//! servers, with its pool and its verification.

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use shadowcat_interceptors::external::webhook::Post;
use shadowcat_interceptors::external::{Failure, Reason};
use shadowcat_pipeline::task::Tasks;
use shadowcat_transports::http_client::{self, Client, ClientError, Target};
use std::time::Duration;

use crate::build::StartError;
use crate::plan::{Plan, Remote};

/// What endpoints are told of who asks.
pub(crate) const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("shadowcat/", env!("CARGO_PKG_VERSION")));

/// How much of an endpoint is waited for.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// The largest answer.
    pub(crate) body_bytes_max: usize,
    /// How long the beginning of an answer may take.
    pub(crate) timeout: Duration,
}

/// An HTTP endpoint that takes, and answers with, one kind of content.
pub(crate) struct Endpoint {
    client: Client,
    target: Target,
    headers: HeaderMap,
    bounds: Bounds,
}

impl Endpoint {
    /// `tasks` get those of its connections.
    pub(crate) fn new(
        plan: &Plan,
        remote: &Remote,
        content: HeaderValue,
        bounds: Bounds,
        tasks: &Tasks,
    ) -> Result<Self, StartError> {
        let client = http_client::Settings {
            connect_timeout: plan.timeouts.connect.min(bounds.timeout),
            header_bytes_max: plan.limits.header_bytes_max,
            ca_file: remote.ca_file.clone(),
            ..http_client::Settings::default()
        };
        let mut headers = remote.headers.clone();
        headers.insert(CONTENT_TYPE, content.clone());
        headers.insert(ACCEPT, content);
        headers.entry(USER_AGENT).or_insert(AGENT);
        Ok(Self {
            client: Client::new(client, tasks.clone())?,
            target: Target::parse(&remote.url.to_string())?,
            headers,
            bounds,
        })
    }
}

#[async_trait]
impl Post for Endpoint {
    async fn post(&self, headers: &[(&'static str, String)], body: Bytes) -> Result<Bytes, Failure> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.headers_mut() = self.headers.clone();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).map_err(|_| broken("a header cannot be written"))?;
            request.headers_mut().insert(*name, value);
        }
        let response = self
            .client
            .send(request, &self.target, self.bounds.timeout)
            .await
            .map_err(|error| unsent(&error))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NO_CONTENT => return Ok(Bytes::new()),
            status => {
                let failure = Failure::new(Reason::Error, format!("it answered with HTTP status {status}"));
                return Err(Failure { status: Some(status.as_u16()), ..failure });
            }
        }
        let collected = Limited::new(response.into_body(), self.bounds.body_bytes_max).collect().await;
        collected.map(http_body_util::Collected::to_bytes).map_err(|error| {
            if error.is::<LengthLimitError>() {
                let max = self.bounds.body_bytes_max;
                return Failure::new(
                    Reason::TooLarge,
                    format!("its answer is over the limit of {max} bytes"),
                );
            }
            broken(format!("its answer was cut: {error}"))
        })
    }
}

fn broken(sentence: impl Into<String>) -> Failure {
    Failure::new(Reason::Nonsense, sentence)
}

fn unsent(error: &ClientError) -> Failure {
    let reason = if error.is_timeout() {
        Reason::Timeout
    } else if error.never_sent() {
        Reason::Unreachable
    } else {
        Reason::Error
    };
    Failure::new(reason, error.safe_sentence())
}
