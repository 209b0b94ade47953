//! A legacy client's session, between a scripted modern server and a scripted client.

mod asking;
mod feed;
mod interleaving;
mod session;
mod tasks;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{
    Back, Chain, Envelope, ExchangeId, Origin, PeerId, Refusal, RefusalKind, Replies, Service, Transport,
    UpstreamSide,
};
use shadowcat_protocol::{Id, Limits, Message, Notification, Request, Response, Revision};
use tokio::sync::{mpsc, watch};

use super::{ModernServer, Resumed, ToModern, ToModernSettings};
use crate::Counters;

/// How long a test waits for a state.
const PATIENCE: Duration = Duration::from_mins(2);

/// What a peer does about a request.
enum Play {
    Result(Value),
    /// A code, and the data.
    Error(i64, Value),
    /// Notifications first, then the result.
    After(Vec<Value>, Value),
    /// These messages, and then nothing until the sender goes.
    Open(mpsc::Receiver<Value>),
    Refuse(Refusal),
    Silence,
}

type Script = Box<dyn FnMut(&Value) -> Play + Send>;

/// Counts what is still awaited.
struct Awaited(Arc<AtomicUsize>);

impl Awaited {
    fn one(all: &Arc<AtomicUsize>) -> Self {
        all.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(all))
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A peer that keeps what it was sent and answers by a script.
struct Peer {
    seen: Mutex<Vec<Value>>,
    script: Mutex<Script>,
    awaited: Arc<AtomicUsize>,
    /// Which messages wait because the pipe to it is full.
    full_for: watch::Sender<fn(&Value) -> bool>,
    /// How often it was lost: then what it is silent about ends.
    lost: watch::Sender<usize>,
}

impl Peer {
    fn new(script: impl FnMut(&Value) -> Play + Send + 'static) -> Arc<Self> {
        Arc::new(Self {
            seen: Mutex::default(),
            script: Mutex::new(Box::new(script)),
            awaited: Arc::default(),
            full_for: watch::Sender::new(|_| false),
            lost: watch::Sender::default(),
        })
    }

    fn take(&self, message: &Message) -> Result<Replies, Refusal> {
        let sent: Value = serde_json::from_slice(message.text()).unwrap();
        self.seen.lock().unwrap().push(sent.clone());
        let Message::Request(request) = message else { return Ok(Replies::none()) };
        let id = request.id().clone();
        let play = (self.script.lock().unwrap())(&sent);
        let awaited = Awaited::one(&self.awaited);
        let replies = match play {
            Play::Result(result) => {
                Replies::one(Message::Response(Response::result(&id, &result.to_string())))
            }
            Play::Error(code, data) => {
                let data = (!data.is_null()).then(|| data.to_string());
                let error = shadowcat_protocol::ErrorObject { code, message: "so".into(), data };
                Replies::one(Message::Response(Response::error(Some(&id), &error)))
            }
            Play::After(notes, result) => {
                let last = Message::Response(Response::result(&id, &result.to_string()));
                let all: Vec<_> = notes.iter().map(message_of).chain([last]).map(Ok).collect();
                Replies::stream(futures_util::stream::iter(all))
            }
            Play::Open(messages) => {
                Replies::stream(futures_util::stream::unfold(messages, |mut messages| async move {
                    let message = messages.recv().await?;
                    Some((Ok(message_of(&message)), messages))
                }))
            }
            Play::Refuse(refusal) => return Err(refusal),
            Play::Silence => {
                let mut lost = self.lost.subscribe();
                Replies::stream(futures_util::stream::once(async move {
                    // Until then the one who tells of it is there.
                    lost.changed().await.unwrap();
                    Err(RefusalKind::UpstreamExited.into())
                }))
            }
        };
        Ok(replies.hold(awaited))
    }

    fn seen(&self) -> Vec<Value> {
        self.seen.lock().unwrap().clone()
    }

    fn of(&self, method: &str) -> Vec<Value> {
        self.seen().into_iter().filter(|sent| sent["method"] == method).collect()
    }

    /// Requests whose answers somebody still waits for.
    fn awaited(&self) -> usize {
        self.awaited.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Service for Peer {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        assert!(envelope.origin.revision.is_modern());
        envelope.origin.upstream.get_or_init(|| UpstreamSide {
            name: "up".into(),
            transport: Transport::Stdio,
            revision: Revision::V2026_07_28,
        });
        let sent: Value = serde_json::from_slice(envelope.message.text()).unwrap();
        self.full_for.subscribe().wait_for(|is_full| !is_full(&sent)).await.unwrap();
        self.take(&envelope.message)
    }
}

#[async_trait]
impl Back for Peer {
    async fn deliver(
        &self,
        message: Message,
        related: Option<ExchangeId>,
        from: &UpstreamSide,
    ) -> Result<Replies, Refusal> {
        assert_eq!(
            related.is_some(),
            matches!(message, Message::Request(_)),
            "only questions belong to a call"
        );
        assert_eq!(&*from.name, "up");
        self.take(&message)
    }

    fn let_go(&self, _: ExchangeId, _: Duration) {}

