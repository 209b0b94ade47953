//! Messages of the server's own accord on their way to the client, and the client's answers on their way back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Back, ExchangeId, Refusal, RefusalKind, Replies, UpstreamSide};
use shadowcat_protocol::{Id, Message, method};
use tokio_util::sync::CancellationToken;

/// Unanswered requests of the server on one connection.
const ASKS_MAX: usize = 256;

/// Takes the answer to a request of the server, as one line.
#[async_trait]
pub(crate) trait AnswerTo: Send + Sync {
    async fn send_answer(&self, line: Bytes) -> Result<(), Refusal>;
}

/// The questions of one server that its client has not answered.
pub(crate) struct Asks {
    back: Arc<dyn Back>,
    tasks: Tasks,
    open: Mutex<HashMap<Id, CancellationToken>>,
}

impl Asks {
    pub(crate) fn new(back: Arc<dyn Back>, tasks: Tasks) -> Arc<Self> {
        Arc::new(Self { back, tasks, open: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Id, CancellationToken>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands one message to the client. Resolves when it has its place in the order of messages; an answer is sent
    /// to `to` whenever it comes.
    pub(crate) async fn deliver(
        self: &Arc<Self>,
        message: Message,
        related: Option<ExchangeId>,
        from: &UpstreamSide,
        to: Arc<dyn AnswerTo>,
    ) {
        let ask = match &message {
            Message::Request(request) => Some(request.id().clone()),
            Message::Notification(note) if note.method() == method::CANCELLED => {
                let withdrawn = note.request_id().and_then(|id| self.lock().remove(&id));
                if let Some(withdrawn) = withdrawn {
                    withdrawn.cancel();
                }
                return;
            }
            Message::Notification(_) | Message::Response(_) => None,
        };
        match (ask, self.back.deliver(message, related, from).await) {
            (Some(id), Ok(replies)) => {
                tracing::debug!(upstream = %from.name, %id, "a question of the server waits for the client");
                self.await_answer(id, replies, to);
            }
            (Some(id), Err(refusal)) => {
                tracing::warn!(upstream = %from.name, %refusal, "a request of the server was not delivered");
                if let Some(line) = refusal.answer(Some(&id)) {
                    self.answer(line, to);
                }
            }
            (None, Ok(_)) => {}
            (None, Err(refusal)) => {
                tracing::debug!(upstream = %from.name, %refusal, "a notification was not delivered");
            }
        }
    }

    fn await_answer(self: &Arc<Self>, id: Id, mut replies: Replies, to: Arc<dyn AnswerTo>) {
        let token = CancellationToken::new();
        {
            let mut open = self.lock();
            if open.len() >= ASKS_MAX {
                drop(open);
                let refusal = Refusal::new(RefusalKind::LimitQueue);
                self.answer(refusal.response(Some(&id)).text().clone(), to);
                return;
            }
            open.insert(id.clone(), token.clone());
        }
        let this = Arc::clone(self);
        self.tasks.spawn_until_stop(async move {
            let answer = token.run_until_cancelled(replies.response()).await;
            this.lock().remove(&id);
            let line = match answer {
                Some(Ok(Some(response))) => Message::Response(response).to_line(),
                Some(Err(refusal)) => match refusal.answer(Some(&id)) {
                    Some(line) => line,
                    None => return,
                },
                // Withdrawn by the server, or the client's side ended: nobody waits for an answer.
                Some(Ok(None)) | None => return,
            };
            if let Err(refusal) = to.send_answer(line).await {
                tracing::debug!(%refusal, "an answer of the client was not sent");
            }
        });
    }

    fn answer(&self, line: Bytes, to: Arc<dyn AnswerTo>) {
        self.tasks.spawn_until_stop(async move {
            if let Err(refusal) = to.send_answer(line).await {
                tracing::debug!(%refusal, "an answer of ours was not sent");
            }
        });
    }

    /// Tells the client's side that the server has let go of an exchange's stream.
    pub(crate) fn let_go(&self, exchange: ExchangeId, retry: Duration) {
        self.back.let_go(exchange, retry);
    }

    /// Tells the client's side that the standing stream is gone and does not come back by itself.
    pub(crate) fn stream_lost(&self) {
        self.back.stream_lost();
    }

    /// Tells the client's side that the server is gone of its own accord.
    pub(crate) fn server_gone(&self) {
        self.back.server_gone();
    }

    /// The server is gone: its questions are withdrawn from the client.
    pub(crate) fn withdraw_all(&self) {
        for (_, ask) in self.lock().drain() {
            ask.cancel();
        }
    }
}
