//! Tasks of the modern revision, for calls that a legacy server runs as tasks of its own.
//!
//! A tool that only runs as a task is called as one. A client that takes tasks gets a handle, and asks for the rest; to
//! any other the call is one like all others, and the bridge waits for its result.
//!
//! | file | holds |
//! |---|---|
//! | `state` | a task in either revision |
//! | `follow` | a task whose client waits for the result of its call |
//! | `handed` | a task whose client has a handle |
//! | `heard` | what a subscription tells of tasks |

mod follow;
mod handed;
mod heard;
mod state;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{ExchangeId, Refusal, RefusalKind, Replies};
use shadowcat_protocol::{ErrorObject, Message, Request, Response, codes, json, method};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::agreed::{Agreed, needs_tasks};
use super::asked::Questions;
use super::inbox::{Heard, Inbox};
use super::pool::Lease;
use super::round::{Round, owner};
use crate::object::Object;
use crate::seal::{NoKey, Seal};

use handed::{Handed, Looked};

pub(super) use follow::follow;
pub(super) use handed::{HandedOut, related_task};
pub(super) use heard::{LISTENED_TO, Watched, are_listened_to};
pub(super) use state::Told;

/// The most tasks whose clients have a handle, and of one principal.
const TASKS_MAX: usize = 1_000;
const TASKS_PER_PRINCIPAL_MAX: usize = 64;
/// When a client that found no room for its task may come again.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long the questions of a task are waited for that says it has some.
const ASKING_MAX: Duration = Duration::from_millis(100);

/// The tasks whose clients have a handle.
pub(super) struct Handles {
    seal: Arc<Seal>,
    tasks: Tasks,
    table: Mutex<HashMap<u64, Entry>>,
}

struct Entry {
    owner: String,
    task: Arc<Handed>,
    /// Tells whoever watches the task that the client cannot ask for it any more.
    _gone: DropGuard,
}

impl Handles {
    pub(super) fn new(seal: Arc<Seal>, tasks: Tasks) -> Arc<Self> {
        Arc::new(Self { seal, tasks, table: Mutex::default() })
    }

