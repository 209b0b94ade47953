//! The lines of one client: what it sends, and who is told what comes.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};
use shadowcat_protocol::{Id, Message, Notification, Request, Response, lines, method};
use shadowcat_tape::message_limits;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::pace::Pace;
use super::stock::Stock;

const CHUNK_BYTES: usize = 64 * 1024;
/// The proxy in front bounds messages before we see them.
const LINE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes of what a server says, in calls and outside, that are kept; beyond that it counts as unsaid.
const HEARD_BYTES_MAX: usize = 256 * 1024 * 1024;
/// What a kept message takes beside its own bytes, about.
const MESSAGE_BYTES: usize = 64;

/// One client's lines.
pub(super) struct Wire<W> {
    output: tokio::sync::Mutex<W>,
    /// How long a message may take to be taken.
    patience: Duration,
    table: Mutex<Table>,
}

/// Who waits for what.
#[derive(Default)]
struct Table {
    last_id: u64,
    open: HashMap<u64, Open>,
    heard: Vec<Box<str>>,
    /// The methods of what was heard.
    methods: HashSet<String>,
    /// Bytes that are kept for calls and of what was heard.
    bytes: usize,
    /// Nothing more comes.
    is_over: bool,
}

impl Table {
    /// Keeps what was said for a call, or for none.
    fn keep(&mut self, note: &Notification, call: Option<u64>, is_outside: bool) {
        self.bytes += note.text().len() + MESSAGE_BYTES;
        if self.bytes > HEARD_BYTES_MAX {
            return;
        }
        let text = String::from_utf8_lossy(note.text()).into();
        if let Some(open) = call.and_then(|id| self.open.get_mut(&id)) {
            open.between.push(text);
        } else if is_outside {
            self.methods.insert(note.method().to_owned());
            self.heard.push(text);
        }
    }
}

struct Open {
    between: Vec<Box<str>>,
    answer: oneshot::Sender<Box<str>>,
}

/// A call on its way.
pub(super) struct Asked {
    pub(super) id: u64,
    pub(super) at: Instant,
    pub(super) answer: oneshot::Receiver<Box<str>>,
}

impl<W: AsyncWrite + Unpin> Wire<W> {
    pub(super) fn new(output: W, patience: Duration) -> Self {
        Self { output: tokio::sync::Mutex::new(output), patience, table: Mutex::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request under an id of its own; that is its progress token too.
    pub(super) async fn ask(&self, request: &Request) -> Asked {
        let (answer, receiver) = oneshot::channel();
        let at = Instant::now();
        let id = {
            let mut table = self.table();
            table.last_id += 1;
            let id = table.last_id;
            if !table.is_over {
                table.open.insert(id, Open { between: Vec::new(), answer });
            }
            id
        };
        let request = request.with_ids(&Id::from_u64(id), Some(id));
        self.say(&Message::Request(request)).await;
        Asked { id, at, answer: receiver }
    }

    /// What came for a call before its answer; its answer comes to nobody from here on.
    pub(super) fn take(&self, id: u64) -> Vec<Box<str>> {
        self.table().open.remove(&id).map_or_else(Vec::new, |open| open.between)
    }

    /// How much came for a call before its answer.
    pub(super) fn came(&self, id: u64) -> usize {
        self.table().open.get(&id).map_or(0, |open| open.between.len())
    }

    /// Sends a message. That nobody takes it shows in the answers that never come.
    pub(super) async fn say(&self, message: &Message) {
        let line = message.to_line();
        let mut output = self.output.lock().await;
        let sent = async {
            output.write_all(&line).await?;
            output.write_all(b"\n").await?;
            output.flush().await
        };
        match tokio::time::timeout(self.patience, sent).await {
            Ok(Ok(())) => (),
            Ok(Err(error)) => tracing::debug!(%error, "the line to the server is closed"),
            Err(_) => tracing::warn!("a message was not taken in time"),
        }
    }

    /// What was heard outside of calls; nothing more is kept of it.
    pub(super) fn take_heard(&self) -> Vec<Box<str>> {
        std::mem::take(&mut self.table().heard)
    }

    /// Whether all these methods were heard outside of calls.
    pub(super) fn has_heard(&self, methods: &[&str]) -> bool {
        let table = self.table();
        methods.iter().all(|method| table.methods.contains(*method))
    }

    /// Reads to the end of the input, and answers what the server asks from the stock.
    pub(super) async fn read(&self, mut input: impl AsyncRead + Unpin, pace: &Pace, stock: &Mutex<Stock>) {
        let mut decoder = lines::Decoder::new(LINE_BYTES_MAX);
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut replies = FuturesUnordered::new();
        loop {
            while let Some(line) = decoder.next_line() {
                let Ok(text) = line else { continue };
                if let Some(request) = self.take_line(text) {
                    replies.push(self.reply(request, pace, stock));
                }
            }
            tokio::select! {
                read = input.read(&mut chunk) => match read {
                    Ok(0) | Err(_) => break,
                    Ok(bytes) => decoder.push(chunk.get(..bytes).unwrap_or_default()),
                },
                Some(()) = replies.next() => (),
            }
        }
        let mut table = self.table();
        table.is_over = true;
        table.open.clear();
    }

    /// Gives a line to whom it is for, and gives back what the server asks.
    fn take_line(&self, text: Bytes) -> Option<Request> {
        let Ok(message) = Message::parse(text, &message_limits()) else {
            tracing::warn!("the proxy wrote a line that is no message");
            return None;
        };
        let text = || String::from_utf8_lossy(message.text()).into();
        match &message {
            Message::Request(request) => return Some(request.clone()),
            Message::Response(response) => {
                let id = response.id().and_then(Id::as_u64);
                let mut table = self.table();
                // What came before the answer stays until the asker takes it.
                if let Some(open) = id.and_then(|id| table.open.get_mut(&id)) {
                    let (closed, _) = oneshot::channel();
                    let answer = std::mem::replace(&mut open.answer, closed);
                    answer.send(text()).ok();
                }
            }
            Message::Notification(note) => {
                let about = note.progress_token().or_else(|| note.subscription_id());
                let id = about.and_then(|raw| raw.parse::<u64>().ok());
                self.table().keep(note, id, about.is_none());
            }
        }
        None
    }

    async fn reply(&self, request: Request, pace: &Pace, stock: &Mutex<Stock>) {
        let (reply, took) = if request.method() == method::PING {
            (json!({"result": {}}), Duration::ZERO)
        } else {
            let asked = serde_json::from_slice(request.text()).unwrap_or(Value::Null);
            stock.lock().unwrap_or_else(PoisonError::into_inner).answer(&asked)
        };
        tokio::time::sleep(pace.speed.scaled(took)).await;
        if let Some(response) = response(request.id(), &reply) {
            self.say(&Message::Response(response)).await;
        }
    }
}

/// `result` or `error` as a response.
fn response(id: &Id, reply: &Value) -> Option<Response> {
    let mut text = reply.clone();
    let members = text.as_object_mut()?;
    members.insert("jsonrpc".to_owned(), json!("2.0"));
    members.insert("id".to_owned(), serde_json::from_str(id.as_json()).ok()?);
    match Message::parse(text.to_string().into(), &message_limits()) {
        Ok(Message::Response(response)) => Some(response.with_id(id)),
        _ => None,
    }
}
