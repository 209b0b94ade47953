//! The server on HTTP+SSE, which only the legacy eras have: a GET opens the stream and names the endpoint, POSTs are answered on the stream.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Connection, Fake, Out, Speaks};
use crate::tls::{Authority, Identity};
use crate::upstream::{Pieces, Reply, Seen, Upstream};

/// A running server on HTTP+SSE.
pub struct SseServer {
    /// Its HTTP side.
    pub upstream: Upstream,
}

#[derive(Default)]
struct Streams {
    open: Mutex<HashMap<String, Connection>>,
    made: Mutex<u64>,
}

impl SseServer {
    /// Starts it.
    pub async fn start() -> Self {
        Self { upstream: Upstream::start(answering()).await }
    }

    /// Starts it behind TLS.
    pub async fn start_secure(authority: &Authority, identity: &Identity) -> Self {
        Self { upstream: Upstream::start_secure(authority, identity, answering()).await }
    }

    /// Its URL, as `--upstream` takes it.
    pub fn url(&self) -> String {
        format!("sse+{}", self.upstream.url("/sse"))
    }
}

type Answering = Pin<Box<dyn Future<Output = Reply> + Send>>;

fn answering() -> impl Fn(Seen) -> Answering + Send + Sync + 'static {
    let (fake, streams) = (Arc::new(Fake::new(Speaks::Legacy, None)), Arc::<Streams>::default());
    move |seen| {
        let (fake, streams) = (Arc::clone(&fake), Arc::clone(&streams));
        Box::pin(async move { answer(&seen, fake, streams).await })
    }
}

async fn answer(seen: &Seen, fake: Arc<Fake>, streams: Arc<Streams>) -> Reply {
    if seen.method == http::Method::GET && seen.path == "/sse" {
        return open(&streams).await;
    }
    let known = seen
        .path
        .strip_prefix("/messages?id=")
        .and_then(|id| streams.open.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned());
    let Some(connection) = known else { return Reply::empty(404) };
    let text = seen.body.clone();
    #[expect(clippy::disallowed_methods, reason = "ends with its call, or with the test's runtime")]
    tokio::spawn(async move {
        let out = connection.standing.clone();
        fake.take(&text, &connection, &out).await;
    });
    Reply::empty(202)
}

async fn open(streams: &Arc<Streams>) -> Reply {
    let number = {
        let mut made = streams.made.lock().unwrap_or_else(PoisonError::into_inner);
        *made += 1;
        made.to_string()
    };
    let (standing, mut messages) = Out::new();
    let connection = Connection { name: format!("stream-{number}").into(), standing };
    streams.open.lock().unwrap_or_else(PoisonError::into_inner).insert(number.clone(), connection);
    let (pieces, reply) = Reply::events();
    pieces.write(format!("event: endpoint\r\ndata: /messages?id={number}\r\n\r\n")).await;
    let streams = Arc::clone(streams);
    #[expect(clippy::disallowed_methods, reason = "hyper owns the answer, and its end ends this task")]
    tokio::spawn(async move {
        relay(&mut messages, &pieces).await;
        streams.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    });
    reply
}

async fn relay(messages: &mut tokio::sync::mpsc::Receiver<String>, pieces: &Pieces) {
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Some(message) if pieces.event(&message).await => {}
                _ => return,
            },
            () = pieces.closed() => return,
        }
    }
}
