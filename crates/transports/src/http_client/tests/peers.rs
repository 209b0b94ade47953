//! Servers to test against: honest ones, and ones that play a script.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use shadowcat_pipeline::task::Tasks;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

use super::super::Target;

/// A server on a port of its own.
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) tasks: Tasks,
    /// Connections accepted.
    pub(super) accepted: Arc<AtomicUsize>,
    /// Requests being answered now, by connection: the most there ever were on one.
    pub(super) most: Arc<AtomicUsize>,
    /// Requests that arrived, ever.
    pub(super) arrived: watch::Receiver<usize>,
    /// Streaming answers that nobody listens to any more.
    pub(super) abandoned: mpsc::Receiver<()>,
    /// Lets the requests to `/held` go on.
    pub(super) gate: watch::Sender<bool>,
    /// Makes the HTTP/2 connections there are say farewell.
    pub(super) farewell: watch::Sender<()>,
}

impl Peer {
    pub(super) async fn plain() -> Self {
        Self::start(None, 100).await
    }

    pub(super) async fn tls(config: ServerConfig, streams_max: u32) -> Self {
        Self::start(Some(TlsAcceptor::from(Arc::new(config))), streams_max).await
    }

    async fn start(tls: Option<TlsAcceptor>, streams_max: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (arrive, arrived) = watch::channel(0);
        let (abandon, abandoned) = mpsc::channel(64);
        let (gate, _) = watch::channel(false);
        let (farewell, _) = watch::channel(());
        let peer = Self {
            address: listener.local_addr().unwrap(),
            tasks: Tasks::new(),
            accepted: Arc::default(),
            most: Arc::default(),
            arrived,
            abandoned,
            gate: gate.clone(),
            farewell: farewell.clone(),
        };
        let answers = Answers {
            arrive: Arc::new(arrive),
            abandon,
            gate,
            most: Arc::clone(&peer.most),
            current: Arc::default(),
        };
        let (accepted, tasks) = (Arc::clone(&peer.accepted), peer.tasks.clone());
        peer.tasks.spawn_until_stop(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = accepted.fetch_add(1, Ordering::Relaxed);
                let (tls, answers, farewell) = (tls.clone(), answers.clone(), farewell.subscribe());
                tasks.spawn_until_stop(async move {
                    match tls {
                        None => answers.serve(number, stream, false, streams_max, farewell).await,
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else { return };
                            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                            answers.serve(number, stream, is_http2, streams_max, farewell).await;
                        }
                    }
                });
            }
        });
        peer
    }

    pub(super) fn target(&self, path: &str) -> Target {
        Target::parse(&format!("http://{}{path}", self.address)).unwrap()
    }

    pub(super) fn tls_target(&self, host: &str, path: &str) -> Target {
        Target::parse(&format!("https://{host}:{}{path}", self.address.port())).unwrap()
    }

    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    pub(super) async fn arrived(&self, requests: usize) {
        self.arrived.clone().wait_for(|arrived| *arrived >= requests).await.unwrap();
    }
}

#[derive(Clone)]
struct Answers {
    arrive: Arc<watch::Sender<usize>>,
    abandon: mpsc::Sender<()>,
    gate: watch::Sender<bool>,
    most: Arc<AtomicUsize>,
    current: Arc<Mutex<HashMap<usize, usize>>>,
}

type Answer = http_body_util::combinators::BoxBody<Bytes, Infallible>;

impl Answers {
    async fn serve(
        self,
        number: usize,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        is_http2: bool,
        streams_max: u32,
        mut farewell: watch::Receiver<()>,
    ) {
        let service = service_fn(move |request| self.clone().answer(number, request));
        if !is_http2 {
            let served =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            drop(served.await);
            return;
        }
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .max_concurrent_streams(streams_max)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            _ = &mut connection => return,
            _ = farewell.changed() => connection.as_mut().graceful_shutdown(),
        }
        drop(connection.await);
    }

    async fn answer(self, number: usize, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
        let now = {
            let mut current = self.current.lock().unwrap();
            let count = current.entry(number).or_default();
            *count += 1;
            *count
        };
        self.most.fetch_max(now, Ordering::Relaxed);
        self.arrive.send_modify(|arrived| *arrived += 1);
        let response = self.compose(request).await;
        *self.current.lock().unwrap().get_mut(&number).unwrap() -= 1;
        Ok(response)
    }

    async fn compose(&self, request: Request<Incoming>) -> Response<Answer> {
        match request.uri().path() {
            "/stream" => {
                return Response::new(Endless { abandon: self.abandon.clone(), begun: false }.boxed());
            }
            "/elsewhere" => {
                let answer = Response::builder().status(302).header("location", "/").body(full(""));
                return answer.unwrap();
            }
            "/big" => return Response::new(full("x".repeat(1024 * 1024))),
            "/empty" => return Response::builder().status(202).body(full("")).unwrap(),
            "/last" => return Response::builder().header("connection", "close").body(full("last")).unwrap(),
            "/host" => {
                let header = request.headers().get("host").map(|host| host.to_str().unwrap().to_owned());
                let host = header.or(request.uri().authority().map(ToString::to_string));
                return Response::new(full(host.unwrap()));
            }
            "/held" => drop(self.gate.subscribe().wait_for(|open| *open).await.unwrap()),
            _ => {}
        }
        Response::new(full(request.into_body().collect().await.unwrap().to_bytes()))
    }
}

fn full(bytes: impl Into<Bytes>) -> Answer {
    Full::new(bytes.into()).boxed()
}

/// One event, then silence; tells when it is dropped.
struct Endless {
    abandon: mpsc::Sender<()>,
    begun: bool,
}

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if std::mem::replace(&mut self.begun, true) {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"data: 1\n\n")))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.abandon.try_send(()).unwrap_or_default();
    }
}

/// A listener for a peer that plays a script.
pub(super) struct Script {
    listener: TcpListener,
    pub(super) target: Target,
}

impl Script {
    pub(super) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        Self { listener, target }
    }

    pub(super) fn tls_target(&self) -> Target {
        Target::parse(&format!("https://127.0.0.1:{}/", self.target.port())).unwrap()
    }

    pub(super) async fn accept(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    /// Takes one request of at most one segment and answers with this text.
    pub(super) async fn answer(&self, text: &str) -> TcpStream {
        let mut stream = self.accept().await;
        assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0);
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }
}
