//! Both bridges as the gateway stands on them: what a modern client and a legacy session meet before one upstream.

use std::sync::Arc;

use async_trait::async_trait;
use shadowcat_bridge::{Eras, LegacyServer, LegacySession, ModernServer, ToLegacy};
use shadowcat_pipeline::{Back, Chain, Envelope, Refusal, RefusalKind, Replies, Service};
use shadowcat_session::{Key, Sessions, Standing, State, Upstream as _};
use shadowcat_transports::{Connector, Counters};

use super::{Memory, SessionUpstream, SharedUpstream};

/// What joins the eras before one upstream.
pub(crate) struct Bridges {
    pub(crate) eras: Arc<Eras>,
    /// What a modern message passes before it is translated.
    pub(crate) edge: Chain,
    pub(crate) to_legacy: Arc<ToLegacy>,
    pub(crate) to_modern: Arc<ModernServer>,
    pub(crate) figures: Arc<shadowcat_bridge::Counters>,
}

impl Bridges {
    async fn bridge(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let handled = self.edge.run(envelope, Arc::clone(&self.to_legacy) as _).await;
        let eras = Arc::clone(&self.eras);
        let doubt = move |refusal: &Refusal| {
            if matches!(refusal.kind, RefusalKind::UpstreamProtocol | RefusalKind::UpstreamExited) {
                eras.doubt_legacy();
            }
        };
        match handled {
            Ok(replies) => Ok(replies.inspect(move |reply| {
                if let Err(refusal) = reply {
                    doubt(refusal);
                }
            })),
            Err(refusal) => {
                doubt(&refusal);
                Err(refusal)
            }
        }
    }
}

/// The upstream as a modern client meets it: itself, or behind the bridge if it speaks no modern revision.
pub(crate) struct ModernFace {
    shared: Arc<SharedUpstream>,
    bridges: Option<Arc<Bridges>>,
}

impl ModernFace {
    pub(crate) fn new(shared: Arc<SharedUpstream>, bridges: Option<Arc<Bridges>>) -> Self {
        Self { shared, bridges }
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
        let Some(bridges) = &self.bridges else { return self.shared.handle(envelope).await };
        if bridges.to_legacy.owns(&envelope) || bridges.eras.needs_legacy().await {
            return bridges.bridge(envelope).await;
        }
        let handled = self.shared.handle(envelope).await;
        if let Err(refusal) = &handled
            && looks_legacy(&refusal.kind)
        {
            bridges.eras.doubt_modern();
        }
        handled
    }
}

/// Whether a server that was modern answers as a legacy one would, which may have been set back. A child that ended may
/// be another program by now.
fn looks_legacy(kind: &RefusalKind) -> bool {
    match kind {
        RefusalKind::UpstreamStatus(answer) => matches!(answer.status, 400 | 404 | 405),
        RefusalKind::UpstreamExited => true,
        _ => false,
    }
}

/// Makes sessions with the upstream that no client of the proxy has: those of the bridge.
pub(crate) struct OwnSessions {
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) counters: Arc<Counters>,
    /// Where they stand is nobody's business: there is no record of any under this key.
    pub(crate) records: Arc<Sessions>,
    pub(crate) key: Key,
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
        Arc::new(OwnSession { upstream, memory })
    }
}

struct OwnSession {
    upstream: SessionUpstream,
    memory: Arc<Memory>,
}

#[async_trait]
impl Service for OwnSession {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        self.upstream.handle(envelope).await
    }
}

#[async_trait]
impl LegacySession for OwnSession {
    fn agreed(&self, params: &str, result: &str) {
        self.memory.agreed(params, result);
    }

    async fn listen(&self) -> Result<bool, Refusal> {
        self.upstream.open_stream().await
    }

    async fn close(&self) {
        self.upstream.close(true).await;
    }
}
