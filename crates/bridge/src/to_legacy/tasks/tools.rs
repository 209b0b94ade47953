//! Which tools of a server only run as tasks.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shadowcat_protocol::{json, method};

use super::super::session::Session;
use crate::object::Object;

/// How long all pages of the tool list may take.
const LIST_MAX: Duration = Duration::from_secs(10);
const PAGES_MAX: usize = 100;
/// Tools that are remembered.
const TOOLS_MAX: usize = 10_000;

/// What one session knows of its tools.
#[derive(Debug, Default)]
pub(in super::super) struct Tools {
    /// Whether the list was asked for; held while it is.
    asked: tokio::sync::Mutex<bool>,
    changed: AtomicBool,
    only_tasks: Mutex<HashSet<Box<str>>>,
}

impl Tools {
    fn only_tasks(&self) -> MutexGuard<'_, HashSet<Box<str>>> {
        self.only_tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a tool only runs as a task. The list is asked for once, and again when it has changed. A call does not
    /// fail because the list does.
    pub(in super::super) async fn only_as_task(&self, session: &Session, tool: &str) -> bool {
        let mut asked = self.asked.lock().await;
        if self.changed.swap(false, Ordering::Relaxed) || !*asked {
            if tokio::time::timeout(LIST_MAX, self.list(session)).await.is_err() {
                tracing::debug!("the legacy server did not list its tools in time");
            }
            *asked = true;
        }
        drop(asked);
        self.only_tasks().contains(tool)
    }

    async fn list(&self, session: &Session) {
        let mut page = Object::default();
        for _ in 0..PAGES_MAX {
            let answer = session.ask(method::TOOLS_LIST, &page.to_json()).await;
            let Ok(Some(result)) = answer.as_ref().map(|answer| answer.result_json()) else {
                tracing::debug!("the legacy server does not list its tools");
                return;
            };
            self.note(result);
            match json::get(result, &["nextCursor"]).filter(|raw| raw.starts_with('"')) {
                Some(cursor) => page.set("cursor", cursor.to_owned()),
                None => return,
            }
        }
    }

    /// Notes what a list of tools says.
    pub(in super::super) fn note(&self, result: &str) {
        for tool in json::elements(json::get(result, &["tools"]).unwrap_or_default()) {
            let Some(name) = json::get(tool, &["name"]).and_then(json::string) else { continue };
            let support = json::get(tool, &["execution", "taskSupport"]).and_then(json::string);
            self.set(&name, support.is_some_and(|support| support == "required"));
        }
    }

    /// Notes of one tool whether it only runs as a task.
    pub(in super::super) fn set(&self, tool: &str, only_as_task: bool) {
        let mut only_tasks = self.only_tasks();
        if !only_as_task {
            only_tasks.remove(tool);
        } else if only_tasks.len() < TOOLS_MAX {
            only_tasks.insert(tool.into());
        }
    }

    /// The list has changed.
    pub(in super::super) fn doubt(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_tool_that_says_so_cannot_run_without_a_task() {
        let tools = Tools::default();
        let list = |support: &str| {
            format!(r#"{{"tools":[{{"name":"a","execution":{{"taskSupport":{support}}}}},{{"name":"b"}}]}}"#)
        };
        for (support, only) in
            [(r#""required""#, true), (r#""optional""#, false), (r#""required""#, true), ("null", false)]
        {
            tools.note(&list(support));
            assert_eq!(tools.only_tasks().contains("a"), only, "{support}");
            assert!(!tools.only_tasks().contains("b"));
        }
    }
}
