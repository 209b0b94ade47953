//! The least a proxy can do: takes HTTP/1.1, sends the same over a pooled connection, streams the answer back. Parses no
//! body, keeps no state, checks nothing. Its cost is the floor that Shadowcat's is compared with.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::error::BenchError;
use crate::server;

/// Idle upstream connections kept; one given back beyond that is closed.
const IDLE_MAX: usize = 2_048;

/// Where the relay listens and what it is in front of.
#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// Port on 127.0.0.1; 0 picks one and prints it.
    #[arg(long, default_value_t = 0)]
    listen: u16,
    /// Host and port of the server behind, such as 127.0.0.1:8000.
    #[arg(long)]
    upstream: String,
}

/// Relays until the process ends.
pub(crate) async fn run(settings: Settings) -> Result<(), BenchError> {
    let host = HeaderValue::from_str(&settings.upstream)
        .map_err(|_| BenchError::BadUrl(settings.upstream.clone()))?;
    let pool =
        Arc::new(Pool { host, address: settings.upstream, idle: Mutex::default(), open: Mutex::default() });
    let service = service_fn(move |request| {
        let pool = Arc::clone(&pool);
        async move { Ok::<_, Infallible>(relay(&pool, request).await) }
    });
    server::serve(settings.listen, service).await
}

async fn relay(pool: &Arc<Pool>, request: Request<Incoming>) -> Response<Either<Relayed, Full<Bytes>>> {
    match forward(pool, request).await {
        Ok(response) => response.map(Either::Left),
        Err(error) => {
            let mut response = Response::new(Either::Right(Full::from(error.to_string())));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    }
}

async fn forward(pool: &Arc<Pool>, mut request: Request<Incoming>) -> Result<Response<Relayed>, BenchError> {
    request.headers_mut().insert(HOST, pool.host.clone());
    let mut sender = pool.take().await?;
    let response = sender.send_request(request).await?;
    Ok(response.map(|body| Relayed { body, ended: false, sender: Some(sender), pool: Arc::clone(pool) }))
}

/// Connections to the one upstream.
struct Pool {
    host: HeaderValue,
    address: String,
    idle: Mutex<Vec<SendRequest<Incoming>>>,
    open: Mutex<JoinSet<()>>,
}

impl Pool {
    async fn take(&self) -> Result<SendRequest<Incoming>, BenchError> {
        while let Some(mut sender) = self.pop() {
            if sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
        self.connect().await
    }

    fn pop(&self) -> Option<SendRequest<Incoming>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give_back(&self, sender: SendRequest<Incoming>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(sender);
        }
    }

    async fn connect(&self) -> Result<SendRequest<Incoming>, BenchError> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        while open.try_join_next().is_some() {}
        open.spawn(async move {
            let _ = connection.await;
        });
        Ok(sender)
    }
}

/// An answer on its way back. Gives its connection back once it was read to the end; an answer left half-way closes it.
struct Relayed {
    body: Incoming,
    ended: bool,
    sender: Option<SendRequest<Incoming>>,
    pool: Arc<Pool>,
}

impl Body for Relayed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.ended |= matches!(frame, Poll::Ready(None));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        // A body of known length is dropped by the server as soon as its last byte is out, before it says that it ended.
        if (self.ended || self.body.is_end_stream())
            && let Some(sender) = self.sender.take()
        {
            self.pool.give_back(sender);
        }
    }
}
