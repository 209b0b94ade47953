//! A client that is reached by one ordered pipe: on stdio, or on the two endpoints of HTTP+SSE. What it sends comes in
//! as texts; everything for it goes onto one stream.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Envelope, Origin, PeerId, Principal, Refusal, RefusalKind, Replies, Transport};
use shadowcat_protocol::{
    ErrorObject, Limits, Message, Notification, ParseError, ParseErrorKind, Request, Response, Revision,
    codes, json, meta, method, split_batch,
};
use shadowcat_session::{Live, Outlet, Stream, StreamLimits};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::batch;
use crate::front::{Front, Opening};
use crate::server::subscription_end;

/// One client on one pipe.
pub(crate) struct PipeClient {
    front: Arc<dyn Front>,
    transport: Transport,
    bounds: PipeBounds,
    /// Those of requests that belong to no session.
    places: Semaphore,
    outlet: Arc<Outlet>,
    stream: Arc<Stream>,
    peer: PeerId,
    /// Whose pipe it is; what they may do is told by the credential of each message.
    owner: Option<Principal>,
    tasks: Tasks,
    session: Mutex<Session>,
    /// Whether the session is being opened: what follows `initialize` waits for its answer, so that a client that
    /// sends everything at once is served in order.
    opening: watch::Sender<bool>,
    /// Subscriptions end here, and nothing is waited for that has no answer.
    stop: CancellationToken,
}

/// The bounds of a client on a pipe.
#[derive(Clone, Copy)]
pub(crate) struct PipeBounds {
    /// Those of a message.
    pub(crate) message: Limits,
    /// Requests that may be in flight.
    pub(crate) in_flight_max: usize,
    /// Those of what waits for the client.
    pub(crate) stream: StreamLimits,
}

/// The session of a pipe's client.
#[derive(Default)]
struct Session {
    live: Option<Arc<Live>>,
    /// It was unknown to the gateway when it was last asked for. It may go on all the same, or be followed by another.
    is_unknown: bool,
    /// The pipe has ended: none is to be opened any more.
    ended: bool,
}

/// For as long as the session is being opened, whichever way that ends.
struct IsOpening<'a>(&'a watch::Sender<bool>);

impl<'a> IsOpening<'a> {
    fn begin(opening: &'a watch::Sender<bool>) -> Self {
        opening.send_replace(true);
        Self(opening)
    }
}

impl Drop for IsOpening<'_> {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

impl PipeClient {
    pub(crate) fn new(
        front: Arc<dyn Front>,
        transport: Transport,
        bounds: PipeBounds,
        owner: Option<Principal>,
        tasks: Tasks,
        stop: CancellationToken,
    ) -> Arc<Self> {
        // A pipe cannot be taken up again, so nothing is kept for that.
        let limits = StreamLimits { kept_events_max: 0, kept_bytes_max: 0, ..bounds.stream };
        let outlet = Outlet::new(limits, limits.lag_bytes_max);
        let stream = outlet.standing().1;
        let places = Semaphore::new(bounds.in_flight_max.min(Semaphore::MAX_PERMITS));
        let (session, opening) = (Mutex::default(), watch::Sender::new(false));
        let peer = PeerId::next();
        Arc::new(Self {
            front,
            transport,
            bounds,
            places,
            outlet,
            stream,
            peer,
            owner,
            tasks,
            session,
            opening,
            stop,
        })
    }

