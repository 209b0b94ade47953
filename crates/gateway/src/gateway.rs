//! The gateway: what listeners hand messages to. It knows which session a message belongs to and sends it through the
//! chain to that session's server; what the chain does and how the server is reached is not known here.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use shadowcat_cache::Cache;
use shadowcat_interceptors::Lot;
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{
    Chain, Envelope, Origin, Principal, Refusal, RefusalKind, Replies, Service, Transport,
};
use shadowcat_protocol::{Message, Response, Revision};
use shadowcat_session::{
    Key, Live, Lost, Namespace, Outlet, Record, SessionId, Sessions, Standing, State, StreamLimits, Table,
};
use shadowcat_transports::{Connector, Counters, Front, Opening};
use tokio_util::sync::CancellationToken;

use crate::back::ClientBack;
use crate::life::Closed;
use crate::upstream::{Bridges, EitherUpstream, Memory, ModernFace, Said, SessionUpstream};

/// How long a server that could not be reached is taken for unreachable.
const UNREACHABLE_FOR: Duration = Duration::from_secs(10);

/// How sessions are kept.
#[derive(Clone, Debug)]
pub(crate) struct SessionRules {
    pub(crate) namespace: Namespace,
    pub(crate) idle: Duration,
    pub(crate) life: Duration,
    pub(crate) stream: StreamLimits,
    /// Bytes all streams of one session keep together.
    pub(crate) kept_bytes_max: usize,
    pub(crate) resume_window: Duration,
}

/// The gateway of one upstream.
pub(crate) struct Gateway {
    pub(crate) upstream_name: Arc<str>,
    pub(crate) rules: SessionRules,
    pub(crate) chain: Chain,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) counters: Arc<Counters>,
    /// The server as modern clients meet it.
    pub(crate) modern: Arc<ModernFace>,
    /// What joins the eras, unless that is switched off.
    pub(crate) bridges: Option<Arc<Bridges>>,
    /// What is kept of what the server says, if anything is.
    pub(crate) cache: Option<Cache>,
    pub(crate) records: Arc<Sessions>,
    pub(crate) table: Table,
    /// Messages that clients were away for too long to get.
    pub(crate) lost: Lost,
    /// Where messages wait that are held.
    pub(crate) lot: Lot,
    pub(crate) closed: Arc<Closed>,
    pub(crate) tasks: Tasks,
    /// No new exchanges: the proxy is about to end.
    pub(crate) draining: CancellationToken,
    /// When the server could not be reached for the last time, unless it has been since.
    pub(crate) unreachable: Mutex<Option<Instant>>,
}

/// What a session is made of before it is in use.
struct Parts {
    id: SessionId,
    state: State,
    principal: Option<Principal>,
    transport: Transport,
    outlet: Arc<Outlet>,
    memory: Arc<Memory>,
    token: Option<Box<str>>,
    age: Duration,
}

impl Gateway {
    fn refuse_while_draining(&self) -> Result<(), Refusal> {
        if self.draining.is_cancelled() { Err(RefusalKind::ShuttingDown.into()) } else { Ok(()) }
    }

    /// Notes whether the server could be reached, for the readiness page.
    fn seen(&self, handled: Result<Replies, Refusal>) -> Result<Replies, Refusal> {
        match &handled {
            Ok(_) => self.note_unreachable(None),
            Err(refusal) if refusal.kind == RefusalKind::UpstreamUnreachable => {
                self.note_unreachable(Some(Instant::now()));
            }
            Err(_) => {}
        }
        handled
    }

    fn note_unreachable(&self, when: Option<Instant>) {
        *self.unreachable.lock().unwrap_or_else(PoisonError::into_inner) = when;
    }

    /// Whether the server could not be reached a moment ago. Later it has to be tried again to know, and nobody tries
    /// a proxy that says it is not ready.
    pub(crate) fn is_unreachable(&self) -> bool {
        let when = *self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
        when.is_some_and(|when| when.elapsed() < UNREACHABLE_FOR)
    }

