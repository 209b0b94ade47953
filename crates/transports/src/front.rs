//! All that a listener may ask of the gateway.

use std::sync::Arc;

use async_trait::async_trait;
use shadowcat_pipeline::{Envelope, Principal, Refusal, Replies, Transport};
use shadowcat_protocol::Request;
use shadowcat_protocol::trace::TraceContext;
use shadowcat_session::{Live, Outlet, SessionId};

/// The gateway, seen from a listener.
#[async_trait]
pub trait Front: Send + Sync {
    /// Takes a message that belongs to no session: every message of the modern era.
    async fn exchange(&self, envelope: Envelope) -> Result<Replies, Refusal>;

    /// Opens a legacy session by its `initialize` request. The session is usable when the replies have carried a
    /// result; a refusal or an error response leaves none behind.
    async fn open(&self, opening: Opening) -> Result<(Arc<Live>, Replies), Refusal>;

    /// The session with this id if it is this principal's, woken from the store if it has to be.
    async fn find(&self, id: &SessionId, principal: Option<&Principal>) -> Result<Arc<Live>, Refusal>;

    /// Takes a message of a session.
    async fn handle(&self, live: &Arc<Live>, envelope: Envelope) -> Result<Replies, Refusal>;

    /// The client has opened its standing stream: messages of the server that belong to no request may come now.
    async fn listen(&self, live: &Arc<Live>) -> Result<(), Refusal>;

    /// Ends a session at its client's wish.
    async fn end(&self, live: &Arc<Live>);

    /// Ends a session that cannot go on, and leaves the pipe open that it came by: its client may open another there.
    async fn forget(&self, live: &Arc<Live>);
}

/// What opens a legacy session.
pub struct Opening {
    /// The `initialize` request.
    pub request: Request,
    /// How the client speaks to us.
    pub transport: Transport,
    /// Who asks.
    pub principal: Option<Principal>,
    /// The trace that headers of the request name, where somebody goes on with it.
    pub http_trace: Option<Box<TraceContext>>,
    /// The way to the client where it exists before its session does: a pipe, or the stream of HTTP+SSE.
    pub outlet: Option<Arc<Outlet>>,
}
