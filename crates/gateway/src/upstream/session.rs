//! The server's side of one legacy session: a connection that is opened at the first message, and set up again from
//! the stored handshake when the server has lost it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use shadowcat_pipeline::{Back, Envelope, Origin, PeerId, Refusal, RefusalKind, Replies, Service};
use shadowcat_protocol::{Era, Id, Message, Notification, Request, Response, Revision, json, method};
use shadowcat_session::{Record, Standing, State, Upstream, UpstreamToken};
use shadowcat_transports::{Connection, Connector, Counters, OpenConnection, Parting};

use super::handshake::{Memory, Said, is_noted, noting, still_holds};

/// How long a replayed handshake may take.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(30);

/// The server's side of one session.
pub(crate) struct SessionUpstream {
    connector: Arc<dyn Connector>,
    back: Arc<dyn Back>,
    counters: Arc<Counters>,
    memory: Arc<Memory>,
    standing: Arc<Standing>,
    current: Mutex<Current>,
    /// Held while a connection is opened, so that two messages do not open two.
    opening: tokio::sync::Mutex<()>,
    /// The upstream session an earlier process has left, until it is taken up.
    token: Mutex<Option<Box<str>>>,
    listening: AtomicBool,
    ended: AtomicBool,
    /// Taken out of use; the session goes on elsewhere.
    asleep: AtomicBool,
    /// The server has no standing stream.
    no_stream: AtomicBool,
    /// Something changed that a later process has to know.
    changed: Arc<AtomicBool>,
}

/// In one value, so that nobody sees a new connection in an old turn.
#[derive(Default)]
struct Current {
    connection: Option<Arc<dyn Connection>>,
    /// How often the session was set up again.
    turn: u64,
}

