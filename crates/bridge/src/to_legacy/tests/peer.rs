//! A legacy server with a script, and a modern client before it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{
    Back, Chain, Envelope, ExchangeId, Origin, PeerId, Principal, Refusal, RefusalKind, Replies, Service,
    Transport, UpstreamSide,
};
use shadowcat_protocol::{ErrorObject, Id, Message, Notification, Request, Response, Revision};
use tokio::sync::{mpsc, watch};

use crate::to_legacy::{LegacyServer, LegacySession, ToLegacy, ToLegacySettings};
use crate::{Counters, Seal};

pub(super) const META: &str = "io.modelcontextprotocol/";

/// What the server was told, as lines: the session's number, and the message.
pub(super) type Log = Arc<Mutex<Vec<String>>>;

pub(super) struct Script {
    pub(super) log: Log,
    pub(super) tasks: Tasks,
    sessions: AtomicU64,
    pub(super) backs: Mutex<Vec<Arc<dyn Back>>>,
    pub(super) has_stream: std::sync::atomic::AtomicBool,
    /// No word on the standing stream, not even that there is one.
    pub(super) is_silent: std::sync::atomic::AtomicBool,
    /// Whether a question says what it belongs to, as on Streamable HTTP.
    pub(super) relates: std::sync::atomic::AtomicBool,
    pub(super) refuses: std::sync::atomic::AtomicBool,
    /// Whether a call is answered whole: nothing of it is there before its answer is.
    pub(super) answers_whole: std::sync::atomic::AtomicBool,
    /// How many seconds pass before the server says whether it has a stream, and before it takes a subscription.
    pub(super) slowness: AtomicU64,
    /// How often its stream was asked for.
    pub(super) listens: AtomicU64,
    /// How often its sessions were set up again.
    pub(super) turn: AtomicU64,
    /// How many requests of a method find their session lost, and are sent again in the next.
    pub(super) losses: Mutex<HashMap<&'static str, usize>>,
    /// How many sessions there is room for.
    pub(super) room: std::sync::atomic::AtomicUsize,
    /// Changed, it ends every call that waits for an answer.
    pub(super) lost: watch::Sender<u32>,
    /// How far every task is.
    pub(super) job: watch::Sender<&'static str>,
    /// Each task has a name and a state of its own, which are here.
    pub(super) distinct: std::sync::atomic::AtomicBool,
    pub(super) jobs: Mutex<HashMap<String, watch::Sender<&'static str>>>,
    /// How many requests of a method come to nothing before the first that does not.
    pub(super) faults: Mutex<HashMap<&'static str, usize>>,
    /// The same for requests that are never answered.
    pub(super) hangs: Mutex<HashMap<&'static str, usize>>,
}

pub(super) struct ScriptSession {
    pub(super) number: u64,
    calls: AtomicU64,
    has_room: std::sync::atomic::AtomicBool,
    pub(super) back: Arc<dyn Back>,
    pub(super) script: Arc<Script>,
}

pub(super) struct Scripted(Arc<Script>);

impl LegacyServer for Scripted {
    fn session(&self, back: Arc<dyn Back>) -> Arc<dyn LegacySession> {
        let number = self.0.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.backs.lock().unwrap().push(Arc::clone(&back));
        let (calls, has_room) = (AtomicU64::new(0), false.into());
        Arc::new(ScriptSession { number, calls, has_room, back, script: Arc::clone(&self.0) })
    }
}

pub(super) fn side() -> UpstreamSide {
    UpstreamSide { name: "old".into(), transport: Transport::Http, revision: Revision::V2025_11_25 }
}

struct Cancelled(Log, u64, bool);

impl Cancelled {
    fn end(&mut self, word: &str) {
        self.2 = false;
        self.0.lock().unwrap().push(format!("s{} {word}", self.1));
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        if self.2 {
            self.0.lock().unwrap().push(format!("s{} cancelled", self.1));
        }
    }
}

