//! A task whose client waits for the result of its call: looked at until it has come to its end.

use std::sync::Arc;
use std::time::Duration;

use shadowcat_pipeline::{ExchangeId, Refusal, RefusalKind, Replies};
use shadowcat_protocol::{Id, Message, Response, method};
use tokio::time::Instant;

use super::super::session::Session;
use super::by_id;
use super::state::{Status, Told, outcome};

/// What a call gets whose task was cancelled by somebody else than its client.
const CANCELLED: &str = r#"{"content":[{"type":"text","text":"the task was cancelled"}],"isError":true}"#;

/// The answer to a call that became a task, once there is one. What the server asks meanwhile belongs to `exchange`.
pub(in super::super) fn follow(session: Arc<Session>, exchange: ExchangeId, created: Told<'_>) -> Replies {
    let (status, pause, until) = (created.status(), created.pause(), Instant::now() + created.life());
    let following = Following { session, exchange, id: created.id() };
    Replies::stream(futures_util::stream::once(async move {
        let ended = tokio::time::timeout_at(until, following.end(status, pause)).await;
        ended.unwrap_or_else(|_| Err(RefusalKind::UpstreamTimeout.into())).map(Message::Response)
    }))
}

struct Following {
    session: Arc<Session>,
    exchange: ExchangeId,
    id: String,
}

impl Following {
    async fn end(&self, mut status: Status, mut pause: Duration) -> Result<Response, Refusal> {
        while status == Status::Working {
            tokio::time::sleep(pause).await;
            let response = self.session.ask(method::TASKS_GET, &by_id(&self.id)).await?;
            let Some(result) = response.result_json() else { return Ok(response) };
            (status, pause) = (Told::got(result).status(), Told::got(result).pause());
        }
        if status == Status::Cancelled {
            return Ok(Response::result(&Id::from_u64(0), CANCELLED));
        }
        // The server answers when the task has ended, and may ask until then.
        let params = by_id(&self.id);
        let result = self.session.exchange_within(self.exchange, method::TASKS_RESULT, &params);
        result.await.map(outcome)
    }
}
