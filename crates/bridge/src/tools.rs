//! What is known of a server's tools because their list has passed. One thing is known of each: whether it is among
//! those that the bridge must treat otherwise.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shadowcat_pipeline::Refusal;
use shadowcat_protocol::{Pages, Response, json};
use tokio::time::Instant;

use crate::object::Object;

/// How long all pages of the list may take.
const LIST_MAX: Duration = Duration::from_secs(10);
const PAGES_MAX: usize = 100;
/// The time for which calls do without a list that could not be had.
const WITHOUT: Duration = Duration::from_mins(1);
/// Tools that are remembered.
const NOTED_MAX: usize = 10_000;

/// Whoever can be asked for the list of its tools.
pub(crate) trait Lister {
    /// One page of the list, by these parameters.
    fn page(&self, params: Object<'_>) -> impl Future<Output = Result<Response, Refusal>> + Send;
}

/// The tools of one server.
pub(crate) struct Tools {
    /// Whether a tool, as the list has it, is one to be noted.
    is_special: fn(&str) -> bool,
    /// Held while the list passes, so that many calls ask for it once.
    passing: tokio::sync::Mutex<()>,
    learned: Mutex<Learned>,
    noted: Mutex<HashSet<Box<str>>>,
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
    pub(crate) fn new(is_special: fn(&str) -> bool) -> Self {
        Self {
            is_special,
            passing: tokio::sync::Mutex::default(),
            learned: Mutex::default(),
            noted: Mutex::default(),
        }
    }

    fn learned(&self) -> MutexGuard<'_, Learned> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn noted(&self) -> MutexGuard<'_, HashSet<Box<str>>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the list has passed, or calls do without it for now.
    pub(crate) fn are_known(&self) -> bool {
        let learned = self.learned();
        learned.is_current || learned.without_until.is_some_and(|until| until > Instant::now())
    }

    /// The list has changed, or may have: it is to pass again before the next call.
    pub(crate) fn doubt(&self) {
        let mut learned = self.learned();
        learned.changes += 1;
        learned.is_current = false;
    }

    /// Lets the list pass, unless it has already. Cancel safe: the next who needs it goes on.
    pub(crate) async fn learn(&self, server: &impl Lister) {
        if self.are_known() {
            return;
        }
        let _passing = self.passing.lock().await;
        if !self.are_known() {
            self.list(server).await;
        }
    }

    /// Lets the list pass. A call does not fail because the list does: it may need nothing of it.
    pub(crate) async fn list(&self, server: &impl Lister) {
        let before = self.learned().changes;
        let listed = match tokio::time::timeout(LIST_MAX, self.pages(server)).await {
            Ok(Ok(listed)) => listed,
            Ok(Err(refusal)) => {
                tracing::debug!(%refusal, "the tools of a server are not known");
                false
            }
            Err(_) => {
                tracing::debug!("a server did not list its tools in time");
                false
            }
        };
        let mut learned = self.learned();
        if listed {
            learned.is_current = learned.changes == before;
        } else {
            learned.without_until = Some(Instant::now() + WITHOUT);
        }
    }

    /// Asks for all pages; says whether the server gave them. Tools behind so many pages are taken for ordinary ones: to walk
    /// through them again would find no more.
    async fn pages(&self, server: &impl Lister) -> Result<bool, Refusal> {
        let mut pages = Pages::up_to(PAGES_MAX);
        while let Some(cursor) = pages.ask() {
            let params = Object::default();
            let params = cursor.map_or(params.clone(), |cursor| params.with("cursor", cursor));
            let answer = server.page(params).await?;
            let Some(result) = answer.result_json() else { return Ok(false) };
            self.note(result);
            pages.read(result);
        }
        Ok(true)
    }

    /// Notes what a list of tools says.
    pub(crate) fn note(&self, result: &str) {
        for tool in json::elements(json::get(result, &["tools"]).unwrap_or_default()) {
            if let Some(name) = json::get(tool, &["name"]).and_then(json::string) {
                self.set(&name, (self.is_special)(tool));
            }
        }
    }

    /// Notes of one tool whether it is special.
    pub(crate) fn set(&self, tool: &str, is_special: bool) {
        let mut noted = self.noted();
        if !is_special {
            noted.remove(tool);
        } else if noted.len() < NOTED_MAX {
            noted.insert(tool.into());
        }
    }

    /// Whether a tool is among those that were noted.
    pub(crate) fn has(&self, tool: &str) -> bool {
        self.noted().contains(tool)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use shadowcat_protocol::Id;

    use super::*;

    /// A server of two pages, the second of which is told when it may be.
    #[derive(Default)]
    struct Server {
        asked: AtomicUsize,
        may_go_on: tokio::sync::Notify,
    }

    impl Lister for Server {
        async fn page(&self, params: Object<'_>) -> Result<Response, Refusal> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let first = r#"{"tools":[{"name":"a","x":1},{"name":"b"},{"name":7}],"nextCursor":"two"}"#;
            let mut result = first;
            if params.get("cursor") == Some(r#""two""#) {
                self.may_go_on.notified().await;
                result = r#"{"tools":[{"name":"c","x":0}]}"#;
            }
            Ok(Response::result(&Id::from_u64(1), result))
        }
    }

    fn tools() -> Tools {
        Tools::new(|tool| json::get(tool, &["x"]).is_some())
    }

    #[tokio::test(start_paused = true)]
    async fn all_pages_pass_once_and_the_last_word_on_a_tool_holds() {
        let (tools, server) = (tools(), Server::default());
        server.may_go_on.notify_one();
        tokio::join!(tools.learn(&server), tools.learn(&server));
        assert_eq!(server.asked.load(Ordering::Relaxed), 2);
        assert!(tools.has("a") && !tools.has("b") && tools.has("c"));
        tools.note(r#"{"tools":[{"name":"a"}]}"#);
        assert!(!tools.has("a") && tools.has("c"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_while_the_list_passes_is_not_lost() {
        let (tools, server) = (tools(), Server::default());
        let changing = async {
            tools.doubt();
            server.may_go_on.notify_one();
        };
        tokio::join!(tools.learn(&server), changing);
        assert!(!tools.are_known());
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_does_not_come_is_done_without_for_a_while() {
        let (tools, server) = (tools(), Server::default());
        tools.learn(&server).await;
        assert!(tools.are_known());
        assert!(tools.has("a"), "what has come is known");
        tokio::time::advance(WITHOUT).await;
        assert!(!tools.are_known());
    }
}
