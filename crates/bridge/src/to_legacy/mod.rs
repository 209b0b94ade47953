//! A modern client's exchanges to a server that only speaks legacy revisions.
//!
//! Each request is taken to a session with the server that fits it. What the server asks back while it works becomes
//! a result of the modern revision, and the call waits until its client comes again with the answers.
//!
//! | file | holds |
//! |---|---|
//! | `server` | what the bridge needs of a legacy server |
//! | `settings` | its bounds |
//! | `pool`, `session` | sessions with the server, and who may use which |
//! | `from_server`, `inbox`, `listeners` | what the server says of its own accord, and whom it is for |
//! | `round` | what one request of the client says about itself |
//! | `call`, `question`, `asked`, `parking` | a call from its first round to its last |
//! | `tasks` | calls that the server runs as tasks |
//! | `agreed`, `cursor`, `listen` | answers as the modern revision has them |

mod agreed;
mod asked;
mod call;
mod cursor;
mod from_server;
mod inbox;
mod listen;
mod listeners;
mod parking;
mod pool;
mod question;
mod round;
mod server;
mod session;
mod settings;
mod tasks;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{
    Chain, Envelope, Form, Head, InFlight, Origin, OwnSpan, PeerId, Refusal, RefusalKind, Replies, Service,
    Transport,
};
use shadowcat_protocol::{ErrorObject, Id, Message, Notification, Request, Response, codes, json, method};

use agreed::Agreed;
use call::{AsTask, Call};
use inbox::Inbox;
use parking::{Parking, State, Visit};
use pool::{Lease, Pool, Want};
use round::Round;
use session::{HEAD_START, Key, Maker, Session};
use tasks::Handles;

use crate::counters::Counters;
use crate::seal::Seal;

pub use server::{LegacyServer, LegacySession};
pub use settings::ToLegacySettings;

/// How long the stream of an answer is not opened for, in case that the answer needs none.
const WHOLE_MAX: Duration = Duration::from_millis(250);

/// How long the calls that wait may take to be given up when the bridge ends.
const CLOSE_MAX: Duration = Duration::from_secs(3);
/// Nothing is known of an answer yet.
const FREE: Head = Head { form: Form::Free, status: None };

/// Takes modern exchanges to a legacy server.
pub struct ToLegacy {
    this: Weak<Self>,
    pool: Arc<Pool>,
    parking: Arc<Parking>,
    handles: Arc<Handles>,
    counters: Arc<Counters>,
    tasks: Tasks,
    /// Requests whose client may withdraw them by a message.
    running: Arc<InFlight<(PeerId, Id)>>,
}

