//! The conversation with a server of interceptors: its handshake, and a new one when the server was lost. A server that knows
//! no handshake is asked in the modern era.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use shadowcat_interceptors::external::mcp::Link;
use shadowcat_interceptors::external::{Failure, Reason};
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{
    Back, Envelope, ExchangeId, Origin, PeerId, Refusal, RefusalKind, Replies, Transport, UpstreamSide,
};
use shadowcat_protocol::{Era, Id, Message, Notification, Request, Response, Revision, codes, method, own};
use shadowcat_transports::{Connection, Connector, OpenConnection, Parting};
use tokio::sync::watch;

/// How long a conversation may take to begin: a child has to start in it.
const OPEN_MAX: Duration = Duration::from_secs(30);

/// What the proxy can do as a client of such a server.
const CAPABILITIES: &str = r#"{"extensions":{"io.modelcontextprotocol/interceptors":{}}}"#;
/// What it says of itself with each request where there is no handshake.
static META: LazyLock<String> = LazyLock::new(|| own::meta(CAPABILITIES));

/// A server, and the conversation with it.
pub(super) struct Peer {
    this: Weak<Self>,
    connector: Arc<dyn Connector>,
    tasks: Tasks,
    state: Mutex<State>,
    conversations: AtomicU64,
}

enum State {
    Idle,
    Opening(watch::Receiver<Option<Outcome>>),
    Open(Arc<Conversation>),
    Closed,
}

type Outcome = Result<Arc<Conversation>, Failure>;

impl Peer {
    pub(super) fn new(connector: Arc<dyn Connector>, tasks: Tasks) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            connector,
            tasks,
            state: Mutex::new(State::Idle),
            conversations: AtomicU64::new(0),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the conversation for good.
    pub(super) async fn close(&self) {
        let state = std::mem::replace(&mut *self.state(), State::Closed);
        if let State::Open(conversation) = state {
            conversation.connection.close(Parting::End).await;
        }
        self.tasks.stop();
    }

    /// The conversation there is, or the next one.
    async fn conversation(&self) -> Outcome {
        let mut opening = match self.opening() {
            Ok(outcome) => return outcome,
            Err(opening) => opening,
        };
        let outcome = opening.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        outcome.unwrap_or_else(|| Err(closed()))
    }

    /// What there is already, or who tells what will be. It goes on without whoever asked for it first: a server that takes
    /// longer to start than a message waits would otherwise never start.
    fn opening(&self) -> Result<Outcome, watch::Receiver<Option<Outcome>>> {
        let mut state = self.state();
        match &*state {
            State::Closed => return Ok(Err(closed())),
            State::Open(conversation) if conversation.connection.is_alive() => {
                return Ok(Ok(Arc::clone(conversation)));
            }
            State::Opening(opening) => return Err(opening.clone()),
            State::Open(_) | State::Idle => {}
        }
        let (outcome, opening) = watch::channel(None);
        let (Some(this), lost) = (
            self.this.upgrade(),
            match &*state {
                State::Open(lost) => Some(Arc::clone(lost)),
                _ => None,
            },
        ) else {
            return Ok(Err(closed()));
        };
        *state = State::Opening(opening.clone());
        self.tasks.spawn_until_stop(async move {
            if let Some(lost) = lost {
                lost.connection.close(Parting::End).await;
            }
            let opened = tokio::time::timeout(OPEN_MAX, this.open()).await;
            let opened = opened.unwrap_or_else(|_| {
                Err(Failure::new(Reason::Timeout, "the conversation with its server did not begin in time"))
            });
            this.opened(&opened).await;
            outcome.send_replace(Some(opened));
        });
        Err(opening)
    }

    async fn opened(&self, outcome: &Outcome) {
        if let Ok(conversation) = outcome {
            self.conversations.fetch_add(1, Ordering::AcqRel);
            let is_closed = {
                let mut state = self.state();
                let is_closed = matches!(*state, State::Closed);
                if !is_closed {
                    *state = State::Open(Arc::clone(conversation));
                }
                is_closed
            };
            if is_closed {
                conversation.connection.close(Parting::End).await;
            }
        } else {
            let mut state = self.state();
            if !matches!(*state, State::Closed) {
                *state = State::Idle;
            }
        }
    }

    async fn open(&self) -> Outcome {
        match self.open_legacy().await {
            Ok(Some(conversation)) => Ok(conversation),
            Ok(None) => self.connect(Era::Modern).await.map_err(|refusal| failure(&refusal)),
            Err(refusal) => Err(failure(&refusal)),
        }
    }

