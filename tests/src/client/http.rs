//! A client on Streamable HTTP.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::raw::{Answer, Ask, get, post};
use crate::server::{member, path};

/// A client with one session at most.
pub struct HttpClient {
    address: SocketAddr,
    inbox: mpsc::Sender<String>,
    session: Arc<Mutex<Option<String>>>,
    revision: Option<String>,
    reading: JoinSet<()>,
}

impl HttpClient {
    pub(super) fn new(address: SocketAddr, inbox: mpsc::Sender<String>) -> Self {
        Self { address, inbox, session: Arc::default(), revision: None, reading: JoinSet::new() }
    }

    pub(super) fn session(&self) -> Option<String> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn with_session(&self, mut ask: Ask) -> Ask {
        if let Some(session) = self.session() {
            ask = ask.header("Mcp-Session-Id", &session);
        }
        match &self.revision {
            Some(revision) if revision.as_str() >= "2025-06-18" => {
                ask.header("MCP-Protocol-Version", revision)
            }
            _ => ask,
        }
    }

    pub(super) async fn send(&mut self, text: &str) {
        let ask = self.with_session(post("/mcp", text));
        let (address, inbox) = (self.address, self.inbox.clone());
        match member(text, "method").as_deref() {
            Some("\"initialize\"") => {
                let answer = ask.send(address).await;
                let id = answer.header("mcp-session-id").map(str::to_owned);
                *self.session.lock().unwrap_or_else(PoisonError::into_inner) = id;
                let response = answer.message().await;
                let agreed = path(&response, &["result", "protocolVersion"]);
                self.revision = agreed.and_then(|raw| serde_json::from_str(&raw).ok());
                drop(inbox.send(response).await);
            }
            Some(_) if member(text, "id").is_some() => {
                let back = self.with_session(get("/mcp").header("Accept", "text/event-stream"));
                self.reading.spawn(async move {
                    let answer = ask.send_patiently(address).await;
                    if answer.is_stream() {
                        read_to_the_response(address, answer, back, &inbox).await;
                    } else {
                        deliver(&inbox, answer.text_patiently().await).await;
                    }
                });
            }
            _ => {
                let answer = ask.send(address).await;
                let (status, body) = (answer.status, answer.text().await);
                assert_eq!(status, 202, "{text}: {body}");
            }
        }
    }

    /// Opens the standing stream.
    pub(super) async fn listen(&mut self) {
        let ask = self.with_session(get("/mcp").header("Accept", "text/event-stream"));
        let answer = ask.send(self.address).await;
        assert_eq!(answer.status, 200, "the standing stream");
        let inbox = self.inbox.clone();
        self.reading.spawn(async move {
            let mut events = answer.events();
            while let Some(event) = events.next_patiently().await {
                if !event.data.is_empty() && !deliver(&inbox, event.data).await {
                    return;
                }
            }
        });
    }
}

async fn deliver(inbox: &mpsc::Sender<String>, text: String) -> bool {
    inbox.send(text).await.is_ok()
}

/// Reads a stream up to its response; where it ends before, comes back for the rest as `back` with the last event's id.
pub async fn read_to_the_response(
    address: SocketAddr,
    mut answer: Answer,
    back: Ask,
    inbox: &mpsc::Sender<String>,
) {
    let mut last = None;
    loop {
        let mut events = answer.events();
        while let Some(event) = events.next_patiently().await {
            last = event.id.or(last);
            let is_response = !event.data.is_empty() && member(&event.data, "method").is_none();
            if !event.data.is_empty() && !deliver(inbox, event.data).await || is_response {
                return;
            }
        }
        let Some(last) = &last else { return };
        answer = back.clone().header("Last-Event-ID", last).send_patiently(address).await;
        if !answer.is_stream() {
            return;
        }
    }
}