impl ToLegacy {
    /// A bridge to this server; `chain` sees what goes to it and comes from it.
    pub fn new(
        server: Arc<dyn LegacyServer>,
        chain: Chain,
        seal: Arc<Seal>,
        settings: ToLegacySettings,
        counters: Arc<Counters>,
        tasks: &Tasks,
    ) -> Arc<Self> {
        let tasks = tasks.child();
        let maker = Maker { server, chain, counters: Arc::clone(&counters), tasks: tasks.clone() };
        Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            pool: Pool::new(maker, settings),
            handles: Handles::new(Arc::clone(&seal), tasks.clone()),
            parking: Parking::new(settings, seal, Arc::clone(&counters), tasks.clone()),
            counters,
            tasks,
            running: Arc::default(),
        })
    }

    /// Gives up the calls that wait for their client, and ends every session with the server.
    pub async fn close(&self) {
        self.tasks.stop();
        self.tasks.join(CLOSE_MAX).await;
        self.pool.close().await;
        self.tasks.join(CLOSE_MAX).await;
    }

    /// Whether a message goes on with what began here: a call that waits, a list half read, a task, a request to be
    /// withdrawn. It is for this bridge whatever the server is taken for by now.
    pub fn owns(&self, envelope: &Envelope) -> bool {
        match &envelope.message {
            Message::Request(request) => {
                may_go_on(request)
                    && self.has_sealed(&Round::new(request.clone(), Arc::clone(&envelope.origin)))
            }
            Message::Notification(note) => {
                let key = note.request_id().map(|id| (envelope.origin.peer, id));
                key.is_some_and(|key| self.running.has(&key))
            }
            Message::Response(_) => false,
        }
    }

    fn has_sealed(&self, round: &Round) -> bool {
        let opens = |cursor: String| cursor::open(self.parking.seal(), round, &cursor).is_some();
        round.state().is_some_and(|state| self.parking.open(round, &state).is_some())
            || cursor::of(round).is_some_and(opens)
            || self.handles.knows(round)
    }

    async fn request(&self, request: Request, origin: Arc<Origin>) -> Result<Replies, Refusal> {
        let this = self.this.upgrade().ok_or(RefusalKind::ShuttingDown)?;
        self.counters.to_legacy.add();
        if origin.transport == Transport::Http {
            return this.answer(request, origin).await;
        }
        // On a pipe the next message may be the one this request waits for, or its cancel, so it must not be awaited.
        let Some(flight) = self.running.enter((origin.peer, request.id().clone())) else {
            return Err(RefusalKind::LimitQueue.into());
        };
        let withdrawn = flight.withdrawn.clone().cancelled_owned();
        let answer = async move { this.answer(request, origin).await }.into_stream().try_flatten();
        Ok(Replies::stream(answer.take_until(withdrawn)).with_head(FREE).hold(flight))
    }

    async fn answer(self: Arc<Self>, request: Request, origin: Arc<Origin>) -> Result<Replies, Refusal> {
        if self.tasks.stop_signal().is_cancelled() {
            return Err(RefusalKind::ShuttingDown.into());
        }
        let round = Round::new(request, origin);
        match round.request.method() {
            method::TASKS_GET | method::TASKS_UPDATE | method::TASKS_CANCEL => {
                self.handles.answer(&round).await
            }
            // Tasks of the modern revision are others than those a legacy server knows by the same name.
            name if !round.origin.revision.keeps_method(name) || name.starts_with("tasks/") => {
                Ok(refused(&round, codes::METHOD_NOT_FOUND, "this revision has no such method"))
            }
            method::DISCOVER => {
                let (_lease, agreed) = self.session(&round, Want::Shared).await?;
                let response = Response::result(round.id(), &agreed.discovered());
                Ok(Replies::one(Message::Response(response)))
            }
            method::LISTEN if tasks::are_listened_to(&round) && !round.takes_tasks => {
                Ok(Replies::one(Message::Response(agreed::needs_tasks(round.id()))))
            }
            method::LISTEN => {
                let (lease, agreed) = self.session(&round, Want::Shared).await?;
                listen::listen(round, lease, agreed, &self.handles, self.tasks.stop_signal()).await
            }
            _ => self.round(round).await,
        }
    }

    /// A session that fits the request, its handshake done.
    async fn session(&self, round: &Round, want: Want) -> Result<(Lease, Arc<Agreed>), Refusal> {
        let found = self.find_session(round, want).await?;
        found.ok_or_else(|| RefusalKind::SessionLost.into())
    }

    async fn find_session(&self, round: &Round, want: Want) -> Result<Option<(Lease, Arc<Agreed>)>, Refusal> {
        let transport = round.origin.transport;
        let key = Key { principal: round.principal.clone(), declared: round.declared.clone() };
        let Some(lease) = self.pool.lease(&key, want, transport).await? else { return Ok(None) };
        match lease.ready().await {
            // No room below for another session: one that nobody uses may take it.
            Err(refusal) if is_overloaded(&refusal) && self.pool.make_room().await => {}
            ready => return Ok(Some((lease, ready?))),
        }
        drop(lease);
        let Some(lease) = self.pool.lease(&key, want, transport).await? else { return Ok(None) };
        let agreed = lease.ready().await?;
        Ok(Some((lease, agreed)))
    }

    async fn round(&self, round: Round) -> Result<Replies, Refusal> {
        let Some(state) = round.state() else { return self.begin(round, None).await };
        match self.parking.open(&round, &state) {
            Some(State::Again(visit)) if self.parking.may_repeat(visit) => {
                self.begin(round, Some(visit)).await
            }
            Some(State::Parked(number)) => match self.parking.take(number).await {
                Some(call) => Ok(call.resume(round).await),
                None => Ok(unknown_state(&round)),
            },
            Some(State::Again(_)) | None => Ok(unknown_state(&round)),
        }
    }

    /// Sends a request to the server for the first time, or again after a visit.
    async fn begin(&self, mut round: Round, visit: Option<Visit>) -> Result<Replies, Refusal> {
        let Some(want) = self.aim(&mut round) else { return Ok(unknown_cursor(&round)) };
        let Some((lease, agreed)) = self.find_session(&round, want).await? else {
            return Ok(unknown_cursor(&round));
        };
        // Only now: a call for which there is no session has not been made.
        if visit.is_some_and(|visit| !self.parking.repeats(visit)) {
            return Ok(unknown_state(&round));
        }
        if let Some(level) = round.level {
            lease.session.speak_up(&agreed, level).await;
        }
        if lease.is_own() {
            // It may have been lost since the handshake.
            lease.session.stand(HEAD_START).await;
        }
        let origin = Arc::clone(&round.origin);
        let mut inner = lease.session.origin();
        // The same number on both sides: so a tape and the log show what belongs together.
        inner.exchange = origin.exchange;
        inner.span = OwnSpan::handed_on(origin.told_span(&round.request));
        let inner = Arc::new(inner);
        let as_task = runs_as_task(&lease, &agreed, &round).await;
        let inbox = Inbox::open(&lease, inner.exchange, &round, as_task);
        tracing::debug!(
            exchange = %inner.exchange,
            method = round.request.method(),
            session = lease.session.number,
            revision = %agreed.revision,
            as_task,
            "translated"
        );
        let request = if as_task { tasks::as_task(&round.to_legacy()) } else { round.to_legacy() };
        let as_task = as_task.then(|| AsTask::new(Arc::clone(&self.handles), inner.exchange));
        let sending = send(Arc::clone(&lease.session), request, inner, origin);
        let upstream = if lease.is_own() {
            // A part of the call: the server may ask before it gives a head, or give none before it has its answer.
            Replies::stream(sending.into_stream().try_flatten()).with_head(FREE)
        } else {
            let sent = sending.await.inspect_err(|refusal| lease.forget_if_lost(refusal))?;
            if matches!(want, Want::Same { .. }) && lease.session.turn() != lease.turn {
                // Where it ended up the cursor means nothing, or something else.
                return Ok(unknown_cursor(&round));
            }
            sent
        };
        let is_stream = match &as_task {
            // Somebody waits long for the result of a task, and must not take it for lost.
            Some(_) => !round.takes_tasks,
            None => round.takes_questions() && upstream.head().form == Form::Stream,
        };
        let call = Call::new(round, agreed, Arc::clone(&self.parking), lease, inbox, upstream);
        let replies = call.with_task(as_task).into_replies(FREE);
        Ok(if is_stream { streamed_unless_soon(replies).await } else { replies })
    }

    /// Which session a request needs, its cursor being the server's from now on; none if no session can know it.
    fn aim(&self, round: &mut Round) -> Option<Want> {
        let cursor = if self.pool.is_per_request() { None } else { cursor::of(round) };
        let Some(cursor) = cursor else {
            return Some(if round.may_be_asked() { Want::Own } else { Want::Shared });
        };
        let (session, cursor) = cursor::open(self.parking.seal(), round, &cursor)?;
        cursor::replace(round, &cursor);
        Some(session)
    }

    fn notification(&self, note: &Notification, origin: &Origin) {
        if note.method() != method::CANCELLED {
            self.counters.lose(note.method(), None);
            return;
        }
        if let Some(id) = note.request_id() {
            self.running.withdraw(&(origin.peer, id));
        }
    }
}

