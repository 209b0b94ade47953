//! The server that is asked for what is not on the tapes. It hears a client's handshake at the first such call, meets the
//! bridge if it speaks the other era, and what it answers goes onto a new tape.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{
    Back, Chain, Envelope, ExchangeId, Origin, Refusal, RefusalKind, Replies, Service, UpstreamSide,
};
use shadowcat_protocol::{Era, Id, Message, Notification, Request, method};
use shadowcat_session::{Key, Sessions, Standing, State, Upstream as _};
use shadowcat_transports::{Connector, Counters};

use crate::gateway::first_response;
use crate::upstream::{Bridges, EitherUpstream, Memory, ModernFace, SessionUpstream};

/// The server beyond the tapes, for all clients.
pub(crate) struct Beyond {
    /// Records what passes.
    pub(crate) chain: Chain,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) modern: Arc<ModernFace>,
    pub(crate) bridges: Option<Arc<Bridges>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) records: Arc<Sessions>,
    /// There is no record under it: where these sessions stand is nobody's business.
    pub(crate) key: Key,
    pub(crate) tasks: Tasks,
}

impl Beyond {
    /// The server for one connection of the proxy.
    pub(super) fn session(self: &Arc<Self>, era: Era, back: Arc<dyn Back>) -> BeyondSession {
        let back = Arc::new(RecordedBack { chain: self.chain.clone(), back, origin: OnceLock::new() });
        let legacy = (era == Era::Legacy).then(|| {
            let memory = Arc::<Memory>::default();
            let native = SessionUpstream::new(
                Arc::clone(&self.connector),
                Arc::clone(&back) as _,
                Arc::clone(&self.counters),
                Arc::clone(&memory),
                Standing::new(Arc::clone(&self.records), self.key.clone(), State::Active),
                None,
            );
            let bridges = self.bridges.clone();
            let upstream = EitherUpstream::new(
                native,
                bridges,
                Arc::clone(&back) as _,
                Arc::clone(&memory),
                self.tasks.clone(),
            );
            Legacy { upstream: Arc::new(upstream), memory, back, begun: tokio::sync::Mutex::new(false) }
        });
        BeyondSession { beyond: Arc::clone(self), legacy }
    }
}

/// The server beyond the tapes, for one connection.
pub(super) struct BeyondSession {
    beyond: Arc<Beyond>,
    /// The session with it; none for modern exchanges, which have none.
    legacy: Option<Legacy>,
}

struct Legacy {
    upstream: Arc<EitherUpstream>,
    memory: Arc<Memory>,
    back: Arc<RecordedBack>,
    /// The handshake is through. Held while it is under way, so that there is one.
    begun: tokio::sync::Mutex<bool>,
}

impl BeyondSession {
    /// Asks the server what the tapes do not know.
    pub(super) async fn ask(&self, envelope: Envelope, greeting: Option<String>) -> Result<Replies, Refusal> {
        let Some(legacy) = &self.legacy else {
            return self.beyond.chain.run(envelope, Arc::clone(&self.beyond.modern) as _).await;
        };
        legacy.begin(&self.beyond.chain, &envelope.origin, greeting).await?;
        self.beyond.chain.run(envelope, Arc::clone(&legacy.upstream) as _).await
    }

    /// Passes on what a client notifies, once there is somebody to hear it.
    pub(super) async fn tell(&self, envelope: Envelope) -> Result<(), Refusal> {
        let Some(legacy) = &self.legacy else { return Ok(()) };
        if *legacy.begun.lock().await {
            self.beyond.chain.run(envelope, Arc::clone(&legacy.upstream) as _).await?;
        }
        Ok(())
    }

    pub(super) async fn close(&self, ended: bool) {
        match &self.legacy {
            Some(legacy) => legacy.upstream.close(ended).await,
            None => self.beyond.modern.close().await,
        }
    }
}

impl Legacy {
    /// Says the client's own handshake to the server.
    async fn begin(&self, chain: &Chain, origin: &Origin, greeting: Option<String>) -> Result<(), Refusal> {
        let mut begun = self.begun.lock().await;
        if *begun {
            return Ok(());
        }
        self.back.origin.get_or_init(|| origin.clone());
        let params = greeting.ok_or(RefusalKind::SessionLost)?;
        let request = Request::new(&Id::from_u64(0), method::INITIALIZE, Some(&params));
        let mut replies =
            chain.run(like(origin, Message::Request(request)), Arc::clone(&self.upstream) as _).await?;
        let answer = first_response(&mut replies).await.0?;
        let Some(result) = answer.result_json() else {
            let refusal = Refusal::new(RefusalKind::SessionLost);
            return Err(refusal.with_detail("the server beyond the tape refused the client's handshake"));
        };
        self.memory.agreed(&params, result);
        let initialized = Notification::new(method::INITIALIZED, None);
        chain.run(like(origin, Message::Notification(initialized)), Arc::clone(&self.upstream) as _).await?;
        *begun = true;
        if let Err(refusal) = self.upstream.listen().await {
            tracing::debug!(%refusal, "the server beyond the tape has no standing stream");
        }
        Ok(())
    }
}

/// A message in the name of the same client, in an exchange of its own.
fn like(origin: &Origin, message: Message) -> Envelope {
    let origin = Origin { exchange: ExchangeId::next(), upstream: OnceLock::new(), ..origin.clone() };
    Envelope::to_server(message, Arc::new(origin))
}

/// The way back to the client, on which what the server says is recorded.
struct RecordedBack {
    chain: Chain,
    back: Arc<dyn Back>,
    /// The client's.
    origin: OnceLock<Origin>,
}

#[async_trait]
impl Back for RecordedBack {
    async fn deliver(
        &self,
        message: Message,
        related: Option<ExchangeId>,
        from: &UpstreamSide,
    ) -> Result<Replies, Refusal> {
        let Some(origin) = self.origin.get() else { return self.back.deliver(message, related, from).await };
        let upstream = OnceLock::from(from.clone());
        let origin = Origin { exchange: ExchangeId::next(), related, upstream, ..origin.clone() };
        let client = Client { back: Arc::clone(&self.back), from: from.clone() };
        self.chain.run(Envelope::to_client(message, Arc::new(origin)), Arc::new(client)).await
    }

    fn let_go(&self, exchange: ExchangeId, retry: Duration) {
        self.back.let_go(exchange, retry);
    }

    fn stream_lost(&self) {
        // What is played goes on without it, and the next call opens it again.
    }
}

/// The client, as the end of a chain.
struct Client {
    back: Arc<dyn Back>,
    from: UpstreamSide,
}

#[async_trait]
impl Service for Client {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        self.back.deliver(envelope.message, envelope.origin.related, &self.from).await
    }
}