impl Script {
    /// Whether one of so many is left for this method.
    fn takes(left: &Mutex<HashMap<&'static str, usize>>, method: &str) -> bool {
        let mut left = left.lock().unwrap();
        let Some(left) = left.get_mut(method).filter(|left| **left > 0) else { return false };
        *left -= 1;
        true
    }

    async fn is_slow(&self) {
        tokio::time::sleep(Duration::from_secs(self.slowness.load(Ordering::Relaxed))).await;
    }
}

impl ScriptSession {
    fn takes_room(&self) -> bool {
        let less = |room: usize| room.checked_sub(1);
        let taken = self.script.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok();
        self.has_room.store(taken, Ordering::Relaxed);
        taken
    }

    pub(super) fn note(&self, line: impl std::fmt::Display) {
        self.script.log.lock().unwrap().push(format!("s{} {line}", self.number));
    }

    /// Asks the client, and answers the call with what came back.
    fn ask(&self, questions: Vec<Request>, id: Id, exchange: ExchangeId) -> Replies {
        let (told, mut answers) = mpsc::channel(8);
        let related = self.script.relates.load(Ordering::Relaxed).then_some(exchange);
        let count = questions.len();
        for question in questions {
            let (back, told, log, number) =
                (Arc::clone(&self.back), told.clone(), Arc::clone(&self.script.log), self.number);
            self.script.tasks.spawn_until_stop(async move {
                let mut replies = back.deliver(Message::Request(question), related, &side()).await.unwrap();
                if let Some(Ok(Message::Response(response))) = replies.next().await {
                    let text = String::from_utf8(response.text().to_vec()).unwrap();
                    log.lock().unwrap().push(format!("s{number} answer {text}"));
                    drop(told.send(response).await);
                }
            });
        }
        let guard = Cancelled(Arc::clone(&self.script.log), self.number, true);
        let mut lost = self.script.lost.subscribe();
        Replies::stream(futures_util::stream::once(async move {
            let mut guard = guard;
            let mut texts = Vec::new();
            for _ in 0..count {
                let answer = tokio::select! {
                    answer = answers.recv() => answer,
                    _ = lost.changed() => None,
                };
                let Some(response): Option<Response> = answer else {
                    guard.end("lost");
                    return Err(RefusalKind::UpstreamExited.into());
                };
                let raw = response.result_json().or(response.error_json()).unwrap();
                texts.push(serde_json::from_str::<Value>(raw).unwrap());
            }
            guard.end("done");
            Ok(Message::Response(Response::result(&id, &json!({ "content": texts }).to_string())))
        }))
    }

