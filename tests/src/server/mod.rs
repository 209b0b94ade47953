//! One MCP server of both eras, on three transports. What a call asks for decides how it behaves: see [`tools`].
//!
//! It answers with the bytes it was given wherever it can, so that a test sees what arrived, digit for digit.

mod asking;
mod era;
mod http;
mod pipe;
mod sse;
mod tools;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::{Notify, mpsc, oneshot};

pub use era::Speaks;
pub use http::{Answers, HttpServer, HttpSettings};
pub use pipe::{StdioScript, run};
pub use sse::SseServer;

/// Messages that wait for a reader.
const OUT_MAX: usize = 1024;
pub(crate) const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
pub(crate) const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// The outline of a message; everything in it is the sender's text.
#[derive(Deserialize)]
struct Outline<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

/// A member of a JSON object, as JSON text.
pub fn member(object: &str, name: &str) -> Option<String> {
    let members: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(object).ok()?;
    members.get(name).map(|raw| raw.get().to_owned())
}

/// A member found by walking objects, as JSON text.
pub fn path(object: &str, names: &[&str]) -> Option<String> {
    names.iter().try_fold(object.to_owned(), |object, name| member(&object, name))
}

/// Where messages of the server go.
#[derive(Clone)]
pub struct Out(mpsc::Sender<String>);

impl Out {
    /// A way out and what comes of it.
    pub fn new() -> (Self, mpsc::Receiver<String>) {
        let (sender, receiver) = mpsc::channel(OUT_MAX);
        (Self(sender), receiver)
    }

    /// Sends a message; false when nobody takes it.
    pub async fn send(&self, message: impl Into<String>) -> bool {
        self.0.send(message.into()).await.is_ok()
    }
}

/// One connection of a client: a pipe, or an HTTP session.
#[derive(Clone)]
pub struct Connection {
    /// Its name, for tests that tell connections apart.
    pub name: Arc<str>,
    /// Where messages go that belong to no request.
    pub standing: Out,
}

/// The server's memory, shared by its connections.
#[derive(Default)]
pub struct Fake {
    speaks: Speaks,
    /// The code with which `server/discover` is refused where it means nothing.
    discover_code: Option<i32>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Answers awaited from clients, by connection and id.
    asked: HashMap<(Arc<str>, String), oneshot::Sender<String>>,
    /// Requests a client has cancelled, by connection and id.
    cancelled: Vec<(Arc<str>, String)>,
    /// Calls that do not answer by themselves, by connection, since its start.
    parked: HashMap<Arc<str>, usize>,
    /// Calls that wait for `release`.
    held: Vec<(Out, String)>,
    listens: Vec<Listen>,
    questions: u64,
    /// What the client of a connection can be asked, and the level of its log.
    clients: HashMap<Arc<str>, Client>,
    /// How often a tool was called, by connection and tool.
    counts: HashMap<(Arc<str>, String), u64>,
}

/// An open subscription.
#[derive(Clone)]
struct Listen {
    out: Out,
    id: String,
    /// The resources it asked for, as JSON text.
    resources: Option<String>,
}

/// What a connection is told of its client.
#[derive(Clone, Default)]
struct Client {
    capabilities: String,
    log_level: Option<String>,
}

impl Fake {
    /// A server of these eras.
    pub fn new(speaks: Speaks, discover_code: Option<i32>) -> Self {
        Self { speaks, discover_code, ..Self::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one message. What belongs to it goes to `reply`; returns when nothing more will.
    pub async fn take(&self, text: &str, connection: &Connection, reply: &Out) {
        let Ok(outline) = serde_json::from_str::<Outline<'_>>(text) else {
            reply.send(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"not JSON"}}"#).await;
            return;
        };
        let params = outline.params.map_or("{}", RawValue::get);
        match (outline.method.as_deref(), outline.id) {
            (Some(method), Some(id)) => {
                let call = tools::Call { fake: self, connection, reply, id: id.get(), params, text };
                call.answer(method).await;
            }
            (Some(method), None) => self.note(method, params, connection),
            (None, Some(id)) => {
                let asker = self.state().asked.remove(&(Arc::clone(&connection.name), id.get().to_owned()));
                if let Some(asker) = asker {
                    drop(asker.send(text.to_owned()));
                }
            }
            (None, None) => {}
        }
    }

    fn note(&self, method: &str, params: &str, connection: &Connection) {
        if method == "notifications/cancelled"
            && let Some(id) = member(params, "requestId")
        {
            self.state().cancelled.push((Arc::clone(&connection.name), id));
            self.changed.notify_waiters();
        }
    }

    /// Asks the client and waits for its whole answer.
    async fn ask(&self, connection: &Connection, out: &Out, method: &str, params: &str) -> String {
        let id = {
            let mut state = self.state();
            state.questions += 1;
            format!("\"ask-{}\"", state.questions)
        };
        self.ask_as(&id, connection, out, method, params).await
    }

    /// As [`Self::ask`], under an id of the caller's choice.
    async fn ask_as(
        &self,
        id: &str,
        connection: &Connection,
        out: &Out,
        method: &str,
        params: &str,
    ) -> String {
        let (asker, answer) = oneshot::channel();
        self.state().asked.insert((Arc::clone(&connection.name), id.to_owned()), asker);
        out.send(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)).await;
        answer.await.unwrap_or_default()
    }

    /// One more call of this tool on this connection.
    fn count(&self, connection: &Connection, tool: &str) -> u64 {
        let mut state = self.state();
        let count = state.counts.entry((Arc::clone(&connection.name), tool.to_owned())).or_default();
        *count += 1;
        *count
    }

    fn park(&self, connection: &Connection) {
        *self.state().parked.entry(Arc::clone(&connection.name)).or_default() += 1;
        self.changed.notify_waiters();
    }

    async fn wait_parked(&self, connection: &Connection, count: usize) {
        loop {
            let changed = self.changed.notified();
            if self.state().parked.get(&connection.name).copied().unwrap_or(0) >= count {
                return;
            }
            changed.await;
        }
    }

    async fn wait_cancelled(&self, connection: &Connection, id: &str) {
        loop {
            let changed = self.changed.notified();
            let mine = |(name, cancelled): &(Arc<str>, String)| *name == connection.name && cancelled == id;
            if self.state().cancelled.iter().any(mine) {
                return;
            }
            changed.await;
        }
    }
}
