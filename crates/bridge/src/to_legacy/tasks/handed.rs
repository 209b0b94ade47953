//! A task whose client has a handle: what its server asks, and what becomes of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use shadowcat_pipeline::{ExchangeId, Refusal, RefusalKind, Replies};
use shadowcat_protocol::{Notification, Request, Response, json, method};
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::agreed::{Agreed, modern_error};
use super::super::asked::Questions;
use super::super::pool::Lease;
use super::super::question::Question;
use super::super::round::Round;
use super::super::session::{ASK_MAX, Session};
use super::state::{Status, Told, outcome};
use super::{by_id, unwanted};
use crate::meta;

/// The largest outcome that is kept, with its task. The server is asked again for a larger one.
const OUTCOME_MAX: usize = 1 << 20;

/// One task whose client has a handle.
pub(super) struct Handed {
    /// As the client knows it.
    pub(super) handle: String,
    /// As the server knows it.
    id: String,
    pub(super) agreed: Arc<Agreed>,
    session: Arc<Session>,
    /// Keeps the session for the task, until its outcome is here.
    lease: Mutex<Option<Lease>>,
    asked: Mutex<Questions>,
    result: watch::Sender<Fetched>,
    ended: OnceLock<Ended>,
    /// The server says that it is further.
    moved: watch::Sender<()>,
    pub(super) until: Instant,
}

/// The answer to `tasks/result`.
#[derive(Clone)]
enum Fetched {
    Not,
    Awaited,
    Here(Response),
    /// The server did not tell it.
    Failed,
}

/// What a task has come to.
struct Ended {
    /// The result of `tasks/get`.
    told: Box<str>,
    outcome: Option<Response>,
}

/// How a task is found.
pub(super) enum Looked {
    /// As its client knows it, with what belongs to its status, as JSON.
    Task(String),
    /// The server tells of no such task.
    Error(Response),
}

impl Handed {
    pub(super) fn new(
        handle: String,
        created: Told<'_>,
        agreed: Arc<Agreed>,
        lease: Lease,
        asked: Questions,
    ) -> Arc<Self> {
        let task = Arc::new(Self {
            handle,
            id: created.id(),
            agreed,
            session: Arc::clone(&lease.session),
            lease: Mutex::new(Some(lease)),
            asked: Mutex::new(asked),
            result: watch::Sender::new(Fetched::Not),
            ended: OnceLock::new(),
            moved: watch::Sender::new(()),
            until: Instant::now() + created.life(),
        });
        task.session.handed.lock().insert(task.id.clone(), Arc::downgrade(&task));
        task
    }