    /// None if the server refuses the handshake as one that knows none does.
    async fn open_legacy(&self) -> Result<Option<Arc<Conversation>>, Refusal> {
        let conversation = self.connect(Era::Legacy).await?;
        let answer = conversation.ask(method::INITIALIZE, &own::handshake(CAPABILITIES)).await;
        let is_refused = match &answer {
            Ok(response) => response.result_json().is_none(),
            Err(refusal) => matches!(
                &refusal.kind,
                RefusalKind::UpstreamStatus(answer) if matches!(answer.status, 400 | 404 | 405)
            ),
        };
        if is_refused || answer.is_err() {
            conversation.connection.close(Parting::End).await;
            return if is_refused { Ok(None) } else { answer.map(|_| None) };
        }
        let note = Message::Notification(Notification::new(method::INITIALIZED, None));
        conversation.connection.handle(conversation.envelope(note)).await?;
        Ok(Some(conversation))
    }

    async fn connect(&self, era: Era) -> Result<Arc<Conversation>, Refusal> {
        let back = Arc::new(Aside(Weak::clone(&self.this)));
        let revision = (era == Era::Modern).then_some(Revision::V2026_07_28);
        let connection = self.connector.open(OpenConnection { back, era, revision, token: None }).await?;
        Ok(Arc::new(Conversation { connection, era, peer: PeerId::next() }))
    }

    /// The server has forgotten the conversation.
    fn lost(&self, conversation: &Arc<Conversation>) {
        let mut state = self.state();
        if matches!(&*state, State::Open(current) if Arc::ptr_eq(current, conversation)) {
            *state = State::Idle;
        }
    }
}

#[async_trait]
impl Link for Peer {
    async fn ask(&self, method: &str, params: &str) -> Result<Response, Failure> {
        let conversation = self.conversation().await?;
        let answer = match conversation.ask(method, params).await {
            // The server refused it unread, so that it may be asked again.
            Err(refusal) if refusal.kind == RefusalKind::SessionLost => {
                self.lost(&conversation);
                self.conversation().await?.ask(method, params).await
            }
            other => other,
        };
        answer.map_err(|refusal| failure(&refusal))
    }

    fn conversations(&self) -> u64 {
        self.conversations.load(Ordering::Acquire)
    }
}

/// One connection, agreed on.
struct Conversation {
    connection: Arc<dyn Connection>,
    era: Era,
    peer: PeerId,
}

impl Conversation {
    async fn ask(&self, method: &str, params: &str) -> Result<Response, Refusal> {
        // Ids are made by the connection, for each request another.
        let request = Request::new(&Id::from_u64(0), method, Some(&self.params(params)));
        let mut replies = self.connection.handle(self.envelope(Message::Request(request))).await?;
        replies.response().await?.ok_or_else(|| RefusalKind::UpstreamProtocol.into())
    }

    fn params(&self, params: &str) -> String {
        match (self.era, params.strip_prefix('{')) {
            (Era::Modern, Some("}")) => format!(r#"{{"_meta":{}}}"#, *META),
            (Era::Modern, Some(members)) => format!(r#"{{"_meta":{},{members}"#, *META),
            _ => params.to_owned(),
        }
    }

    fn envelope(&self, message: Message) -> Envelope {
        let (transport, revision) = match self.era {
            Era::Legacy => (Transport::Stdio, Revision::NEWEST_LEGACY),
            Era::Modern => (Transport::Http, Revision::V2026_07_28),
        };
        Envelope::to_server(message, Arc::new(Origin::new(self.peer, transport, revision)))
    }
}

/// Where the server's own messages go: there is no client to take them.
struct Aside(Weak<Peer>);

#[async_trait]
impl Back for Aside {
    async fn deliver(
        &self,
        message: Message,
        _: Option<ExchangeId>,
        _: &UpstreamSide,
    ) -> Result<Replies, Refusal> {
        match message {
            Message::Request(request) if request.method() == method::PING => {
                Ok(Replies::one(Message::Response(Response::result(request.id(), "{}"))))
            }
            Message::Request(_) => Err(Refusal::bad_message(
                codes::METHOD_NOT_FOUND,
                "an interceptor is asked, and does not ask",
            )),
            Message::Notification(_) | Message::Response(_) => Ok(Replies::none()),
        }
    }

    fn let_go(&self, _: ExchangeId, _: Duration) {
        // Nobody could be sent away.
    }

    fn stream_lost(&self) {
        // None was opened.
    }

    fn server_gone(&self) {
        if let Some(peer) = self.0.upgrade() {
            // Begun anew at once, so that the next message need not wait for it.
            drop(peer.opening());
        }
    }
}

fn closed() -> Failure {
    Failure::new(Reason::Unreachable, "the proxy is shutting down")
}

fn failure(refusal: &Refusal) -> Failure {
    let reason = match refusal.kind {
        RefusalKind::UpstreamTimeout => Reason::Timeout,
        RefusalKind::UpstreamProtocol | RefusalKind::LimitBody => Reason::Nonsense,
        RefusalKind::UpstreamStatus(_) => Reason::Error,
        _ => Reason::Unreachable,
    };
    Failure::new(reason, refusal.to_string())
}