impl SessionUpstream {
    /// A session with nothing said yet, or (with a token or a memory) one to go on with.
    pub(crate) fn new(
        connector: Arc<dyn Connector>,
        back: Arc<dyn Back>,
        counters: Arc<Counters>,
        memory: Arc<Memory>,
        standing: Arc<Standing>,
        token: Option<Box<str>>,
    ) -> Self {
        Self {
            connector,
            back,
            counters,
            memory,
            standing,
            current: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            token: Mutex::new(token),
            listening: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            no_stream: AtomicBool::new(false),
            changed: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> Option<Arc<dyn Connection>> {
        self.lock().connection.clone()
    }

    /// How often the session was set up again. One that is lost counts as set up already: so it will be at its next message.
    pub(super) fn turn(&self) -> u64 {
        let current = self.lock();
        current.turn + u64::from(current.connection.as_ref().is_some_and(|connection| !connection.is_alive()))
    }

    /// The connection, opened or set up again if need be.
    async fn connection(&self) -> Result<Arc<dyn Connection>, Refusal> {
        if let Some(connection) = self.current().filter(|connection| connection.is_alive()) {
            return Ok(connection);
        }
        // Rare and large: not a part of the future of every exchange.
        Box::pin(self.connect()).await
    }

    async fn connect(&self) -> Result<Arc<dyn Connection>, Refusal> {
        let _opening = self.opening.lock().await;
        self.refuse_if_closed()?;
        let connected = match self.current() {
            Some(connection) if connection.is_alive() => Ok(connection),
            Some(dead) => self.replace(&dead).await,
            None => self.first().await,
        };
        self.lost_unless(connected)
    }

    /// Sees to it that there is a connection which knows the session.
    pub(super) async fn ready(&self) -> Result<(), Refusal> {
        self.connection().await.map(drop)
    }

    /// Gives the connection up; the next message opens another.
    pub(super) async fn let_go(&self) {
        let _opening = self.opening.lock().await;
        let current = self.lock().connection.take();
        if let Some(connection) = current {
            connection.close(Parting::End).await;
        }
    }

    /// Notes that without a connection the server's side is lost for now.
    fn lost_unless<T>(&self, connected: Result<T, Refusal>) -> Result<T, Refusal> {
        connected.inspect_err(|_| {
            self.standing.step(State::Error);
        })
    }

    /// Notes whether the server is in reach. A child that is gone shows in its connection instead.
    pub(super) fn reached(&self, handled: &Result<Replies, Refusal>) {
        match handled {
            Ok(_) if self.standing.state() == State::Error => {
                self.standing.step(State::Active);
            }
            Err(refusal) if refusal.kind == RefusalKind::UpstreamUnreachable => {
                self.standing.step(State::Error);
            }
            _ => {}
        }
    }

    fn refuse_if_closed(&self) -> Result<(), Refusal> {
        if self.ended.load(Ordering::Acquire) {
            return Err(RefusalKind::SessionUnknown.into());
        }
        if self.asleep.load(Ordering::Acquire) {
            // The session is in the store: whoever asks again finds it there.
            return Err(RefusalKind::BUSY.into());
        }
        Ok(())
    }

    /// The first connection of this process: a fresh one, or the one an earlier process has left.
    async fn first(&self) -> Result<Arc<dyn Connection>, Refusal> {
        let said = self.memory.said();
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner).take();
        if said.handshake.is_some() && token.is_none() {
            return self.open_again(&said).await;
        }
        let revision =
            said.handshake.as_ref().and_then(|handshake| Revision::of_handshake(handshake.result()));
        let connection = self.open(revision, token).await?;
        self.lock().connection = Some(Arc::clone(&connection));
        if self.standing.state() == State::New {
            self.standing.step(State::Initializing);
        }
        Ok(connection)
    }

    async fn open(
        &self,
        revision: Option<Revision>,
        token: Option<Box<str>>,
    ) -> Result<Arc<dyn Connection>, Refusal> {
        let back = Arc::clone(&self.back);
        self.connector.open(OpenConnection { back, era: Era::Legacy, revision, token }).await
    }

    /// Puts a new connection in the place of one that is lost.
    async fn replace(&self, lost: &Arc<dyn Connection>) -> Result<Arc<dyn Connection>, Refusal> {
        lost.close(Parting::Keep).await;
        let said = self.memory.said();
        if said.handshake.is_none() {
            let detail = "the server ended before the session was set up";
            return Err(Refusal::new(RefusalKind::SessionLost).with_detail(detail));
        }
        self.open_again(&said).await
    }

    /// Opens a connection and says everything again that the client has said before.
    async fn open_again(&self, said: &Said) -> Result<Arc<dyn Connection>, Refusal> {
        self.standing.step(State::Error);
        let connection = self.open(None, None).await?;
        let _attempt = Attempt::begin(&self.standing);
        let replayed = tokio::time::timeout(HANDSHAKE_DEADLINE, replay(&*connection, said)).await;
        let replayed = replayed.unwrap_or_else(|_| Err(RefusalKind::UpstreamTimeout.into()));
        if let Err(refusal) = replayed {
            connection.close(Parting::End).await;
            return Err(refusal);
        }
        self.counters.revived.add();
        {
            let mut current = self.lock();
            current.connection = Some(Arc::clone(&connection));
            current.turn += 1;
        }
        self.changed.store(true, Ordering::Release);
        self.standing.step(State::Active);
        if self.listening.load(Ordering::Acquire)
            && let Err(refusal) = connection.listen().await
        {
            tracing::debug!(%refusal, "the session is set up again without its standing stream");
        }
        Ok(connection)
    }

    /// Opens the server's standing stream; says whether it has one.
    pub(super) async fn open_stream(&self) -> Result<bool, Refusal> {
        if self.no_stream.load(Ordering::Acquire) {
            return Ok(false);
        }
        let connection = self.connection().await?;
        let opened = match connection.listen().await {
            Err(refusal) if refusal.kind == RefusalKind::SessionLost => {
                let opened = self.revive(&connection).await?.listen().await.is_ok();
                // It was not the session that is missing, but the stream: some servers say 404 to every GET.
                self.no_stream.store(!opened, Ordering::Release);
                opened
            }
            // The server has no such stream. Ours may have something to carry all the same: what a request's stream
            // could not, or a server that has one after it was set up again.
            Err(refusal) if has_no_stream(&refusal) => false,
            other => other.map(|()| true)?,
        };
        self.listening.store(true, Ordering::Release);
        Ok(opened)
    }

    /// Takes a message to the server. It stays with the caller, who may have another way for it.
    pub(super) async fn pass(&self, envelope: &Envelope) -> Result<Replies, Refusal> {
        let connection = self.connection().await?;
        let handled = match connection.handle(envelope.clone()).await {
            // The server refused it unread, so that sending it once more is no second execution. Rare and large: not a part
            // of the future of every exchange.
            Err(Refusal { kind: RefusalKind::SessionLost, .. }) => {
                let connection = Box::pin(self.revive(&connection)).await?;
                connection.handle(envelope.clone()).await
            }
            other => other,
        };
        self.reached(&handled);
        let replies = handled?;
        match &envelope.message {
            Message::Request(request) if is_noted(&envelope.message) => {
                let (memory, changed) = (Arc::clone(&self.memory), Arc::clone(&self.changed));
                Ok(noting(replies, request.clone(), memory, changed))
            }
            _ => Ok(replies),
        }
    }

    /// The server said that it does not know the session: set it up again, unless somebody else just did.
    async fn revive(&self, lost: &Arc<dyn Connection>) -> Result<Arc<dyn Connection>, Refusal> {
        let _opening = self.opening.lock().await;
        self.refuse_if_closed()?;
        match self.current() {
            Some(current) if !Arc::ptr_eq(&current, lost) && current.is_alive() => Ok(current),
            _ => self.lost_unless(self.replace(lost).await),
        }
    }
}

#[async_trait]
impl Service for SessionUpstream {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        self.pass(&envelope).await
    }
}