    pub(crate) fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self) -> Option<Arc<Live>> {
        self.session().live.clone()
    }

    /// Whether it is the pipe of this principal.
    pub(crate) fn is_of(&self, principal: Option<&Principal>) -> bool {
        self.owner.as_ref() == principal
    }

    /// Takes this session for the client's; says whether there is still a pipe for it.
    fn begin(&self, live: &Arc<Live>) -> bool {
        let mut session = self.session();
        if !session.ended {
            session.live = Some(Arc::clone(live));
            session.is_unknown = false;
        }
        !session.ended
    }

    /// Ends the client's session, if it opened one or is about to.
    pub(crate) async fn end(&self) {
        let live = {
            let mut session = self.session();
            session.ended = true;
            session.live.take()
        };
        if let Some(live) = live {
            self.front.end(&live).await;
        }
    }

    /// Notes whether the session is known still.
    fn note_if_unknown(&self, live: &Arc<Live>, refusal: Option<&Refusal>) {
        let mut session = self.session();
        if session.live.as_ref().is_some_and(|own| Arc::ptr_eq(own, live)) {
            session.is_unknown = refusal.is_some_and(|refusal| refusal.kind == RefusalKind::SessionUnknown);
        }
    }

    /// Lets another session follow one that is unknown by now.
    async fn forget_if_unknown(&self) {
        let unknown = {
            let mut session = self.session();
            if session.is_unknown { session.live.take() } else { None }
        };
        if let Some(live) = unknown {
            self.front.forget(&live).await;
        }
    }

    /// Takes one text from the client, and who sent it by the credential that came with it. Resolves when the message is on
    /// its way and the next one may follow.
    pub(crate) async fn take(self: &Arc<Self>, text: Bytes, asker: Option<Principal>) {
        match Message::parse(text.clone(), &self.bounds.message) {
            Ok(message) => self.message(message, asker).await,
            Err(error) if error.kind == ParseErrorKind::Batch => self.batch(&text, &error, asker).await,
            Err(error) => self.complain(&error).await,
        }
    }

    async fn complain(&self, error: &ParseError) {
        let told = ErrorObject { code: error.code(), message: error.to_string(), data: None };
        self.push(Response::error(error.id.as_ref(), &told).text().clone()).await;
    }

    /// Tells the client of a message that could not be read at all.
    pub(crate) async fn refuse(&self, refusal: &Refusal) {
        self.push(refusal.response(None).text().clone()).await;
    }

    async fn push(&self, text: Bytes) {
        if let Err(error) = self.stream.push(text).await {
            tracing::debug!(%error, "a message was not written to the client");
        }
    }

    /// Waits while the session is being opened.
    async fn settle(&self) {
        let mut opening = self.opening.subscribe();
        // The sender is ours, so that there is nothing to fail.
        drop(opening.wait_for(|opening| !opening).await);
    }

    async fn message(self: &Arc<Self>, message: Message, asker: Option<Principal>) {
        match message {
            Message::Request(request) => {
                // The one request that may come before the answer to `initialize`. What is behind it, such as an answer
                // to a question of the server, must not lie unread while a server starts.
                if request.method() != method::PING {
                    self.settle().await;
                }
                self.begin_work(Arc::clone(self).request(request, asker)).await;
            }
            Message::Notification(note) => {
                self.settle().await;
                self.notification(note, asker).await;
            }
            Message::Response(response) => {
                self.outlet.answer(response);
            }
        }
    }

    /// Takes the first step here, so that messages keep their order; the rest runs beside the next.
    async fn begin_work(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut work = Box::pin(work);
        if futures_util::poll!(&mut work).is_pending() {
            self.tasks.spawn_until_stop(work);
        }
    }

    async fn request(self: Arc<Self>, request: Request, asker: Option<Principal>) {
        let id = request.id().clone();
        let opens = request.method() == method::INITIALIZE;
        let _opening = opens.then(|| IsOpening::begin(&self.opening));
        let answer = if request.method() == method::LISTEN {
            self.until_stop(request, asker).await
        } else {
            self.answer(request, asker).await
        };
        match answer {
            Some(Ok(response)) => self.push(response.text().clone()).await,
            Some(Err(refusal)) => {
                tracing::debug!(%refusal, "refused");
                if let Some(text) = refusal.answer(Some(&id)) {
                    self.push(text).await;
                }
            }
            None => {}
        }
    }

    /// A subscription is answered when it ends; when we end, it is told so in both ways the revision names
    /// (2026-07-28 subscriptions and cancellation).
    async fn until_stop(
        &self,
        request: Request,
        asker: Option<Principal>,
    ) -> Option<Result<Response, Refusal>> {
        let id = request.id().clone();
        if let Some(answer) = self.stop.run_until_cancelled(self.answer(request, asker)).await {
            return answer;
        }
        self.push(Notification::cancelled(&id, None).text().clone()).await;
        Some(Ok(subscription_end(&id)))
    }

    /// The response to one request, everything before it already passed on; `None` if it was cancelled.
    async fn answer(&self, request: Request, asker: Option<Principal>) -> Option<Result<Response, Refusal>> {
        if request.meta(meta::VERSION).is_some() {
            return self.modern(request, asker).await;
        }
        match self.live() {
            _ if request.method() == method::INITIALIZE => Some(self.initialize(request, asker).await),
            Some(live) => {
                let _place = match live.enter(self.bounds.in_flight_max) {
                    Ok(place) => place,
                    Err(refusal) => return Some(Err(refusal)),
                };
                let origin = Arc::new(live.origin_by(asker.as_ref()));
                let envelope = Envelope::to_server(Message::Request(request), origin);
                let handled = self.front.handle(&live, envelope).await;
                self.note_if_unknown(&live, handled.as_ref().err());
                self.drain(handled).await
            }
            None if request.method() == method::PING => Some(Ok(Response::result(request.id(), "{}"))),
            None => Some(Err(Refusal::bad_message(codes::INVALID_REQUEST, "initialize first"))),
        }
    }

    async fn modern(&self, request: Request, asker: Option<Principal>) -> Option<Result<Response, Refusal>> {
        let named = request.meta(meta::VERSION).and_then(json::string).unwrap_or_default();
        let Some(revision) = Revision::parse(&named).filter(|revision| revision.is_modern()) else {
            let supported = Revision::V2026_07_28.as_str();
            let data = format!(r#"{{"supported":["{supported}"],"requested":{}}}"#, json::quote(&named));
            let kind = RefusalKind::BadMessage { code: codes::UNSUPPORTED_VERSION, data: Some(data) };
            return Some(Err(Refusal::new(kind).with_detail("this protocol version is not supported")));
        };
        if request.method() == method::INITIALIZE {
            let detail = "this revision has no initialize";
            return Some(Err(Refusal::bad_message(codes::METHOD_NOT_FOUND, detail)));
        }
        let Ok(_place) = self.places.try_acquire() else {
            let detail = "too many requests of this client are in flight";
            return Some(Err(Refusal::new(RefusalKind::BUSY).with_detail(detail)));
        };
        let mut origin = Origin::new(self.peer, self.transport, revision);
        origin.principal = asker;
        let envelope = Envelope::to_server(Message::Request(request), Arc::new(origin));
        let handled = self.front.exchange(envelope).await;
        self.drain(handled).await
    }

    /// Passes on all that comes before the response.
    async fn drain(&self, handled: Result<Replies, Refusal>) -> Option<Result<Response, Refusal>> {
        let mut replies = match handled {
            Ok(replies) => replies,
            Err(refusal) => return Some(Err(refusal)),
        };
        while let Some(reply) = replies.next().await {
            match reply {
                Ok(Message::Response(response)) => return Some(Ok(response)),
                Ok(message) => self.stream.push(message.text().clone()).await.ok()?,
                Err(refusal) => return Some(Err(refusal)),
            }
        }
        None
    }

    async fn initialize(&self, request: Request, asker: Option<Principal>) -> Result<Response, Refusal> {
        self.forget_if_unknown().await;
        if self.live().is_some() {
            return Err(Refusal::bad_message(codes::INVALID_REQUEST, "the session is initialized already"));
        }
        let opening = Opening {
            request,
            transport: self.transport,
            principal: asker,
            http_trace: None,
            outlet: Some(Arc::clone(&self.outlet)),
        };
        let (live, replies) = self.front.open(opening).await?;
        // At once: from here on it is this client that ends it.
        if !self.begin(&live) {
            self.front.end(&live).await;
            return Err(Refusal::new(RefusalKind::Cancelled).with_detail("the client is gone"));
        }
        let answer = self.greeting(replies).await;
        if !answer.as_ref().is_ok_and(|response| response.result_json().is_some()) {
            self.session().live = None;
        }
        answer
    }

    /// The answer to `initialize`, all before it already passed on.
    async fn greeting(&self, mut replies: Replies) -> Result<Response, Refusal> {
        while let Some(reply) = replies.next().await {
            match reply? {
                Message::Response(response) => return Ok(response),
                message => self.push(message.text().clone()).await,
            }
        }
        Err(RefusalKind::Cancelled.into())
    }

    async fn notification(self: &Arc<Self>, note: Notification, asker: Option<Principal>) {
        let settled = note.method() == method::INITIALIZED;
        let text = Message::Notification(note);
        let handled = if let Some(live) = self.live() {
            live.touch();
            let origin = Arc::new(live.origin_by(asker.as_ref()));
            let envelope = Envelope::to_server(text, origin);
            let handled = self.front.handle(&live, envelope).await;
            self.note_if_unknown(&live, handled.as_ref().err());
            if settled {
                self.listen(live);
            }
            handled
        } else {
            let mut origin = Origin::new(self.peer, self.transport, Revision::V2026_07_28);
            origin.principal = asker;
            self.front.exchange(Envelope::to_server(text, Arc::new(origin))).await
        };
        if let Err(refusal) = handled {
            tracing::debug!(%refusal, "a notification was not passed on");
        }
    }

    /// This client always listens, so the server's standing stream is opened as soon as it may be.
    fn listen(self: &Arc<Self>, live: Arc<Live>) {
        let this = Arc::clone(self);
        self.tasks.spawn_until_stop(async move {
            if let Some(Err(refusal)) = this.stop.run_until_cancelled(this.front.listen(&live)).await {
                tracing::debug!(%refusal, "the server's standing stream is not open");
            }
        });
    }

    async fn batch(self: &Arc<Self>, text: &Bytes, error: &ParseError, asker: Option<Principal>) {
        self.settle().await;
        if !self.live().is_some_and(|live| live.revision().has_batches()) {
            return self.complain(error).await;
        }
        let mut requests = Vec::new();
        let parts = match split_batch(text, &self.bounds.message) {
            Ok(parts) => parts,
            Err(error) => return self.complain(&error).await,
        };
        for part in parts {
            match Message::parse(part, &self.bounds.message) {
                Ok(Message::Request(request)) => requests.push(request),
                Ok(message) => self.message(message, asker.clone()).await,
                Err(error) => self.complain(&error).await,
            }
        }
        if requests.is_empty() {
            return;
        }
        let this = Arc::clone(self);
        let work = async move {
            let answers = batch::answered(requests, |request| this.answer(request, asker.clone())).await;
            // Cancelled requests get no answer, and an empty array must not be sent (JSON-RPC 2.0, 6).
            if !answers.is_empty() {
                this.push(batch::join(&answers)).await;
            }
        };
        self.begin_work(work).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakeFront, LONG, limits, live_of};

    const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize"}"#;

    fn client(front: impl Into<Arc<FakeFront>>, tasks: &Tasks) -> Arc<PipeClient> {
        let (front, stop) = (front.into(), CancellationToken::new());
        let bounds = PipeBounds { message: Limits::default(), in_flight_max: 2, stream: limits() };
        PipeClient::new(front, Transport::Stdio, bounds, None, tasks.clone(), stop)
    }

    /// What becomes of this in time.
    async fn soon<T>(work: impl Future<Output = T>) -> T {
        tokio::time::timeout(LONG, work).await.expect("an end of the wait")
    }

    fn call(id: u64) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{}}}}"#)
    }

    #[tokio::test(start_paused = true)]
    async fn a_ping_is_answered_while_the_server_starts() {
        let client = client(FakeFront::silent(), &Tasks::new());
        let mut reader = client.stream().read();
        client.take(INITIALIZE.into(), None).await;
        client.take(r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#.into(), None).await;
        let (_, told) = soon(reader.next()).await.unwrap();
        assert_eq!(told, r#"{"jsonrpc":"2.0","id":"p","result":{}}"#);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_whose_session_is_unknown_by_now_can_open_another_on_the_same_pipe() {
        let front = FakeFront::answering(|_| std::future::ready(Err(RefusalKind::SessionUnknown.into())));
        front.openings.add_permits(3);
        let front = Arc::new(front);
        let client = client(Arc::clone(&front), &Tasks::new());
        let mut reader = client.stream().read();
        let by_call = call(1);
        let by_note = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#;
        for found_out in [&by_call, by_note] {
            client.take(INITIALIZE.into(), None).await;
            client.take(Bytes::copy_from_slice(found_out.as_bytes()), None).await;
        }
        client.take(INITIALIZE.into(), None).await;
        let mut agreed = 0;
        for _ in 0..4 {
            let (_, told) = soon(reader.next()).await.unwrap();
            agreed += usize::from(String::from_utf8_lossy(&told).contains("result"));
        }
        assert_eq!((agreed, front.sessions()), (3, (3, 2)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_a_handshake_goes_on_when_that_is_given_up() {
        let tasks = Tasks::new();
        let client = client(FakeFront::silent(), &tasks);
        client.take(INITIALIZE.into(), None).await;
        let mut waiting = Box::pin(client.take(call(1).into(), None));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        tasks.stop();
        soon(waiting).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_without_a_session_has_a_bound_of_its_requests_too() {
        let client = client(FakeFront::silent(), &Tasks::new());
        let mut reader = client.stream().read();
        for id in 1..=3 {
            let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
            client.take(call(id).replace("{}", &format!("{{{meta}}}")).into(), None).await;
        }
        let (_, told) = soon(reader.next()).await.unwrap();
        let told = String::from_utf8_lossy(&told);
        assert!(told.contains(r#""id":3"#) && told.contains("overloaded"), "{told}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_keeps_its_place_before_what_follows_it() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let front = FakeFront::answering(move |envelope| {
            if let Message::Request(request) = &envelope.message {
                noted.lock().unwrap().push(request.id().clone());
            }
            std::future::pending()
        });
        let client = client(front, &Tasks::new());
        let live = live_of(Revision::V2025_03_26, Transport::Stdio, Arc::clone(&client.outlet));
        assert!(client.begin(&live));
        client.take(format!("[{}]", call(1)).into(), None).await;
        client.take(call(2).into(), None).await;
        assert_eq!(*seen.lock().unwrap(), [1, 2].map(shadowcat_protocol::Id::from_u64));
    }
}