    fn asked(&self) -> MutexGuard<'_, Questions> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lease(&self) -> MutexGuard<'_, Option<Lease>> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.get().is_some()
    }

    /// Whether its time is over.
    pub(super) fn has_expired(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Takes a question of the server.
    pub(super) fn ask(&self, question: Question) {
        if !self.has_ended() {
            self.asked().take(question);
        }
    }

    /// Gives the server what the client answers.
    pub(super) fn answer(&self, round: &Round) {
        self.asked().answer(round, self.agreed.revision);
    }

    /// Lets the server cancel the task; it may end otherwise.
    pub(super) async fn cancel(&self) -> Result<(), Refusal> {
        drop(self.asked().give_up());
        self.session.ask(method::TASKS_CANCEL, &by_id(&self.id)).await.map(drop)
    }

    /// Says when the server is further with it than it was.
    pub(super) fn watch(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    /// Looks how far the task is.
    pub(super) async fn look(self: &Arc<Self>, round: &Round) -> Result<Looked, Refusal> {
        if let Some(kept) = self.kept(round) {
            return Ok(kept);
        }
        let response = self.session.ask(method::TASKS_GET, &by_id(&self.id)).await?;
        // Somebody else may have looked meanwhile.
        if let Some(kept) = self.kept(round) {
            return Ok(kept);
        }
        let Some(result) = response.result_json() else {
            return Ok(Looked::Error(modern_error(&self.agreed, round, &response)));
        };
        match Told::got(result).status() {
            Status::Working => {}
            Status::InputRequired => self.hear_questions().await,
            Status::Cancelled => self.end(result, None),
            Status::Ended => {
                let outcome = self.outcome().await?;
                self.end(result, Some(&outcome));
                return Ok(self.detailed(round, result, Some(&outcome)));
            }
        }
        Ok(self.detailed(round, result, None))
    }

    /// What the task has come to, if that is here.
    fn kept(&self, round: &Round) -> Option<Looked> {
        let ended = self.ended.get()?;
        Some(self.detailed(round, &ended.told, ended.outcome.as_ref()))
    }

    /// Many servers ask what belongs to a task only where somebody waits for its result.
    async fn hear_questions(self: &Arc<Self>) {
        self.fetch();
        if self.asked().is_empty() {
            tokio::time::sleep(super::ASKING_MAX).await;
        }
    }

    fn fetch(self: &Arc<Self>) {
        let begins = self.result.send_if_modified(|fetched| {
            let idle = matches!(fetched, Fetched::Not | Fetched::Failed);
            if idle {
                *fetched = Fetched::Awaited;
            }
            idle
        });
        if !begins {
            return;
        }
        let this = Arc::clone(self);
        self.session.tasks.spawn_until_stop(async move {
            let params = by_id(&this.id);
            let asking = this.session.exchange_within(ExchangeId::next(), method::TASKS_RESULT, &params);
            let fetched = match tokio::time::timeout_at(this.until, asking).await {
                Ok(Ok(response)) => Fetched::Here(outcome(response)),
                Ok(Err(refusal)) => {
                    tracing::debug!(%refusal, "the result of a task was not told");
                    Fetched::Failed
                }
                Err(_) => Fetched::Failed,
            };
            this.result.send_replace(fetched);
        });
    }

    async fn outcome(self: &Arc<Self>) -> Result<Response, Refusal> {
        let told = tokio::time::timeout(ASK_MAX, self.fetched()).await;
        let told = told.map_err(|_| Refusal::new(RefusalKind::UpstreamTimeout))?;
        told.ok_or_else(|| {
            Refusal::new(RefusalKind::UpstreamProtocol)
                .with_detail("the server does not tell the result of its task")
        })
    }

    async fn fetched(self: &Arc<Self>) -> Option<Response> {
        let mut result = self.result.subscribe();
        loop {
            self.fetch();
            let fetched = result.wait_for(|fetched| !matches!(fetched, Fetched::Awaited)).await;
            match fetched.ok()?.clone() {
                Fetched::Here(response) => return Some(response),
                Fetched::Failed => return None,
                // Somebody else has taken it, and it was too large to be kept.
                Fetched::Not | Fetched::Awaited => {}
            }
        }
    }

    /// Notes what the task has come to; its session is not needed any more.
    fn end(&self, told: &str, outcome: Option<&Response>) {
        if outcome.is_some_and(|outcome| outcome.text().len() > OUTCOME_MAX) {
            self.result.send_replace(Fetched::Not);
            return;
        }
        drop(self.ended.set(Ended { told: told.into(), outcome: outcome.cloned() }));
        self.forget();
    }

    /// The task with what belongs to its status.
    fn detailed(&self, round: &Round, told: &str, outcome: Option<&Response>) -> Looked {
        let (status, detail) = self.detail(round, told, outcome);
        let mut task = Told::got(told).modern(&self.handle, status);
        if let Some((name, raw)) = detail {
            task.set(name, raw);
        }
        Looked::Task(task.to_json())
    }

    fn detail(
        &self,
        round: &Round,
        told: &str,
        outcome: Option<&Response>,
    ) -> (&'static str, Option<(&'static str, String)>) {
        if let Some(outcome) = outcome {
            if let Some(result) = outcome.result_json() {
                return ("completed", Some(("result", self.agreed.complete(method::TOOLS_CALL, result))));
            }
            let error = modern_error(&self.agreed, round, outcome);
            return ("failed", Some(("error", error.error_json().unwrap_or("{}").to_owned())));
        }
        if Told::got(told).status() == Status::Cancelled {
            return ("cancelled", None);
        }
        // Whoever looks may be asked less than whoever called, and others may look as well: nothing is refused for it.
        match self.asked().to_input_requests(&round.declared) {
            Some(requests) => ("input_required", Some(("inputRequests", requests))),
            // What the server asks is not always here yet.
            None => ("working", None),
        }
    }

    /// Lets go of a task that its server does not know any more.
    pub(super) fn forget(&self) {
        drop(self.asked().give_up());
        self.session.handed.lock().remove(&self.id);
        drop(self.lease().take());
    }

    /// Ends a task whose client cannot ask for it any more.
    pub(super) async fn give_up(&self) {
        let lease = self.lease().take();
        self.forget();
        if let Some(lease) = lease {
            unwanted(lease, &self.id).await;
        }
    }
}

/// The tasks of one session whose clients have a handle, by their names at the server.
#[derive(Default)]
pub(in super::super) struct HandedOut(Mutex<HashMap<String, Weak<Handed>>>);

impl HandedOut {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Weak<Handed>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes word of a task to those who listen for it; says whether anybody does.
    pub(in super::super) fn tell(&self, note: &Notification) -> bool {
        let named = note.params().filter(|_| note.method() == method::TASK_STATUS);
        let id = named.and_then(|params| json::get(params, &["taskId"])).and_then(json::string);
        let task = id.and_then(|id| self.lock().get(&*id)?.upgrade());
        task.is_some_and(|task| task.moved.send(()).is_ok())
    }

    /// Takes a question to the task it belongs to; `None` if that is none of these.
    pub(in super::super) fn question(&self, request: &Request) -> Option<Replies> {
        let task = self.lock().get(&related_task(request)?)?.upgrade()?;
        let (question, replies) = Question::ask(request.clone());
        task.ask(question);
        Some(replies)
    }
}

/// The task that a question belongs to.
pub(in super::super) fn related_task(request: &Request) -> Option<String> {
    let task = json::get(request.meta(meta::RELATED_TASK)?, &["taskId"]).and_then(json::string)?;
    Some(task.into_owned())
}
