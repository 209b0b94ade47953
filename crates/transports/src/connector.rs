//! The upstream half of a transport: how a connection to a server is opened, and what one can do.

use std::sync::Arc;

use async_trait::async_trait;
use shadowcat_pipeline::{Back, Refusal, Service};
use shadowcat_protocol::{Era, Revision};

/// Opens connections to one upstream.
#[async_trait]
pub trait Connector: Send + Sync {
    /// Opens a connection for one legacy session, or for modern exchanges.
    async fn open(&self, opening: OpenConnection) -> Result<Arc<dyn Connection>, Refusal>;
}

/// What a connection is opened with.
pub struct OpenConnection {
    /// Takes what the server sends of its own accord.
    pub back: Arc<dyn Back>,
    /// The era spoken on it. A connection never changes its era.
    pub era: Era,
    /// The revision spoken, where it is known already; else the handshake that passes through tells.
    pub revision: Option<Revision>,
    /// [`Connection::token`] of an earlier connection, to go on with its upstream session.
    pub token: Option<Box<str>>,
}

/// What is to become of the upstream session when its connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// It has ended: the server is told.
    End,
    /// A later process goes on with it, if the transport allows.
    Keep,
}

/// An open connection to a server. Messages go in by [`Service::handle`].
///
/// The revision agreed on is read from the `initialize` exchange that passes through, so that a replayed handshake
/// sets it as well.
#[async_trait]
pub trait Connection: Service {
    /// What a later connection needs to go on with this upstream session; `None` if it dies with the connection.
    fn token(&self) -> Option<Box<str>>;

    /// Whether messages can still be sent.
    fn is_alive(&self) -> bool;

    /// Opens the stream for messages that belong to no request, where the transport has one to open.
    async fn listen(&self) -> Result<(), Refusal>;

    /// Closes the connection, and ends the upstream session or leaves it to a later process.
    async fn close(&self, parting: Parting);
}
