//! One keep-alive HTTP/1.1 connection of a client.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::http::request::Builder;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::error::BenchError;

/// Longest wait for a whole answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);
/// Largest answer read.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Where the calls go.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    address: String,
    path: String,
}

impl std::str::FromStr for Target {
    type Err = BenchError;

    fn from_str(url: &str) -> Result<Self, BenchError> {
        let bad = || BenchError::BadUrl(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let authority = uri.authority().filter(|authority| authority.port().is_some()).ok_or_else(bad)?;
        Ok(Self { address: authority.to_string(), path: uri.path().to_owned() })
    }
}

/// An answer read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) session: Option<String>,
    pub(crate) is_stream: bool,
    pub(crate) body: Bytes,
}

/// An open connection; dropping it closes it.
#[derive(Debug)]
pub(crate) struct Connection {
    target: Target,
    sender: SendRequest<Full<Bytes>>,
    _driver: JoinSet<()>,
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(target: &Target) -> Result<Self, BenchError> {
        let stream = TcpStream::connect(&target.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // A connection that breaks fails the request that was on it.
            let _ = connection.await;
        });
        Ok(Self { target: target.clone(), sender, _driver: driver })
    }

    /// Sends a message and reads its whole answer.
    pub(crate) async fn post(
        &mut self,
        headers: &[(&str, &str)],
        message: String,
    ) -> Result<Reply, BenchError> {
        self.post_within(ANSWER_DEADLINE, headers, message).await
    }

    /// [`Self::post`], for what takes longer than an answer may.
    pub(crate) async fn post_within(
        &mut self,
        deadline: Duration,
        headers: &[(&str, &str)],
        message: String,
    ) -> Result<Reply, BenchError> {
        let request = self
            .request(Method::POST, headers)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
            .body(Full::from(message))?;
        self.exchange(deadline, request).await
    }

    /// Ends a session.
    pub(crate) async fn delete(&mut self, headers: &[(&str, &str)]) -> Result<Reply, BenchError> {
        let request = self.request(Method::DELETE, headers).body(Full::default())?;
        self.exchange(ANSWER_DEADLINE, request).await
    }

    /// Opens an event stream and leaves it open.
    pub(crate) async fn listen(&mut self, headers: &[(&str, &str)]) -> Result<Incoming, BenchError> {
        let request =
            self.request(Method::GET, headers).header(ACCEPT, "text/event-stream").body(Full::default())?;
        let response = within(ANSWER_DEADLINE, "event stream", self.send(request)).await?;
        if response.status() == StatusCode::OK {
            Ok(response.into_body())
        } else {
            Err(BenchError::Handshake { step: "GET", found: response.status().to_string() })
        }
    }

    fn request(&self, method: Method, headers: &[(&str, &str)]) -> Builder {
        let builder =
            Request::builder().method(method).uri(&self.target.path).header(HOST, &self.target.address);
        headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value))
    }

    async fn exchange(
        &mut self,
        deadline: Duration,
        request: Request<Full<Bytes>>,
    ) -> Result<Reply, BenchError> {
        within(deadline, "answer", async {
            let (head, body) = self.send(request).await?.into_parts();
            let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(std::io::Error::other)?;
            Ok(Reply {
                status: head.status,
                session: header("mcp-session-id").map(str::to_owned),
                is_stream: header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")),
                body: body.to_bytes(),
            })
        })
        .await
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, BenchError> {
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }
}

/// Runs `work` until `deadline`.
pub(crate) async fn within<T>(
    deadline: Duration,
    awaited: &'static str,
    work: impl Future<Output = Result<T, BenchError>>,
) -> Result<T, BenchError> {
    let late = |_| BenchError::Late { awaited, seconds: deadline.as_secs() };
    tokio::time::timeout(deadline, work).await.map_err(late)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_needs_a_host_and_a_port() {
        assert!("http://127.0.0.1:80/mcp".parse::<Target>().is_ok());
        assert!("http://127.0.0.1/mcp".parse::<Target>().is_err());
        assert!("/mcp".parse::<Target>().is_err());
    }
}
