//! Where a server's side puts what is no reply.

use std::time::Duration;

use async_trait::async_trait;
use shadowcat_protocol::Message;

use crate::{ExchangeId, Refusal, Replies, UpstreamSide};

/// Where a connection puts what is no reply: requests of the server, and notifications outside any request.
#[async_trait]
pub trait Back: Send + Sync {
    /// Takes one message on its way to the client. Resolves when it has its place in the order of messages; the
    /// client's response comes through the replies. `related` is the exchange it belongs to, where that is known.
    async fn deliver(
        &self,
        message: Message,
        related: Option<ExchangeId>,
        from: &UpstreamSide,
    ) -> Result<Replies, Refusal>;

    /// The server has closed the stream of this exchange and will go on after `retry`: its client may be sent away for
    /// as long.
    fn let_go(&self, exchange: ExchangeId, retry: Duration);

    /// The answer to this exchange will take long: its client may be told so, by a stream that is open and alive.
    fn takes_long(&self, _exchange: ExchangeId) {}

    /// The standing stream is gone, although its client asked for it: the server may have lost the session.
    fn stream_lost(&self);

    /// The server is gone, and not because we parted from it: nothing comes any more until something is sent to it.
    fn server_gone(&self) {}
}
