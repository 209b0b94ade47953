//! A legacy client's session to a server that only speaks the modern revision: the handshake is answered here, each
//! request carries what the session agreed on, and what the server wants to know is asked of the client.
//!
//! | file | holds |
//! |---|---|
//! | `server` | the server, shared by all sessions, and what it says of itself |
//! | `terms` | what one client agreed on, and the metadata of its requests |
//! | `call` | one request: its legs upstream, its one answer |
//! | `driving` | a call that the server runs as a task |
//! | `asking`, `questions` | what the server wants to know, asked of the client in its revision |
//! | `down`, `reading`, `schema` | results and errors as the client can read them |
//! | `lists` | changes in the server's lists, told to all sessions |
//! | `feed` | changes at the server, told to one client |
//! | `subscription` | one subscription at the server, and keeping it open |

mod asking;
mod call;
mod down;
mod driving;
mod feed;
mod lists;
mod questions;
mod reading;
mod schema;
mod server;
mod subscription;
mod terms;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{
    Back, Envelope, InFlight, Origin, OwnSpan, PeerId, Refusal, RefusalKind, Replies, Service,
};
use shadowcat_protocol::{Id, Message, Notification, Request, Response, codes, json, method};

pub use self::server::{ModernServer, ToModernSettings};

use self::call::Call;
use self::feed::Feed;
use self::server::{Discovered, inner};
use self::terms::Terms;
use crate::content::Reader;
use crate::level::Level;
use crate::object::Object;

/// What a legacy client may be offered; extensions and tasks are made in another way by either era.
const OFFERED: [&str; 5] = ["tools", "prompts", "resources", "completions", "logging"];
const EMPTY: &str = "{}";

/// How long those who wait for answers may take to let go of what was withdrawn.
const WITHDRAWING_MAX: Duration = Duration::from_millis(500);
/// How long the server may take to name the tasks that nobody wants any more, and to hear that.
const CLOSE_MAX: Duration = Duration::from_secs(4);

/// What is known of a session that an earlier process began; nothing of a new one.
#[derive(Clone, Debug, Default)]
pub struct Resumed {
    /// The parameters of `initialize` and its result, as JSON.
    pub handshake: Option<(String, String)>,
    /// The log level the client has set.
    pub log_level: Option<String>,
    /// The URIs of the resources the client has subscribed to.
    pub subscriptions: Vec<String>,
}

/// The session of one legacy client to a modern server.
pub struct ToModern {
    server: Arc<ModernServer>,
    client: Arc<dyn Back>,
    /// The scope of the session's requests upstream.
    peer: PeerId,
    settled: Mutex<Settled>,
    in_flight: Arc<InFlight<Id>>,
    feed: Arc<Feed>,
    tasks: Tasks,
}

/// What the client has settled for its session.
#[derive(Default)]
struct Settled {
    terms: Option<Arc<Terms>>,
    level: Option<String>,
}

impl ToModern {
    /// A session of the client behind `client`, new or gone on with.
    pub fn new(
        server: Arc<ModernServer>,
        client: Arc<dyn Back>,
        resumed: Resumed,
        tasks: &Tasks,
    ) -> Arc<Self> {
        let terms = resumed.handshake.map(|(params, result)| Arc::new(Terms::agreed(&params, &result)));
        let peer = PeerId::next();
        let feed =
            Feed::new(Arc::clone(&server), Arc::clone(&client), tasks.child(), peer, resumed.subscriptions);
        let settled = Mutex::new(Settled { terms, level: resumed.log_level });
        let tasks = tasks.child();
        Arc::new(Self { server, client, peer, settled, in_flight: Arc::default(), feed, tasks })
    }

    /// The client has opened its standing stream: from now on it can be told what changes.
    pub fn listen(&self) {
        if let Some(terms) = self.terms() {
            self.feed.start(terms);
        }
    }

    /// What the handshake of the session would be answered with today.
    ///
    /// # Errors
    ///
    /// When the server does not say what it is, and when there was no handshake.
    pub async fn welcome(&self) -> Result<String, Refusal> {
        let terms = self.terms().ok_or(RefusalKind::SessionUnknown)?;
        let discovered = self.server.discover().await?;
        Ok(welcome(&self.server, &terms, &discovered))
    }

    /// The session goes on elsewhere: the client is told of no more changes, and what is under way ends by itself.
    pub async fn leave(&self) {
        self.feed.close().await;
    }

    /// Ends the session: its requests are withdrawn, the tasks they became are cancelled, and nothing is told to the client
    /// any more.
    pub async fn close(&self) {
        self.in_flight.withdraw_all();
        if tokio::time::timeout(WITHDRAWING_MAX, self.in_flight.emptied()).await.is_err() {
            tracing::debug!("a session ends before somebody who waits for its answers has let them go");
        }
        tokio::join!(self.tasks.join(CLOSE_MAX), self.feed.close());
    }

