//! The modern server behind all legacy sessions of one upstream, and what it says of itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{
    Chain, Envelope, ExchangeId, Origin, PeerId, Refusal, RefusalKind, Replies, Service, UpstreamSide,
};
use shadowcat_protocol::capabilities::offers;
use shadowcat_protocol::{Id, Message, Request, Response, Revision, json, method, own};
use tokio::time::Instant;

use crate::Counters;
use crate::meta;
use crate::object::Object;
use crate::tools::{Lister, Tools};

use super::feed::Room;
use super::lists::Lists;
use super::reading;

/// How long the server may take to say what it is.
const DISCOVER_MAX: Duration = Duration::from_secs(30);
/// What the server says of itself is asked for again no sooner than after this, and no later than after that.
const KEPT_MIN: Duration = Duration::from_secs(5);
const KEPT_MAX: Duration = Duration::from_hours(1);

/// How a bridge treats its server and its clients.
#[derive(Clone, Debug)]
pub struct ToModernSettings {
    /// The server, as its messages are marked.
    pub side: UpstreamSide,
    /// How long a client may take to answer what the server wants to know before it goes on with a call.
    pub answer_max: Duration,
}

impl ToModernSettings {
    /// Settings for this server, with ten minutes for the person at the client to answer.
    pub fn new(side: UpstreamSide) -> Self {
        Self { side, answer_max: Duration::from_mins(10) }
    }
}

/// A server that only speaks the modern revision, shared by the sessions of all its legacy clients.
pub struct ModernServer {
    service: Arc<dyn Service>,
    chain: Chain,
    pub(super) settings: ToModernSettings,
    pub(super) counters: Arc<Counters>,
    /// Held while the server is asked, so that many clients ask once.
    discovered: tokio::sync::Mutex<Option<Kept>>,
    /// Its tools; those are special whose results are wrapped for clients that only take objects.
    pub(super) tools: Tools,
    pub(super) lists: Lists,
    pub(super) room: Room,
    peer: PeerId,
    ids: AtomicU64,
}

struct Kept {
    discovered: Arc<Discovered>,
    until: Instant,
}

/// What the server says of itself.
#[derive(Debug, Default)]
pub(super) struct Discovered {
    pub(super) capabilities: String,
    pub(super) server_info: Option<String>,
    pub(super) instructions: Option<String>,
}

impl Discovered {
    fn read(result: &str) -> Self {
        let text = |path: &[&str]| json::get(result, path).map(str::to_owned);
        Self {
            capabilities: text(&["capabilities"]).unwrap_or_else(|| "{}".to_owned()),
            server_info: text(&["_meta", meta::SERVER_INFO]).filter(|raw| raw.starts_with('{')),
            instructions: text(&["instructions"]).filter(|raw| raw.starts_with('"')),
        }
    }

    /// Whether a capability is offered.
    pub(super) fn offers(&self, path: &[&str]) -> bool {
        offers(&self.capabilities, path)
    }
}

impl ModernServer {
    /// A server behind `service`. Every message to it goes through `chain`, so that it is recorded as it is sent.
    /// `tasks` are those of the upstream: what is told to all sessions is the business of none.
    pub fn new(
        service: Arc<dyn Service>,
        chain: Chain,
        settings: ToModernSettings,
        counters: Arc<Counters>,
        tasks: Tasks,
    ) -> Arc<Self> {
        Arc::new(Self {
            service,
            chain,
            settings,
            counters,
            discovered: tokio::sync::Mutex::default(),
            tools: Tools::new(reading::is_wrapped),
            lists: Lists::new(tasks),
            room: Room::default(),
            peer: PeerId::next(),
            ids: AtomicU64::new(1),
        })
    }

    /// An id that no other request to this server has.
    pub(super) fn next_id(&self) -> Id {
        Id::from_u64(self.ids.fetch_add(1, Ordering::Relaxed))
    }

    /// Sends a message that is modern already.
    pub(super) async fn send(&self, message: Message, origin: Arc<Origin>) -> Result<Replies, Refusal> {
        self.chain.run(Envelope::to_server(message, origin), Arc::clone(&self.service)).await
    }

    /// What the server says of itself, asked for when what is known is too old.
    pub(super) async fn discover(&self) -> Result<Arc<Discovered>, Refusal> {
        let discovering = tokio::time::timeout(DISCOVER_MAX, self.discover_once());
        discovering.await.unwrap_or_else(|_| Err(self.refusal(RefusalKind::UpstreamTimeout)))
    }

    async fn discover_once(&self) -> Result<Arc<Discovered>, Refusal> {
        let mut kept = self.discovered.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| kept.until > Instant::now()) {
            return Ok(Arc::clone(&kept.discovered));
        }
        let answer = self.ask(method::DISCOVER, Object::default()).await?;
        let result = answer.result_json().filter(|result| speaks_modern(result)).ok_or_else(|| {
            let detail = "the server does not say that it speaks 2026-07-28";
            let told = String::from_utf8_lossy(answer.text()).into_owned();
            self.refusal(RefusalKind::UpstreamProtocol).with_detail(detail).with_cause(told)
        })?;
        let told = json::get(result, &["ttlMs"]).and_then(|raw| raw.parse().ok()).unwrap_or(0);
        let discovered = Arc::new(Discovered::read(result));
        let until = Instant::now() + Duration::from_millis(told).clamp(KEPT_MIN, KEPT_MAX);
        *kept = Some(Kept { discovered: Arc::clone(&discovered), until });
        Ok(discovered)
    }

    /// The server is not what it said: it is asked again at the next need.
    pub(super) async fn doubt(&self) {
        *self.discovered.lock().await = None;
    }

    /// Asks the server something in the proxy's own name. The caller sets the deadline.
    pub(super) async fn ask(&self, asked: &str, params: Object<'_>) -> Result<Response, Refusal> {
        let params = params.with("_meta", own::meta("{}")).to_json();
        let request = Request::new(&self.next_id(), asked, Some(&params));
        self.response(request, Arc::new(self.own_origin())).await
    }

    /// The response to a request, past whatever comes before it. The caller sets the deadline.
    pub(super) async fn response(&self, request: Request, origin: Arc<Origin>) -> Result<Response, Refusal> {
        let mut replies = self.send(Message::Request(request), origin).await?;
        replies.response().await?.ok_or_else(|| self.ended_early())
    }

    /// The origin of a request of ours.
    pub(super) fn own_origin(&self) -> Origin {
        Origin::own(self.peer, Revision::V2026_07_28)
    }

    /// An answer was no answer.
    pub(super) fn ended_early(&self) -> Refusal {
        let detail = "the server ended its answer before the result";
        self.refusal(RefusalKind::UpstreamProtocol).with_detail(detail)
    }

    pub(super) fn refusal(&self, kind: RefusalKind) -> Refusal {
        Refusal::new(kind).with_upstream(&self.settings.side.name)
    }
}

impl Lister for ModernServer {
    async fn page(&self, params: Object<'_>) -> Result<Response, Refusal> {
        self.ask(method::TOOLS_LIST, params).await
    }
}

/// The origin of a message to the server in the name of a client. It leaves like one of ours.
pub(super) fn inner(exchange: ExchangeId, peer: PeerId) -> Origin {
    Origin { exchange, is_own: false, ..Origin::own(peer, Revision::V2026_07_28) }
}

fn speaks_modern(result: &str) -> bool {
    let versions = json::get(result, &["supportedVersions"]).unwrap_or("[]");
    json::elements(versions)
        .filter_map(json::string)
        .any(|version| Revision::parse(&version).is_some_and(Revision::is_modern))
}
