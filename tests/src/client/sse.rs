//! A client on HTTP+SSE.

use std::net::SocketAddr;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::raw::{get, post};

/// A client with its stream open.
pub struct SseClient {
    address: SocketAddr,
    endpoint: String,
    _reading: JoinSet<()>,
}

impl SseClient {
    pub(super) async fn open(address: SocketAddr, inbox: mpsc::Sender<String>) -> Self {
        let answer = get("/sse").header("Accept", "text/event-stream").send(address).await;
        let mut events = answer.events();
        let first = events.next().await.expect("a first event");
        assert_eq!(first.kind, "endpoint", "the first event names the endpoint");
        let mut reading = JoinSet::new();
        reading.spawn(async move {
            while let Some(event) = events.next_patiently().await {
                assert_eq!(event.kind, "message");
                if inbox.send(event.data).await.is_err() {
                    return;
                }
            }
        });
        Self { address, endpoint: first.data, _reading: reading }
    }

    pub(super) async fn send(&mut self, text: &str) {
        let answer = post(&self.endpoint, text).send(self.address).await;
        let (status, body) = (answer.status, answer.text().await);
        assert_eq!(status, 202, "{text}: {body}");
    }
}
