//! What the tests of this crate share: a server that does as it is told, and what stands before it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use shadowcat_pipeline::{Envelope, Origin, PeerId, Refusal, RefusalKind, Replies, Service, Transport};
use shadowcat_protocol::{Id, Message, Request, Response, Revision, method};
use shadowcat_session::{Key, Namespace, Page, Record, SessionStore, Sessions, SessionsLimits, StoreError};
use shadowcat_stores::MemoryStore;
use shadowcat_transports::{Connection, Connector, OpenConnection, Parting};
use tokio::sync::Notify;

pub(crate) const HANDSHAKE: &str = r#"{"protocolVersion":"2025-11-25","capabilities":{}}"#;

/// A server that does as it is told, and counts.
#[derive(Clone, Default)]
pub(crate) struct FakeServer(Arc<Inside>);

#[derive(Default)]
struct Inside {
    opened: AtomicUsize,
    listened: AtomicUsize,
    partings: Mutex<Vec<Parting>>,
    forgetful: AtomicBool,
    told: Notify,
    mute: AtomicBool,
    out_of_reach: AtomicBool,
    no_stream: Mutex<Option<RefusalKind>>,
}

impl FakeServer {
    /// How many connections were opened.
    pub(crate) fn opened(&self) -> usize {
        self.0.opened.load(Ordering::SeqCst)
    }

    /// How often it was asked for the standing stream.
    pub(crate) fn listened(&self) -> usize {
        self.0.listened.load(Ordering::SeqCst)
    }

    /// How its connections were closed.
    pub(crate) fn partings(&self) -> Vec<Parting> {
        self.0.partings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It knows no session any more, and says so only after [`FakeServer::tell`].
    pub(crate) fn forgets(&self) {
        self.0.forgetful.store(true, Ordering::SeqCst);
    }

    pub(crate) fn tell(&self) {
        self.0.told.notify_one();
    }

    /// It answers no handshake any more.
    pub(crate) fn falls_silent(&self) {
        self.0.mute.store(true, Ordering::SeqCst);
    }

    /// Whether nothing that is sent to it arrives.
    pub(crate) fn is_out_of_reach(&self, is_so: bool) {
        self.0.out_of_reach.store(is_so, Ordering::SeqCst);
    }

    /// It has no standing stream, and this is how it says so.
    pub(crate) fn has_no_stream(&self, kind: RefusalKind) {
        *self.0.no_stream.lock().unwrap_or_else(PoisonError::into_inner) = Some(kind);
    }
}

#[async_trait]
impl Connector for FakeServer {
    async fn open(&self, _: OpenConnection) -> Result<Arc<dyn Connection>, Refusal> {
        self.0.opened.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new(Open { server: self.clone(), closed: AtomicBool::new(false) }))
    }
}

struct Open {
    server: FakeServer,
    closed: AtomicBool,
}

#[async_trait]
impl Service for Open {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let Message::Request(request) = envelope.message else { return Ok(Replies::none()) };
        if self.server.0.out_of_reach.load(Ordering::SeqCst) {
            return Err(RefusalKind::UpstreamUnreachable.into());
        }
        if request.method() == method::INITIALIZE && self.server.0.mute.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if request.method() != method::INITIALIZE && self.server.0.forgetful.load(Ordering::SeqCst) {
            self.server.0.told.notified().await;
            return Err(RefusalKind::SessionLost.into());
        }
        Ok(Replies::one(Message::Response(Response::result(request.id(), HANDSHAKE))))
    }
}

#[async_trait]
impl Connection for Open {
    fn token(&self) -> Option<Box<str>> {
        None
    }

    fn is_alive(&self) -> bool {
        !self.closed.load(Ordering::SeqCst)
    }

    async fn listen(&self) -> Result<(), Refusal> {
        self.server.0.listened.fetch_add(1, Ordering::SeqCst);
        match &*self.server.0.no_stream.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(kind) => Err(kind.clone().into()),
            None => Ok(()),
        }
    }

    async fn close(&self, parting: Parting) {
        self.closed.store(true, Ordering::SeqCst);
        self.server.0.partings.lock().unwrap_or_else(PoisonError::into_inner).push(parting);
    }
}

/// Sessions that are kept in memory only.
pub(crate) fn records() -> Arc<Sessions> {
    Arc::new(Sessions::new(Arc::new(MemoryStore::default()), SessionsLimits::default()).0)
}

/// Sessions whose store answers nothing.
pub(crate) fn records_out_of_reach() -> Arc<Sessions> {
    Arc::new(Sessions::new(Arc::new(Unresponsive), SessionsLimits::default()).0)
}

struct Unresponsive;

#[async_trait]
impl SessionStore for Unresponsive {
    async fn load(&self, _: &Key) -> Result<Option<Record>, StoreError> {
        std::future::pending().await
    }

    async fn save(&self, _: &[Arc<Record>]) -> Result<(), StoreError> {
        std::future::pending().await
    }

    async fn delete(&self, _: &[Key]) -> Result<(), StoreError> {
        std::future::pending().await
    }

    async fn ended_elsewhere(&self, _: &Namespace) -> Result<Vec<Key>, StoreError> {
        std::future::pending().await
    }

    async fn expire(&self, _: u64) -> Result<u64, StoreError> {
        std::future::pending().await
    }

    async fn list(&self, _: Option<&Namespace>, _: usize, _: Option<&Key>) -> Result<Page, StoreError> {
        std::future::pending().await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        std::future::pending().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        std::future::pending().await
    }
}

/// A request of a client.
pub(crate) fn request(method: &str) -> Request {
    Request::new(&Id::from_u64(1), method, Some(HANDSHAKE))
}

/// A request of a client on its way.
pub(crate) fn envelope(method: &str) -> Envelope {
    let origin = Origin::new(PeerId::next(), Transport::Http, Revision::V2025_11_25);
    Envelope::to_server(Message::Request(request(method)), Arc::new(origin))
}
