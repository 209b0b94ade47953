//! One session with a legacy server: its handshake, and the way of messages to the server.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{
    Chain, Envelope, ExchangeId, Origin, PeerId, Principal, Refusal, RefusalKind, Replies, SessionTag,
    Transport,
};
use shadowcat_protocol::{Id, Message, Notification, Request, Response, Revision, json, method, own};
use tokio::sync::{oneshot, watch};

use super::agreed::Agreed;
use super::from_server::FromServer;
use super::inbox::Inboxes;
use super::listeners::Listeners;
use super::server::{LegacyServer, LegacySession};
use super::tasks::{self, HandedOut};
use crate::counters::Counters;
use crate::declared::Declared;
use crate::level::Level;
use crate::object::Object;
use crate::tools::{Lister, Tools};

/// How long the handshake may take; a child has to start in it.
const HANDSHAKE_MAX: Duration = Duration::from_secs(30);
/// How long a request of the bridge itself may take.
pub(super) const ASK_MAX: Duration = Duration::from_secs(10);
/// How long the standing stream may take to open.
const STAND_MAX: Duration = Duration::from_secs(5);
/// How far the standing stream goes ahead of a request: that it is on its way is what counts, for many servers send no
/// head before they have something to say.
pub(super) const HEAD_START: Duration = Duration::from_millis(10);
/// How long the server's word on the standing stream is waited for, where it is of use to the client.
pub(super) const VERDICT_PATIENCE: Duration = Duration::from_millis(250);
/// How long the end of a session may take.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// What makes two requests fit for one session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) principal: Option<Principal>,
    pub(super) declared: Declared,
}

/// What every session of one server is made with.
#[derive(Clone)]
pub(super) struct Maker {
    pub(super) server: Arc<dyn LegacyServer>,
    pub(super) chain: Chain,
    pub(super) counters: Arc<Counters>,
    pub(super) tasks: Tasks,
}

/// One session with the server.
pub(super) struct Session {
    this: Weak<Self>,
    /// Never given twice in one process.
    pub(super) number: u64,
    pub(super) key: Key,
    peer: PeerId,
    transport: Transport,
    legacy: Arc<dyn LegacySession>,
    pub(super) chain: Chain,
    pub(super) counters: Arc<Counters>,
    pub(super) tasks: Tasks,
    handshake: watch::Sender<Handshake>,
    standing: watch::Sender<Standing>,
    /// The most talkative level that the server was told, whether it took it or not.
    level: Mutex<Option<Level>>,
    pub(super) inboxes: Inboxes,
    pub(super) listeners: Listeners,
    /// The server's tools; those are special that only run as tasks.
    pub(super) tools: Tools,
    /// The tasks whose clients have a handle.
    pub(super) handed: HandedOut,
}

/// The standing stream, as far as is known.
#[derive(Clone, Copy, PartialEq)]
enum Standing {
    Closed,
    /// With whether somebody went on without the server's word, and counts on the stream.
    Opening(bool),
    /// Whether the server has one.
    Known(bool),
}

#[derive(Clone)]
enum Handshake {
    Open,
    Agreed(Arc<Agreed>),
    Failed(RefusalKind, Option<String>),
}

