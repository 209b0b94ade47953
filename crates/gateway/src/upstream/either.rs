//! The server's side of a client's legacy session, whichever era the server speaks: its own first, and the bridge when
//! the server refuses the handshake and turns out to speak the other. A session changes sides with its server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use shadowcat_bridge::{Resumed, ToModern};
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Back, Envelope, Head, Refusal, RefusalKind, Replies, Service};
use shadowcat_protocol::{Message, Response, Revision, method};
use shadowcat_session::{Record, Upstream, UpstreamToken};

use super::bridged::is_modern_refusal;
use super::handshake::{Memory, is_noted, noting, still_holds};
use super::shared::is_fault;
use super::{Bridges, SessionUpstream};

/// What the record of a bridged session has for an upstream token, so that a later process goes on with the bridge. No
/// server's session id has a control character.
const BRIDGED: &str = "\u{1}modern";

/// The server's side of one legacy session.
pub(crate) struct EitherUpstream {
    native: SessionUpstream,
    /// While it is there, it is used.
    modern: Mutex<Option<Arc<ToModern>>>,
    /// The one that was used before the server was set back: what is under way there can still be withdrawn.
    left: Mutex<Option<Arc<ToModern>>>,
    bridges: Option<Arc<Bridges>>,
    back: Arc<dyn Back>,
    memory: Arc<Memory>,
    tasks: Tasks,
    changed: Arc<AtomicBool>,
    /// Held while the session changes sides, so that two messages at once do it once.
    turning: tokio::sync::Mutex<()>,
    /// The server has refused a message as only one of the other era does.
    is_doubtful: Arc<AtomicBool>,
    listening: AtomicBool,
}

impl EitherUpstream {
    /// Around the native side, which is used unless the server speaks modern revisions only.
    pub(crate) fn new(
        native: SessionUpstream,
        bridges: Option<Arc<Bridges>>,
        back: Arc<dyn Back>,
        memory: Arc<Memory>,
        tasks: Tasks,
    ) -> Self {
        let (modern, left, turning) = Default::default();
        let (changed, is_doubtful, listening) = Default::default();
        Self { native, modern, left, bridges, back, memory, tasks, changed, turning, is_doubtful, listening }
    }

    /// Whether this token was kept for a bridged session.
    pub(crate) fn was_bridged(token: Option<&str>) -> bool {
        token == Some(BRIDGED)
    }

