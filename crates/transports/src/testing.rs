//! What the tests of the listeners share: a gateway that does as it is told, and a session of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use shadowcat_pipeline::{
    Back, Envelope, ExchangeId, Principal, Refusal, RefusalKind, Replies, Service, Transport, UpstreamSide,
};
use shadowcat_protocol::{Id, Message, Request, Response, Revision};
use shadowcat_session::{
    Key, Live, Namespace, Outlet, Page, Record, SessionId, SessionStore, Sessions, SessionsLimits, Standing,
    State, StoreError, StreamLimits, Upstream,
};
use tokio::sync::Semaphore;

use crate::front::{Front, Opening};

/// How long anything may take on a busy machine.
pub(crate) const LONG: Duration = Duration::from_mins(1);

/// A client nobody has a word for; it counts how often its server has gone.
#[derive(Default)]
pub(crate) struct NoBack(pub(crate) AtomicUsize);

#[async_trait]
impl Back for NoBack {
    async fn deliver(&self, _: Message, _: Option<ExchangeId>, _: &UpstreamSide) -> Result<Replies, Refusal> {
        Ok(Replies::none())
    }

    fn let_go(&self, _: ExchangeId, _: Duration) {}

    fn stream_lost(&self) {}

    fn server_gone(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

type Answer = dyn Fn(Envelope) -> BoxFuture<'static, Result<Replies, Refusal>> + Send + Sync;

/// A gateway that answers as it is told, and counts.
pub(crate) struct FakeFront {
    answer: Box<Answer>,
    at_listen: Box<dyn Fn(&Live) + Send + Sync>,
    /// One permit lets one session be opened.
    pub(crate) openings: Semaphore,
    handled: AtomicUsize,
    opened: AtomicUsize,
    ended: AtomicUsize,
}

impl FakeFront {
    /// Requests are answered with this.
    pub(crate) fn answering<F>(answer: impl Fn(Envelope) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Replies, Refusal>> + Send + 'static,
    {
        Self {
            answer: Box::new(move |envelope| Box::pin(answer(envelope))),
            at_listen: Box::new(|_| ()),
            openings: Semaphore::new(0),
            handled: AtomicUsize::new(0),
            opened: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
        }
    }

    /// Nobody is answered.
    pub(crate) fn silent() -> Self {
        Self::answering(|_| std::future::pending())
    }

    /// This happens while a client opens its standing stream.
    pub(crate) fn at_listen(mut self, does: impl Fn(&Live) + Send + Sync + 'static) -> Self {
        self.at_listen = Box::new(does);
        self
    }

    /// Requests it was given.
    pub(crate) fn handled(&self) -> usize {
        self.handled.load(Ordering::SeqCst)
    }

    /// Sessions it has opened, and ended.
    pub(crate) fn sessions(&self) -> (usize, usize) {
        (self.opened.load(Ordering::SeqCst), self.ended.load(Ordering::SeqCst))
    }
}

#[async_trait]
impl Front for FakeFront {
    async fn exchange(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        self.handled.fetch_add(1, Ordering::SeqCst);
        (self.answer)(envelope).await
    }

    async fn open(&self, opening: Opening) -> Result<(Arc<Live>, Replies), Refusal> {
        self.openings.acquire().await.unwrap().forget();
        self.opened.fetch_add(1, Ordering::SeqCst);
        let answer = Response::result(opening.request.id(), "{}");
        let outlet = opening.outlet.unwrap_or_else(|| Outlet::new(limits(), 1_000));
        Ok((live(opening.transport, outlet), Replies::one(Message::Response(answer))))
    }

    async fn find(&self, _: &SessionId, _: Option<&Principal>) -> Result<Arc<Live>, Refusal> {
        Err(RefusalKind::SessionUnknown.into())
    }

    async fn handle(&self, _: &Arc<Live>, envelope: Envelope) -> Result<Replies, Refusal> {
        self.handled.fetch_add(1, Ordering::SeqCst);
        (self.answer)(envelope).await
    }

    async fn listen(&self, live: &Arc<Live>) -> Result<(), Refusal> {
        (self.at_listen)(live);
        Ok(())
    }

    async fn end(&self, _: &Arc<Live>) {
        self.ended.fetch_add(1, Ordering::SeqCst);
    }

    async fn forget(&self, live: &Arc<Live>) {
        self.end(live).await;
    }
}

/// A stream that keeps next to nothing for a client that comes back.
pub(crate) fn limits() -> StreamLimits {
    StreamLimits { lag_bytes_max: 1_000, stall_max: LONG, kept_events_max: 10, kept_bytes_max: 4 }
}

/// A session of the newest revision that has sessions.
pub(crate) fn live(transport: Transport, outlet: Arc<Outlet>) -> Arc<Live> {
    live_of(Revision::V2025_11_25, transport, outlet)
}

/// A session of this revision.
pub(crate) fn live_of(revision: Revision, transport: Transport, outlet: Arc<Outlet>) -> Arc<Live> {
    let id = SessionId::generate().unwrap();
    let key = Key::new(Namespace::reverse("up"), id.clone());
    let records = Arc::new(Sessions::new(Arc::new(Nowhere), SessionsLimits::default()).0);
    let standing = Standing::new(records, key, State::Active);
    let live = Live::new(id, None, transport, outlet, Arc::new(Nowhere), standing);
    live.agree(revision);
    Arc::new(live)
}

/// A call of a client.
pub(crate) fn call() -> Request {
    Request::new(&Id::from_u64(7), "tools/call", Some("{}"))
}

/// No server and no store.
struct Nowhere;

#[async_trait]
impl Service for Nowhere {
    async fn handle(&self, _: Envelope) -> Result<Replies, Refusal> {
        Ok(Replies::none())
    }
}

#[async_trait]
impl Upstream for Nowhere {
    async fn listen(&self) -> Result<(), Refusal> {
        Ok(())
    }

    fn keep(&self, _: &mut Record) {}

    fn has_changed(&self) -> bool {
        false
    }

    fn look(&self) {}

    async fn close(&self, _: bool) {}
}

#[async_trait]
impl SessionStore for Nowhere {
    async fn load(&self, _: &Key) -> Result<Option<Record>, StoreError> {
        Ok(None)
    }

    async fn save(&self, _: &[Arc<Record>]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn delete(&self, _: &[Key]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn ended_elsewhere(&self, _: &Namespace) -> Result<Vec<Key>, StoreError> {
        Ok(Vec::new())
    }

    async fn expire(&self, _: u64) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn list(&self, _: Option<&Namespace>, _: usize, _: Option<&Key>) -> Result<Page, StoreError> {
        Ok(Page { records: Vec::new(), next: None })
    }

    async fn count(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
