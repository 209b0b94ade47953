//! A call that its server runs as a task, which its client does not know of: the task is looked at until it has come to
//! its end, and what it asks is asked of the client.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Origin, Refusal, RefusalKind};
use shadowcat_protocol::{ErrorObject, Request, Response, codes, json, method};
use tokio::time::Instant;

use crate::meta;
use crate::object::Object;
use crate::pace;

use super::asking::Ended;
use super::call::{ASKED_TOO_OFTEN, Call, Leg, ROUNDS_MAX};
use super::down::{self, ResultType};
use super::server::ModernServer;

/// How long a task may take, whatever its server says.
const LIFE_MAX: Duration = Duration::from_hours(1);
/// How long the server may take to say how far a task is.
const LOOK_MAX: Duration = Duration::from_secs(30);
/// How long the server may take to name a task that nobody waits for any more: the end of its session waits for that.
const NAMED_MAX: Duration = Duration::from_secs(3);

/// A task at the server.
#[derive(Clone)]
struct Task {
    server: Arc<ModernServer>,
    origin: Arc<Origin>,
    /// The members of each request about it.
    id: String,
    meta: String,
}

/// A task that is looked at. It is cancelled when nobody waits for its end any more.
struct Driven {
    task: Task,
    tasks: Tasks,
    answered: HashSet<String>,
    rounds: usize,
    /// Why the server did not take the last answers.
    refused: Option<Ended>,
    has_ended: bool,
}

/// The parameters of a call, with the tasks extension declared for it.
pub(super) fn declaring_tasks(params: &str) -> String {
    let at = |path: &[&str]| Object::of(json::get(params, path));
    let extensions = at(&["_meta", meta::CAPABILITIES, "extensions"]).with(meta::TASKS, "{}").to_json();
    let capabilities = at(&["_meta", meta::CAPABILITIES]).with("extensions", extensions).to_json();
    let meta = at(&["_meta"]).with(meta::CAPABILITIES, capabilities).to_json();
    Object::parse(params).with("_meta", meta).to_json()
}

/// Whether an error says that the tasks extension is needed.
pub(super) fn needs_tasks(error: &Response) -> bool {
    let needed = ["data", "requiredCapabilities", "extensions", meta::TASKS];
    error.error_code() == Some(codes::MISSING_CAPABILITY)
        && error.error_json().is_some_and(|error| json::get(error, &needed).is_some())
}

impl Call {
    /// The answer to a call that became this task.
    pub(super) async fn drive(&self, created: &str) -> Response {
        let Some(mut task) = Driven::new(Nameless::of(self), self.tasks.clone(), created) else {
            return self.failed("the server made a task of the call and does not name it");
        };
        let life = json::get(created, &["ttlMs"]).and_then(pace::millis).unwrap_or(LIFE_MAX).min(LIFE_MAX);
        self.client.takes_long(self.origin.exchange);
        let ended = tokio::time::timeout_at(Instant::now() + life, task.end(self, created)).await;
        match ended {
            Ok(Ok(answer)) => answer,
            Ok(Err(why)) => self.failed(&why),
            Err(_) => self.failed("the server's task did not end in time"),
        }
    }

    /// Nobody waits for this leg any more, of which the server may be making a task. A task cannot be cancelled before it has
    /// a name, and goes on if nobody hears of that: so the answer is waited for all the same, for a while.
    pub(super) fn give_up(&self, leg: Leg) {
        let (nameless, tasks) = (Nameless::of(self), self.tasks.clone());
        self.tasks.spawn(async move {
            let Ok(Ok(Some(answer))) = tokio::time::timeout(NAMED_MAX, leg.response()).await else { return };
            let created = answer.result_json().filter(|raw| down::result_type(raw) == ResultType::Task);
            drop(created.and_then(|created| Driven::new(nameless, tasks, created)));
        });
    }
}

/// What is said of a task whatever its name is.
struct Nameless {
    server: Arc<ModernServer>,
    origin: Arc<Origin>,
    meta: String,
}

impl Nameless {
    fn of(call: &Call) -> Self {
        // A server may make a task of what did not ask for one; from then on it has to be declared.
        let declared = declaring_tasks(&call.params);
        let meta = Object::of(json::get(&declared, &["_meta"])).without(&["progressToken"]).to_json();
        Self { server: Arc::clone(&call.server), origin: Arc::clone(&call.origin), meta }
    }
}

impl Driven {
    fn new(Nameless { server, origin, meta }: Nameless, tasks: Tasks, created: &str) -> Option<Self> {
        let id = json::get(created, &["taskId"]).filter(|id| id.starts_with('"'))?.to_owned();
        Some(Self {
            task: Task { server, origin, id, meta },
            tasks,
            answered: HashSet::new(),
            rounds: 0,
            refused: None,
            has_ended: false,
        })
    }

