//! The way to the client: messages out, and the answers to our questions back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use shadowcat_protocol::{Id, Notification, Request, Response, json};
use tokio::sync::{mpsc, oneshot};

/// Lines waiting to be written; a client that does not read makes the server wait.
const LINES_MAX: usize = 64;
/// Questions that wait for the user.
const ASKS_MAX: usize = 16;
/// How long a user may think.
const ASK_WAIT: Duration = Duration::from_mins(5);

pub(super) type Lines = mpsc::Receiver<Bytes>;

/// The client. Clones are the same client.
#[derive(Clone)]
pub(super) struct Peer {
    out: mpsc::Sender<Bytes>,
    asks: Arc<Mutex<Asks>>,
}

#[derive(Default)]
struct Asks {
    last: u64,
    waiting: HashMap<u64, oneshot::Sender<Response>>,
}

impl Peer {
    pub(super) fn new() -> (Self, Lines) {
        let (out, lines) = mpsc::channel(LINES_MAX);
        (Self { out, asks: Arc::default() }, lines)
    }

    pub(super) async fn send(&self, text: &Bytes) {
        // A client that is gone is noticed where its messages are read.
        self.out.send(text.clone()).await.ok();
    }

    pub(super) async fn notify(&self, method: &str, params: &Value) {
        self.send(Notification::new(method, Some(&params.to_string())).text()).await;
    }

    /// Asks the client and waits for its result; `None` if it fails or takes too long.
    pub(super) async fn ask(&self, method: &str, params: &Value) -> Option<Value> {
        let (number, answer) = self.register()?;
        self.send(Request::new(&Id::from_u64(number), method, Some(&params.to_string())).text()).await;
        let response = tokio::time::timeout(ASK_WAIT, answer).await;
        self.take(number);
        serde_json::from_str(response.ok()?.ok()?.result_json()?).ok()
    }

    pub(super) fn answer(&self, response: Response) {
        let waiting = response.id().and_then(Id::as_u64).and_then(|number| self.take(number));
        if let Some(waiting) = waiting {
            // Whoever asked may have been cancelled meanwhile.
            waiting.send(response).ok();
        }
    }

    fn register(&self) -> Option<(u64, oneshot::Receiver<Response>)> {
        let mut asks = self.asks.lock().unwrap_or_else(PoisonError::into_inner);
        if asks.waiting.len() >= ASKS_MAX {
            return None;
        }
        let (sender, answer) = oneshot::channel();
        asks.last += 1;
        let number = asks.last;
        asks.waiting.insert(number, sender);
        Some((number, answer))
    }

    fn take(&self, number: u64) -> Option<oneshot::Sender<Response>> {
        self.asks.lock().unwrap_or_else(PoisonError::into_inner).waiting.remove(&number)
    }
}

/// The progress of one call, told if the client asked for it.
pub(super) struct Progress {
    pub(super) peer: Peer,
    pub(super) token: Option<Value>,
}

impl Progress {
    pub(super) fn of(peer: &Peer, request: &Request) -> Self {
        let token = request.progress_token().and_then(|raw| serde_json::from_str(raw).ok());
        Self { peer: peer.clone(), token }
    }

    pub(super) async fn tell(&self, done: u64, total: u64) {
        let Some(token) = &self.token else { return };
        let params = serde_json::json!({"progressToken": token, "progress": done, "total": total});
        self.peer.notify(shadowcat_protocol::method::PROGRESS, &params).await;
    }
}

/// The decoded text of a member of `params._meta`.
pub(super) fn meta_text(request: &Request, key: &str) -> Option<String> {
    request.meta(key).and_then(json::string).map(std::borrow::Cow::into_owned)
}
