//! One request of a legacy client on its way to a modern server: as many legs as the server has rounds of questions,
//! and one answer.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::unfold;
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Back, Flight, Form, Head, Origin, Refusal, Replies, Transport};
use shadowcat_protocol::{Id, Message, Request, Response, codes, json, method};

use crate::content::Reader;
use crate::object::Object;

use super::asking::{Asking, Ended};
use super::down::{self, ResultType};
use super::driving::{declaring_tasks, needs_tasks};
use super::server::ModernServer;
use super::terms::Terms;

/// Rounds of questions in one call.
pub(super) const ROUNDS_MAX: usize = 10;
pub(super) const ASKED_TOO_OFTEN: &str = "the server asked again and again and did not come to a result";
/// The pause before a leg that brings the server nothing but its own state.
const STATE_ONLY_PAUSE: Duration = Duration::from_millis(250);

type Reply = Result<Message, Refusal>;

/// One request and what it is made of.
pub(super) struct Call {
    pub(super) server: Arc<ModernServer>,
    pub(super) client: Arc<dyn Back>,
    pub(super) terms: Arc<Terms>,
    /// As the client wrote it.
    pub(super) request: Request,
    /// What each leg says to the server.
    pub(super) params: String,
    pub(super) origin: Arc<Origin>,
    /// The client's side of the exchange.
    pub(super) asked_by: Arc<Origin>,
    pub(super) flight: Flight<Id>,
    /// What outlives the call runs here.
    pub(super) tasks: Tasks,
}

/// A call that is under way.
struct Running {
    call: Call,
    /// None when the next leg has still to be sent.
    leg: Option<Leg>,
    /// What the current leg says, if that is more than the first one said.
    said: Option<String>,
    rounds: usize,
    /// The tool list was read again for this call.
    corrected: bool,
    /// The tasks extension is declared for this call.
    takes_tasks: bool,
}

/// One question to the server.
pub(super) enum Leg {
    Sending {
        /// That of this leg alone.
        origin: Arc<Origin>,
        sending: BoxFuture<'static, Result<Replies, Refusal>>,
    },
    Answered(Replies),
}

impl Leg {
    /// Whether the server may know of it. On a pipe it does not before it is sent; over HTTP sending it ends with its answer.
    pub(super) fn may_have_left(&self) -> bool {
        match self {
            Self::Sending { origin, .. } => {
                origin.upstream.get().is_some_and(|side| side.transport == Transport::Http)
            }
            Self::Answered(_) => true,
        }
    }

    /// The response, past whatever comes before it.
    pub(super) async fn response(self) -> Result<Option<Response>, Refusal> {
        let mut replies = match self {
            Self::Sending { sending, .. } => sending.await?,
            Self::Answered(replies) => replies,
        };
        replies.response().await
    }
}

impl Call {
    /// Sends the request. Dispatched when this resolves, unless something has to be learned before the first call.
    pub(super) async fn run(self) -> Result<Replies, Refusal> {
        self.server.counters.to_modern.add();
        tracing::debug!(
            exchange = %self.origin.exchange,
            method = self.request.method(),
            revision = %self.terms.revision,
            "translated"
        );
        let withdrawn = self.flight.withdrawn.clone();
        let waits = self.needs_tools() && !self.server.tools.are_known();
        let mut running =
            Running { call: self, leg: None, said: None, rounds: 0, corrected: false, takes_tasks: false };
        let mut form = Form::Free;
        if !waits {
            let sending = running.call.send(&running.call.params, Arc::clone(&running.call.origin));
            let Some(sent) = withdrawn.run_until_cancelled(sending).await else {
                return Ok(Replies::none());
            };
            match sent {
                Ok(replies) => {
                    form = replies.head().form;
                    running.leg = Some(Leg::Answered(replies));
                }
                Err(refusal) => {
                    let answer = down::refused(running.call.request.id(), refusal)?;
                    return Ok(Replies::one(Message::Response(answer)));
                }
            }
        }
        // A status of the modern revision means something else to a legacy client.
        Ok(running.into_replies().with_head(Head { form, status: None }))
    }

    fn needs_tools(&self) -> bool {
        self.request.method() == method::TOOLS_CALL
    }

    /// Sends one leg, under an id that was never used.
    fn send(
        &self,
        said: &str,
        origin: Arc<Origin>,
    ) -> impl Future<Output = Result<Replies, Refusal>> + Send + use<> {
        let request = Request::new(&self.server.next_id(), self.request.method(), Some(said));
        let server = Arc::clone(&self.server);
        let needs_tools = self.needs_tools();
        async move {
            if needs_tools {
                server.tools.learn(&*server).await;
            }
            server.send(Message::Request(request), origin).await
        }
    }

    /// Gets the server what it wants; what the next leg says.
    async fn round(&self, result: &str) -> Result<String, Ended> {
        let wanted = json::get(result, &["inputRequests"]).filter(|raw| json::members(raw).next().is_some());
        let state = json::get(result, &["requestState"]).filter(|raw| raw.starts_with('"'));
        let mut said = Object::parse(&self.params);
        match wanted {
            Some(wanted) => {
                said.set("inputResponses", self.asking().round(wanted).await?);
            }
            None if state.is_some() => tokio::time::sleep(STATE_ONLY_PAUSE).await,
            None => return Err("the server wants something and does not say what".to_owned()),
        }
        if let Some(state) = state {
            said.set("requestState", state.to_owned());
        }
        Ok(said.to_json())
    }