    fn make(&self, parts: Parts) -> Arc<Live> {
        let back = ClientBack::new(self.chain.clone(), self.tasks.clone());
        let standing = Standing::new(Arc::clone(&self.records), self.key(&parts.id), parts.state);
        let was_bridged = EitherUpstream::was_bridged(parts.token.as_deref());
        let native = SessionUpstream::new(
            Arc::clone(&self.connector),
            Arc::clone(&back) as _,
            Arc::clone(&self.counters),
            Arc::clone(&parts.memory),
            Arc::clone(&standing),
            parts.token.filter(|_| !was_bridged),
        );
        let bridges = self.bridges.clone();
        let upstream =
            EitherUpstream::new(native, bridges, Arc::clone(&back) as _, parts.memory, self.tasks.clone());
        if was_bridged {
            upstream.bridge();
        }
        let upstream = Arc::new(upstream);
        let live = Live::new(parts.id, parts.principal, parts.transport, parts.outlet, upstream, standing);
        let live = Arc::new(live.aged(parts.age));
        back.belongs_to(&live);
        live
    }

    fn outlet(&self) -> Arc<Outlet> {
        Outlet::counting(self.rules.stream, self.rules.kept_bytes_max, self.lost.clone())
    }

    pub(crate) fn key(&self, id: &SessionId) -> Key {
        Key::new(self.rules.namespace.clone(), id.clone())
    }

    /// A session that is in the store and not in use.
    async fn wake(&self, id: &SessionId, principal: Option<&Principal>) -> Result<Arc<Live>, Refusal> {
        let found = self.records.get(&self.key(id)).await;
        let found = found.map_err(|error| Refusal::new(RefusalKind::StoreUnavailable).with_cause(error))?;
        let record = found.ok_or(RefusalKind::SessionUnknown)?;
        let owned = record.principal.as_deref() == principal.map(Principal::name);
        if !owned || !can_go_on(&record) || self.is_over(&record) {
            return Err(RefusalKind::SessionUnknown.into());
        }
        let said = Said::restore(&record);
        let live = self.make(Parts {
            id: id.clone(),
            state: record.state(),
            principal: principal.cloned(),
            transport: Transport::Http,
            // Numbers of an earlier process must not mean something else in this one.
            outlet: self.outlet().numbering_from(now_ms() * 1000),
            memory: Arc::new(Memory::restored(said)),
            token: record.upstream_token.as_ref().map(|token| token.as_str().into()),
            age: Duration::from_millis(now_ms().saturating_sub(record.created_ms)),
        });
        live.agree(record.revision);
        tracing::info!(session = %live.tag, "a session goes on");
        let live = self.seat(live).await?;
        live.standing.step(State::Active);
        Ok(live)
    }

    fn is_over(&self, record: &Record) -> bool {
        let now = now_ms();
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        now.saturating_sub(record.last_used_ms) > millis(self.rules.idle)
            || now.saturating_sub(record.created_ms) > millis(self.rules.life)
    }
}

#[async_trait]
impl Front for Gateway {
    async fn exchange(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        self.refuse_while_draining()?;
        let end: Arc<dyn Service> = Arc::clone(&self.modern) as _;
        self.seen(self.chain.before(&end).run(envelope).await)
    }

    async fn open(&self, opening: Opening) -> Result<(Arc<Live>, Replies), Refusal> {
        self.refuse_while_draining()?;
        let id =
            SessionId::generate().map_err(|error| Refusal::new(RefusalKind::Internal).with_cause(error))?;
        let memory = Arc::new(Memory::default());
        let live = self.make(Parts {
            id,
            state: State::New,
            principal: opening.principal,
            transport: opening.transport,
            outlet: opening.outlet.unwrap_or_else(|| self.outlet()),
            memory: Arc::clone(&memory),
            token: None,
            age: Duration::ZERO,
        });
        // Until the handshake is through, leaving early takes the session with it. Nobody takes it for idle meanwhile.
        let half_open = HalfOpen { gateway: self, live: Some(Arc::clone(&live)) };
        let _in_use = live.enter(usize::MAX);
        let live = self.seat(live).await?;
        let request = opening.request;
        let mut origin: Origin = live.origin();
        origin.http_trace = opening.http_trace;
        origin.revision = request.params().and_then(Revision::of_handshake).unwrap_or(origin.revision);
        self.begin(&live, origin.revision);
        let envelope = Envelope::to_server(Message::Request(request.clone()), Arc::new(origin));
        let mut replies = self.seen(self.chain.run(envelope, Arc::clone(&live.upstream) as _).await)?;
        let (response, before) = first_response(&mut replies).await;
        let head = replies.head();
        let result = match &response {
            Ok(response) => response.result_json(),
            Err(_) => None,
        };
        let Some(result) = result else {
            return Ok((live, Replies::one(Message::Response(response?)).with_head(head)));
        };
        if let Some(revision) = Revision::of_handshake(result) {
            live.agree(revision);
        }
        memory.agreed(request.params().unwrap_or("{}"), result);
        self.activate(&live).await;
        half_open.through();
        let replies = before.into_iter().map(Ok).chain([response.map(Message::Response)]);
        let replies: Vec<_> = replies.collect();
        Ok((live, Replies::stream(futures_util::stream::iter(replies)).with_head(head)))
    }

