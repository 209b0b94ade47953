//! The Streamable HTTP endpoint: which era a request belongs to, and what is wrong with it before anyone is asked.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, HeaderValue};
use http::{Method, Response};
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Refusal, RefusalKind};
use shadowcat_protocol::trace::TraceContext;
use shadowcat_protocol::{
    ErrorObject, Limits, Message, ParseErrorKind, Request, Revision, codes, headers, meta, method,
    split_batch,
};

use crate::front::Front;
use crate::names;
use crate::server::{Body, BodyError, Endpoint, Incomer, json, plain, refusal};

/// The bounds of the endpoint.
#[derive(Clone, Debug)]
pub struct EndpointSettings {
    /// Where it is served.
    pub path: String,
    /// Bytes of one request body.
    pub body_bytes_max: usize,
    /// How long a request body may take.
    pub body_read_max: Duration,
    /// The bounds of a message.
    pub limits: Limits,
    /// How long an event stream may be silent before a comment is sent.
    pub keep_alive: Duration,
    /// Requests of one session that may be in flight.
    pub in_flight_max: usize,
    /// Whether somebody goes on with the traces that headers name.
    pub reads_traces: bool,
}

/// The Streamable HTTP endpoint, both eras on one path.
pub struct HttpListener {
    pub(super) settings: EndpointSettings,
    pub(super) front: Arc<dyn Front>,
    pub(super) tasks: Tasks,
    /// The signal that subscriptions are to end.
    pub(super) stop: tokio_util::sync::CancellationToken,
}

impl HttpListener {
    /// An endpoint in front of `front`. Answers that outlive their client's connection are tasks of `tasks`; at
    /// `stop` every subscription gets its final result.
    pub fn new(
        settings: EndpointSettings,
        front: Arc<dyn Front>,
        tasks: Tasks,
        stop: tokio_util::sync::CancellationToken,
    ) -> Self {
        Self { settings, front, tasks, stop }
    }

    async fn post(&self, request: &mut Incomer) -> Response<Body> {
        if !request.is_json() {
            return plain(415, "a message is sent as Content-Type: application/json\n");
        }
        if !accepts_both(request) {
            return plain(406, "Accept must list application/json and text/event-stream\n");
        }
        let body = request.read_body(self.settings.body_bytes_max, self.settings.body_read_max).await;
        let text = match body {
            Ok(text) => text,
            Err(BodyError::TooLarge) => return refusal(&RefusalKind::LimitBody.into(), None),
            Err(BodyError::TooSlow) => return plain(408, "the request body did not come in time\n"),
            Err(BodyError::Cut) => return plain(400, "the request body was cut short\n"),
        };
        let (named, message) = match self.sort(request, &text) {
            Sorted::Legacy(named, message) => (named, message),
            Sorted::Modern(asked) => return self.modern(request, asked).await,
            // Rare and large, like the next: not a part of the future of every exchange.
            Sorted::Handshake(asked) => return Box::pin(self.legacy_handshake(request, asked)).await,
            Sorted::Batch => return Box::pin(self.take_batch(request, &text)).await,
            Sorted::Answered(response) => return response,
        };
        self.legacy(request, named, message).await
    }

    /// The body decides the era: a request that names a revision in its metadata is modern, `initialize` and what
    /// has a session are legacy; the header alone counts where the body cannot tell (2026-07-28 versioning).
    fn sort(&self, request: &Incomer, text: &Bytes) -> Sorted {
        let message = match Message::parse(text.clone(), &self.settings.limits) {
            Ok(message) => message,
            Err(error) if error.kind == ParseErrorKind::Batch => return Sorted::Batch,
            Err(error) => {
                let told = ErrorObject { code: error.code(), message: error.to_string(), data: None };
                let answer = shadowcat_protocol::Response::error(error.id.as_ref(), &told);
                return Sorted::Answered(json(400, answer.text().clone()));
            }
        };
        let (is_modern, named) = match &message {
            Message::Request(asked) if asked.meta(meta::VERSION).is_some() => (true, None),
            message => match Self::legacy_version(request) {
                Ok(named) if is_initialize(message) => (false, named),
                Ok(named) => (named.is_some_and(Revision::is_modern), named),
                Err(response) => return Sorted::Answered(*response),
            },
        };
        match (is_modern, message) {
            (true, Message::Request(asked)) => Sorted::Modern(asked),
            // Cancels have no meaning on this transport, where the closed stream is the cancel; what else a client
            // might send needs no answer either.
            (true, Message::Notification(_)) => Sorted::Answered(crate::server::message()),
            (true, Message::Response(_)) => Sorted::Answered(bad(&Refusal::bad_message(
                codes::INVALID_REQUEST,
                "this revision has no responses of clients",
            ))),
            (false, Message::Request(asked)) if asked.method() == method::INITIALIZE => {
                Sorted::Handshake(asked)
            }
            (false, message) => Sorted::Legacy(named, message),
        }
    }

