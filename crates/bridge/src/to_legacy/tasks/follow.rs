//! A task whose client waits for the result of its call: looked at until it has come to its end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use shadowcat_pipeline::{ExchangeId, Refusal, RefusalKind, Replies};
use shadowcat_protocol::{Id, Message, Notification, Response, method};
use tokio::time::Instant;

use super::super::session::Session;
use super::by_id;
use super::state::{Status, Told, outcome};
use crate::pace;

/// What a call gets whose task was cancelled by somebody else than its client.
const CANCELLED: &str = r#"{"content":[{"type":"text","text":"the task was cancelled"}],"isError":true}"#;

/// The answer to a call that became a task, once there is one, and before it how far the task is. What the server asks
/// meanwhile belongs to `exchange`.
pub(in super::super) fn follow(session: Arc<Session>, exchange: ExchangeId, created: Told<'_>) -> Replies {
    let (status, pause, until) = (created.status(), created.pause(), Instant::now() + created.life());
    let following = Following { session, exchange, id: created.id(), status, pause, result: None };
    Replies::stream(futures_util::stream::unfold(Some(following), move |following| async move {
        let mut following = following?;
        let next = tokio::time::timeout_at(until, following.next()).await;
        let next = next.unwrap_or_else(|_| Err(RefusalKind::UpstreamTimeout.into()));
        let goes_on = matches!(next, Ok(Message::Notification(_)));
        Some((next, goes_on.then_some(following)))
    }))
}

struct Following {
    session: Arc<Session>,
    exchange: ExchangeId,
    id: String,
    status: Status,
    pause: Duration,
    /// The result, once it is asked for.
    result: Option<BoxFuture<'static, Result<Response, Refusal>>>,
}

impl Following {
    async fn next(&mut self) -> Result<Message, Refusal> {
        loop {
            match self.step().await {
                Err(refusal) if pace::may_pass(&refusal) => {
                    tracing::debug!(%refusal, "a task was not looked at");
                }
                next => return next,
            }
        }
    }

    async fn step(&mut self) -> Result<Message, Refusal> {
        if self.status == Status::Cancelled {
            return Ok(Message::Response(Response::result(&Id::from_u64(0), CANCELLED)));
        }
        if self.status != Status::Working && self.result.is_none() {
            self.result = Some(self.ask_for_result());
        }
        let Some(result) = &mut self.result else {
            tokio::time::sleep(self.pause).await;
            return self.look().await;
        };
        // The task may go on for long behind its question, and is looked at as long: it is not lost.
        if let Ok(result) = tokio::time::timeout(self.pause, result).await {
            // Should it not have been told, it is asked for again when the task has been looked at.
            (self.result, self.status) = (None, Status::Working);
            return result.map(Message::Response);
        }
        self.look().await
    }

    async fn look(&mut self) -> Result<Message, Refusal> {
        let response = self.session.ask(method::TASKS_GET, &by_id(&self.id)).await?;
        let Some(result) = response.result_json() else { return Ok(Message::Response(response)) };
        (self.status, self.pause) = (Told::got(result).status(), Told::got(result).pause());
        Ok(Message::Notification(Notification::new(method::TASK_STATUS, Some(result))))
    }

    /// The server answers when the task has ended, and may ask until then.
    fn ask_for_result(&self) -> BoxFuture<'static, Result<Response, Refusal>> {
        let (session, exchange, params) = (Arc::clone(&self.session), self.exchange, by_id(&self.id));
        async move { session.exchange_within(exchange, method::TASKS_RESULT, &params).await.map(outcome) }
            .boxed()
    }
}
