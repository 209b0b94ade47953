//! What is known of a modern server's tools because their list has passed.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shadowcat_pipeline::Refusal;
use shadowcat_protocol::{json, method};
use tokio::time::Instant;

use crate::object::Object;

use super::reading;
use super::server::ModernServer;

/// How long all pages of the tool list may take.
const LIST_MAX: Duration = Duration::from_secs(10);
const PAGES_MAX: usize = 100;
/// The time for which calls do without a list that could not be had.
const WITHOUT: Duration = Duration::from_mins(1);
/// Tools whose wrapped schema is remembered.
const WRAPPED_MAX: usize = 10_000;

/// What the tool list has taught.
#[derive(Default)]
pub(super) struct Tools {
    /// Held while the list passes, so that many calls ask for it once.
    passing: tokio::sync::Mutex<()>,
    learned: Mutex<Learned>,
    wrapped: Mutex<HashSet<Box<str>>>,
}

#[derive(Default)]
struct Learned {
    /// How often the list was told to have changed.
    changes: u64,
    /// The list has passed as it is now.
    is_current: bool,
    /// Calls do without the list until then.
    without_until: Option<Instant>,
}

impl Tools {
    fn learned(&self) -> MutexGuard<'_, Learned> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ModernServer {
    /// Whether the tool list has passed, or calls do without it for now.
    pub(super) fn is_taught(&self) -> bool {
        let learned = self.tools.learned();
        learned.is_current || learned.without_until.is_some_and(|until| until > Instant::now())
    }

    /// The tool list has changed, or may have: it is to pass again before the next call.
    pub(super) fn tools_changed(&self) {
        let mut learned = self.tools.learned();
        learned.changes += 1;
        learned.is_current = false;
    }

    /// Lets the tool list pass once before the first call: the connection below learns from it which arguments are
    /// mirrored in headers, and we which results are wrapped.
    pub(super) async fn learn_tools(&self) {
        if self.is_taught() {
            return;
        }
        let _passing = self.tools.passing.lock().await;
        if !self.is_taught() {
            self.list_tools().await;
        }
    }

    /// Lets the tool list pass. A call does not fail because the list does: it may need nothing of it.
    pub(super) async fn list_tools(&self) {
        let before = self.tools.learned().changes;
        let listed = match tokio::time::timeout(LIST_MAX, self.list_pages()).await {
            Ok(Ok(listed)) => listed,
            Ok(Err(refusal)) => {
                tracing::debug!(upstream = %self.settings.side.name, %refusal, "the tools are not known");
                false
            }
            Err(_) => {
                tracing::debug!(upstream = %self.settings.side.name, "the server did not list its tools in time");
                false
            }
        };
        let mut learned = self.tools.learned();
        if listed {
            learned.is_current = learned.changes == before;
        } else {
            learned.without_until = Some(Instant::now() + WITHOUT);
        }
    }

    /// Asks for all pages; says whether the server gave them.
    async fn list_pages(&self) -> Result<bool, Refusal> {
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let page = match &cursor {
                Some(cursor) => Object::default().with("cursor", cursor.as_str()),
                None => Object::default(),
            };
            let answer = self.ask(method::TOOLS_LIST, page).await?;
            let Some(result) = answer.result_json() else { return Ok(false) };
            self.note_tools(result);
            cursor = json::get(result, &["nextCursor"]).filter(|raw| raw.starts_with('"')).map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        Ok(true)
    }

    /// Notes which tools of a list have results that are wrapped for clients that only take objects.
    pub(super) fn note_tools(&self, result: &str) {
        let tools = reading::wrapped_tools(result);
        let mut wrapped = self.tools.wrapped.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, is_wrapped) in tools {
            if !is_wrapped {
                wrapped.remove(&*name);
            } else if wrapped.len() < WRAPPED_MAX {
                wrapped.insert(name.into());
            }
        }
    }

    /// Whether the results of this tool are wrapped.
    pub(super) fn wraps(&self, tool: &str) -> bool {
        self.tools.wrapped.lock().unwrap_or_else(PoisonError::into_inner).contains(tool)
    }
}