    fn stream_lost(&self) {}
}

fn message_of(value: &Value) -> Message {
    Message::parse(value.to_string().into(), &Limits::default()).unwrap()
}

/// A session between two peers.
struct Bench {
    server: Arc<Peer>,
    client: Arc<Peer>,
    counters: Arc<Counters>,
    shared: Arc<ModernServer>,
    session: Arc<ToModern>,
    tasks: Tasks,
    peer: PeerId,
}

impl Bench {
    fn new(
        server: impl FnMut(&Value) -> Play + Send + 'static,
        client: impl FnMut(&Value) -> Play + Send + 'static,
    ) -> Self {
        Self::restored(Resumed::default(), server, client)
    }

    fn restored(
        resumed: Resumed,
        server: impl FnMut(&Value) -> Play + Send + 'static,
        client: impl FnMut(&Value) -> Play + Send + 'static,
    ) -> Self {
        let (server, client) = (Peer::new(server), Peer::new(client));
        let side =
            UpstreamSide { name: "up".into(), transport: Transport::Http, revision: Revision::V2026_07_28 };
        let counters = Arc::new(Counters::default());
        let service = Arc::clone(&server) as Arc<dyn Service>;
        let settings = ToModernSettings::new(side);
        let figures = Arc::clone(&counters);
        let shared = ModernServer::new(service, Chain::default(), settings, figures, Tasks::new());
        let tasks = Tasks::new();
        let session = ToModern::new(Arc::clone(&shared), Arc::clone(&client) as _, resumed, &tasks);
        Self { server, client, counters, shared, session, tasks, peer: PeerId::next() }
    }

    /// A session of another client with the same server.
    fn beside(&self, client: impl FnMut(&Value) -> Play + Send + 'static) -> Self {
        let client = Peer::new(client);
        let (shared, tasks) = (Arc::clone(&self.shared), Tasks::new());
        let session =
            ToModern::new(Arc::clone(&shared), Arc::clone(&client) as _, Resumed::default(), &tasks);
        let (server, counters) = (Arc::clone(&self.server), Arc::clone(&self.counters));
        Self { server, client, counters, shared, session, tasks, peer: PeerId::next() }
    }

    async fn send(&self, message: Message) -> Result<Replies, Refusal> {
        let origin = Origin::new(self.peer, Transport::Http, Revision::V2025_11_25);
        self.session.handle(Envelope::to_server(message, Arc::new(origin))).await
    }

    async fn start(&self, id: &str, method: &str, params: &Value) -> Replies {
        let request = Request::new(&Id::parse_json(id).unwrap(), method, Some(&params.to_string()));
        self.send(Message::Request(request)).await.unwrap()
    }

    /// The response to a request whose id is a text, so that nothing of ours can be taken for it.
    async fn ask(&self, method: &str, params: Value) -> Value {
        let mut replies = self.start(r#""c-1""#, method, &params).await;
        let all = rest(&mut replies).await;
        let response = all.last().unwrap().clone();
        assert_eq!(response["id"], "c-1");
        assert_eq!(replies.head().status, None);
        response
    }

    async fn note(&self, method: &str, params: Value) {
        let note = Notification::new(method, Some(&params.to_string()));
        let mut replies = self.send(Message::Notification(note)).await.unwrap();
        assert!(replies.next().await.is_none());
    }

    async fn initialize(&self, version: &str, capabilities: Value) -> Value {
        let params = json!({
            "protocolVersion": version, "capabilities": capabilities, "clientInfo": {"name": "c", "version": "1"}
        });
        self.ask("initialize", params).await["result"].clone()
    }
}

/// All that is left of the replies, until they end.
async fn rest(replies: &mut Replies) -> Vec<Value> {
    let mut all = Vec::new();
    while let Some(reply) = replies.next().await {
        all.push(serde_json::from_slice(reply.unwrap().text()).unwrap());
    }
    all
}

/// Waits for a state.
async fn until(mut state: impl FnMut() -> bool) {
    let waiting = async {
        while !state() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the state never came");
}

/// A server that offers everything, and answers what `rest` does not.
fn offering(
    mut rest: impl FnMut(&Value) -> Option<Play> + Send + 'static,
) -> impl FnMut(&Value) -> Play + Send {
    move |request| {
        if let Some(play) = rest(request) {
            return play;
        }
        match request["method"].as_str().unwrap() {
            "server/discover" => Play::Result(json!({
                "resultType": "complete", "ttlMs": 60_000, "cacheScope": "public",
                "supportedVersions": ["2026-07-28"], "instructions": "be kind",
                "capabilities": {
                    "tools": {"listChanged": true}, "prompts": {}, "resources": {"subscribe": true},
                    "logging": {}, "extensions": {"x/y": {}}, "tasks": {}
                },
                "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "s", "version": "2", "title": "S"}}
            })),
            "tools/list" => Play::Result(json!({"tools": [], "resultType": "complete"})),
            _ => Play::Result(json!({"resultType": "complete", "ttlMs": 1, "cacheScope": "private", "x": 1})),
        }
    }
}

fn plain() -> impl FnMut(&Value) -> Play + Send {
    offering(|_| None)
}

/// A client that is not asked anything.
fn unasked(request: &Value) -> Play {
    panic!("the client was asked {request}")
}
