//! The way to an HTTP endpoint that is no server of MCP, a webhook or a collector of spans: the client that carries messages to
//! servers, with its pool and its verification.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Collected, Full, LengthLimitError, Limited};
use shadowcat_interceptors::external::webhook::Post;
use shadowcat_interceptors::external::{Failure, Reason};
use shadowcat_pipeline::task::Tasks;
use shadowcat_transports::http_client::{Client, ClientError, Settings, SetupError, Target};

use crate::build::StartError;
use crate::plan::{Plan, Remote};

/// What endpoints are told of who asks.
pub(crate) const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("shadowcat/", env!("CARGO_PKG_VERSION")));

type BodyError = Box<dyn std::error::Error + Send + Sync>;

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
        let mut headers = remote.headers.clone();
        headers.insert(CONTENT_TYPE, content.clone());
        headers.insert(ACCEPT, content);
        headers.entry(USER_AGENT).or_insert(AGENT);
        Ok(Self {
            client: client(plan, bounds.timeout, remote.ca_file.as_deref(), tasks)?,
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
        whole(response.into_body(), self.bounds.body_bytes_max).await.map_err(|unread| {
            let reason = match &unread {
                Unread::TooLarge(_) => Reason::TooLarge,
                Unread::Cut(_) => Reason::Nonsense,
            };
            Failure::new(reason, unread.to_string())
        })
    }
}

/// The client of one remote, within the plan's limits; a connection may take `connect_max` at most. `tasks` get those of its
/// connections.
pub(crate) fn client(
    plan: &Plan,
    connect_max: Duration,
    ca_file: Option<&Path>,
    tasks: &Tasks,
) -> Result<Client, SetupError> {
    let settings = Settings {
        connect_timeout: plan.timeouts.connect.min(connect_max),
        header_bytes_max: plan.limits.header_bytes_max,
        ca_file: ca_file.map(Path::to_owned),
        ..Settings::default()
    };
    Client::new(settings, tasks.clone())
}

/// Why the body of an answer was not had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    #[error("its answer is over the limit of {0} bytes")]
    TooLarge(usize),
    #[error("its answer was cut: {0}")]
    Cut(BodyError),
}

/// The whole body of an answer.
pub(crate) async fn whole(
    body: impl BodyExt<Data = Bytes, Error: Into<BodyError>>,
    bytes_max: usize,
) -> Result<Bytes, Unread> {
    let collected = Limited::new(body, bytes_max).collect().await;
    collected.map(Collected::to_bytes).map_err(|error| {
        if error.is::<LengthLimitError>() { Unread::TooLarge(bytes_max) } else { Unread::Cut(error) }
    })
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
