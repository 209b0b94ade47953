//! An HTTP server that answers exactly what a test says, and remembers what it was asked; with TLS it speaks HTTP/2 too.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, Version};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::tls::{Authority, Identity};
use crate::wait::found;

/// Pieces of a body on their way.
const PIECES_MAX: usize = 256;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The HTTP method.
    pub method: Method,
    /// The version of HTTP it came in.
    pub version: Version,
    /// Path and query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
    /// The same as it came, which need be no text.
    pub raw: Bytes,
}

impl Seen {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A member of the body's top level, as JSON text.
    pub fn member(&self, name: &str) -> Option<String> {
        crate::server::member(&self.body, name)
    }

    /// The JSON-RPC method, if the body has one.
    pub fn rpc(&self) -> Option<String> {
        let raw = self.member("method")?;
        serde_json::from_str(&raw).ok()
    }
}

/// What is answered.
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: ReplyBody,
}

/// The writing end of an answer that is written piece by piece. Dropped, the answer ends in order.
#[derive(Clone)]
pub struct Pieces(mpsc::Sender<Option<Bytes>>);

impl Pieces {
    /// Writes bytes; false when the asker is gone.
    pub async fn write(&self, bytes: impl Into<Bytes>) -> bool {
        self.0.send(Some(bytes.into())).await.is_ok()
    }

    /// Writes an event with this data.
    pub async fn event(&self, data: &str) -> bool {
        self.write(format!("event: message\ndata: {data}\n\n")).await
    }

    /// Breaks the connection in the middle of the answer.
    pub async fn cut(self) {
        drop(self.0.send(None).await);
    }

    /// Waits until the asker is gone.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

impl Reply {
    /// A JSON body.
    pub fn json(status: u16, body: impl Into<String>) -> Self {
        let body = ReplyBody::Whole(Some(Bytes::from(body.into())));
        Self { status, headers: vec![("content-type".into(), "application/json".into())], body }
    }

    /// No body.
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: ReplyBody::Whole(None) }
    }

    /// An event stream.
    pub fn events() -> (Pieces, Self) {
        Self::pieces("text/event-stream")
    }

    /// A body of this type, written piece by piece.
    pub fn pieces(kind: &str) -> (Pieces, Self) {
        let (sender, receiver) = mpsc::channel(PIECES_MAX);
        let headers = vec![("content-type".into(), kind.into())];
        (Pieces(sender), Self { status: 200, headers, body: ReplyBody::Pieces(receiver) })
    }

    /// An event stream with these bytes that ends in order.
    pub fn stream(bytes: impl Into<Bytes>) -> Self {
        let (pieces, reply) = Self::events();
        pieces.0.try_send(Some(bytes.into())).expect("room for one piece");
        reply
    }

    /// Breaks off behind these bytes, announced as the start of something longer.
    pub fn cut(kind: &str, bytes: impl Into<Bytes>) -> Self {
        let (pieces, reply) = Self::pieces(kind);
        pieces.0.try_send(Some(bytes.into())).expect("room for two pieces");
        pieces.0.try_send(None).expect("room for two pieces");
        reply
    }

    /// A page of this status, as something in front of a server shows it.
    pub fn page(status: u16) -> Self {
        let body = ReplyBody::Whole(Some(Bytes::from_static(b"<html>not here</html>")));
        Self { status, headers: vec![("content-type".into(), "text/html".into())], body }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn response(self) -> Response<ReplyBody> {
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        response.body(self.body).expect("a response")
    }
}

enum ReplyBody {
    Whole(Option<Bytes>),
    Pieces(mpsc::Receiver<Option<Bytes>>),
    /// What came before has still to reach the wire.
    CutNext,
}

impl http_body::Body for ReplyBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let body = self.get_mut();
        match body {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Pieces(pieces) => match pieces.poll_recv(context) {
                Poll::Ready(Some(Some(bytes))) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Poll::Ready(Some(None)) => {
                    *body = Self::CutNext;
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            },
            Self::CutNext => Poll::Ready(Some(Err(std::io::Error::other("cut")))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Self::Whole(bytes) => {
                http_body::SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            Self::Pieces(_) | Self::CutNext => http_body::SizeHint::default(),
        }
    }
}

/// A running HTTP server.
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    secure: bool,
    accepted: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: watch::Sender<bool>,
    _serving: JoinSet<()>,
}

