//! One request on its way to a legacy server, from the first round of the client to the last.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use shadowcat_pipeline::{ExchangeId, Form, Head, Refusal, RefusalKind, Replies};
use shadowcat_protocol::{Message, Notification, Response, codes, json, method};
use tokio::time::Instant;

use super::agreed::{Agreed, missing_capability, modern_error};
use super::asked::{Questions, input_requests};
use super::cursor;
use super::inbox::{Heard, Inbox};
use super::parking::Parking;
use super::pool::Lease;
use super::question::{Question, url_question};
use super::round::Round;
use super::tasks::{Handles, Told, follow, unwanted};
use crate::level::Level;

/// How long the answers that a call is given up with may take to leave, before the call itself is withdrawn.
const GIVING_UP_MAX: Duration = Duration::from_secs(1);

/// What the modern revision has no place for: its client finds out by coming back.
const LEGACY_ONLY: [&str; 2] = ["notifications/elicitation/complete", method::TASK_STATUS];

type Reply = Result<Message, Refusal>;

/// One request on its way.
pub(super) struct Call {
    pub(super) round: Round,
    agreed: Arc<Agreed>,
    parking: Arc<Parking>,
    /// What comes back on the request's own stream; nothing once that has ended.
    upstream: Option<Replies>,
    /// What the server says elsewhere, for requests that it may say something to.
    inbox: Option<Inbox>,
    asked: Questions,
    /// When the questions that are there go to the client.
    ask_at: Option<Instant>,
    /// The end, when it came while nobody was there to hear it.
    ended: Option<Reply>,
    lease: Option<Lease>,
    as_task: Option<AsTask>,
}

/// What belongs to a call that its server is to run as a task.
pub(super) struct AsTask {
    handles: Arc<Handles>,
    /// The exchange with the server.
    exchange: ExchangeId,
    /// The bridge waits for the task's result.
    is_followed: bool,
    /// The server's name for the task, as long as it is the call's to cancel.
    task: Option<String>,
}

impl AsTask {
    pub(super) fn new(handles: Arc<Handles>, exchange: ExchangeId) -> Self {
        Self { handles, exchange, is_followed: false, task: None }
    }

    /// The task that this response has made of the call.
    fn created<'r>(&self, response: &'r Response) -> Option<Told<'r>> {
        Told::created(response.result_json()?).filter(|_| !self.is_followed)
    }
}

/// What happens to a call.
enum Event {
    Note(Notification),
    Question(Question),
    /// The time for further questions is over.
    Gathered,
    End(Reply),
}

impl From<Heard> for Event {
    fn from(heard: Heard) -> Self {
        match heard {
            Heard::Question(question) => Self::Question(question),
            Heard::Note(note) => Self::Note(note),
        }
    }
}

impl Call {
    pub(super) fn new(
        round: Round,
        agreed: Arc<Agreed>,
        parking: Arc<Parking>,
        lease: Lease,
        inbox: Option<Inbox>,
        upstream: Replies,
    ) -> Self {
        Self {
            round,
            agreed,
            parking,
            upstream: Some(upstream),
            inbox,
            asked: Questions::default(),
            ask_at: None,
            ended: None,
            lease: Some(lease),
            as_task: None,
        }
    }

    /// The call as one that is to become a task at the server.
    pub(super) fn with_task(mut self, as_task: Option<AsTask>) -> Self {
        self.as_task = as_task;
        self
    }

    /// The call as what its client gets in this round.
    pub(super) fn into_replies(self, head: Head) -> Replies {
        let rounds = stream::unfold(Some(self), |call| async { call?.step().await });
        Replies::stream(rounds).with_head(head)
    }

    /// Goes on with the next round: what the client has answered goes to the server.
    pub(super) async fn resume(mut self, round: Round) -> Replies {
        if let (Some(level), Some(lease)) = (round.level, &self.lease) {
            lease.session.speak_up(&self.agreed, level).await;
        }
        self.asked.answer(&round, self.agreed.revision);
        if let Some(inbox) = &self.inbox {
            inbox.set_logs(round.level.is_some());
        }
        self.round = round;
        self.ask_at = (!self.asked.is_empty()).then(Instant::now);
        self.into_replies(Head { form: Form::Free, status: None })
    }

    /// The next message for the client, and the call if there is more to come.
    async fn step(mut self) -> Option<(Reply, Option<Self>)> {
        loop {
            match self.next().await {
                Event::Note(note) => {
                    // Also what is of no use to the client shows that the server works for it.
                    self.round.origin.pulse.beat();
                    if let Some(note) = self.note(note) {
                        return Some((Ok(Message::Notification(note)), Some(self)));
                    }
                }
                Event::Question(question) => self.take(question),
                Event::Gathered => {
                    self.ask_at = None;
                    self.asked.drop_unfit(&self.round.declared);
                    if !self.asked.is_empty() {
                        let parking = Arc::clone(&self.parking);
                        return Some((parking.park(self), None));
                    }
                }
                Event::End(reply) if self.follow(&reply) => {}
                Event::End(reply) => return Some((self.end(reply), None)),
            }
        }
    }