impl Session {
    /// A session whose handshake is under way. It goes on without whoever asked for it: a handshake cannot be
    /// withdrawn, nor be begun twice.
    pub(super) fn open(maker: &Maker, key: Key, transport: Transport) -> Arc<Self> {
        let session = Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            number: ExchangeId::next().get(),
            key,
            peer: PeerId::next(),
            transport,
            legacy: maker.server.session(Arc::new(FromServer::new(Weak::clone(this)))),
            chain: maker.chain.clone(),
            counters: Arc::clone(&maker.counters),
            tasks: maker.tasks.clone(),
            handshake: watch::Sender::new(Handshake::Open),
            standing: watch::Sender::new(Standing::Closed),
            level: Mutex::default(),
            inboxes: Inboxes::default(),
            listeners: Listeners::default(),
            tools: Tools::new(tasks::is_required),
            handed: HandedOut::default(),
        });
        let this = Arc::clone(&session);
        maker.tasks.spawn_until_stop(async move {
            let agreed = tokio::time::timeout(HANDSHAKE_MAX, this.shake_hands()).await;
            let outcome = match agreed.unwrap_or_else(|_| Err(RefusalKind::UpstreamTimeout.into())) {
                Ok(agreed) => Handshake::Agreed(Arc::new(agreed)),
                Err(refusal) => {
                    tracing::debug!(%refusal, "no session with the legacy server");
                    Handshake::Failed(refusal.kind, refusal.detail)
                }
            };
            this.handshake.send_replace(outcome);
        });
        session
    }

    async fn shake_hands(&self) -> Result<Agreed, Refusal> {
        let params = own::handshake(&self.key.declared.to_json());
        let response = self.exchange(method::INITIALIZE, &params).await?;
        let agreed = Agreed::read(&response)?;
        self.legacy.agreed(&params, &agreed.result);
        let note = Message::Notification(Notification::new(method::INITIALIZED, None));
        self.send(note, Arc::new(self.origin())).await?;
        if !self.key.declared.is_empty() {
            // Many servers ask on the standing stream, and not where the request came from.
            self.stand(HEAD_START).await;
        }
        Ok(agreed)
    }

    /// What the handshake agreed on, once it is through.
    pub(super) async fn ready(&self) -> Result<Arc<Agreed>, Refusal> {
        let mut handshake = self.handshake.subscribe();
        let outcome = handshake.wait_for(|outcome| !matches!(outcome, Handshake::Open));
        let outcome = self.tasks.stop_signal().run_until_cancelled_owned(outcome).await;
        match outcome.map(|outcome| outcome.map(|outcome| outcome.clone())) {
            Some(Ok(Handshake::Agreed(agreed))) => Ok(agreed),
            Some(Ok(Handshake::Failed(kind, detail))) => {
                let refusal = Refusal::new(kind);
                Err(match detail {
                    Some(detail) => refusal.with_detail(detail),
                    None => refusal,
                })
            }
            Some(Ok(Handshake::Open) | Err(_)) | None => Err(RefusalKind::ShuttingDown.into()),
        }
    }

    /// What was agreed on, if the handshake is through.
    pub(super) fn agreed(&self) -> Option<Arc<Agreed>> {
        match &*self.handshake.borrow() {
            Handshake::Agreed(agreed) => Some(Arc::clone(agreed)),
            Handshake::Open | Handshake::Failed(..) => None,
        }
    }

    /// Opens the stream of messages that belong to no request, and waits that long to hear whether there is one. A server
    /// that says nothing has not refused it.
    pub(super) async fn stand(&self, patience: Duration) -> bool {
        let mut standing = self.standing.subscribe();
        self.begin_to_stand();
        let known = standing.wait_for(|standing| !matches!(standing, Standing::Opening(_)));
        drop(tokio::time::timeout(patience, known).await);
        let mut stands = false;
        self.standing.send_if_modified(|standing| {
            if let Standing::Opening(counted_on) = standing {
                *counted_on = true;
            }
            stands = matches!(standing, Standing::Opening(_) | Standing::Known(true));
            false
        });
        stands
    }

    fn begin_to_stand(&self) {
        let Some(this) = self.this.upgrade() else { return };
        let begins = self.standing.send_if_modified(|standing| {
            let begins = *standing == Standing::Closed;
            if begins {
                *standing = Standing::Opening(false);
            }
            begins
        });
        if !begins {
            return;
        }
        // Not by whoever needs it: they go on sooner than it is open.
        self.tasks.spawn_until_stop(async move {
            let opened = tokio::time::timeout(STAND_MAX, this.legacy.listen()).await;
            let opened = opened.unwrap_or_else(|_| Err(RefusalKind::UpstreamTimeout.into()));
            let word = match opened {
                Ok(has_one) => Standing::Known(has_one),
                Err(refusal) => {
                    tracing::debug!(%refusal, "the legacy server's standing stream was not opened");
                    Standing::Closed
                }
            };
            let before = this.standing.send_replace(word);
            if before == Standing::Opening(true) && word != Standing::Known(true) {
                this.listeners.end();
            }
        });
    }

    /// The standing stream is gone, or the server is. What was said meanwhile nobody has heard: those who listen find out
    /// by listening again. A call under way may be asked something on another one; else the next that needs it opens it.
    pub(super) fn stream_lost(&self) {
        self.standing.send_replace(Standing::Closed);
        self.listeners.end();
        if self.inboxes.is_occupied() {
            self.begin_to_stand();
        }
    }

    /// Makes the server talk as much as `level` says. The most talkative request wins; each hears what it asked for.
    pub(super) async fn speak_up(&self, agreed: &Agreed, level: Level) {
        if !agreed.can(&["logging"]) {
            return;
        }
        // Many servers log on the standing stream, and not where the request came from.
        self.stand(HEAD_START).await;
        let Some(this) = self.this.upgrade().filter(|this| this.is_news(level)) else { return };
        let (telling, told) = oneshot::channel::<()>();
        // Once in a session, whoever goes away meanwhile: a server that does not take it is not asked with each request.
        self.tasks.spawn_until_stop(async move {
            this.tell_level(level).await;
            drop(telling);
        });
        drop(told.await);
    }

    /// Notes a level; says whether the server was told none that is as talkative.
    fn is_news(&self, level: Level) -> bool {
        let mut told = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = told.is_none_or(|told| level < told);
        if is_news {
            *told = Some(level);
        }
        is_news
    }

    async fn tell_level(&self, level: Level) {
        let params = Object::default().with("level", json::quote(level.as_str())).to_json();
        match self.ask(method::SET_LEVEL, &params).await {
            Ok(response) if response.result_json().is_some() => {}
            Ok(_) => tracing::debug!("the legacy server does not take the log level"),
            Err(refusal) => tracing::debug!(%refusal, "the legacy server does not take the log level"),
        }
    }

    /// A request of the bridge itself, and its response.
    pub(super) async fn ask(&self, method: &str, params: &str) -> Result<Response, Refusal> {
        let asked = tokio::time::timeout(ASK_MAX, self.exchange(method, params)).await;
        asked.unwrap_or_else(|_| Err(RefusalKind::UpstreamTimeout.into()))
    }

    async fn exchange(&self, method: &str, params: &str) -> Result<Response, Refusal> {
        self.exchange_within(ExchangeId::next(), method, params).await
    }

    /// A request of the bridge itself as a part of this exchange, and its response. The caller sets the deadline.
    pub(super) async fn exchange_within(
        &self,
        exchange: ExchangeId,
        method: &str,
        params: &str,
    ) -> Result<Response, Refusal> {
        let origin = Origin { exchange, ..self.origin() };
        let request = Request::new(&Id::from_u64(origin.exchange.get()), method, Some(params));
        let mut replies = self.send(Message::Request(request), Arc::new(origin)).await?;
        replies.response().await?.ok_or_else(|| RefusalKind::UpstreamProtocol.into())
    }

    /// Sends a message to the server, past whoever records this side.
    pub(super) async fn send(&self, message: Message, origin: Arc<Origin>) -> Result<Replies, Refusal> {
        self.chain.run(Envelope::to_server(message, origin), Arc::clone(&self.legacy) as _).await
    }

    /// The client's side of this session, for an exchange of its own.
    pub(super) fn origin(&self) -> Origin {
        let revision = self.agreed().map_or(Revision::NEWEST_LEGACY, |agreed| agreed.revision);
        let mut origin = Origin::new(self.peer, self.transport, revision);
        origin.session = Some(SessionTag(format!("bridge-{}", self.number).into()));
        origin.principal.clone_from(&self.key.principal);
        origin
    }

    /// How often the server's side was set up again.
    pub(super) fn turn(&self) -> u64 {
        self.legacy.turn()
    }

    /// Ends the session, at the server too.
    pub(super) async fn close(&self) {
        self.listeners.end();
        if tokio::time::timeout(CLOSE_MAX, self.legacy.close()).await.is_err() {
            tracing::debug!("the legacy server took too long to end a session");
        }
    }
}

impl Lister for Session {
    async fn page(&self, params: Object<'_>) -> Result<Response, Refusal> {
        self.ask(method::TOOLS_LIST, &params.to_json()).await
    }
}