    fn modern(&self) -> Option<Arc<ToModern>> {
        self.modern.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn left(&self) -> Option<Arc<ToModern>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_modern(&self, modern: Option<Arc<ToModern>>) {
        *self.modern.lock().unwrap_or_else(PoisonError::into_inner) = modern;
    }

    /// Goes on with the bridge; `None` if it is switched off.
    pub(crate) fn bridge(&self) -> Option<Arc<ToModern>> {
        let modern = self.new_bridge(self.bridges.as_ref()?);
        self.set_modern(Some(Arc::clone(&modern)));
        Some(modern)
    }

    /// A bridge that knows all that was said in this session.
    fn new_bridge(&self, bridges: &Bridges) -> Arc<ToModern> {
        let said = self.memory.said();
        let handshake = said.handshake;
        let resumed = Resumed {
            handshake: handshake
                .map(|handshake| (handshake.params().to_owned(), handshake.result().to_owned())),
            log_level: said.level,
            subscriptions: said.subscriptions.into_iter().collect(),
        };
        let server = Arc::clone(&bridges.to_modern);
        ToModern::new(server, Arc::clone(&self.back), resumed, &self.tasks)
    }

    /// The server of a bridged session speaks the legacy era only by now: the session is set up there from what its client has
    /// said. If the server does not take it, it is asked once more, for the verdict may be wrong, and nothing else would show
    /// it: then the session stays behind the bridge, else its client has to begin again.
    async fn turn_legacy(&self, bridges: &Bridges) -> Result<Option<Arc<ToModern>>, Refusal> {
        let _turning = self.turning.lock().await;
        let Some(modern) = self.modern() else { return Ok(None) };
        if let Err(refusal) = self.native.ready().await {
            if !is_refusal(&refusal.kind) {
                bridges.eras.doubt_legacy();
                return Err(refusal);
            }
            let was_wrong = bridges.eras.has_become_modern().await;
            return if was_wrong { Ok(Some(modern)) } else { Err(begin_again(refusal)) };
        }
        self.set_modern(None);
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&modern));
        self.changed.store(true, Ordering::Release);
        modern.leave().await;
        if self.listening.load(Ordering::Acquire)
            && let Err(refusal) = self.native.listen().await
        {
            tracing::debug!(%refusal, "a session is set up at a legacy server without its standing stream");
        }
        Ok(None)
    }

    /// The server refuses a session that it had agreed to: goes on with the bridge if it speaks the modern era only by now.
    async fn turn_modern(&self, bridges: &Bridges) -> Result<Option<Arc<ToModern>>, Refusal> {
        let _turning = self.turning.lock().await;
        if let Some(modern) = self.modern() {
            return Ok(Some(modern));
        }
        let Some(agreed) = self.memory.said().handshake else { return Ok(None) };
        if !bridges.eras.has_become_modern().await {
            return Ok(None);
        }
        let modern = self.new_bridge(bridges);
        if !still_holds(agreed.result(), &modern.welcome().await?) {
            return Err(begin_again(RefusalKind::SessionLost.into()));
        }
        self.native.let_go().await;
        if self.listening.load(Ordering::Acquire) {
            modern.listen();
        }
        self.set_modern(Some(Arc::clone(&modern)));
        self.changed.store(true, Ordering::Release);
        Ok(Some(modern))
    }

    fn bridged(
        &self,
        modern: &ToModern,
        envelope: Envelope,
    ) -> impl Future<Output = Result<Replies, Refusal>> + Send {
        let noted = is_noted(&envelope.message).then(|| envelope.message.clone());
        // Before the wait, which would hold the envelope to its end.
        let handling = modern.handle(envelope);
        async move {
            let handled = handling.await;
            self.native.reached(&handled);
            let replies = handled?;
            let Some(Message::Request(request)) = noted else { return Ok(replies) };
            Ok(noting(replies, request, Arc::clone(&self.memory), Arc::clone(&self.changed)))
        }
    }

    /// Takes a request to the server as it is, until the server refuses what it had agreed to.
    async fn unbridged(&self, envelope: &Envelope, bridges: &Bridges) -> Result<Replies, Refusal> {
        match self.native.pass(envelope).await {
            // Refused unread, so that saying it to the bridge is no second execution. Rare and large: not a part of the future of
            // every exchange.
            Err(refusal) if is_refusal(&refusal.kind) => {
                Box::pin(self.refused(refusal, envelope, bridges)).await
            }
            // Few answers are looked at.
            Ok(replies) if replies.head().status == Some(400) => {
                let is_doubtful = Arc::clone(&self.is_doubtful);
                Ok(replies.inspect(move |reply| {
                    if reply.as_ref().is_ok_and(is_modern_refusal) {
                        is_doubtful.store(true, Ordering::Release);
                    }
                }))
            }
            handled => handled,
        }
    }

    /// The server has refused a request: takes it to the bridge if that is why.
    async fn refused(
        &self,
        refusal: Refusal,
        envelope: &Envelope,
        bridges: &Bridges,
    ) -> Result<Replies, Refusal> {
        match self.turn_modern(bridges).await? {
            Some(modern) => self.bridged(&modern, envelope.clone()).await,
            None => Err(refusal),
        }
    }

    /// The handshake decides: what the server makes of it as it is, and the bridge if it refuses and is a modern one.
    async fn initialize(&self, envelope: Envelope, bridges: &Bridges) -> Result<Replies, Refusal> {
        if !bridges.eras.refuses_legacy() {
            let answered = Answered::of(self.native.pass(&envelope).await).await;
            if !answered.is_refused(&envelope.message) || !bridges.eras.needs_modern().await {
                return answered.replies();
            }
            self.native.let_go().await;
        }
        match self.bridge() {
            Some(modern) => modern.handle(envelope).await,
            None => Err(RefusalKind::Internal.into()),
        }
    }
}

/// Whether the server does not take what it was sent, because it does not know the session or will not set it up again.
fn is_refusal(kind: &RefusalKind) -> bool {
    match kind {
        RefusalKind::SessionLost => true,
        RefusalKind::UpstreamStatus(answer) => matches!(answer.status, 400 | 404 | 405),
        _ => false,
    }
}

/// What a client is told whose session no side of the server takes.
fn begin_again(cause: Refusal) -> Refusal {
    Refusal::new(RefusalKind::SessionUnknown).with_cause(cause)
}

/// What a server made of a handshake.
struct Answered {
    before: Vec<Message>,
    head: Head,
    outcome: Result<Response, Refusal>,
}

impl Answered {
    async fn of(handled: Result<Replies, Refusal>) -> Self {
        let mut replies = match handled {
            Ok(replies) => replies,
            Err(refusal) => {
                return Self { before: Vec::new(), head: Head::default(), outcome: Err(refusal) };
            }
        };
        let head = replies.head();
        let (outcome, before) = crate::gateway::first_response(&mut replies).await;
        Self { before, head, outcome }
    }

    /// Whether the server may be one that knows no handshake. A fault of the network is no sign of it; a version is that
    /// no handshake can agree on, unless the client itself has asked for it.
    fn is_refused(&self, asked: &Message) -> bool {
        match &self.outcome {
            Ok(response) => match response.result_json() {
                Some(result) => {
                    Revision::of_handshake(result).is_some_and(Revision::is_modern) && !asks_for_modern(asked)
                }
                None => self.head.status.is_none_or(|status| !is_fault(status)),
            },
            Err(refusal) => match &refusal.kind {
                RefusalKind::UpstreamStatus(answer) => matches!(answer.status, 400 | 404 | 405),
                RefusalKind::UpstreamExited => true,
                _ => false,
            },
        }
    }

