//! Where a session's requests get what the server says outside their own stream: questions, log messages, progress.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shadowcat_pipeline::{ExchangeId, Refusal, RefusalKind, Replies};
use shadowcat_protocol::{Message, Notification, Request};
use tokio::sync::mpsc::{self, error::TrySendError};

use super::pool::Lease;
use super::question::{Question, nobody_there};
use super::round::Round;
use super::session::Session;
use super::tasks::related_task;

/// Log messages and progress that wait for one request. What is too much is lost.
const NOTES_MAX: usize = 64;
/// Questions that one request may have open, and the room that notes leave them.
pub(super) const QUESTIONS_MAX: usize = 32;

/// What the server said for one request.
#[derive(Debug)]
pub(super) enum Heard {
    Question(Question),
    Note(Notification),
}

/// The inboxes of one session.
#[derive(Debug, Default)]
pub(super) struct Inboxes(Mutex<HashMap<ExchangeId, Entry>>);

#[derive(Debug)]
struct Entry {
    /// None for a request that is only to know whether a question was refused.
    heard: Option<mpsc::Sender<Heard>>,
    /// The request that occupies the session: what the server asks without saying for whom, it asks this one.
    occupies: bool,
    /// Whether what it occupies the session for may have become a task.
    as_task: bool,
    logs: bool,
    /// What the client did not declare, and a question was refused for.
    undeclared: Option<&'static str>,
}

impl Inboxes {
    fn lock(&self) -> MutexGuard<'_, HashMap<ExchangeId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a question of the server to the request it belongs to, or gives the answer for one that belongs to none.
    pub(super) fn question(&self, request: Request, related: Option<ExchangeId>) -> Result<Replies, Refusal> {
        let of_task = related_task(&request).is_some();
        let is_asked = |entry: &&Entry| entry.occupies && (entry.as_task || !of_task);
        let inboxes = self.lock();
        let entry = match related {
            Some(exchange) => inboxes.get(&exchange).filter(is_asked),
            None => inboxes.values().find(is_asked),
        };
        let Some(heard) = entry.and_then(|entry| entry.heard.clone()) else {
            tracing::debug!(method = request.method(), "a question of the legacy server belongs to no call");
            return Ok(Replies::one(Message::Response(nobody_there(&request))));
        };
        drop(inboxes);
        let (question, replies) = Question::ask(request);
        match heard.try_send(Heard::Question(question)) {
            Err(TrySendError::Full(_)) => Err(RefusalKind::LimitQueue.into()),
            // Its call has just ended, and nobody is there any more.
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(replies),
        }
    }

    /// Notes for the request it belongs to that a question was refused, and for want of what.
    pub(super) fn undeclared(&self, required: &'static str, related: Option<ExchangeId>) {
        let mut inboxes = self.lock();
        let is_only = inboxes.len() == 1;
        let entry = match related {
            Some(exchange) => inboxes.get_mut(&exchange),
            None => inboxes.values_mut().find(|entry| entry.occupies || is_only),
        };
        if let Some(entry) = entry {
            entry.undeclared = Some(required);
        }
    }

    /// Takes a notification to the request it belongs to. One that nobody can be named for is for nobody: it may be
    /// about another request than the one that would get it.
    pub(super) fn note(&self, note: Notification, related: Option<ExchangeId>) {
        let inboxes = self.lock();
        let mut wanting = inboxes.iter().filter(|(exchange, entry)| match related {
            Some(related) => **exchange == related,
            None => entry.logs,
        });
        let entry = wanting.next().filter(|_| wanting.next().is_none()).map(|(_, entry)| entry);
        let Some(heard) = entry.and_then(|entry| entry.heard.as_ref()) else { return };
        if heard.capacity() <= QUESTIONS_MAX || heard.try_send(Heard::Note(note)).is_err() {
            tracing::debug!("a log message or progress of the legacy server found no room");
        }
    }

    /// Whether a call is under way that may be asked something.
    pub(super) fn is_occupied(&self) -> bool {
        self.lock().values().any(|entry| entry.occupies)
    }

    /// Notes whether a request, in its present round, wants log messages.
    pub(super) fn set_logs(&self, exchange: ExchangeId, logs: bool) {
        if let Some(entry) = self.lock().get_mut(&exchange) {
            entry.logs = logs;
        }
    }
}

/// The inbox of one request, for as long as it is under way.
pub(super) struct Inbox {
    session: Arc<Session>,
    exchange: ExchangeId,
    heard: Option<mpsc::Receiver<Heard>>,
}

impl Inbox {
    /// An inbox for a request that the server may say something to; none for others.
    pub(super) fn open(lease: &Lease, exchange: ExchangeId, round: &Round, as_task: bool) -> Option<Self> {
        let (occupies, logs) = (lease.is_own(), round.level.is_some());
        let is_told = occupies || logs || round.request.progress_token().is_some();
        if !is_told && !round.takes_questions() {
            return None;
        }
        let (sender, heard) = is_told.then(|| mpsc::channel(NOTES_MAX + QUESTIONS_MAX)).unzip();
        let entry = Entry { heard: sender, occupies, as_task, logs, undeclared: None };
        lease.session.inboxes.lock().insert(exchange, entry);
        Some(Self { session: Arc::clone(&lease.session), exchange, heard })
    }

    /// What comes next. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Heard> {
        self.heard.as_mut()?.recv().await
    }

    /// What is there already.
    pub(super) fn take_waiting(&mut self) -> Option<Heard> {
        self.heard.as_mut()?.try_recv().ok()
    }

    pub(super) fn set_logs(&self, logs: bool) {
        self.session.inboxes.set_logs(self.exchange, logs);
    }

    /// What the client would have had to declare for a question that was refused.
    pub(super) fn undeclared(&self) -> Option<&'static str> {
        self.session.inboxes.lock().get(&self.exchange)?.undeclared
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.session.inboxes.lock().remove(&self.exchange);
    }
}