#[async_trait]
impl Upstream for SessionUpstream {
    fn keep(&self, record: &mut Record) {
        self.memory.said().keep(record);
        let token = match self.current() {
            Some(connection) => connection.token(),
            None => self.token.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        };
        record.upstream_token = token.map(UpstreamToken::new);
    }

    fn has_changed(&self) -> bool {
        self.changed.swap(false, Ordering::AcqRel)
    }

    fn look(&self) {
        if self.current().is_some_and(|connection| !connection.is_alive()) {
            self.standing.step(State::Error);
        }
    }

    async fn listen(&self) -> Result<(), Refusal> {
        self.open_stream().await.map(drop)
    }

    async fn close(&self, ended: bool) {
        let closed = if ended { &self.ended } else { &self.asleep };
        closed.store(true, Ordering::Release);
        let _opening = self.opening.lock().await;
        let current = self.lock().connection.take();
        if let Some(connection) = current {
            connection.close(if ended { Parting::End } else { Parting::Keep }).await;
        }
    }
}

/// A handshake that is said again. Refused, or given up by whoever waited for it, it leaves the session as it was.
struct Attempt<'a>(&'a Standing);

impl<'a> Attempt<'a> {
    fn begin(standing: &'a Standing) -> Self {
        standing.step(State::Initializing);
        Self(standing)
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.0.state() == State::Initializing {
            self.0.step(State::Error);
        }
    }
}

/// 405 is how a server says that it has no standing stream (2025-03-26 and later, transports); 404 is how some say it.
fn has_no_stream(refusal: &Refusal) -> bool {
    matches!(&refusal.kind, RefusalKind::UpstreamStatus(answer) if matches!(answer.status, 404 | 405))
}

/// Says a handshake again, and what was said after it.
async fn replay(connection: &dyn Connection, said: &Said) -> Result<(), Refusal> {
    let Some(handshake) = &said.handshake else { return Err(RefusalKind::SessionLost.into()) };
    let peer = PeerId::next();
    let answer = ask(connection, peer, method::INITIALIZE, handshake.params()).await?;
    let lost = |detail: &str| Err(Refusal::new(RefusalKind::SessionLost).with_detail(detail));
    match answer.result_json() {
        None => return lost("the server refused to set the session up again"),
        Some(again) if !still_holds(handshake.result(), again) => {
            return lost("the server does not offer any more what was agreed on");
        }
        Some(_) => {}
    }
    let initialized = Notification::new(method::INITIALIZED, None);
    connection.handle(envelope(peer, Message::Notification(initialized))).await?;
    if let Some(level) = &said.level {
        ask(connection, peer, method::SET_LEVEL, &format!(r#"{{"level":{}}}"#, json::quote(level))).await?;
    }
    for uri in &said.subscriptions {
        ask(connection, peer, method::RESOURCES_SUBSCRIBE, &format!(r#"{{"uri":{}}}"#, json::quote(uri)))
            .await?;
    }
    Ok(())
}

async fn ask(
    connection: &dyn Connection,
    peer: PeerId,
    method: &str,
    params: &str,
) -> Result<Response, Refusal> {
    let request = Request::new(&Id::from_u64(0), method, Some(params));
    let mut replies = connection.handle(envelope(peer, Message::Request(request))).await?;
    replies.response().await?.ok_or_else(|| RefusalKind::SessionLost.into())
}

/// A message of the proxy's own, in the name of no client.
fn envelope(peer: PeerId, message: Message) -> Envelope {
    let origin = Origin::own(peer, Revision::NEWEST_LEGACY);
    Envelope::to_server(message, Arc::new(origin))
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
