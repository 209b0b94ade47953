//! Both bridges as the gateway stands on them: what a modern client and a legacy session meet before one upstream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use shadowcat_bridge::{Eras, LegacyServer, LegacySession, ModernServer, ToLegacy};
use shadowcat_pipeline::{Back, Chain, Envelope, InFlight, PeerId, Refusal, RefusalKind, Replies, Service};
use shadowcat_protocol::{Id, Message, codes, method};
use shadowcat_session::{Key, Sessions, Standing, State, Upstream as _};
use shadowcat_transports::{Connector, Counters};

use super::{Memory, SessionUpstream, SharedUpstream};

/// The errors that a modern server has for a message it does not take (2026-07-28, basic and transports), with statuses
/// that legacy ones have for other reasons.
const MODERN_ERRORS: [i64; 5] = [
    codes::HEADER_MISMATCH,
    codes::MISSING_CAPABILITY,
    codes::UNSUPPORTED_VERSION,
    codes::METHOD_NOT_FOUND,
    codes::INVALID_PARAMS,
];

/// What joins the eras before one upstream.
pub(crate) struct Bridges {
    pub(crate) eras: Arc<Eras>,
    /// What the server is asked on.
    pub(crate) shared: Arc<SharedUpstream>,
    /// What a modern message passes before it is translated.
    pub(crate) edge: Chain,
    pub(crate) to_legacy: Arc<ToLegacy>,
    pub(crate) to_modern: Arc<ModernServer>,
    pub(crate) figures: Arc<shadowcat_bridge::Counters>,
    /// Requests that wait until it is known what the server speaks.
    pub(crate) waiting: Arc<InFlight<(PeerId, Id)>>,
}

impl Bridges {
    /// Whether a message needs the bridge to a legacy server; none if it was withdrawn before that was known. Only requests
    /// wait for it: behind anything else a pipe would not be read meanwhile.
    pub(super) async fn needs_legacy(&self, envelope: &Envelope) -> Option<bool> {
        let key = |id| (envelope.origin.peer, id);
        match &envelope.message {
            Message::Request(request) => {
                if self.shared.may_be_another() {
                    self.eras.doubt_modern();
                }
                if let Some(known) = self.eras.remembered() {
                    return Some(known);
                }
                // Rare and large: not a part of the future of every exchange.
                let asking = Box::pin(self.eras.needs_legacy());
                match self.waiting.enter(key(request.id().clone())) {
                    Some(flight) => flight.withdrawn.run_until_cancelled(asking).await,
                    None => Some(asking.await),
                }
            }
            // What is withdrawn waits here, or is where it was sent.
            Message::Notification(note) if note.method() == method::CANCELLED => {
                if let Some(id) = note.request_id() {
                    self.waiting.withdraw(&key(id));
                }
                Some(false)
            }
            _ => Some(self.eras.remembered().unwrap_or(false)),
        }
    }

    async fn bridge(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let handled = self.edge.run(envelope, Arc::clone(&self.to_legacy) as _).await;
        let eras = Arc::clone(&self.eras);
        let handled = seen(handled, move |_, reply| {
            let is_doubtful = match reply {
                Ok(message) => is_modern_refusal(message),
                Err(refusal) => match &refusal.kind {
                    RefusalKind::UpstreamProtocol | RefusalKind::UpstreamExited => true,
                    // So some modern servers refuse the handshake.
                    RefusalKind::UpstreamStatus(answer) => is_of_other_era(answer.status),
                    _ => false,
                },
            };
            if is_doubtful {
                eras.doubt_legacy();
            }
        });
        handled.map(|replies| replies.map(|reply| reply.map_err(of_bridge))).map_err(of_bridge)
    }
}

/// A refusal as a modern client may read it: by the statuses of the other era it would take this server for a legacy one,
/// and begin a handshake.
fn of_bridge(mut refusal: Refusal) -> Refusal {
    let RefusalKind::UpstreamStatus(answer) = &mut refusal.kind else { return refusal };
    if !is_of_other_era(answer.status) {
        return refusal;
    }
    let detail = format!("the server refused the request with the HTTP status {}", answer.status);
    answer.status = 502;
    refusal.with_detail(detail)
}

/// A modern server whose answers are looked at: it may have been set back.
pub(crate) struct Doubted {
    pub(crate) service: Arc<dyn Service>,
    pub(crate) eras: Arc<Eras>,
}

#[async_trait]
impl Service for Doubted {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let is_discovery = envelope.message.method() == Some(method::DISCOVER);
        let eras = Arc::clone(&self.eras);
        seen(self.service.handle(envelope).await, move |status, reply| {
            if looks_legacy(status, reply) || (is_discovery && is_unknown(reply)) {
                eras.doubt_modern();
            }
        })
    }
}

/// Whether the method is refused as unknown. No modern server may do that to a discovery.
fn is_unknown(reply: Result<&Message, &Refusal>) -> bool {
    matches!(reply, Ok(Message::Response(response)) if response.error_code() == Some(codes::METHOD_NOT_FOUND))
}