    async fn take_batch(&self, request: &Incomer, text: &Bytes) -> Response<Body> {
        if header_is_modern(request) {
            return bad(&Refusal::bad_message(codes::INVALID_REQUEST, "this revision has no batches"));
        }
        match split_batch(text, &self.settings.limits) {
            Ok(parts) => self.legacy_batch(request, parts).await,
            Err(error) => bad(&Refusal::bad_message(error.code(), error.to_string())),
        }
    }

    /// The trace that a request's headers name, where somebody goes on with it.
    pub(super) fn trace(&self, request: &Incomer) -> Option<Box<TraceContext>> {
        if !self.settings.reads_traces {
            return None;
        }
        let states = request.headers.get_all(&names::TRACESTATE).iter();
        let states: Vec<&str> = states.filter_map(|value| value.to_str().ok()).collect();
        TraceContext::of_headers(request.header(&names::TRACEPARENT)?, &states).map(Box::new)
    }

    /// The legacy revision in a request's header.
    pub(super) fn legacy_version(request: &Incomer) -> Result<Option<Revision>, Box<Response<Body>>> {
        // It is the only one that is asked for.
        let values = request.headers.get_all(&names::PROTOCOL_VERSION);
        let lookup = |_: &str| values.iter().map(HeaderValue::as_bytes).collect();
        headers::legacy_version(lookup)
            .map_err(|fault| Box::new(json(400, error_text(&fault.error_object(), None))))
    }
}

#[async_trait]
impl Endpoint for HttpListener {
    fn owns(&self, path: &str) -> bool {
        path == self.settings.path
    }

    async fn answer(&self, request: &mut Incomer) -> Response<Body> {
        let legacy = || request.header(&names::SESSION_ID).is_some();
        match request.method {
            Method::POST => self.post(request).await,
            Method::GET if legacy() => self.legacy_get(request).await,
            Method::DELETE if legacy() => self.legacy_delete(request).await,
            // Without a session these belong to no era that has them here.
            _ => {
                let mut response = plain(405, "messages are sent by POST\n");
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, GET, DELETE"));
                response
            }
        }
    }
}

/// A message that was posted, by who answers it.
enum Sorted {
    /// With the revision that its header names.
    Legacy(Option<Revision>, Message),
    /// Legacy too.
    Handshake(Request),
    Modern(Request),
    Batch,
    Answered(Response<Body>),
}

/// A fault found before the message went anywhere, without an id to answer to.
pub(super) fn bad(fault: &Refusal) -> Response<Body> {
    refusal(fault, None)
}

pub(super) fn error_text(error: &ErrorObject, asked: Option<&Request>) -> Bytes {
    shadowcat_protocol::Response::error(asked.map(Request::id), error).text().clone()
}

fn is_initialize(message: &Message) -> bool {
    matches!(message, Message::Request(asked) if asked.method() == method::INITIALIZE)
}

fn header_is_modern(request: &Incomer) -> bool {
    let named = request.header(&names::PROTOCOL_VERSION).and_then(Revision::parse);
    named.is_some_and(Revision::is_modern)
}

/// What clients send, but for a few.
const ACCEPT_USUAL: &str = "application/json, text/event-stream";

/// Whether both answer types are accepted. Clients that say nothing, or anything, are served as well.
fn accepts_both(request: &Incomer) -> bool {
    let is_usual = request.headers.get(ACCEPT).is_some_and(|value| value == ACCEPT_USUAL);
    is_usual || accepts(request, "application/json") && accepts(request, "text/event-stream")
}

pub(super) fn accepts(request: &Incomer, wanted: &str) -> bool {
    let mut values =
        request.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    if values.peek().is_none() {
        return true;
    }
    let family = wanted.split('/').next().unwrap_or_default();
    values.flat_map(|value| value.split(',')).any(|item| {
        let kind = item.split(';').next().unwrap_or_default().trim();
        kind == "*/*" || kind.eq_ignore_ascii_case(wanted) || kind.strip_suffix("/*") == Some(family)
    })
}