impl Upstream {
    /// Answers each request with what `answer` gives.
    pub async fn start<A, F>(answer: A) -> Self
    where
        A: Fn(Seen) -> F + Send + Sync + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        Self::start_at(([127, 0, 0, 1], 0).into(), answer).await
    }

    /// As [`Self::start`], on an address that is free again.
    pub async fn start_at<A, F>(address: SocketAddr, answer: A) -> Self
    where
        A: Fn(Seen) -> F + Send + Sync + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        Self::listen(address, None, answer).await
    }

    /// As [`Self::start`], behind TLS, in the version of HTTP that the client picks from what is offered.
    pub async fn start_secure<A, F>(authority: &Authority, identity: &Identity, answer: A) -> Self
    where
        A: Fn(Seen) -> F + Send + Sync + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        Self::listen(([127, 0, 0, 1], 0).into(), Some(authority.acceptor(identity)), answer).await
    }

    async fn listen<A, F>(address: SocketAddr, tls: Option<TlsAcceptor>, answer: A) -> Self
    where
        A: Fn(Seen) -> F + Send + Sync + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (seen, accepted) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<AtomicUsize>::default());
        let (stop, stopped) = watch::channel(false);
        let secure = tls.is_some();
        let site = Site { tls, answer, seen: Arc::clone(&seen), accepted: Arc::clone(&accepted) };
        let mut serving = JoinSet::new();
        serving.spawn(Arc::new(site).serve(listener, stopped));
        Self { address, secure, accepted, seen, stop, _serving: serving }
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        if self.secure {
            // Certificates are for names.
            format!("https://localhost:{}{path}", self.address.port())
        } else {
            format!("http://{}{path}", self.address)
        }
    }

    /// The connections it has accepted so far, whatever came of them.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// What it was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The requests with this JSON-RPC method so far.
    pub fn calls(&self, method: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.rpc().as_deref() == Some(method)).collect()
    }

    /// Waits for a request with this JSON-RPC method.
    pub async fn call(&self, method: &str) -> Seen {
        found(format!("{method} at the upstream"), || self.calls(method).pop()).await
    }

    /// Breaks every connection, in the middle of what it carries.
    pub fn cut_all(&self) {
        self.stop.send_replace(true);
        self.stop.send_replace(false);
    }
}

struct Site<A> {
    tls: Option<TlsAcceptor>,
    answer: A,
    seen: Arc<Mutex<Vec<Seen>>>,
    accepted: Arc<AtomicUsize>,
}

impl<A, F> Site<A>
where
    A: Fn(Seen) -> F + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    async fn serve(self: Arc<Self>, listener: TcpListener, stopped: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            drop(socket.set_nodelay(true));
            self.accepted.fetch_add(1, Ordering::SeqCst);
            let (site, mut stopped) = (Arc::clone(&self), stopped.clone());
            connections.spawn(async move {
                stopped.mark_unchanged();
                tokio::select! {
                    () = site.welcome(socket) => {}
                    _ = stopped.changed() => {}
                }
            });
        }
    }

    async fn welcome(self: Arc<Self>, socket: TcpStream) {
        let Some(tls) = &self.tls else { return self.converse(socket, false).await };
        let Ok(stream) = tls.accept(socket).await else { return };
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        self.converse(stream, is_http2).await;
    }

    async fn converse(
        self: Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        is_http2: bool,
    ) {
        let service = service_fn(move |request: http::Request<Incoming>| {
            let site = Arc::clone(&self);
            async move {
                let request = remember(request, &site.seen).await;
                Ok::<_, Infallible>((site.answer)(request).await.response())
            }
        });
        let stream = TokioIo::new(stream);
        // How a connection ends is the test's business.
        if is_http2 {
            drop(http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await);
        } else {
            drop(http1::Builder::new().serve_connection(stream, service).await);
        }
    }
}

async fn remember(request: http::Request<Incoming>, seen: &Mutex<Vec<Seen>>) -> Seen {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let arrived = Seen {
        method: parts.method,
        version: parts.version,
        path: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: parts.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
        raw: body,
    };
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(arrived.clone());
    arrived
}
