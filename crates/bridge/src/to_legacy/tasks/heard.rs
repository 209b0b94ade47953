//! What a subscription tells of tasks: how each is when it begins, and whenever it has changed. Few servers say so, and so
//! the bridge looks, as often as the server asks its clients to; word from the server only makes it look sooner.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use shadowcat_protocol::{Notification, json, method};
use tokio::sync::watch;

use super::handed::{Handed, Looked};
use super::{Handles, TASKS_PER_PRINCIPAL_MAX};
use crate::pace::pause;
use crate::to_legacy::round::Round;

/// Where a subscription names the tasks that it is to tell of.
pub(in super::super) const LISTENED_TO: [&str; 2] = ["notifications", "taskIds"];

/// Whether a subscription is to tell of tasks, among other things.
pub(in super::super) fn are_listened_to(listen: &Round) -> bool {
    wanted(listen).is_some()
}

fn wanted(listen: &Round) -> Option<&str> {
    json::get(listen.request.params()?, &LISTENED_TO)
}

/// The tasks that one subscription tells of.
pub(in super::super) struct Watched(Vec<Arc<Handed>>);

impl Watched {
    /// Those of the tasks that it names which there are, for whoever listens.
    pub(in super::super) fn of(listen: &Round, handles: &Handles) -> Self {
        let named = json::elements(wanted(listen).unwrap_or_default()).filter_map(json::string);
        let found = named.take(TASKS_PER_PRINCIPAL_MAX).filter_map(|handle| handles.find(listen, &handle));
        Self(found.map(|(_, task)| task).collect())
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their handles, as a JSON array; none if there are none.
    pub(in super::super) fn to_json(&self) -> Option<String> {
        let handles: Vec<String> = self.0.iter().map(|task| json::quote(&task.handle)).collect();
        (!handles.is_empty()).then(|| format!("[{}]", handles.join(",")))
    }

    /// What is to be told of them, until each has ended.
    pub(in super::super) fn told(self, listen: &Arc<Round>) -> BoxStream<'static, Notification> {
        let all = self.0.into_iter().map(|task| {
            let moved = task.watch();
            let watch = Watch { task, moved, listen: Arc::clone(listen), told: None, pause: Duration::ZERO };
            stream::unfold(Some(watch), |watch| async { watch?.next().await }).boxed()
        });
        stream::select_all(all).boxed()
    }
}

/// One task that is looked at.
struct Watch {
    task: Arc<Handed>,
    moved: watch::Receiver<()>,
    listen: Arc<Round>,
    /// How it was when it was last told of.
    told: Option<String>,
    /// How long it is left alone, unless it moves.
    pause: Duration,
}

impl Watch {
    /// The next change; none behind the last.
    async fn next(mut self) -> Option<(Notification, Option<Self>)> {
        loop {
            drop(tokio::time::timeout(self.pause, self.moved.changed()).await);
            let found = match self.task.look(&self.listen).await {
                Ok(Looked::Task(found)) => found,
                // It may be reached the next time.
                Err(refusal) if !self.task.has_expired() => {
                    tracing::debug!(%refusal, "a task was not looked at");
                    self.pause = pause(None);
                    continue;
                }
                Ok(Looked::Error(_)) | Err(_) => return None,
            };
            self.pause = pause(json::get(&found, &["pollIntervalMs"]));
            if self.told.as_ref() != Some(&found) {
                let note = Notification::new(method::TASK_CHANGED, Some(&found));
                let goes_on = !is_over(&found);
                self.told = Some(found);
                return Some((note, goes_on.then_some(self)));
            }
        }
    }
}

fn is_over(task: &str) -> bool {
    let status = json::get(task, &["status"]).and_then(json::string);
    status.is_some_and(|status| ["completed", "failed", "cancelled"].contains(&&*status))
}
