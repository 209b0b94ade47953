//! What a bridge owes its clients where only the gateway knows who they are: nobody outside has a name yet.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use serde_json::{Value, json};
use shadowcat_bridge::{Eras, ModernServer, Seal, ToLegacy, ToLegacySettings, ToModernSettings};
use shadowcat_pipeline::{Back, ExchangeId, Form, Head, PeerId, Service, UpstreamAnswer, UpstreamSide};
use shadowcat_protocol::{ErrorObject, Id, Notification, Request, Response, Revision, method};
use shadowcat_transports::{Connection, OpenConnection, Parting};

use super::*;
use crate::testing::{FakeServer, HANDSHAKE, envelope, records};
use crate::upstream::{Doubted, OwnSessions, SharedUpstream};

/// A legacy server whose every call asks its client for a form, and answers with what came back.
#[derive(Clone)]
struct Asking;

#[async_trait]
impl Connector for Asking {
    async fn open(&self, opening: OpenConnection) -> Result<Arc<dyn Connection>, Refusal> {
        Ok(Arc::new(Lasting(Open(opening.back))))
    }
}

struct Open(Arc<dyn Back>);

fn side() -> UpstreamSide {
    UpstreamSide { name: "up".into(), transport: Transport::Stdio, revision: Revision::V2025_11_25 }
}

#[async_trait]
impl Service for Open {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let Message::Request(request) = envelope.message else { return Ok(Replies::none()) };
        let (id, exchange) = (request.id().clone(), envelope.origin.exchange);
        match request.method() {
            method::INITIALIZE => Ok(Replies::one(Message::Response(Response::result(&id, HANDSHAKE)))),
            method::TOOLS_CALL => {
                let back = Arc::clone(&self.0);
                Ok(Replies::stream(futures_util::stream::once(asked(back, id, exchange))))
            }
            _ => Ok(refused(&id, -32601)),
        }
    }
}

fn refused(id: &Id, code: i64) -> Replies {
    let error = ErrorObject { code, message: "no".into(), data: None };
    Replies::one(Message::Response(Response::error(Some(id), &error)))
}