    fn replies(self) -> Result<Replies, Refusal> {
        let response = Message::Response(self.outcome?);
        if self.before.is_empty() {
            return Ok(Replies::one(response).with_head(self.head));
        }
        let all: Vec<_> = self.before.into_iter().chain([response]).map(Ok).collect();
        Ok(Replies::stream(futures_util::stream::iter(all)).with_head(self.head))
    }
}

fn asks_for_modern(asked: &Message) -> bool {
    let Message::Request(request) = asked else { return false };
    request.params().and_then(Revision::of_handshake).is_some_and(Revision::is_modern)
}

#[async_trait]
impl Service for EitherUpstream {
    // No `async fn`: that would hold the envelope a second time, in every exchange.
    fn handle<'s, 'f>(&'s self, envelope: Envelope) -> BoxFuture<'f, Result<Replies, Refusal>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let Some(bridges) = &self.bridges else { return self.native.handle(envelope).await };
            // Only requests change sides: behind anything else a pipe would not be read meanwhile.
            let is_request = matches!(envelope.message, Message::Request(_));
            match self.modern() {
                Some(modern) => match bridges.needs_legacy(&envelope).await {
                    Some(true) if is_request => {
                        if let Some(modern) = Box::pin(self.turn_legacy(bridges)).await? {
                            return self.bridged(&modern, envelope).await;
                        }
                    }
                    Some(_) => return self.bridged(&modern, envelope).await,
                    None => return Ok(Replies::none()),
                },
                None if is_request && self.is_doubtful.load(Ordering::Acquire) => {
                    let turned = Box::pin(self.turn_modern(bridges)).await?;
                    self.is_doubtful.store(false, Ordering::Release);
                    if let Some(modern) = turned {
                        return self.bridged(&modern, envelope).await;
                    }
                }
                None => {}
            }
            match envelope.message.method() {
                Some(method::INITIALIZE) => Box::pin(self.initialize(envelope, bridges)).await,
                Some(method::CANCELLED) => {
                    if let Some(left) = self.left() {
                        left.handle(envelope.clone()).await?;
                    }
                    self.native.handle(envelope).await
                }
                _ if is_request => self.unbridged(&envelope, bridges).await,
                _ => self.native.handle(envelope).await,
            }
        })
    }
}

#[async_trait]
impl Upstream for EitherUpstream {
    async fn listen(&self) -> Result<(), Refusal> {
        self.listening.store(true, Ordering::Release);
        match self.modern() {
            Some(modern) => modern.listen(),
            None => self.native.listen().await?,
        }
        Ok(())
    }

    fn keep(&self, record: &mut Record) {
        self.native.keep(record);
        if self.modern().is_some() {
            record.upstream_token = Some(UpstreamToken::new(BRIDGED));
        }
    }

    fn has_changed(&self) -> bool {
        self.native.has_changed() | self.changed.swap(false, Ordering::AcqRel)
    }

    fn look(&self) {
        if self.modern().is_none() {
            self.native.look();
        }
    }

    async fn close(&self, ended: bool) {
        for modern in [self.modern(), self.left()].into_iter().flatten() {
            modern.close().await;
        }
        self.native.close(ended).await;
    }
}

#[cfg(test)]
mod tests {
    use shadowcat_protocol::{ErrorObject, Id, Request};

    use super::*;

    fn is_refused(proposed: &str, outcome: Response) -> bool {
        let params = format!(r#"{{"protocolVersion":"{proposed}","capabilities":{{}}}}"#);
        let handshake = Request::new(&Id::from_u64(1), method::INITIALIZE, Some(&params));
        let answered = Answered { before: Vec::new(), head: Head::default(), outcome: Ok(outcome) };
        answered.is_refused(&Message::Request(handshake))
    }

    #[test]
    fn a_handshake_that_ends_in_a_revision_without_handshakes_is_refused_unless_its_client_wanted_that() {
        let agreed = |version: &str| {
            Response::result(&Id::from_u64(1), &format!(r#"{{"protocolVersion":"{version}"}}"#))
        };
        assert!(!is_refused("2025-11-25", agreed("2025-11-25")));
        assert!(!is_refused("2025-11-25", agreed("2024-11-05")));
        assert!(!is_refused("2026-07-28", agreed("2025-11-25")));
        assert!(is_refused("2025-11-25", agreed("2026-07-28")));
        assert!(!is_refused("2026-07-28", agreed("2026-07-28")));
        let error = ErrorObject { code: -32022, message: "no".into(), data: None };
        assert!(is_refused("2025-11-25", Response::error(Some(&Id::from_u64(1)), &error)));
    }
}