/// The upstream as a modern client meets it: itself, or behind the bridge if it speaks no modern revision.
pub(crate) struct ModernFace {
    shared: Arc<SharedUpstream>,
    /// What messages to it pass.
    service: Arc<dyn Service>,
    bridges: Option<Arc<Bridges>>,
}

impl ModernFace {
    /// The face of `shared`, which is reached by `service`.
    pub(crate) fn new(
        shared: Arc<SharedUpstream>,
        service: Arc<dyn Service>,
        bridges: Option<Arc<Bridges>>,
    ) -> Self {
        Self { shared, service, bridges }
    }

    pub(crate) async fn close(&self) {
        if let Some(bridges) = &self.bridges {
            bridges.to_legacy.close().await;
        }
        self.shared.close().await;
    }
}

#[async_trait]
impl Service for ModernFace {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let Some(bridges) = &self.bridges else { return self.service.handle(envelope).await };
        if bridges.to_legacy.owns(&envelope) {
            return bridges.bridge(envelope).await;
        }
        match bridges.needs_legacy(&envelope).await {
            Some(true) => bridges.bridge(envelope).await,
            Some(false) => self.service.handle(envelope).await,
            None => Ok(Replies::none()),
        }
    }
}

/// Whether this is an error that only a modern server has: for a header or a version.
pub(super) fn is_modern_refusal(reply: &Message) -> bool {
    let codes = [codes::HEADER_MISMATCH, codes::UNSUPPORTED_VERSION];
    matches!(reply, Message::Response(response) if response.error_code().is_some_and(|code| codes.contains(&code)))
}

/// Lets `look` see whatever comes back, with the HTTP status of the answer where it had one.
fn seen(
    handled: Result<Replies, Refusal>,
    look: impl Fn(Option<u16>, Result<&Message, &Refusal>) + Send + 'static,
) -> Result<Replies, Refusal> {
    match handled {
        Ok(replies) => {
            let status = replies.head().status;
            Ok(replies.inspect(move |reply| look(status, reply.as_ref())))
        }
        Err(refusal) => {
            look(None, Err(&refusal));
            Err(refusal)
        }
    }
}

/// Whether a server that was modern answers as a legacy one would, which may have been set back. A child that ended may
/// be another program by now.
fn looks_legacy(status: Option<u16>, reply: Result<&Message, &Refusal>) -> bool {
    match reply {
        Ok(Message::Response(response)) => {
            let code = response.error_code();
            status.is_some_and(is_of_other_era) && code.is_some_and(|code| !MODERN_ERRORS.contains(&code))
        }
        Ok(_) => false,
        Err(refusal) => match &refusal.kind {
            RefusalKind::UpstreamStatus(answer) => is_of_other_era(answer.status),
            RefusalKind::UpstreamExited => true,
            _ => false,
        },
    }
}

/// Whether this is an HTTP status that legacy servers have for messages without a session.
fn is_of_other_era(status: u16) -> bool {
    matches!(status, 400 | 404 | 405)
}

/// Makes sessions with the upstream that no client of the proxy has: those of the bridge.
pub(crate) struct OwnSessions {
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) counters: Arc<Counters>,
    /// Where they stand is nobody's business: there is no record of any under this key.
    pub(crate) records: Arc<Sessions>,
    pub(crate) key: Key,
    pub(crate) eras: Arc<Eras>,
}

impl LegacyServer for OwnSessions {
    fn session(&self, back: Arc<dyn Back>) -> Arc<dyn LegacySession> {
        let memory = Arc::<Memory>::default();
        let upstream = SessionUpstream::new(
            Arc::clone(&self.connector),
            back,
            Arc::clone(&self.counters),
            Arc::clone(&memory),
            Standing::new(Arc::clone(&self.records), self.key.clone(), State::Active),
            None,
        );
        let (eras, turn) = (Arc::clone(&self.eras), AtomicU64::new(0));
        Arc::new(OwnSession { upstream, memory, eras, turn })
    }
}

struct OwnSession {
    upstream: SessionUpstream,
    memory: Arc<Memory>,
    eras: Arc<Eras>,
    /// Which turn of the session was seen last.
    turn: AtomicU64,
}

#[async_trait]
impl Service for OwnSession {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let handled = self.upstream.handle(envelope).await;
        let turn = self.upstream.turn();
        if self.turn.swap(turn, Ordering::Relaxed) != turn {
            // The server was started again, and may be another version by now: that is how one is upgraded.
            self.eras.doubt_legacy();
        }
        handled
    }
}

#[async_trait]
impl LegacySession for OwnSession {
    fn agreed(&self, params: &str, result: &str) {
        self.memory.agreed(params, result);
    }

    fn turn(&self) -> u64 {
        self.upstream.turn()
    }

    async fn listen(&self) -> Result<bool, Refusal> {
        self.upstream.open_stream().await
    }

    async fn close(&self) {
        self.upstream.close(true).await;
    }
}