    /// The client, as it may be asked in the course of this call.
    pub(super) fn asking(&self) -> Asking<'_> {
        let exchange = self.origin.exchange;
        let asked_by = &self.asked_by;
        Asking { server: &self.server, client: &self.client, terms: &self.terms, exchange, asked_by }
    }

    /// Notes what this call cannot bring to its other side.
    fn lose(&self, what: &str) {
        self.server.counters.lose(what, Some(&self.asked_by));
    }

    pub(super) fn complete(&self, result: &str) -> Response {
        let Self { server, request, terms, .. } = self;
        if request.method() == method::TOOLS_LIST {
            server.tools.note(result);
        }
        let (revision, exchange) = (terms.revision, Some(&*self.asked_by));
        let reader = Reader { revision, counters: &server.counters, exchange };
        let wraps = self.needs_tools() && request.name().is_some_and(|tool| server.tools.has(&tool));
        Response::result(request.id(), &down::result(reader, request.method(), result, wraps))
    }

    pub(super) fn failed(&self, why: &str) -> Response {
        down::failed(self.request.method(), self.request.id(), why)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(leg) = self.leg.take().filter(|leg| self.takes_tasks && leg.may_have_left()) {
            self.call.give_up(leg);
        }
    }
}

impl Running {
    fn into_replies(self) -> Replies {
        Replies::stream(unfold(Some(self), |running| async move {
            let mut running = running?;
            let withdrawn = running.call.flight.withdrawn.clone();
            let reply = withdrawn.run_until_cancelled(running.next()).await?;
            let goes_on = matches!(reply, Ok(Message::Notification(_)));
            Some((reply, goes_on.then_some(running)))
        }))
    }

    async fn next(&mut self) -> Reply {
        let next = self.next_message().await;
        next.or_else(|refusal| down::refused(self.call.request.id(), refusal).map(Message::Response))
    }

    async fn next_message(&mut self) -> Reply {
        loop {
            let replies = match &mut self.leg {
                None => {
                    let said = self.said.as_deref().unwrap_or(&self.call.params);
                    // The server side of an earlier leg says nothing of this one.
                    let origin = Origin { upstream: OnceLock::new(), ..Origin::clone(&self.call.origin) };
                    let origin = Arc::new(origin);
                    let sending = Box::pin(self.call.send(said, Arc::clone(&origin)));
                    self.leg = Some(Leg::Sending { origin, sending });
                    continue;
                }
                Some(Leg::Sending { sending, .. }) => {
                    let sent = sending.await;
                    self.leg = None;
                    self.leg = Some(Leg::Answered(sent?));
                    continue;
                }
                Some(Leg::Answered(replies)) => replies,
            };
            match replies.next().await {
                Some(Ok(Message::Response(response))) => {
                    self.leg = None;
                    if let Some(answer) = self.answered(&response).await {
                        return Ok(Message::Response(answer));
                    }
                }
                Some(Ok(Message::Notification(note))) => return Ok(Message::Notification(note)),
                // The modern revision has no requests of servers.
                Some(Ok(Message::Request(request))) => self.call.lose(request.method()),
                Some(Err(refusal)) => return Err(refusal),
                None => return Err(self.call.server.ended_early()),
            }
        }
    }

    /// What the client gets for this answer of the server; `None` when another leg is to be sent.
    async fn answered(&mut self, response: &Response) -> Option<Response> {
        let Some(result) = response.result_json() else { return self.error(response).await };
        let asked = self.call.request.method();
        match down::result_type(result) {
            ResultType::Complete => Some(self.call.complete(result)),
            ResultType::InputRequired if method::takes_questions(asked) => {
                self.rounds += 1;
                if self.rounds > ROUNDS_MAX {
                    return Some(self.call.failed(ASKED_TOO_OFTEN));
                }
                match self.call.round(result).await {
                    Ok(said) => self.said = Some(said),
                    Err(why) => return Some(self.call.failed(&why)),
                }
                None
            }
            ResultType::Task if self.call.needs_tools() => Some(self.call.drive(result).await),
            ResultType::InputRequired | ResultType::Task | ResultType::Unknown => {
                self.call.lose("resultType");
                let why = "the server gave a kind of result that this version of the protocol does not have";
                Some(down::fault(self.call.request.id(), codes::INTERNAL_ERROR, why))
            }
        }
    }

    async fn error(&mut self, response: &Response) -> Option<Response> {
        let Call { server, request, .. } = &self.call;
        match response.error_code() {
            // 2026-07-28 streamable-http: read the tool list again, and send the request once more.
            Some(codes::HEADER_MISMATCH) if self.call.needs_tools() && !self.corrected => {
                server.tools.list(&**server).await;
                self.corrected = true;
                return None;
            }
            Some(codes::MISSING_CAPABILITY)
                if self.call.needs_tools() && !self.takes_tasks && needs_tasks(response) =>
            {
                self.takes_tasks = true;
                self.call.params = declaring_tasks(&self.call.params);
                self.said = self.said.as_deref().map(declaring_tasks);
                return None;
            }
            Some(codes::UNSUPPORTED_VERSION) => server.doubt().await,
            _ => {}
        }
        Some(down::error(request.method(), request.id(), response))
    }
}