    fn table(&self) -> MutexGuard<'_, HashMap<u64, Entry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.table().is_empty()
    }

    /// Gives the client of a call a handle for the task that it became, with the questions that are there.
    pub(super) fn hand_out(
        self: &Arc<Self>,
        round: &Round,
        agreed: &Arc<Agreed>,
        mut lease: Lease,
        created: Told<'_>,
        asked: Questions,
        mut inbox: Option<&mut Inbox>,
    ) -> Result<Response, Refusal> {
        lease.share();
        let (number, owner) = (ExchangeId::next().get(), owner(round.principal.as_ref()));
        let room = self.make_room(&owner, round.principal.is_some());
        let handle = match room.and_then(|()| self.sealed(&owner, number)) {
            Ok(handle) => handle,
            Err(refusal) => {
                let id = created.id();
                self.tasks.spawn(async move { unwanted(lease, &id).await });
                return Err(refusal);
            }
        };
        let result = agreed.task(created.modern(&handle, "working"));
        let task = Handed::new(handle, created, Arc::clone(agreed), lease, asked);
        // From now on what the server asks for it finds it; what came before is with the call.
        while let Some(heard) = inbox.as_mut().and_then(|inbox| inbox.take_waiting()) {
            if let Heard::Question(question) = heard {
                task.ask(question);
            }
        }
        let gone = CancellationToken::new();
        let watched = Arc::clone(self).watch(number, Arc::clone(&task), gone.clone());
        self.table().insert(number, Entry { owner, task, _gone: gone.drop_guard() });
        self.tasks.spawn(watched);
        Ok(Response::result(round.id(), &result))
    }

    /// Ends a task when its time is over, or the bridge's.
    async fn watch(self: Arc<Self>, number: u64, task: Arc<Handed>, gone: CancellationToken) {
        tokio::select! {
            () = gone.cancelled() => {}
            () = self.tasks.stop_signal().cancelled_owned() => {}
            () = tokio::time::sleep_until(task.until) => {}
        }
        self.table().remove(&number);
        task.give_up().await;
    }

    /// Makes room for one more task of this owner. The oldest that has ended goes first.
    fn make_room(&self, owner: &str, is_known: bool) -> Result<(), Refusal> {
        let mut table = self.table();
        let same = || table.values().filter(|entry| entry.owner == owner).count();
        // Those that nobody knows by a name may be anybody, and not one who takes too much.
        let takes_too_much = is_known && same() >= TASKS_PER_PRINCIPAL_MAX;
        if table.len() < TASKS_MAX && !takes_too_much {
            return Ok(());
        }
        let ended = table.iter().filter(|(_, entry)| entry.owner == owner && entry.task.has_ended());
        let oldest = ended.map(|(number, _)| *number).min();
        if oldest.and_then(|oldest| table.remove(&oldest)).is_some() {
            return Ok(());
        }
        let refusal = Refusal::new(RefusalKind::Overloaded { retry_after: RETRY_AFTER });
        Err(refusal.with_detail("too many tasks are under way"))
    }

    fn sealed(&self, owner: &str, number: u64) -> Result<String, Refusal> {
        let sealed = self.seal.seal(&purpose(owner), number.to_string().as_bytes());
        sealed.map_err(|NoKey| Refusal::new(RefusalKind::Internal).with_cause(NoKey))
    }

    /// The task of this handle, for whoever it was given to.
    fn find(&self, round: &Round, handle: &str) -> Option<(u64, Arc<Handed>)> {
        let owner = owner(round.principal.as_ref());
        let number = self.seal.open(&purpose(&owner), handle).ok()?;
        let number = str::from_utf8(&number).ok()?.parse().ok()?;
        self.table().get(&number).map(|entry| (number, Arc::clone(&entry.task)))
    }

    /// Whether a request is about tasks of these handles.
    pub(super) fn knows(&self, round: &Round) -> bool {
        if round.request.method() == method::LISTEN {
            return !Watched::of(round, self).is_empty();
        }
        let names_task = round.request.method().starts_with("tasks/");
        let handle = round.request.name().filter(|_| names_task);
        handle.is_some_and(|handle| self.find(round, &handle).is_some())
    }

    async fn look(&self, round: &Round, number: u64, task: &Arc<Handed>) -> Result<Response, Refusal> {
        match task.look(round).await? {
            Looked::Task(found) => {
                let result = task.agreed.complete(round.request.method(), &found);
                Ok(Response::result(round.id(), &result))
            }
            Looked::Error(error) if error.error_code() == Some(codes::INVALID_PARAMS) => {
                self.table().remove(&number);
                task.forget();
                Ok(unknown(round))
            }
            Looked::Error(error) => Ok(error),
        }
    }

    /// Answers a request about a task.
    pub(super) async fn answer(&self, round: &Round) -> Result<Replies, Refusal> {
        let response = if round.takes_tasks { self.about(round).await? } else { needs_tasks(round.id()) };
        Ok(Replies::one(Message::Response(response)))
    }

    async fn about(&self, round: &Round) -> Result<Response, Refusal> {
        let found = round.request.name().and_then(|handle| self.find(round, &handle));
        let Some((number, task)) = found else { return Ok(unknown(round)) };
        match round.request.method() {
            method::TASKS_UPDATE => task.answer(round),
            method::TASKS_CANCEL => task.cancel().await?,
            _ => return self.look(round, number, &task).await,
        }
        let result = task.agreed.complete(round.request.method(), "{}");
        Ok(Response::result(round.id(), &result))
    }
}

fn purpose(owner: &str) -> [&str; 2] {
    ["task", owner]
}

fn unknown(round: &Round) -> Response {
    let message = "there is no such task, or not any more".to_owned();
    let error = ErrorObject { code: codes::INVALID_PARAMS, message, data: None };
    Response::error(Some(round.id()), &error)
}

/// The call as one that runs as a task.
pub(super) fn as_task(call: &Request) -> Request {
    let life = format!(r#"{{"ttl":{}}}"#, state::LIFE_MAX.as_millis());
    call.with_params(&Object::of(call.params()).with("task", life).to_json())
}

/// Whether a tool, as the list has it, only runs as a task.
pub(super) fn is_required(tool: &str) -> bool {
    let support = json::get(tool, &["execution", "taskSupport"]).and_then(json::string);
    support.is_some_and(|support| support == "required")
}

/// The parameters of a request about a task of the server.
fn by_id(id: &str) -> String {
    Object::default().with("taskId", json::quote(id)).to_json()
}

/// Cancels a task that nobody wants any more.
pub(super) async fn unwanted(lease: Lease, id: &str) {
    if let Err(refusal) = lease.session.ask(method::TASKS_CANCEL, &by_id(id)).await {
        tracing::debug!(%refusal, "the legacy server was not told that nobody wants its task");
    }
}