    fn settled(&self) -> MutexGuard<'_, Settled> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn terms(&self) -> Option<Arc<Terms>> {
        self.settled().terms.clone()
    }

    async fn request(&self, request: Request, origin: Arc<Origin>) -> Result<Replies, Refusal> {
        let id = request.id();
        match request.method() {
            method::INITIALIZE => return Ok(self.initialize(&request)),
            method::PING => return Ok(answer(Response::result(id, EMPTY))),
            own if own == method::LISTEN || own == method::DISCOVER || own.starts_with("tasks/") => {
                self.server.counters.lose(own, Some(&origin));
                return Ok(answer(down::fault(
                    id,
                    codes::METHOD_NOT_FOUND,
                    "this session has no such method",
                )));
            }
            _ => {}
        }
        let Some(terms) = self.terms() else {
            return Ok(answer(down::fault(id, codes::INVALID_REQUEST, "initialize first")));
        };
        match request.method() {
            method::SET_LEVEL => Ok(answer(self.set_level(&request))),
            method::RESOURCES_SUBSCRIBE => Ok(self.subscribe(request, terms, true)),
            method::RESOURCES_UNSUBSCRIBE => Ok(self.subscribe(request, terms, false)),
            _ => self.call(request, terms, origin).await,
        }
    }

    fn initialize(&self, request: &Request) -> Replies {
        let terms = Arc::new(Terms::asked(request.params()));
        *self.settled() = Settled { terms: Some(Arc::clone(&terms)), level: None };
        let (server, id) = (Arc::clone(&self.server), request.id().clone());
        later(async move {
            let discovered = server.discover().await?;
            Ok(Response::result(&id, &welcome(&server, &terms, &discovered)))
        })
    }

    fn set_level(&self, request: &Request) -> Response {
        let level = request.params().and_then(|params| json::get(params, &["level"])).and_then(Level::parse);
        match level {
            Some(level) => {
                self.settled().level = Some(level.as_str().to_owned());
                Response::result(request.id(), EMPTY)
            }
            None => down::fault(request.id(), codes::INVALID_PARAMS, "there is no such log level"),
        }
    }

    fn subscribe(&self, request: Request, terms: Arc<Terms>, wanted: bool) -> Replies {
        let uri = request.params().and_then(|params| json::get(params, &["uri"])).and_then(json::string);
        let Some(uri) = uri.map(std::borrow::Cow::into_owned) else {
            return answer(down::fault(request.id(), codes::INVALID_PARAMS, "the uri is missing"));
        };
        let feed = Arc::clone(&self.feed);
        later(async move {
            let changed =
                if wanted { feed.subscribe(terms, uri).await } else { feed.unsubscribe(terms, &uri).await };
            match changed {
                Ok(()) => Ok(Response::result(request.id(), EMPTY)),
                Err(refusal) => down::refused(request.id(), refusal),
            }
        })
    }

    async fn call(
        &self,
        request: Request,
        terms: Arc<Terms>,
        asked_by: Arc<Origin>,
    ) -> Result<Replies, Refusal> {
        let Some(flight) = self.in_flight.enter(request.id().clone()) else {
            return Err(self.server.refusal(RefusalKind::LimitQueue));
        };
        if request.params().is_some_and(|params| json::get(params, &["task"]).is_some()) {
            // 2025-11-25 tasks: a receiver that offers none ignores it.
            self.server.counters.lose("task", Some(&asked_by));
        }
        let level = self.settled().level.clone();
        let span = asked_by.told_span(&request);
        let params = terms.stamped(request.params(), level.as_deref(), span.as_ref());
        let own = Origin {
            session: asked_by.session.clone(),
            principal: asked_by.principal.clone(),
            span: OwnSpan::handed_on(span),
            ..inner(asked_by.exchange, self.peer)
        };
        let (server, client) = (Arc::clone(&self.server), Arc::clone(&self.client));
        let (origin, tasks) = (Arc::new(own), self.tasks.clone());
        Call { server, client, terms, request, params, origin, asked_by, flight, tasks }.run().await
    }

    fn notification(&self, note: &Notification) {
        match note.method() {
            method::INITIALIZED => self.listen(),
            method::CANCELLED => {
                if let Some(id) = note.request_id() {
                    self.in_flight.withdraw(&id);
                }
            }
            // The modern revision has no other notifications of clients.
            other => self.server.counters.lose(other, None),
        }
    }
}

#[async_trait]
impl Service for ToModern {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let origin = envelope.origin;
        origin.upstream.get_or_init(|| self.server.settings.side.clone());
        match envelope.message {
            Message::Request(request) => self.request(request, origin).await,
            Message::Notification(note) => {
                self.notification(&note);
                Ok(Replies::none())
            }
            Message::Response(_) => {
                Err(Refusal::bad_message(codes::INVALID_REQUEST, "a response to no request of the server"))
            }
        }
    }
}

fn answer(response: Response) -> Replies {
    Replies::one(Message::Response(response))
}

/// An answer that somebody has to be asked for first.
fn later(work: impl Future<Output = Result<Response, Refusal>> + Send + 'static) -> Replies {
    Replies::stream(futures_util::stream::once(async move { work.await.map(Message::Response) }))
}

/// The result of `initialize`, from what the server says of itself.
fn welcome(server: &ModernServer, terms: &Terms, discovered: &Discovered) -> String {
    let declared = Object::parse(&discovered.capabilities);
    let mut capabilities = Object::default();
    for offer in OFFERED {
        if let Some(raw) = declared.get(offer).filter(|raw| raw.starts_with('{')) {
            capabilities.set(offer, raw);
        }
    }
    // Legacy clients need a name and a version; a modern server need not tell them.
    let synthesised = format!(r#"{{"name":{},"version":"0"}}"#, json::quote(&server.settings.side.name));
    let info = Object::parse(discovered.server_info.as_deref().unwrap_or(&synthesised));
    let reader = Reader { revision: terms.revision, counters: &server.counters, exchange: None };
    let welcome = Object::default()
        .with("protocolVersion", json::quote(terms.revision.as_str()))
        .with("capabilities", capabilities.to_json())
        .with("serverInfo", reader.item(info).to_json());
    match &discovered.instructions {
        Some(instructions) => welcome.with("instructions", instructions.as_str()).to_json(),
        None => welcome.to_json(),
    }
}