    fn call(&self, request: &Request, exchange: ExchangeId) -> Replies {
        let id = request.id().clone();
        let params: Value = serde_json::from_str(request.params().unwrap()).unwrap();
        let form = json!({"message": params["arguments"]["text"], "elicitationId": "e"}).to_string();
        let elicit = Request::new(&Id::from_u64(9), "elicitation/create", Some(&form));
        let note = |method, params: &Value| {
            Ok(Message::Notification(Notification::new(method, Some(&params.to_string()))))
        };
        let result = |value: Value| Message::Response(Response::result(&id, &value.to_string()));
        match params["name"].as_str().unwrap() {
            "ask" => self.ask(vec![elicit], id, exchange),
            "need" => {
                let back = Arc::clone(&self.back);
                Replies::stream(futures_util::stream::once(async move {
                    let mut replies =
                        back.deliver(Message::Request(elicit), Some(exchange), &side()).await.unwrap();
                    let answer = replies.next().await.unwrap().unwrap();
                    let Message::Response(answer) = answer else { panic!("{answer:?}") };
                    let failed = json!({"content": [], "isError": answer.error_json().is_some()});
                    Ok(Message::Response(Response::result(&id, &failed.to_string())))
                }))
            }
            "ask_briefly" => {
                let related = self.script.relates.load(Ordering::Relaxed).then_some(exchange);
                let back = Arc::clone(&self.back);
                Replies::stream(futures_util::stream::once(async move {
                    let replies = back.deliver(Message::Request(elicit), related, &side()).await.unwrap();
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    drop(replies);
                    Ok(Message::Response(Response::result(&id, r#"{"content":["without"]}"#)))
                }))
            }
            "ask_more" => {
                let roots = Request::new(&Id::from_u64(10), "roots/list", None);
                self.ask(vec![elicit, roots], id, exchange)
            }
            "hang" => {
                let mut guard = Cancelled(Arc::clone(&self.script.log), self.number, true);
                let mut lost = self.script.lost.subscribe();
                Replies::stream(futures_util::stream::once(async move {
                    drop(lost.changed().await);
                    guard.end("lost");
                    Err(RefusalKind::UpstreamExited.into())
                }))
            }
            "visit" | "visit_nothing" => {
                let mut data = json!({"elicitations": [
                    {"mode": "url", "elicitationId": "e", "url": "https://a.test", "message": "go"}]});
                if params["name"] == "visit_nothing" {
                    data["elicitations"] = json!([]);
                }
                let message = "visit first".to_owned();
                let error = ErrorObject { code: -32042, message, data: Some(data.to_string()) };
                Replies::one(Message::Response(Response::error(Some(&id), &error)))
            }
            "task_only" => {
                let message = "this tool only runs as a task".to_owned();
                let error = ErrorObject { code: -32601, message, data: None };
                Replies::one(Message::Response(Response::error(Some(&id), &error)))
            }
            "talk_last" => {
                let (back, id) = (Arc::clone(&self.back), id.clone());
                Replies::stream(futures_util::stream::once(async move {
                    let said = r#"{"level":"error","data":1}"#;
                    let note = Notification::new("notifications/message", Some(said));
                    back.deliver(Message::Notification(note), None, &side()).await?;
                    Ok(Message::Response(Response::result(&id, r#"{"content":[]}"#)))
                }))
            }
            "talk" => {
                let said = vec![
                    note("notifications/message", &json!({"level": "debug", "data": 1})),
                    note("notifications/message", &json!({"level": "error", "data": 2})),
                    note("notifications/progress", &json!({"progressToken": 0, "progress": 1})),
                    note("notifications/tools/list_changed", &json!({})),
                    Ok(result(json!({"content": []}))),
                ];
                Replies::stream(futures_util::stream::iter(said))
            }
            _ => {
                let count = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
                Replies::one(result(json!({"session": self.number, "count": count})))
            }
        }
    }
}

#[async_trait]
impl Service for ScriptSession {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let exchange = envelope.origin.exchange;
        envelope.origin.upstream.get_or_init(side);
        let Message::Request(request) = envelope.message else {
            self.note(envelope.message.method().unwrap());
            return Ok(Replies::none());
        };
        self.note(format!("{} {}", request.method(), request.params().unwrap_or_default()));
        let one = |result: Value| {
            Ok(Replies::one(Message::Response(Response::result(request.id(), &result.to_string()))))
        };
        if Script::takes(&self.script.losses, request.method()) {
            self.script.turn.fetch_add(1, Ordering::Relaxed);
        }
        if Script::takes(&self.script.faults, request.method()) {
            return Err(RefusalKind::UpstreamTimeout.into());
        }
        if Script::takes(&self.script.hangs, request.method()) {
            return Ok(Replies::stream(futures_util::stream::pending()));
        }
        match request.method() {
            "initialize" if self.script.refuses.load(Ordering::Relaxed) => {
                Err(RefusalKind::UpstreamUnreachable.into())
            }
            "initialize" if !self.takes_room() => Err(RefusalKind::BUSY.into()),
            "initialize" => one(json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {"listChanged": true}, "logging": {},
                    "tasks": {"requests": {"tools": {"call": {}}}},
                    "resources": {"subscribe": true}},
                "serverInfo": {"name": "old", "version": "1"},
            })),
            "tools/call" if request.name().as_deref() == Some("late_job") => {
                Ok(super::late_tasks::begin_late(self, &request, exchange))
            }
            "tools/call" if super::tasks::is_job(&request) => Ok(super::tasks::begin(&self.script, &request)),
            "tools/call" if self.script.answers_whole.load(Ordering::Relaxed) => {
                Ok(Replies::one(self.call(&request, exchange).next().await.unwrap()?))
            }
            "tools/call" => Ok(self.call(&request, exchange)),
            "tasks/get" | "tasks/result" | "tasks/cancel" => {
                Ok(super::tasks::about(self, &request, exchange))
            }
            "tools/list" if request.params() == Some(r#"{"cursor":"page two"}"#) => {
                one(json!({"tools": super::tasks::tools()}))
            }
            "tools/list" => one(json!({"tools": [], "nextCursor": "page two"})),
            "prompts/list" => one(json!({"prompts": [], "nextCursor": "page two"})),
            "resources/read" => {
                let message = "no such resource".to_owned();
                let error = ErrorObject { code: -32002, message, data: Some(r#"{"uri":"a:b"}"#.to_owned()) };
                Ok(Replies::one(Message::Response(Response::error(Some(request.id()), &error))))
            }
            "logging/setLevel" if request.params().unwrap().contains("alert") => {
                let error = ErrorObject { code: -32602, message: "too quiet".to_owned(), data: None };
                Ok(Replies::one(Message::Response(Response::error(Some(request.id()), &error))))
            }
            "resources/subscribe" => {
                self.script.is_slow().await;
                if request.params() == Some(r#"{"uri":"a:no"}"#) {
                    let error = ErrorObject { code: -32602, message: "not this".to_owned(), data: None };
                    return Ok(Replies::one(Message::Response(Response::error(Some(request.id()), &error))));
                }
                one(json!({}))
            }
            _ => one(json!({})),
        }
    }
}

#[async_trait]
impl LegacySession for ScriptSession {
    fn agreed(&self, _: &str, _: &str) {}

    fn turn(&self) -> u64 {
        self.script.turn.load(Ordering::Relaxed)
    }

    async fn listen(&self) -> Result<bool, Refusal> {
        if self.script.is_silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.script.listens.fetch_add(1, Ordering::Relaxed);
        self.script.is_slow().await;
        Ok(self.script.has_stream.load(Ordering::Relaxed))
    }

    async fn close(&self) {
        self.note("closed");
        if self.has_room.swap(false, Ordering::Relaxed) {
            self.script.room.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Both sides, and the bridge between.
pub(super) struct Pair {
    pub(super) bridge: Arc<ToLegacy>,
    pub(super) counters: Arc<Counters>,
    pub(super) script: Arc<Script>,
    pub(super) tasks: Tasks,
}

impl Pair {
    pub(super) fn new(settings: ToLegacySettings) -> Self {
        let (counters, tasks) = (Arc::new(Counters::default()), Tasks::new());
        let script = Arc::new(Script {
            log: Log::default(),
            tasks: tasks.clone(),
            sessions: AtomicU64::new(0),
            backs: Mutex::default(),
            has_stream: true.into(),
            is_silent: false.into(),
            relates: false.into(),
            refuses: false.into(),
            answers_whole: false.into(),
            room: usize::MAX.into(),
            slowness: 0.into(),
            listens: 0.into(),
            turn: 0.into(),
            lost: watch::Sender::new(0),
            job: watch::Sender::new("working"),
            distinct: false.into(),
            jobs: Mutex::default(),
            losses: Mutex::default(),
            faults: Mutex::default(),
            hangs: Mutex::default(),
        });
        let server = Arc::new(Scripted(Arc::clone(&script)));
        let seal = Arc::new(Seal::new());
        let bridge = ToLegacy::new(server, Chain::default(), seal, settings, Arc::clone(&counters), &tasks);
        Self { bridge, counters, script, tasks }
    }

    pub(super) fn log(&self) -> Vec<String> {
        self.script.log.lock().unwrap().clone()
    }

    pub(super) fn log_of(&self, word: &str) -> Vec<String> {
        self.log().into_iter().filter(|line| line.contains(word)).collect()
    }

    /// Waits for a line of the server's log, in paused time.
    pub(super) async fn logged(&self, word: &str) {
        for _ in 0..2_000 {
            if !self.log_of(word).is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        panic!("the server was never told {word:?}: {:?}", self.log());
    }
}

/// One request of a modern client.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) origin: Origin,
    pub(super) id: Id,
    pub(super) method: &'static str,
    pub(super) params: Value,
}

pub(super) fn ask(method: &'static str, params: &Value, capabilities: &Value) -> Ask {
    let mut params = params.clone();
    let mut meta = params.get("_meta").cloned().unwrap_or_else(|| json!({}));
    meta[format!("{META}protocolVersion")] = "2026-07-28".into();
    meta[format!("{META}clientCapabilities")] = capabilities.clone();
    params["_meta"] = meta;
    let origin = Origin::new(PeerId::next(), Transport::Http, Revision::V2026_07_28);
    Ask { origin, id: Id::parse_json("\"a\"").unwrap(), method, params }
}

pub(super) fn call(tool: &str, capabilities: &Value) -> Ask {
    ask("tools/call", &json!({"name": tool, "arguments": {"text": "?"}}), capabilities)
}

impl Ask {
    pub(super) fn by(mut self, name: &str) -> Self {
        self.origin.principal = Some(Principal::named(name));
        self
    }

    pub(super) fn with_id(mut self, raw: &str) -> Self {
        self.id = Id::parse_json(raw).unwrap();
        self
    }

    pub(super) fn with_meta(mut self, key: &str, value: Value) -> Self {
        self.params["_meta"][key] = value;
        self
    }

    /// The same call again, in another exchange, with answers to what was asked.
    pub(super) fn retry(&self, state: &Value, answers: &Value) -> Self {
        let mut retry = self.clone();
        let principal = self.origin.principal.clone();
        retry.origin = Origin::new(self.origin.peer, self.origin.transport, self.origin.revision);
        retry.origin.principal = principal;
        retry.params["requestState"] = state.clone();
        retry.params["inputResponses"] = answers.clone();
        retry.with_id("\"b\"")
    }

    pub(super) fn envelope(&self) -> Envelope {
        let request = Request::new(&self.id, self.method, Some(&self.params.to_string()));
        let mut origin = self.origin.clone();
        origin.exchange = ExchangeId::next();
        Envelope::to_server(Message::Request(request), Arc::new(origin))
    }

    pub(super) async fn send(&self, pair: &Pair) -> Result<Replies, Refusal> {
        pair.bridge.handle(self.envelope()).await
    }

    /// Everything that comes back; the last is the response.
    pub(super) async fn all(&self, pair: &Pair) -> Vec<Value> {
        let mut replies = self.send(pair).await.unwrap();
        let mut all = Vec::new();
        while let Some(reply) = replies.next().await {
            all.push(value(&reply.unwrap()));
        }
        all
    }

    pub(super) async fn answer(&self, pair: &Pair) -> Value {
        let all = self.all(pair).await;
        let last = all.last().unwrap().clone();
        assert_eq!(last["id"].to_string(), self.id.as_json());
        last
    }
}

pub(super) fn value(message: &Message) -> Value {
    serde_json::from_slice(message.text()).unwrap()
}

/// How often each word occurs.
pub(super) fn tally<T: std::hash::Hash + Eq>(all: impl Iterator<Item = T>) -> HashMap<T, usize> {
    all.fold(HashMap::new(), |mut tally, one| {
        *tally.entry(one).or_default() += 1;
        tally
    })
}