    async fn end(&mut self, call: &Call, created: &str) -> Result<Response, Ended> {
        let mut pause = pause_of(created);
        loop {
            tokio::time::sleep(pause).await;
            let Some(looked) = self.task.about(method::TASKS_GET, None).await? else { continue };
            call.asked_by.pulse.beat();
            let task = looked.result_json().unwrap_or_default();
            match json::get(task, &["status"]).and_then(json::string).as_deref() {
                Some("input_required") => self.ask(call, task).await?,
                Some("completed") => {
                    self.has_ended = true;
                    let result = json::get(task, &["result"]).filter(|raw| raw.starts_with('{'));
                    let result = result.ok_or("the server's task has ended without a result")?;
                    return Ok(call.complete(result));
                }
                Some("failed") => {
                    self.has_ended = true;
                    return Ok(down::error(call.request.method(), call.request.id(), &error_of(task)));
                }
                Some("cancelled") => {
                    self.has_ended = true;
                    return Err("the task was cancelled".to_owned());
                }
                Some("working") => {}
                _ => return Err("the server does not say how far its task is".to_owned()),
            }
            pause = pause_of(task);
        }
    }

    /// Gets the server what it wants, as far as it was not told already.
    async fn ask(&mut self, call: &Call, task: &str) -> Result<(), Ended> {
        let mut wanted = Object::of(json::get(task, &["inputRequests"]));
        let told: Vec<&str> = self.answered.iter().map(String::as_str).collect();
        wanted = wanted.without(&told);
        if wanted.is_empty() {
            // It goes on wanting what it did not take.
            return self.refused.take().map_or(Ok(()), Err);
        }
        self.rounds += 1;
        if self.rounds > ROUNDS_MAX {
            return Err(ASKED_TOO_OFTEN.to_owned());
        }
        let answers = call.asking().round(&wanted.to_json()).await?;
        let keys: Vec<String> = wanted.members().map(|(key, _)| key.to_owned()).collect();
        self.answered.extend(keys);
        // A task that has ended meanwhile takes no answers: the next look tells.
        self.refused = loop {
            match self.task.about(method::TASKS_UPDATE, Some(&answers)).await {
                Ok(Some(_)) => break None,
                Ok(None) => tokio::time::sleep(pause_of(task)).await,
                Err(why) => break Some(why),
            }
        };
        Ok(())
    }
}

impl Task {
    /// What the server answers, or none if it does not for now: it may be busy with the task.
    async fn about(&self, asked: &str, answers: Option<&str>) -> Result<Option<Response>, Ended> {
        let answered = match self.request(asked, answers).await {
            Ok(answered) => answered,
            Err(refusal) if pace::may_pass(&refusal) => {
                tracing::debug!(%refusal, asked, "the server does not answer for its task");
                return Ok(None);
            }
            Err(refusal) => return Err(refusal.to_string()),
        };
        let Some(error) = answered.error_json() else { return Ok(Some(answered)) };
        let message = json::get(error, &["message"]).and_then(json::string).unwrap_or_default();
        Err(format!("the server refuses {asked} for its task: {message}"))
    }

    async fn request(&self, asked: &str, answers: Option<&str>) -> Result<Response, Refusal> {
        let mut params = Object::default().with("taskId", self.id.as_str());
        if let Some(answers) = answers {
            params.set("inputResponses", answers);
        }
        let params = params.with("_meta", self.meta.as_str()).to_json();
        let request = Request::new(&self.server.next_id(), asked, Some(&params));
        let answer = self.server.response(request, Arc::clone(&self.origin));
        let answered = tokio::time::timeout(LOOK_MAX, answer).await;
        answered.unwrap_or_else(|_| Err(self.server.refusal(RefusalKind::UpstreamTimeout)))
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let task = self.task.clone();
        self.tasks.spawn(async move {
            if let Err(refusal) = task.request(method::TASKS_CANCEL, None).await {
                tracing::debug!(%refusal, "the server was not told that nobody wants its task");
            }
        });
    }
}

fn pause_of(task: &str) -> Duration {
    pace::pause(json::get(task, &["pollIntervalMs"]))
}

/// The error that a task has failed with.
fn error_of(task: &str) -> Response {
    let member = |name| json::get(task, &["error", name]);
    let error = ErrorObject {
        code: member("code").and_then(|raw| raw.parse().ok()).unwrap_or(codes::INTERNAL_ERROR),
        message: member("message").and_then(json::string).unwrap_or_default().into_owned(),
        data: member("data").map(str::to_owned),
    };
    Response::error(None, &error)
}
