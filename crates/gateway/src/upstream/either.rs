//! The server's side of a client's legacy session, whichever era the server speaks: its own first, and the bridge when
//! the server refuses the handshake and turns out to speak the other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use shadowcat_bridge::{Resumed, ToModern};
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Back, Envelope, Head, Refusal, RefusalKind, Replies, Service};
use shadowcat_protocol::{Message, Response, Revision, method};
use shadowcat_session::{Record, Upstream, UpstreamToken};

use super::handshake::{Memory, is_noted, noting};
use super::shared::is_fault;
use super::{Bridges, SessionUpstream};

/// What the record of a bridged session has for an upstream token, so that a later process goes on with the bridge. No
/// server's session id has a control character.
const BRIDGED: &str = "\u{1}modern";

/// The server's side of one legacy session.
pub(crate) struct EitherUpstream {
    native: SessionUpstream,
    modern: OnceLock<Arc<ToModern>>,
    bridges: Option<Arc<Bridges>>,
    back: Arc<dyn Back>,
    memory: Arc<Memory>,
    tasks: Tasks,
    changed: Arc<AtomicBool>,
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
        let modern = OnceLock::new();
        Self { native, modern, bridges, back, memory, tasks, changed: Arc::default() }
    }

    /// Whether this token was kept for a bridged session.
    pub(crate) fn was_bridged(token: Option<&str>) -> bool {
        token == Some(BRIDGED)
    }

    /// Goes on with the bridge; `None` if it is switched off.
    pub(crate) fn bridge(&self) -> Option<Arc<ToModern>> {
        let bridges = self.bridges.as_ref()?;
        let modern = self.modern.get_or_init(|| {
            let said = self.memory.said();
            let resumed = Resumed {
                handshake: said
                    .handshake
                    .map(|handshake| (handshake.params().to_owned(), handshake.result().to_owned())),
                log_level: said.level,
                subscriptions: said.subscriptions.into_iter().collect(),
            };
            let server = Arc::clone(&bridges.to_modern);
            ToModern::new(server, Arc::clone(&self.back), resumed, &self.tasks)
        });
        Some(Arc::clone(modern))
    }

    /// Takes a message of a bridged session over the bridge. The session ends for its client when its server speaks the
    /// legacy era only by now: a new handshake is what that server would take. The verdict may be wrong, and nothing else
    /// would show it to a client that goes on.
    async fn bridged(&self, modern: &ToModern, envelope: Envelope) -> Result<Replies, Refusal> {
        if let Some(bridges) = &self.bridges {
            match bridges.needs_legacy(&envelope).await {
                Some(false) => {}
                Some(true) => {
                    bridges.eras.doubt_legacy();
                    return Err(RefusalKind::SessionUnknown.into());
                }
                None => return Ok(Replies::none()),
            }
        }
        let noted = is_noted(&envelope.message).then(|| envelope.message.clone());
        let replies = modern.handle(envelope).await?;
        let Some(Message::Request(request)) = noted else { return Ok(replies) };
        Ok(noting(replies, request, Arc::clone(&self.memory), Arc::clone(&self.changed)))
    }

    /// The handshake decides: what the server makes of it as it is, and the bridge if it refuses and is a modern one.
    async fn initialize(&self, envelope: Envelope, bridges: &Bridges) -> Result<Replies, Refusal> {
        if !bridges.eras.refuses_legacy() {
            let answered = Answered::of(self.native.handle(envelope.clone()).await).await;
            if !answered.is_refused(&envelope.message) || !bridges.eras.needs_modern().await {
                return answered.replies();
            }
            self.native.close(true).await;
        }
        match self.bridge() {
            Some(modern) => modern.handle(envelope).await,
            None => Err(RefusalKind::Internal.into()),
        }
    }
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
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        if let Some(modern) = self.modern.get() {
            return self.bridged(modern, envelope).await;
        }
        match (&self.bridges, envelope.message.method()) {
            (Some(bridges), Some(method::INITIALIZE)) => Box::pin(self.initialize(envelope, bridges)).await,
            _ => self.native.handle(envelope).await,
        }
    }
}

#[async_trait]
impl Upstream for EitherUpstream {
    async fn listen(&self) -> Result<(), Refusal> {
        match self.modern.get() {
            Some(modern) => modern.listen(),
            None => self.native.listen().await?,
        }
        Ok(())
    }

    fn keep(&self, record: &mut Record) {
        self.native.keep(record);
        if self.modern.get().is_some() {
            record.upstream_token = Some(UpstreamToken::new(BRIDGED));
        }
    }

    fn has_changed(&self) -> bool {
        self.native.has_changed() | self.changed.swap(false, Ordering::AcqRel)
    }

    fn look(&self) {
        if self.modern.get().is_none() {
            self.native.look();
        }
    }

    async fn close(&self, ended: bool) {
        if let Some(modern) = self.modern.get() {
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
