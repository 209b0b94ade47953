//! What the bridge needs of a legacy server: sessions with it, made by whoever knows transports.

use std::sync::Arc;

use async_trait::async_trait;
use shadowcat_pipeline::{Back, Refusal, Service};

/// Makes sessions with a legacy server.
pub trait LegacyServer: Send + Sync {
    /// A session with nothing said yet, not even `initialize`. `back` takes what the server says of its own accord.
    fn session(&self, back: Arc<dyn Back>) -> Arc<dyn LegacySession>;
}

/// The server's side of one legacy session. Messages go in by [`Service::handle`]; the first is `initialize`.
///
/// A session that the server has lost is set up again behind this trait, with the handshake, the log level and the
/// subscriptions it had.
#[async_trait]
pub trait LegacySession: Service {
    /// Notes the handshake that was agreed on: the parameters of `initialize` and its result, as JSON.
    fn agreed(&self, params: &str, result: &str);

    /// How often it was set up again. One that is lost counts as set up already: so it will be at its next message.
    fn turn(&self) -> u64;

    /// Opens the stream for messages that belong to no request; says whether the server has one.
    async fn listen(&self) -> Result<bool, Refusal>;

    /// Ends the session, at the server too.
    async fn close(&self);
}
