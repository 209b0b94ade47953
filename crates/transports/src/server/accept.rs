//! Accepts connections and serves them until told to stop.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, AUTHORIZATION, HeaderValue, VARY,
};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use shadowcat_pipeline::task::{Signal, Tasks};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::api::ApiEndpoint;
use super::gate::TurnedAway;
use super::protection::{Protection, without_foreign_challenge};
use super::stall::Stall;
use super::{Api, Body, Endpoint, Gate, Incomer, Pages, PagesEndpoint, plain};
use crate::http::{HttpListener, PATH};
use crate::sse::SseListener;
use crate::tcp;

/// How long the server rests after an accept that failed for want of descriptors: trying again at once would spin.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// How long a client is silent before the system asks whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Header fields of one request.
const HEADERS_MAX: usize = 100;
/// Headers a browser may send to and read from an MCP server.
const BROWSER_MAY_SEND: &str = "content-type, accept, authorization, mcp-session-id, mcp-protocol-version, \
     mcp-method, mcp-name, last-event-id, traceparent, tracestate";
const BROWSER_MAY_READ: &str = "mcp-session-id, mcp-protocol-version, www-authenticate, retry-after";

/// The bounds of the server.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Connections served at a time; further ones wait in the kernel's queue.
    pub connections_max: usize,
    /// Bytes of a request's header section; at least 8 KiB.
    pub header_bytes_max: usize,
    /// How long a request's header may take.
    pub header_read_max: Duration,
    /// How long a client may take nothing of what is written to it.
    pub write_stall_max: Duration,
    /// Who may talk to it.
    pub gate: Gate,
}

/// An HTTP server that listens and does not serve yet.
pub struct HttpServer {
    listener: TcpListener,
    address: SocketAddr,
    settings: ServerSettings,
    endpoints: Vec<Box<dyn Endpoint>>,
    turned_away: TurnAway,
    protection: Option<Protection>,
}

/// How somebody is told that they are turned away.
type TurnAway = Box<dyn Fn(u16, &str) -> Response<Body> + Send + Sync>;

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct ServeError {
    /// The address asked for.
    pub address: SocketAddr,
    #[source]
    cause: io::Error,
}

impl HttpServer {
    /// Listens on this address; port 0 takes a free one.
    pub async fn bind(address: SocketAddr, settings: ServerSettings) -> Result<Self, ServeError> {
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = bound.await.map_err(|cause| ServeError { address, cause })?;
        let turned_away = Box::new(|status, sentence: &str| plain(status, format!("{sentence}\n")));
        Ok(Self { listener, address, settings, endpoints: Vec::new(), turned_away, protection: None })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same server with its endpoints: both HTTP transports, and the pages beside them.
    #[must_use]
    pub fn serving(mut self, streamable: HttpListener, sse: SseListener, pages: Arc<dyn Pages>) -> Self {
        self.endpoints = vec![Box::new(streamable), Box::new(sse), Box::new(PagesEndpoint(pages))];
        self
    }

    /// The same server for those who say who they are.
    #[must_use]
    pub fn protected(mut self, protection: Option<Protection>) -> Self {
        self.protection = protection;
        self
    }

    /// The same server with an API, which has it for itself.
    #[must_use]
    pub fn serving_api(mut self, api: Arc<dyn Api>) -> Self {
        self.endpoints = vec![Box::new(ApiEndpoint(Arc::clone(&api)))];
        self.turned_away =
            Box::new(move |status, sentence| ApiEndpoint::turned_away(&*api, status, sentence));
        self
    }

    /// Serves until `stop`, then lets every connection finish the exchange it is in. The connections are tasks of
    /// `tasks`, whose owner waits for them.
    pub async fn run(self, tasks: Tasks, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.settings.connections_max));
        let site = Arc::new(Site {
            settings: self.settings,
            endpoints: self.endpoints,
            turned_away: self.turned_away,
            protection: self.protection,
        });
        loop {
            let accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (self.listener.accept().await, place)
            };
            let Some((accepted, place)) = stop.run_until_cancelled(accepted).await else { return };
            match accepted {
                Ok((socket, _)) => {
                    let (site, stop) = (Arc::clone(&site), stop.clone());
                    tasks.spawn_until_stop(async move {
                        let _place = place;
                        site.serve(socket, stop).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            }
        }
    }
}

struct Site {
    settings: ServerSettings,
    endpoints: Vec<Box<dyn Endpoint>>,
    turned_away: TurnAway,
    protection: Option<Protection>,
}

impl Site {
    async fn serve(self: Arc<Self>, socket: TcpStream, stop: CancellationToken) {
        tcp::tune(&socket, KEEP_ALIVE);
        tcp::give_up_after(&socket, self.settings.write_stall_max);
        let site = Arc::clone(&self);
        let service = service_fn(move |request| {
            let site = Arc::clone(&site);
            async move { Ok::<_, Infallible>(site.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.settings.header_read_max)
            .max_headers(HEADERS_MAX)
            .max_buf_size(self.settings.header_bytes_max.max(8192))
            .serve_connection(TokioIo::new(Stall::new(socket, self.settings.write_stall_max)), service);
        // On the heap, and moved there once: an idle stream should not hold its connection's state twice.
        let mut connection = Box::pin(connection);
        let served = tokio::select! {
            biased;
            served = connection.as_mut() => served,
            () = Signal::of(&stop) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection ended early");
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let origin = match self.settings.gate.check(request.headers()) {
            Ok(origin) => origin.cloned(),
            Err(TurnedAway::Host) => {
                return (self.turned_away)(403, "this server does not answer for that Host");
            }
            Err(TurnedAway::Origin) => {
                return (self.turned_away)(403, "this server does not serve that Origin");
            }
        };
        let mut incomer = Incomer::new(request);
        let response = if incomer.method == Method::OPTIONS && origin.is_some() {
            preflight()
        } else if let Some(metadata) = self.protection.as_ref().and_then(|it| it.metadata(&incomer)) {
            metadata
        } else {
            match self.endpoints.iter().find(|endpoint| endpoint.owns(&incomer.path)) {
                Some(endpoint) => match &self.protection {
                    Some(protection) if is_asked(&**endpoint, &incomer) => {
                        // On the heap: a server that asks nobody is not to carry its state in each connection.
                        Box::pin(enter(protection, &**endpoint, &mut incomer)).await
                    }
                    _ => endpoint.answer(&mut incomer).await,
                },
                None => plain(404, format!("nothing is served at this path; MCP is at {PATH}\n")),
            }
        };
        match origin {
            Some(origin) => for_browser(response, origin),
            None => response,
        }
    }
}

/// Whether it matters who sent the request: what is for everybody may say more to those who prove who they are.
fn is_asked(endpoint: &dyn Endpoint, incomer: &Incomer) -> bool {
    !endpoint.is_open(&incomer.path) || incomer.headers.contains_key(AUTHORIZATION)
}

/// Before anything else of the request is read, it is known who sent it.
async fn enter(protection: &Protection, endpoint: &dyn Endpoint, incomer: &mut Incomer) -> Response<Body> {
    match protection.admit(incomer).await {
        Err(response) if !endpoint.is_open(&incomer.path) => response,
        _ => without_foreign_challenge(endpoint.answer(incomer).await),
    }
}

/// What a browser asks before it lets a page of an allowed origin speak to us.
fn preflight() -> Response<Body> {
    let mut response = Response::new(Body::Full(None));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(BROWSER_MAY_SEND));
    response
}

fn for_browser(mut response: Response<Body>, origin: HeaderValue) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(BROWSER_MAY_READ));
    headers.append(VARY, HeaderValue::from_static("origin"));
    response
}
