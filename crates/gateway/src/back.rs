//! The way from a server back to the client of a session.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Back, Chain, Envelope, ExchangeId, Refusal, RefusalKind, Replies, UpstreamSide};
use shadowcat_protocol::Message;
use shadowcat_session::{Live, OutletService};

/// Sends what a server says of its own accord through the chain to the session's client.
pub(crate) struct ClientBack {
    chain: Chain,
    tasks: Tasks,
    /// Known only when the session is made, which needs this first.
    live: OnceLock<Weak<Live>>,
}

impl ClientBack {
    pub(crate) fn new(chain: Chain, tasks: Tasks) -> Arc<Self> {
        Arc::new(Self { chain, tasks, live: OnceLock::new() })
    }

    /// Says whose client it is.
    pub(crate) fn belongs_to(&self, live: &Arc<Live>) {
        self.live.get_or_init(|| Arc::downgrade(live));
    }
}

#[async_trait]
impl Back for ClientBack {
    async fn deliver(
        &self,
        message: Message,
        related: Option<ExchangeId>,
        from: &UpstreamSide,
    ) -> Result<Replies, Refusal> {
        let live = self.live.get().and_then(Weak::upgrade).ok_or(RefusalKind::SessionUnknown)?;
        let mut origin = live.origin();
        origin.related = related;
        origin.upstream.get_or_init(|| from.clone());
        let envelope = Envelope::to_client(message, Arc::new(origin));
        self.chain.run(envelope, Arc::new(OutletService(Arc::clone(&live.outlet)))).await
    }

    fn let_go(&self, exchange: ExchangeId, retry: Duration) {
        let live = self.live.get().and_then(Weak::upgrade);
        // Only a client that was given a place before the first message can come back to it.
        if let Some(live) = live.filter(|live| live.revision().has_priming_events()) {
            live.outlet.send_away(exchange, retry);
        }
    }

    fn takes_long(&self, exchange: ExchangeId) {
        if let Some(live) = self.live.get().and_then(Weak::upgrade) {
            live.outlet.open_stream(exchange);
        }
    }

    fn stream_lost(&self) {
        let Some(live) = self.live.get().and_then(Weak::upgrade) else { return };
        self.tasks.spawn_until_stop(async move {
            if let Err(refusal) = live.upstream.listen().await {
                tracing::debug!(session = %live.tag, %refusal, "the server's standing stream is lost");
            }
        });
    }
}
