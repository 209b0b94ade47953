//! Messages of the server's own accord on their way to the client, and the client's answers on their way back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Back, ExchangeId, Refusal, RefusalKind, Replies, UpstreamSide};
use shadowcat_protocol::{Id, Message, method};
use shadowcat_session::ASKS_MAX;
use tokio_util::sync::CancellationToken;

/// Takes the answer to a request of the server, as one line.
#[async_trait]
pub(crate) trait AnswerTo: Send + Sync {
    async fn send_answer(&self, line: Bytes) -> Result<(), Refusal>;
}

/// The questions of one server that its client has not answered.
pub(crate) struct Asks {
    back: Arc<dyn Back>,
    tasks: Tasks,
    open: Mutex<Open>,
}

/// The questions by our count of them: a server may use one id twice, and the last is the newest.
#[derive(Default)]
struct Open {
    asked: u64,
    questions: BTreeMap<u64, (Id, CancellationToken)>,
}

impl Open {
    /// Takes a question in and gives its number; `None` when too many wait.
    fn enter(&mut self, id: &Id, token: &CancellationToken) -> Option<u64> {
        if self.questions.len() >= ASKS_MAX {
            return None;
        }
        self.asked += 1;
        self.questions.insert(self.asked, (id.clone(), token.clone()));
        Some(self.asked)
    }

    /// Withdraws the newest question of this id.
    fn withdraw(&mut self, id: &Id) {
        let newest = self.questions.iter().rev().find(|(_, (asked, _))| asked == id);
        if let Some(number) = newest.map(|(number, _)| *number)
            && let Some((_, token)) = self.questions.remove(&number)
        {
            token.cancel();
        }
    }
}

impl Asks {
    pub(crate) fn new(back: Arc<dyn Back>, tasks: Tasks) -> Arc<Self> {
        Arc::new(Self { back, tasks, open: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
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
                if let Some(id) = note.request_id() {
                    self.lock().withdraw(&id);
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
        let entered = self.lock().enter(&id, &token);
        let Some(number) = entered else {
            let refusal = Refusal::new(RefusalKind::LimitQueue);
            self.answer(refusal.response(Some(&id)).text().clone(), to);
            return;
        };
        let this = Arc::clone(self);
        self.tasks.spawn_until_stop(async move {
            let answer = token.run_until_cancelled(replies.response()).await;
            this.lock().questions.remove(&number);
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
        for (_, token) in std::mem::take(&mut self.lock().questions).into_values() {
            token.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use shadowcat_pipeline::Transport;
    use shadowcat_protocol::{Notification, Request, Response, Revision};
    use tokio::sync::mpsc;

    use super::*;

    /// A client that answers one question after the other, whenever the test says so, and never those that are left.
    struct Client(Mutex<Vec<mpsc::Receiver<Message>>>);

    #[async_trait]
    impl Back for Client {
        async fn deliver(
            &self,
            _: Message,
            _: Option<ExchangeId>,
            _: &UpstreamSide,
        ) -> Result<Replies, Refusal> {
            let mut answer = self.0.lock().unwrap().remove(0);
            Ok(Replies::stream(futures_util::stream::poll_fn(move |context| {
                answer.poll_recv(context).map(|message| message.map(Ok))
            })))
        }

        fn let_go(&self, _: ExchangeId, _: Duration) {}

        fn stream_lost(&self) {}
    }

    struct Server(mpsc::Sender<Bytes>);

    #[async_trait]
    impl AnswerTo for Server {
        async fn send_answer(&self, line: Bytes) -> Result<(), Refusal> {
            self.0.send(line).await.unwrap();
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_question_is_withdrawn_though_an_earlier_one_of_its_id_was_answered_after_it_came() {
        let (first, first_answer) = mpsc::channel(1);
        let (second, second_answer) = mpsc::channel(1);
        let tasks = Tasks::new();
        let asks = Asks::new(Arc::new(Client(Mutex::new(vec![first_answer, second_answer]))), tasks.clone());
        let (sender, mut answers) = mpsc::channel(1);
        let server: Arc<dyn AnswerTo> = Arc::new(Server(sender));
        let side =
            UpstreamSide { name: "up".into(), transport: Transport::Http, revision: Revision::V2025_11_25 };
        let id = Id::from_u64(7);
        let asked = Message::Request(Request::new(&id, "roots/list", None));
        for _ in 0..2 {
            asks.deliver(asked.clone(), None, &side, Arc::clone(&server)).await;
        }
        let answer = Response::result(&id, "{}");
        first.send(Message::Response(answer.clone())).await.unwrap();
        assert_eq!(answers.recv().await.as_ref(), Some(answer.text()));
        let cancel = Message::Notification(Notification::cancelled(&id, None));
        asks.deliver(cancel, None, &side, server).await;
        let withdrawn = tokio::time::timeout(Duration::from_mins(1), second.closed()).await;
        assert!(withdrawn.is_ok(), "the second question is still open");
    }
}
