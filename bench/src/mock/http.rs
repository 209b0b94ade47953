//! The mock over Streamable HTTP: POST answered as JSON or as an event stream, GET held open, DELETE accepted.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};

use super::answers::{Answers, answer};
use crate::error::BenchError;
use crate::server;
use crate::wire::Era;

/// Largest request body read.
const BODY_BYTES_MAX: usize = 16 << 20;

type Reply = Response<Either<Full<Bytes>, Held>>;

/// Serves until the process ends.
pub(crate) async fn run(port: u16, post_only: bool, speaks: Option<Era>) -> Result<(), BenchError> {
    let sessions = Arc::new(AtomicU64::new(0));
    let service = service_fn(move |request| {
        let sessions = Arc::clone(&sessions);
        async move { Ok::<_, Infallible>(reply(&sessions, post_only, speaks, request).await) }
    });
    server::serve(port, service).await
}

async fn reply(
    sessions: &AtomicU64,
    post_only: bool,
    speaks: Option<Era>,
    request: Request<Incoming>,
) -> Reply {
    match *request.method() {
        Method::POST => post(sessions, speaks, request.into_body()).await,
        Method::GET if !post_only => event_stream(Either::Right(Held { said_hello: false })),
        Method::DELETE => empty(StatusCode::OK),
        _ => empty(StatusCode::METHOD_NOT_ALLOWED),
    }
}

async fn post(sessions: &AtomicU64, speaks: Option<Era>, body: Incoming) -> Reply {
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
        return empty(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let Some(answers) = answer(&body.to_bytes(), speaks) else {
        return empty(StatusCode::ACCEPTED);
    };
    let opens_session = answers.opens_session;
    let mut reply = if answers.streaming { as_events(&answers) } else { as_json(answers) };
    if opens_session {
        let number = sessions.fetch_add(1, Ordering::Relaxed);
        if let Ok(id) = HeaderValue::from_str(&format!("mock-{number}")) {
            reply.headers_mut().insert("mcp-session-id", id);
        }
    }
    reply
}

fn as_json(answers: Answers) -> Reply {
    let body = answers.messages.into_iter().next_back().unwrap_or_default();
    let mut reply = Response::new(Either::Left(Full::from(body)));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

fn as_events(answers: &Answers) -> Reply {
    let mut events = String::new();
    for message in &answers.messages {
        events.push_str("event: message\ndata: ");
        events.push_str(message);
        events.push_str("\n\n");
    }
    event_stream(Either::Left(Full::from(events)))
}

fn event_stream(body: Either<Full<Bytes>, Held>) -> Reply {
    let mut reply = Response::new(body);
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    reply
}

fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Either::Left(Full::default()));
    *reply.status_mut() = status;
    reply
}

/// An event stream that says one comment and stays open until the client goes.
struct Held {
    said_hello: bool,
}

impl Body for Held {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.said_hello {
            // Never woken: the connection itself notices when the client leaves.
            return Poll::Pending;
        }
        self.said_hello = true;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b": open\n\n")))))
    }
}
