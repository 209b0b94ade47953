//! A server that offers the interceptors extension of MCP: `interceptors/list` says which it has and what they hook into,
//! `interceptor/invoke` asks one of them. The draft that is followed is named in `docs/interceptors.md`.
//!
//! | file | holds |
//! |---|---|
//! | `catalog.rs` | the interceptors of a server, and which of them a message concerns |
//! | `subject.rs` | the events in one message |
//! | `round.rs` | one message taken to all that it concerns |
//! | `words.rs` | what is said to them and what they answer |

mod catalog;
mod round;
mod subject;
mod words;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use shadowcat_protocol::{Limits, Pages, Response};
use shadowcat_rules::written::Fail;
use tokio::time::timeout;

use super::telling::Telling;
use super::verdict::{External, Failure, Matter, Opinion};
use catalog::Catalog;

/// The method that lists interceptors.
const LIST: &str = "interceptors/list";
/// The method that asks one.
const INVOKE: &str = "interceptor/invoke";
/// Pages of a list that are read.
const PAGES_MAX: usize = 16;

/// A conversation with a server, begun when it is needed and again when it was lost.
#[async_trait]
pub trait Link: Send + Sync {
    /// Asks one thing; gives the answer, whether result or error.
    ///
    /// # Errors
    /// When there is none.
    async fn ask(&self, method: &str, params: &str) -> Result<Response, Failure>;

    /// How many conversations were begun so far: what was learned in an earlier one may not hold any more.
    fn conversations(&self) -> u64;
}

/// How a server's interceptors are used.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What a failure costs; without it, what the interceptor that fails says of itself.
    pub fail: Option<Fail>,
    /// The configuration that each interceptor is given with every message, as JSON by its name.
    pub config: BTreeMap<String, String>,
    /// The bounds of a message that comes back.
    pub limits: Limits,
}

/// A server of interceptors that is asked.
pub struct Mcp {
    link: Arc<dyn Link>,
    settings: Settings,
    telling: Telling,
    known: Mutex<Option<Known>>,
    /// Held while the list is read, so that two messages do not read it twice.
    reading: tokio::sync::Mutex<()>,
}

/// What was learned in a conversation.
#[derive(Clone)]
struct Known {
    conversation: u64,
    catalog: Arc<Catalog>,
}

impl Mcp {
    /// Asks over this link.
    pub fn new(link: Arc<dyn Link>, settings: Settings, telling: Telling) -> Self {
        Self { link, settings, telling, known: Mutex::default(), reading: tokio::sync::Mutex::default() }
    }

    /// Begins the conversation and reads the list, ahead of the first message; gives the number of interceptors.
    ///
    /// # Errors
    /// When the list cannot be had within `time`.
    pub async fn prepare(&self, time: Duration) -> Result<usize, Failure> {
        self.catalog(time).await.map(|catalog| catalog.len())
    }

    fn known(&self) -> Option<Arc<Catalog>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        (known.conversation == self.link.conversations()).then_some(known.catalog)
    }

    async fn catalog(&self, time: Duration) -> Result<Arc<Catalog>, Failure> {
        if let Some(catalog) = self.known() {
            return Ok(catalog);
        }
        let read = async {
            let _reading = self.reading.lock().await;
            match self.known() {
                Some(catalog) => Ok(catalog),
                None => self.read().await,
            }
        };
        timeout(time, read).await.unwrap_or_else(|_| Err(Failure::timeout(time)))
    }

    async fn read(&self) -> Result<Arc<Catalog>, Failure> {
        let mut catalog = Catalog::default();
        let mut pages = Pages::up_to(PAGES_MAX);
        while let Some(cursor) = pages.ask() {
            let params = words::list(cursor.as_deref());
            let answer = words::result(&self.link.ask(LIST, &params).await?)?;
            catalog.add_page(&answer)?;
            pages.read(&answer);
        }
        if !pages.is_whole() {
            return Err(Failure::nonsense(format!(
                "the list of interceptors has no end: more than {PAGES_MAX} pages, or a `nextCursor` that is no string"
            )));
        }
        let catalog = Arc::new(catalog);
        let known = Known { conversation: self.link.conversations(), catalog: Arc::clone(&catalog) };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
        Ok(catalog)
    }
}

#[async_trait]
impl External for Mcp {
    fn concerns(&self, matter: &Matter) -> bool {
        let payload = words::payload(&matter.message);
        match (subject::subjects(&matter.message, matter.method(), payload), self.known()) {
            (Ok(subjects), Some(catalog)) => {
                subjects.iter().any(|subject| catalog.hooked(&subject.event, subject.phase).next().is_some())
            }
            // Without a list nobody knows, and the question is what tries to get one.
            (Ok(subjects), None) => !subjects.is_empty(),
            (Err(_), _) => true,
        }
    }

    async fn ask(&self, matter: &Matter, time: Duration) -> Result<Opinion, Failure> {
        let catalog = self.catalog(time).await?;
        round::go(self, matter, &catalog, time).await
    }
}
