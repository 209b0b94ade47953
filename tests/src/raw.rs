//! HTTP requests with every header in the test's hand, and answers as they come.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::wait::soon;

/// A request to be sent.
#[derive(Clone)]
pub struct Ask {
    method: Method,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Bytes,
    narrow: bool,
}

/// A message by POST, with the headers every revision asks for.
pub fn post(path: &str, body: &str) -> Ask {
    ask(Method::POST, path)
        .header("Content-Type", "application/json")
        .header("Accept", "application/json, text/event-stream")
        .body(body)
}

/// A GET.
pub fn get(path: &str) -> Ask {
    ask(Method::GET, path)
}

/// Any request.
pub fn ask(method: Method, path: &str) -> Ask {
    Ask { method, path: path.into(), headers: Vec::new(), body: Bytes::new(), narrow: false }
}

impl Ask {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.as_bytes().to_vec()));
        self
    }

    /// Adds a bearer token.
    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// Adds headers.
    pub fn headers(mut self, headers: &[(&str, &str)]) -> Self {
        for (name, value) in headers {
            self = self.header(name, value);
        }
        self
    }

    /// Takes a header away.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(present, _)| !present.eq_ignore_ascii_case(name));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: &str) -> Self {
        self.body = Bytes::copy_from_slice(body.as_bytes());
        self
    }

    /// The connection takes in as little as the system allows before the answer is read.
    pub fn narrow(mut self) -> Self {
        self.narrow = true;
        self
    }

    /// Sends it on a connection of its own and waits for the head of the answer.
    pub async fn send(self, to: SocketAddr) -> Answer {
        let what = format!("an answer to {} {} {:?}", self.method, self.path, self.body);
        soon(what, self.send_patiently(to)).await
    }

    /// As [`Self::send`], without a deadline.
    pub async fn send_patiently(self, to: SocketAddr) -> Answer {
        self.attempt(to).await.expect("an HTTP answer")
    }

    /// Sends it; the connection may break before the head of the answer.
    pub async fn attempt(self, to: SocketAddr) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let socket = TcpSocket::new_v4()?;
        if self.narrow {
            socket.set_recv_buffer_size(4096)?;
        }
        let socket = socket.connect(to).await?;
        socket.set_nodelay(true)?;
        let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
        let mut connection = JoinSet::new();
        connection.spawn(async move { drop(driver.await) });
        let mut request = Request::builder().method(self.method).uri(self.path);
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request = request.header("Host", to.to_string());
        }
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let response = sender.send_request(request.body(Full::new(self.body))?).await?;
        let (parts, body) = response.into_parts();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body, _connection: connection })
    }
}

/// An answer whose body is read when it is asked for. Dropped, its connection closes.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
    _connection: JoinSet<()>,
}

impl Answer {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether the body is an event stream.
    pub fn is_stream(&self) -> bool {
        self.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"))
    }

    /// The whole body; what came of it, if the connection broke.
    pub async fn text(self) -> String {
        soon("the whole body", self.text_patiently()).await
    }

    /// As [`Self::text`], without a deadline.
    pub async fn text_patiently(mut self) -> String {
        let mut bytes = Vec::new();
        while let Some(Ok(frame)) = self.body.frame().await {
            bytes.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
        }
        String::from_utf8(bytes).expect("UTF-8")
    }

    /// The next bytes of the body; `None` at its end, whether in order or broken.
    pub async fn chunk(&mut self) -> Option<Bytes> {
        self.body.frame().await?.ok()?.into_data().ok()
    }

    /// The body as events.
    pub fn events(self) -> Events {
        assert!(self.is_stream(), "no event stream: {} {:?}", self.status, self.headers);
        Events { answer: self, text: Vec::new(), scanned: 0, ready: VecDeque::new(), comments: 0 }
    }

    /// The only JSON-RPC message that answers a request, whichever way it came; messages before it are dropped.
    pub async fn message(self) -> String {
        if !self.is_stream() {
            return self.text().await;
        }
        let mut last = String::new();
        for event in self.events().rest().await {
            last = event.data;
        }
        last
    }
}

/// One event of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its type; `message` when it names none.
    pub kind: String,
    /// Its data.
    pub data: String,
    /// Its id.
    pub id: Option<String>,
}

/// The events of an answer.
pub struct Events {
    answer: Answer,
    text: Vec<u8>,
    scanned: usize,
    ready: VecDeque<Event>,
    /// Comments so far.
    pub comments: usize,
}

impl Events {
    /// The next event, priming ones included; `None` at the end.
    pub async fn next_patiently(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let chunk = self.answer.chunk().await?;
            self.take(&chunk);
        }
    }

    /// [`Self::next_patiently`] with the usual deadline.
    pub async fn next(&mut self) -> Option<Event> {
        soon("an event, or the end of the stream", self.next_patiently()).await
    }

    /// The data of the next event that has some.
    pub async fn message(&mut self) -> String {
        loop {
            let event = self.next().await.expect("another event");
            if !event.data.is_empty() {
                return event.data;
            }
        }
    }

    /// The events up to the end of the stream that have data.
    pub async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            if !event.data.is_empty() {
                events.push(event);
            }
        }
        events
    }

    fn take(&mut self, chunk: &[u8]) {
        self.text.extend(chunk.iter().copied().filter(|byte| *byte != b'\r'));
        while let Some(end) = self.text.windows(2).skip(self.scanned).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = self.text.drain(..self.scanned + end + 2).collect();
            self.scanned = 0;
            let block = String::from_utf8(block).expect("UTF-8");
            self.comments += block.lines().filter(|line| line.starts_with(':')).count();
            self.ready.extend(event(&block));
        }
        self.scanned = self.text.len().saturating_sub(1);
    }
}

fn event(block: &str) -> Option<Event> {
    let field = |name: &str| {
        let values = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        values.map(|value| value.strip_prefix(' ').unwrap_or(value).to_owned()).collect::<Vec<_>>()
    };
    let (data, id, kind) = (field("data"), field("id").pop(), field("event").pop());
    if data.is_empty() && id.is_none() {
        return None;
    }
    Some(Event { kind: kind.unwrap_or_else(|| "message".into()), data: data.join("\n"), id })
}
