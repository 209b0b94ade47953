//! The trait everything that can answer implements.

use async_trait::async_trait;

use crate::{Envelope, Refusal, Replies};

/// Something that answers an envelope.
///
/// `handle` resolves when the envelope is *dispatched*: it has been handed to whoever is to answer it and keeps its
/// place in the order of messages. The answer itself comes through [`Replies`]. A caller that must keep order awaits
/// `handle` before it hands over the next message, and need not wait for the replies.
///
/// # Cancel safety
/// Dropping the future before it resolves means the envelope may or may not have left; dropping the returned
/// [`Replies`] cancels the exchange.
#[async_trait]
pub trait Service: Send + Sync {
    /// Takes one envelope.
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal>;
}
