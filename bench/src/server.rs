//! An HTTP/1.1 listener on the loopback address: accepts, owns its connections, knows nothing of what they serve.

use std::convert::Infallible;
use std::error::Error;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::HttpService;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::error::BenchError;

/// Connections served at a time; further ones wait in the system's backlog.
const CONNECTIONS_MAX: usize = 20_000;

/// Serves until the process ends. Says on stderr where, in the form that [`crate::process`] waits for.
pub(crate) async fn serve<S, B>(port: u16, service: S) -> Result<(), BenchError>
where
    S: HttpService<Incoming, ResBody = B, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    eprintln!("ready on http://{}/mcp", listener.local_addr()?);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                let (stream, _) = accepted?;
                connections.spawn(connection(stream, service.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// A client that goes away is no fault of this side: the load notices what is missing.
async fn connection<S, B>(stream: TcpStream, service: S)
where
    S: HttpService<Incoming, ResBody = B, Error = Infallible>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    if stream.set_nodelay(true).is_ok() {
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }
}