    async fn find(&self, id: &SessionId, principal: Option<&Principal>) -> Result<Arc<Live>, Refusal> {
        match self.table.get(id) {
            Some(live) if live.principal.as_ref() == principal => Ok(live),
            // Somebody else's session looks like none at all.
            Some(_) => Err(RefusalKind::SessionUnknown.into()),
            None => Box::pin(self.wake(id, principal)).await,
        }
    }

    // No `async fn`: that would hold the envelope a second time, in every exchange.
    fn handle<'s, 'l, 'f>(
        &'s self,
        live: &'l Arc<Live>,
        envelope: Envelope,
    ) -> BoxFuture<'f, Result<Replies, Refusal>>
    where
        's: 'f,
        'l: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let end: Arc<dyn Service> = Arc::clone(&live.upstream) as _;
            if !matches!(envelope.message, Message::Request(_)) {
                return self.chain.before(&end).run(envelope).await;
            }
            self.refuse_while_draining()?;
            let handled = self.seen(self.chain.before(&end).run(envelope).await);
            if live.upstream.has_changed() {
                // Rare and large: not a part of the future of every exchange.
                Box::pin(self.save(live)).await;
            }
            match handled {
                Ok(replies) => Ok(count(replies, live)),
                Err(refusal) => {
                    live.count(true);
                    Err(refusal)
                }
            }
        })
    }

    async fn listen(&self, live: &Arc<Live>) -> Result<(), Refusal> {
        self.refuse_while_draining()?;
        live.upstream.listen().await
    }

    async fn end(&self, live: &Arc<Live>) {
        if self.table.remove(live) {
            self.lot.leave(live.peer);
            live.outlet.close();
            self.finish(live).await;
        }
    }

    async fn forget(&self, live: &Arc<Live>) {
        if self.table.remove(live) {
            self.lot.leave(live.peer);
            self.finish(live).await;
        }
    }
}

/// A session whose handshake is not through. Dropped, it never came to be.
struct HalfOpen<'a> {
    gateway: &'a Gateway,
    live: Option<Arc<Live>>,
}

impl HalfOpen<'_> {
    fn through(mut self) {
        self.live = None;
    }
}

impl Drop for HalfOpen<'_> {
    fn drop(&mut self) {
        if let Some(live) = self.live.take() {
            self.gateway.table.remove(&live);
            // A pipe is its client's own, which is still to be told that there is no session, and may ask for another.
            if live.transport == Transport::Http {
                live.outlet.close();
            }
            self.gateway.let_go(&live);
        }
    }
}

/// Whether there is something to set the session up again from.
fn can_go_on(record: &Record) -> bool {
    let kept = record.handshake.is_some() || record.upstream_token.is_some();
    kept && !record.state().is_over()
}

/// Counts the request in its session when its response passes.
fn count(replies: Replies, live: &Arc<Live>) -> Replies {
    let live = Arc::clone(live);
    replies.inspect(move |reply| match reply {
        Ok(Message::Response(response)) => live.count(response.error_code().is_some()),
        Ok(_) => {}
        Err(_) => live.count(true),
    })
}

/// The response to `initialize`, and what came before it.
pub(crate) async fn first_response(replies: &mut Replies) -> (Result<Response, Refusal>, Vec<Message>) {
    let mut before = Vec::new();
    while let Some(reply) = replies.next().await {
        match reply {
            Ok(Message::Response(response)) => return (Ok(response), before),
            Ok(message) if before.len() < 64 => before.push(message),
            Ok(_) => {}
            Err(refusal) => return (Err(refusal), before),
        }
    }
    (Err(RefusalKind::Cancelled.into()), before)
}

/// The wall clock, for what is kept beyond this process.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "bridged_tests.rs"]
mod bridged_tests;
#[cfg(test)]
#[path = "gateway_tests.rs"]
mod tests;