/// Whether a request has a place for what was sealed here, and something in it.
fn may_go_on(request: &Request) -> bool {
    let asked = request.method();
    let member: &[&str] = match cursor::sealed_member(asked) {
        Some(member) => &[member],
        None if asked == method::LISTEN => &tasks::LISTENED_TO,
        None => return asked.starts_with("tasks/"),
    };
    json::get(request.params().unwrap_or_default(), member).is_some()
}

#[async_trait]
impl Service for ToLegacy {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        match envelope.message {
            Message::Request(request) => self.request(request, envelope.origin).await,
            Message::Notification(note) => {
                self.notification(&note, &envelope.origin);
                Ok(Replies::none())
            }
            Message::Response(_) => {
                Err(Refusal::bad_message(codes::INVALID_REQUEST, "this revision has no responses of clients"))
            }
        }
    }
}

/// Whether a call has to be one that runs as a task.
async fn runs_as_task(lease: &Lease, agreed: &Agreed, round: &Round) -> bool {
    let tool = round.request.name().filter(|_| round.request.method() == method::TOOLS_CALL);
    match tool.filter(|_| agreed.runs_tasks()) {
        Some(tool) => {
            let session = &lease.session;
            session.tools.learn(&**session).await;
            session.tools.has(&tool)
        }
        None => false,
    }
}

/// Sends a request of this client into the session.
async fn send(
    session: Arc<Session>,
    request: Request,
    inner: Arc<Origin>,
    client: Arc<Origin>,
) -> Result<Replies, Refusal> {
    let replies = session.send(Message::Request(request), Arc::clone(&inner)).await?;
    if let Some(side) = inner.upstream.get() {
        client.upstream.get_or_init(|| side.clone());
    }
    Ok(replies)
}

fn is_overloaded(refusal: &Refusal) -> bool {
    matches!(refusal.kind, RefusalKind::Overloaded { .. })
}

fn refused(round: &Round, code: i64, message: &str) -> Replies {
    let error = ErrorObject { code, message: message.to_owned(), data: None };
    Replies::one(Message::Response(Response::error(Some(round.id()), &error)))
}

fn unknown_state(round: &Round) -> Replies {
    refused(round, codes::INVALID_PARAMS, "requestState is not valid here, or has expired, or was used")
}

/// The status of a legacy answer means something else in the modern revision, and its stream says nothing of the outcome.
/// What is answered soon has the status that its error asks for; a stream that is open already has told 200.
async fn streamed_unless_soon(mut replies: Replies) -> Replies {
    let streamed = Head { form: Form::Stream, status: None };
    let Ok(first) = tokio::time::timeout(WHOLE_MAX, replies.next()).await else {
        return replies.with_head(streamed);
    };
    let head = if matches!(first, Some(Ok(Message::Notification(_)))) { streamed } else { replies.head() };
    Replies::stream(stream::iter(first).chain(replies)).with_head(head)
}

fn unknown_cursor(round: &Round) -> Replies {
    refused(round, codes::INVALID_PARAMS, "the cursor is not valid, or not any more")
}