    /// What happens while the client is away. Cancel safe.
    pub(super) async fn wait(&mut self) {
        match self.next_event().await {
            Event::Question(question) => self.take(question),
            Event::End(reply) => {
                self.ended = Some(reply);
                // Whoever may come back for the end needs no session for it, unless the end is the beginning of a task.
                if self.as_task.as_ref().is_none_or(|as_task| as_task.task.is_none()) {
                    self.inbox = None;
                    self.lease = None;
                }
            }
            // Its client is not there to hear it.
            Event::Note(_) => {}
            Event::Gathered => self.ask_at = None,
        }
    }

    /// What happens next, the end behind all that was said before it. Cancel safe.
    async fn next(&mut self) -> Event {
        let end = match self.ended.take() {
            Some(end) => end,
            None => match self.next_event().await {
                Event::End(end) => end,
                event => return event,
            },
        };
        // It may have come between the look into the inbox and the look for the answer.
        match self.inbox.as_mut().and_then(Inbox::take_waiting) {
            Some(heard) => {
                self.ended = Some(end);
                heard.into()
            }
            None => Event::End(end),
        }
    }

    /// Cancel safe.
    async fn next_event(&mut self) -> Event {
        let heard = async {
            match &mut self.inbox {
                Some(inbox) => inbox.next().await,
                None => None,
            }
        };
        let reply = async {
            match &mut self.upstream {
                Some(upstream) => upstream.next().await,
                None => std::future::pending().await,
            }
        };
        let gathered = async {
            match self.ask_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        // In this order: what was said before the answer is heard before it.
        let reply = tokio::select! {
            biased;
            Some(heard) = heard => return heard.into(),
            reply = reply => reply,
            () = gathered => return Event::Gathered,
        };
        if let Some(Ok(Message::Notification(note))) = reply {
            return Event::Note(note);
        }
        self.upstream = None;
        let reply = reply.unwrap_or_else(|| Err(RefusalKind::Cancelled.into()));
        if let (Err(refusal), Some(lease)) = (&reply, &self.lease) {
            lease.forget_if_lost(refusal);
            if lease.is_own() && may_work_on(&refusal.kind) {
                lease.forget();
            }
        }
        if let (Ok(Message::Response(response)), Some(as_task)) = (&reply, &mut self.as_task) {
            as_task.task = as_task.created(response).map(Told::id);
        }
        Event::End(reply)
    }

    fn take(&mut self, question: Question) {
        if !self.asked.take(question) {
            return;
        }
        self.ask_at.get_or_insert_with(|| Instant::now() + self.parking.gather());
    }

    /// The questions as the result of this round.
    pub(super) fn input_required(&self, state: &str) -> Response {
        // All may have been withdrawn just now: then the retry finds what the server made of it.
        let requests = self.asked.to_input_requests(&self.round.declared).unwrap_or_else(|| "{}".to_owned());
        let result = self.agreed.input_required(requests, state);
        Response::result(self.round.id(), &result)
    }

    /// A notification of the server as this round's client may hear it.
    fn note(&self, note: Notification) -> Option<Notification> {
        match note.method() {
            // From the bridge itself, which waits for the task in the place of the client.
            method::TASK_STATUS if self.as_task.as_ref().is_some_and(|task| task.is_followed) => None,
            method::LOG_MESSAGE => {
                let wanted = self.round.level?;
                // A level nobody knows is shown rather than lost.
                Level::of_message(&note).is_none_or(|level| level >= wanted).then_some(note)
            }
            method::PROGRESS => {
                let token = self.round.request.progress_token()?;
                Some(note.with_progress_token(token))
            }
            _ => {
                // Changes belong to subscriptions, whatever stream the server has put them on.
                let lease = self.lease.as_ref()?;
                if lease.session.listeners.tell(&note) || lease.session.handed.tell(&note) {
                    return None;
                }
                if LEGACY_ONLY.contains(&note.method()) {
                    lease.session.counters.lose(note.method(), Some(&self.round.origin));
                    return None;
                }
                Some(note)
            }
        }
    }

    /// Waits for the result of a task whose client does not take the task for an answer.
    fn follow(&mut self, reply: &Reply) -> bool {
        let (Ok(Message::Response(response)), Some(as_task)) = (reply, &mut self.as_task) else {
            return false;
        };
        let (Some(created), Some(lease)) = (as_task.created(response), &self.lease) else { return false };
        if self.round.takes_tasks {
            return false;
        }
        as_task.is_followed = true;
        self.upstream = Some(follow(Arc::clone(&lease.session), as_task.exchange, created));
        true
    }

    /// The handle for the task that the call has become, if it has.
    fn hand_out(&mut self, response: &Response) -> Option<Reply> {
        let as_task = self.as_task.as_mut()?;
        let created = as_task.created(response)?;
        as_task.task = None;
        let (lease, asked) = (self.lease.take()?, std::mem::take(&mut self.asked));
        let inbox = self.inbox.as_mut();
        let handed = as_task.handles.hand_out(&self.round, &self.agreed, lease, created, asked, inbox);
        Some(handed.map(Message::Response))
    }

    /// The last message of this round.
    fn end(&mut self, reply: Reply) -> Reply {
        let Message::Response(response) = reply? else {
            return Err(RefusalKind::UpstreamProtocol.into());
        };
        if let Some(handed) = self.hand_out(&response) {
            return handed;
        }
        self.learn(&response);
        // 2026-07-28 basic: the call needed what its client did not declare. Not so if it went well without.
        let undeclared = self.inbox.as_ref().and_then(Inbox::undeclared);
        if let Some(required) = undeclared.filter(|_| has_failed(&response)) {
            return Ok(Message::Response(missing_capability(self.round.id(), required)));
        }
        let asked = self.round.request.method();
        let Some(result) = response.result_json() else {
            return Ok(Message::Response(self.error(&response)?));
        };
        if !result.starts_with('{') {
            return Ok(Message::Response(response.with_id(self.round.id())));
        }
        let sealed = self.sealed_cursor(result)?;
        let result = self.agreed.complete(asked, sealed.as_deref().unwrap_or(result));
        Ok(Message::Response(response.with_id(self.round.id()).with_result(&result)))
    }

    /// Notes what the answer says of tools that only run as tasks.
    fn learn(&self, response: &Response) {
        let Some(lease) = &self.lease else { return };
        let (tools, request) = (&lease.session.tools, &self.round.request);
        match (request.method(), response.result_json()) {
            (method::TOOLS_LIST, Some(result)) => tools.note(result),
            // 2025-11-25 basic/utilities/tasks: so is refused what has to be a task, or what must not be one.
            (method::TOOLS_CALL, None) if response.error_code() == Some(codes::METHOD_NOT_FOUND) => {
                if let Some(tool) = request.name().filter(|_| self.agreed.runs_tasks()) {
                    tools.set(&tool, self.as_task.is_none());
                }
            }
            _ => {}
        }
    }

    fn sealed_cursor(&self, result: &str) -> Result<Option<String>, Refusal> {
        match &self.lease {
            Some(lease) => cursor::seal(self.parking.seal(), &self.round, lease, result),
            None => Ok(None),
        }
    }

    fn error(&self, response: &Response) -> Result<Response, Refusal> {
        let is_url = response.error_code() == Some(codes::URL_ELICITATION);
        let may_visit = is_url && self.round.may_be_asked() && self.round.declared.has_url();
        let Some(requests) = may_visit.then(|| visits(response)).flatten() else {
            return Ok(modern_error(&self.agreed, &self.round, response));
        };
        // The call has ended at the server: the retry is a new one.
        let state = self.parking.seal_visit(&self.round)?;
        let result = self.agreed.input_required(requests, &state);
        Ok(Response::result(self.round.id(), &result))
    }

    /// Ends a call whose client does not come back: first the server hears that its questions are cancelled, then
    /// that the call is.
    pub(super) async fn give_up(mut self) {
        let left = futures_util::future::join_all(self.asked.give_up());
        if tokio::time::timeout(GIVING_UP_MAX, left).await.is_err() {
            tracing::debug!("the legacy server does not take the answers that end its call");
        }
    }
}

/// The URLs that an error wants visited, as questions; none if it names none.
fn visits(error: &Response) -> Option<String> {
    let elicitations = json::get(error.error_json()?, &["data", "elicitations"])?;
    let asked = json::elements(elicitations).filter(|raw| raw.starts_with('{')).enumerate();
    input_requests(asked.map(|(at, raw)| (format!("q{}", at + 1), url_question(raw))))
}

fn has_failed(response: &Response) -> bool {
    response.is_error() || response.is_tool_error()
}

/// Whether the server may still be at a call that ended like this.
fn may_work_on(end: &RefusalKind) -> bool {
    matches!(end, RefusalKind::Cancelled | RefusalKind::UpstreamTimeout | RefusalKind::UpstreamProtocol)
}

impl Drop for Call {
    fn drop(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        if self.upstream.take().is_some() && lease.is_own() {
            // A server may work on behind its cancel, and ask: what it asks then must not be taken for the next call's.
            lease.forget();
        }
        if let Some(task) = self.as_task.take().and_then(|as_task| as_task.task) {
            let tasks = lease.session.tasks.clone();
            tasks.spawn(async move { unwanted(lease, &task).await });
        }
    }
}