async fn asked(back: Arc<dyn Back>, id: Id, exchange: ExchangeId) -> Result<Message, Refusal> {
    let form = Request::new(&Id::from_u64(9), method::ELICITATION, Some(r#"{"message":"?"}"#));
    let mut replies = back.deliver(Message::Request(form), Some(exchange), &side()).await?;
    let answer = replies.response().await?.ok_or(RefusalKind::Cancelled)?;
    let told = format!(r#"{{"content":[{}]}}"#, answer.result_json().unwrap_or("null"));
    Ok(Message::Response(Response::result(&id, &told)))
}

/// A connection that lasts, to a server of which nothing matters but its answers.
struct Lasting<S>(S);

#[async_trait]
impl<S: Service> Service for Lasting<S> {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        self.0.handle(envelope).await
    }
}

#[async_trait]
impl<S: Service> Connection for Lasting<S> {
    fn token(&self) -> Option<Box<str>> {
        None
    }

    fn is_alive(&self) -> bool {
        true
    }

    async fn listen(&self) -> Result<(), Refusal> {
        Ok(())
    }

    async fn close(&self, _: Parting) {}
}

fn bridged(connector: Arc<dyn Connector>) -> Gateway {
    let tasks = Tasks::new();
    let shared = Arc::new(SharedUpstream::new(Arc::clone(&connector)));
    let (chain, figures) = (Chain::default(), Arc::<shadowcat_bridge::Counters>::default());
    let settings = ToLegacySettings::default();
    let seal = Arc::new(Seal::new());
    let eras = Eras::new(Arc::clone(&shared) as _, Transport::Stdio, tasks.clone());
    let own = OwnSessions {
        connector: Arc::clone(&connector),
        counters: Arc::default(),
        records: records(),
        key: Key::new(Namespace::reverse("bridge"), SessionId::generate().unwrap()),
        eras: Arc::clone(&eras),
    };
    let service: Arc<dyn Service> =
        Arc::new(Doubted { service: Arc::clone(&shared) as _, eras: Arc::clone(&eras) });
    let bridges = Arc::new(Bridges {
        eras,
        shared: Arc::clone(&shared),
        edge: Chain::default(),
        to_legacy: ToLegacy::new(Arc::new(own), chain.clone(), seal, settings, Arc::clone(&figures), &tasks),
        to_modern: ModernServer::new(
            Arc::clone(&service),
            chain,
            ToModernSettings::new(side()),
            Arc::clone(&figures),
            tasks.clone(),
        ),
        figures,
        waiting: Arc::default(),
    });
    let modern = ModernFace::new(shared, service, Some(Arc::clone(&bridges)));
    Gateway {
        modern: Arc::new(modern),
        bridges: Some(bridges),
        connector,
        tasks,
        ..tests::gateway(&FakeServer::default())
    }
}

/// The response to a call of a client of this name.
async fn call(gateway: &Gateway, name: &str, more: &Value) -> Value {
    try_call(gateway, name, more).await.unwrap()
}

/// The same, or why there is none.
async fn try_call(gateway: &Gateway, name: &str, more: &Value) -> Result<Value, Refusal> {
    let mut params = json!({"name": "t", "arguments": {}, "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
    }});
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let request = Request::new(&Id::from_u64(1), method::TOOLS_CALL, Some(&params.to_string()));
    let mut origin = Origin::new(PeerId::next(), Transport::Http, Revision::V2026_07_28);
    origin.principal = Some(Principal::named(name));
    let envelope = Envelope::to_server(Message::Request(request), Arc::new(origin));
    let response = gateway.exchange(envelope).await?.response().await?.unwrap();
    Ok(serde_json::from_slice(response.text()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn t58_a_state_is_of_no_use_to_another_principal() {
    let gateway = bridged(Arc::new(Asking));
    let asked = call(&gateway, "ann", &json!({})).await;
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    let answers = json!({"requestState": asked["result"]["requestState"], "inputResponses": {"q1": {"action": "accept"}}});
    assert_eq!(call(&gateway, "bob", &answers).await["error"]["code"], -32602);
    let done = call(&gateway, "ann", &answers).await;
    assert_eq!(done["result"]["content"], json!([{"action": "accept"}]), "{done}");
    assert_eq!(call(&gateway, "ann", &answers).await["error"]["code"], -32602);
}

type Refuse = fn(&Id) -> Replies;

/// A modern server that is set back to a legacy one, which refuses modern messages as legacy servers do.
#[derive(Clone)]
struct SetBack {
    is_legacy: Arc<AtomicBool>,
    refuse: Refuse,
}

#[async_trait]
impl Connector for SetBack {
    async fn open(&self, _: OpenConnection) -> Result<Arc<dyn Connection>, Refusal> {
        Ok(Arc::new(Lasting(self.clone())))
    }
}

#[async_trait]
impl Service for SetBack {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let Message::Request(request) = &envelope.message else { return Ok(Replies::none()) };
        let is_legacy = self.is_legacy.load(Ordering::Relaxed);
        let is_asked_as_modern = envelope.origin.revision.is_modern();
        let result = match request.method() {
            method::DISCOVER if is_legacy => return Ok(refused(request.id(), -32601)),
            method::DISCOVER => r#"{"supportedVersions":["2026-07-28"],"capabilities":{}}"#,
            method::INITIALIZE if is_legacy => HANDSHAKE,
            _ if is_legacy == is_asked_as_modern => return Ok((self.refuse)(request.id())),
            _ => r#"{"content":["done"]}"#,
        };
        Ok(Replies::one(Message::Response(Response::result(request.id(), result))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_set_back_is_bridged_from_the_second_call_on() {
    fn with_status(id: &Id, code: i64, status: u16) -> Replies {
        refused(id, code).with_head(Head { form: Form::Whole, status: Some(status) })
    }
    let signs: [(Refuse, bool); 6] = [
        (|id| with_status(id, -32000, 400), true),
        (|id| with_status(id, -32600, 400), true),
        (|_| Replies::stream(futures_util::stream::iter([Err(RefusalKind::UpstreamExited.into())])), true),
        (|id| with_status(id, -32020, 400), false),
        (|id| with_status(id, -32601, 404), false),
        (|id| refused(id, -32000), false),
    ];
    for (sign, (refuse, tells)) in signs.into_iter().enumerate() {
        let server = SetBack { is_legacy: Arc::default(), refuse };
        let gateway = bridged(Arc::new(server.clone()));
        assert_eq!(call(&gateway, "ann", &json!({})).await["result"]["content"], json!(["done"]));
        server.is_legacy.store(true, Ordering::Relaxed);
        for is_bridged in [false, tells] {
            let answer = try_call(&gateway, "ann", &json!({})).await;
            let is_answered = answer.is_ok_and(|answer| answer.get("result").is_some());
            assert_eq!(is_answered, is_bridged, "sign {sign}");
        }
    }
}

/// A modern server whose child ends just after it was looked at, and whose next child is of the legacy era: one that answers
/// whatever it is asked, in either form.
#[derive(Clone, Default)]
struct Replaced {
    children: Arc<AtomicUsize>,
    /// How many looks will still find the first child alive, once that is known.
    looks: Arc<Mutex<Option<usize>>>,
}

struct Child {
    server: Replaced,
    number: usize,
}

#[async_trait]
impl Connector for Replaced {
    async fn open(&self, _: OpenConnection) -> Result<Arc<dyn Connection>, Refusal> {
        let number = self.children.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Child { server: self.clone(), number }))
    }
}

#[async_trait]
impl Service for Child {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let Message::Request(request) = &envelope.message else { return Ok(Replies::none()) };
        let form = if envelope.origin.revision.is_modern() { "modern" } else { "legacy" };
        let result = match request.method() {
            method::DISCOVER if self.number > 0 => return Ok(refused(request.id(), -32601)),
            method::DISCOVER => r#"{"supportedVersions":["2026-07-28"],"capabilities":{}}"#.to_owned(),
            method::INITIALIZE => HANDSHAKE.to_owned(),
            _ => json!({"content": [form, self.number]}).to_string(),
        };
        Ok(Replies::one(Message::Response(Response::result(request.id(), &result))))
    }
}

#[async_trait]
impl Connection for Child {
    fn token(&self) -> Option<Box<str>> {
        None
    }

    fn is_alive(&self) -> bool {
        let mut looks = self.server.looks.lock().unwrap();
        let Some(left) = looks.as_mut().filter(|_| self.number == 0) else { return true };
        let is_alive = *left > 0;
        *left = left.saturating_sub(1);
        is_alive
    }

    async fn listen(&self) -> Result<(), Refusal> {
        Ok(())
    }

    async fn close(&self, _: Parting) {}
}

#[tokio::test(start_paused = true)]
async fn a_child_that_takes_the_place_of_another_is_asked_what_it_speaks_whoever_found_the_other_gone() {
    for looks in 0..6 {
        let server = Replaced::default();
        let gateway = bridged(Arc::new(server.clone()));
        assert_eq!(call(&gateway, "ann", &json!({})).await["result"]["content"], json!(["modern", 0]));
        *server.looks.lock().unwrap() = Some(looks);
        let mut answers = Vec::new();
        for _ in 0..8 {
            answers.push(call(&gateway, "ann", &json!({})).await["result"]["content"].take());
        }
        assert_eq!(answers.last().unwrap()[0], "legacy", "{looks} looks: {answers:?}");
        // One call may be on its way to the child that is gone: it goes to the new one as it is.
        let astray = answers.iter().filter(|answer| answer[0] == "modern" && answer[1] != 0).count();
        assert!(astray <= 1, "{looks} looks: {answers:?}");
    }
}

/// Sends a call in a legacy session: what there is for an answer.
async fn legacy_call(gateway: &Gateway, live: &Arc<Live>) -> Result<Value, Refusal> {
    let replies = gateway.handle(live, envelope(method::TOOLS_CALL)).await;
    let response = replies?.response().await?.unwrap();
    Ok(serde_json::from_slice(response.text()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn the_legacy_clients_of_a_server_that_was_set_back_go_on_and_are_not_bridged_any_more() {
    let signs: [Refuse; 2] = [
        |id| refused(id, -32000).with_head(Head { form: Form::Whole, status: Some(400) }),
        |_| Replies::stream(futures_util::stream::iter([Err(RefusalKind::UpstreamExited.into())])),
    ];
    for refuse in signs {
        let server = SetBack { is_legacy: Arc::default(), refuse };
        let gateway = bridged(Arc::new(server.clone()));
        let live = tests::open(&gateway, Transport::Http).await;
        assert_eq!(legacy_call(&gateway, &live).await.unwrap()["result"]["content"], json!(["done"]));
        server.is_legacy.store(true, Ordering::Relaxed);
        let first = legacy_call(&gateway, &live).await;
        assert!(!first.is_ok_and(|answer| answer.get("result").is_some()), "this one shows it");
        assert_eq!(legacy_call(&gateway, &live).await.unwrap()["result"]["content"], json!(["done"]));
        let again = tests::open(&gateway, Transport::Http).await;
        assert_eq!(legacy_call(&gateway, &again).await.unwrap()["result"]["content"], json!(["done"]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_legacy_session_stays_behind_the_bridge_when_its_server_only_looked_set_back() {
    let refuse: Refuse = |id| refused(id, -32000).with_head(Head { form: Form::Whole, status: Some(400) });
    let server = SetBack { is_legacy: Arc::default(), refuse };
    let gateway = bridged(Arc::new(server.clone()));
    let live = tests::open(&gateway, Transport::Http).await;
    let eras = &gateway.bridges.as_ref().unwrap().eras;
    for _ in 0..2 {
        server.is_legacy.store(true, Ordering::Relaxed);
        eras.doubt_modern();
        assert!(eras.needs_legacy().await);
        server.is_legacy.store(false, Ordering::Relaxed);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(legacy_call(&gateway, &live).await.unwrap()["result"]["content"], json!(["done"]));
        assert!(!eras.needs_legacy().await, "the verdict was wrong, and is put right");
        tokio::time::advance(Duration::from_mins(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_legacy_clients_of_a_server_that_became_a_modern_one_go_on_behind_the_bridge() {
    let signs: [Refuse; 2] = [
        |id| refused(id, -32020).with_head(Head { form: Form::Whole, status: Some(400) }),
        |id| refused(id, -32022).with_head(Head { form: Form::Whole, status: Some(400) }),
    ];
    for refuse in signs {
        let server = SetBack { is_legacy: Arc::new(AtomicBool::new(true)), refuse };
        let gateway = bridged(Arc::new(server.clone()));
        let live = tests::open(&gateway, Transport::Http).await;
        assert_eq!(legacy_call(&gateway, &live).await.unwrap()["result"]["content"], json!(["done"]));
        server.is_legacy.store(false, Ordering::Relaxed);
        assert!(legacy_call(&gateway, &live).await.unwrap().get("error").is_some(), "this one shows it");
        assert_eq!(legacy_call(&gateway, &live).await.unwrap()["result"]["content"], json!(["done"]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_legacy_client_on_a_pipe_begins_again_on_the_same_pipe() {
    let refuse: Refuse = |id| refused(id, -32000).with_head(Head { form: Form::Whole, status: Some(400) });
    let server = SetBack { is_legacy: Arc::default(), refuse };
    let gateway = bridged(Arc::new(server.clone()));
    let outlet = gateway.outlet();
    let open = async || {
        let (request, outlet) = (crate::testing::request(method::INITIALIZE), Some(Arc::clone(&outlet)));
        let transport = Transport::Stdio;
        let opening = Opening { request, transport, principal: None, http_trace: None, outlet };
        gateway.open(opening).await.unwrap().0
    };
    let live = open().await;
    assert_eq!(legacy_call(&gateway, &live).await.unwrap()["result"]["content"], json!(["done"]));
    server.is_legacy.store(true, Ordering::Relaxed);
    let eras = &gateway.bridges.as_ref().unwrap().eras;
    eras.doubt_modern();
    assert!(eras.needs_legacy().await);
    assert!(!eras.has_become_modern().await, "and is not asked again at once");
    // So that the session cannot be set up there.
    server.is_legacy.store(false, Ordering::Relaxed);
    let unknown = legacy_call(&gateway, &live).await.unwrap_err();
    assert_eq!(unknown.kind, RefusalKind::SessionUnknown);
    gateway.forget(&live).await;
    server.is_legacy.store(true, Ordering::Relaxed);
    let again = open().await;
    assert_eq!(legacy_call(&gateway, &again).await.unwrap()["result"]["content"], json!(["done"]));
    assert!(outlet.standing().1.push("{}".into()).await.is_ok(), "the pipe is open");
    assert!(gateway.tasks.join(Duration::from_mins(1)).await);
    assert_eq!((live.standing.state(), gateway.table.all().len()), (State::Closed, 1));
}

/// A modern server that refuses the handshake by a status. A page of something in front of it answers the first question.
#[derive(Clone, Default)]
struct Hidden(Arc<AtomicBool>);

#[async_trait]
impl Connector for Hidden {
    async fn open(&self, _: OpenConnection) -> Result<Arc<dyn Connection>, Refusal> {
        Ok(Arc::new(Lasting(self.clone())))
    }
}

fn page(status: u16) -> Refusal {
    let answer = UpstreamAnswer { status, headers: Vec::new(), body: bytes::Bytes::from_static(b"no") };
    RefusalKind::UpstreamStatus(Box::new(answer)).into()
}

#[async_trait]
impl Service for Hidden {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let Message::Request(request) = &envelope.message else { return Ok(Replies::none()) };
        let result = match request.method() {
            method::DISCOVER if !self.0.swap(true, Ordering::Relaxed) => return Err(page(404)),
            method::DISCOVER => r#"{"supportedVersions":["2026-07-28"],"capabilities":{}}"#,
            method::INITIALIZE => return Err(page(400)),
            _ => r#"{"content":["done"]}"#,
        };
        Ok(Replies::one(Message::Response(Response::result(request.id(), result))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_in_front_of_a_modern_server_makes_no_legacy_one_of_it_for_long() {
    let gateway = bridged(Arc::new(Hidden::default()));
    let refusal = try_call(&gateway, "ann", &json!({})).await.unwrap_err();
    assert_eq!(refusal.kind.status(), 502, "by 400 the client would take the server for a legacy one");
    assert!(refusal.to_string().contains("400"), "{refusal}");
    let mut answer = None;
    for _ in 0..10 {
        answer = try_call(&gateway, "ann", &json!({})).await.ok();
        tokio::task::yield_now().await;
    }
    assert_eq!(answer.unwrap()["result"]["content"], json!(["done"]));
}

/// A legacy server whose calls ask their client, until it speaks both eras; modern calls then ask nothing.
#[derive(Clone, Default)]
struct Upgraded(Arc<AtomicBool>);

#[async_trait]
impl Connector for Upgraded {
    async fn open(&self, opening: OpenConnection) -> Result<Arc<dyn Connection>, Refusal> {
        Ok(Arc::new(Lasting(UpgradedOpen { is_dual: Arc::clone(&self.0), legacy: Open(opening.back) })))
    }
}

struct UpgradedOpen {
    is_dual: Arc<AtomicBool>,
    legacy: Open,
}

#[async_trait]
impl Service for UpgradedOpen {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let is_modern = envelope.origin.revision.is_modern() && self.is_dual.load(Ordering::Relaxed);
        let result = match &envelope.message {
            Message::Request(request) if is_modern => match request.method() {
                method::DISCOVER => {
                    r#"{"supportedVersions":["2025-11-25","2026-07-28"],"capabilities":{},"ttlMs":0}"#
                }
                _ => r#"{"resultType":"complete","content":["native"]}"#,
            },
            _ => return self.legacy.handle(envelope).await,
        };
        let Message::Request(request) = &envelope.message else { return Ok(Replies::none()) };
        Ok(Replies::one(Message::Response(Response::result(request.id(), result))))
    }
}

#[tokio::test(start_paused = true)]
async fn b7_calls_are_native_after_an_upgrade_of_the_server_and_what_waits_goes_on() {
    let server = Upgraded::default();
    let gateway = bridged(Arc::new(server.clone()));
    let half = Duration::from_mins(5);
    let asked = call(&gateway, "bob", &json!({})).await;
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    tokio::time::advance(half).await;
    let asked = call(&gateway, "ann", &json!({})).await;
    let state = asked["result"]["requestState"].clone();
    server.0.store(true, Ordering::Relaxed);
    let before = call(&gateway, "cid", &json!({})).await;
    assert_eq!(before["result"]["resultType"], "input_required", "what was found out holds: {before}");
    tokio::time::advance(half).await;
    let mut answer = Value::Null;
    for _ in 0..10 {
        answer = call(&gateway, "cid", &json!({})).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(answer["result"]["content"], json!(["native"]), "{answer}");
    let answers = json!({"requestState": state, "inputResponses": {"q1": {"action": "accept"}}});
    let done = call(&gateway, "ann", &answers).await;
    assert_eq!(done["result"]["content"], json!([{"action": "accept"}]), "the very same call: {done}");
}

/// A modern server whose calls last. It may fall silent when it is asked what it speaks, or be set back.
#[derive(Clone, Default)]
struct Lingering(Arc<LingeringInside>);

#[derive(Default)]
struct LingeringInside {
    is_silent: AtomicBool,
    is_legacy: AtomicBool,
    calls: AtomicUsize,
}

#[async_trait]
impl Connector for Lingering {
    async fn open(&self, _: OpenConnection) -> Result<Arc<dyn Connection>, Refusal> {
        Ok(Arc::new(Lasting(self.clone())))
    }
}

#[async_trait]
impl Service for Lingering {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let Message::Request(request) = &envelope.message else { return Ok(Replies::none()) };
        match request.method() {
            method::DISCOVER if self.0.is_silent.load(Ordering::Relaxed) => std::future::pending().await,
            method::DISCOVER if !self.0.is_legacy.load(Ordering::Relaxed) => {
                let told = r#"{"supportedVersions":["2026-07-28"],"capabilities":{}}"#;
                Ok(Replies::one(Message::Response(Response::result(request.id(), told))))
            }
            method::INITIALIZE if self.0.is_legacy.load(Ordering::Relaxed) => {
                Ok(Replies::one(Message::Response(Response::result(request.id(), HANDSHAKE))))
            }
            method::PROMPTS_GET => {
                self.0.calls.fetch_add(1, Ordering::Relaxed);
                Ok(Replies::stream(futures_util::stream::pending()))
            }
            _ => Ok(refused(request.id(), -32601)),
        }
    }
}

/// A client on a pipe of either era.
struct OnPipe {
    gateway: Gateway,
    peer: PeerId,
    /// The session of a legacy one.
    live: Option<Arc<Live>>,
}

impl OnPipe {
    async fn all(server: &Lingering) -> [Self; 2] {
        let [modern, legacy] = [(); 2].map(|()| bridged(Arc::new(server.clone())));
        assert!(!modern.bridges.as_ref().unwrap().eras.needs_legacy().await);
        let live = Some(tests::open(&legacy, Transport::Stdio).await);
        let peer = PeerId::next();
        [Self { gateway: modern, peer, live: None }, Self { gateway: legacy, peer, live }]
    }

    async fn send(&self, message: Message) -> Result<Replies, Refusal> {
        let Some(live) = &self.live else {
            let origin = Origin::new(self.peer, Transport::Stdio, Revision::V2026_07_28);
            return self.gateway.exchange(Envelope::to_server(message, Arc::new(origin))).await;
        };
        self.gateway.handle(live, Envelope::to_server(message, Arc::new(live.origin()))).await
    }

    async fn call(&self) -> Result<Replies, Refusal> {
        let params = r#"{"name":"p"}"#;
        self.send(Message::Request(Request::new(&Id::from_u64(7), method::PROMPTS_GET, Some(params)))).await
    }

    /// Whether the call is withdrawn at once.
    fn withdraws(&self) -> bool {
        let sent = self.send(Message::Notification(Notification::cancelled(&Id::from_u64(7), None)));
        sent.now_or_never().is_some_and(|sent| sent.is_ok())
    }

    fn eras(&self) -> &Arc<Eras> {
        &self.gateway.bridges.as_ref().unwrap().eras
    }
}

#[tokio::test(start_paused = true)]
async fn while_a_server_is_asked_what_it_speaks_a_pipe_is_read_and_what_waits_can_be_withdrawn() {
    let server = Lingering::default();
    let clients = OnPipe::all(&server).await;
    server.0.is_silent.store(true, Ordering::Relaxed);
    for client in clients {
        client.eras().doubt_modern();
        let mut call = Box::pin(client.call());
        assert!((&mut call).now_or_never().is_none(), "nobody knows which era it has to be in");
        assert!(client.withdraws());
        assert!(call.await.unwrap().next().await.is_none(), "no answer to what was withdrawn");
    }
    assert_eq!(server.0.calls.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_under_way_can_be_withdrawn_also_when_its_server_is_taken_for_a_legacy_one_by_now() {
    let server = Lingering::default();
    let [modern, legacy] = OnPipe::all(&server).await;
    let (_under_way, mut bridged) = (modern.call().await.unwrap(), legacy.call().await.unwrap());
    assert_eq!(server.0.calls.load(Ordering::Relaxed), 2);
    server.0.is_legacy.store(true, Ordering::Relaxed);
    for client in [&modern, &legacy] {
        client.eras().doubt_modern();
        assert!(client.eras().needs_legacy().await);
        assert!(client.withdraws());
    }
    assert!(bridged.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_call_under_way_can_be_withdrawn_also_when_its_session_has_changed_sides() {
    let server = Lingering::default();
    let [_, legacy] = OnPipe::all(&server).await;
    let mut bridged = legacy.call().await.unwrap();
    server.0.is_legacy.store(true, Ordering::Relaxed);
    legacy.eras().doubt_modern();
    let other = Message::Request(Request::new(&Id::from_u64(8), method::TOOLS_LIST, None));
    let answer = legacy.send(other).await.unwrap().response().await.unwrap();
    assert_eq!(answer.unwrap().error_code(), Some(-32601), "from the server as it is");
    assert!((&mut Box::pin(bridged.next())).now_or_never().is_none(), "it goes on");
    assert!(legacy.withdraws());
    assert!(bridged.next().await.is_none());
}
