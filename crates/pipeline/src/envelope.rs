//! One message on its way through the proxy, and where it came from.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

pub use shadowcat_protocol::Direction;
use shadowcat_protocol::trace::TraceContext;
use shadowcat_protocol::{Id, Message, Request, Revision};

use crate::principal::Principal;
use crate::waits::Waits;

/// One message and where it came from.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The message, its text as the sender wrote it.
    pub message: Message,
    /// Which way it travels.
    pub direction: Direction,
    /// Where it came from; shared by all that follows from it.
    pub origin: Arc<Origin>,
    /// Headers of the client's request that belong to the message and travel with it (`Mcp-Param-*`, lower case).
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// Whether it is not as its sender wrote it: headers that mirror it are made anew.
    pub is_changed: bool,
}

impl Envelope {
    /// An envelope from a client on its way to the server.
    pub fn to_server(message: Message, origin: Arc<Origin>) -> Self {
        Self::new(message, Direction::ToServer, origin)
    }

    /// An envelope from a server on its way to the client.
    pub fn to_client(message: Message, origin: Arc<Origin>) -> Self {
        Self::new(message, Direction::ToClient, origin)
    }

    fn new(message: Message, direction: Direction, origin: Arc<Origin>) -> Self {
        Self { message, direction, origin, headers: Vec::new(), is_changed: false }
    }

    /// The id of the request inside; none for notifications and responses.
    pub fn request_id(&self) -> Option<&Id> {
        match &self.message {
            Message::Request(request) => Some(request.id()),
            Message::Notification(_) | Message::Response(_) => None,
        }
    }
}

/// Where an envelope came from: the client's side of an exchange.
#[derive(Clone, Debug)]
pub struct Origin {
    /// This exchange, for logs, tapes and errors.
    pub exchange: ExchangeId,
    /// The scope in which the client's request ids and progress tokens are meant: a session or a connection.
    pub peer: PeerId,
    /// How the client speaks to us.
    pub transport: Transport,
    /// The revision the client speaks.
    pub revision: Revision,
    /// The legacy session this belongs to, if any, in the form that may be written down.
    pub session: Option<SessionTag>,
    /// Who asks, where that is known.
    pub principal: Option<Principal>,
    /// The exchange that a message from the server belongs to, when the server's transport tells.
    pub related: Option<ExchangeId>,
    /// Nobody sent it: the proxy asks to know something. No person is to decide over it.
    pub is_own: bool,
    /// The trace that headers of the client's HTTP request name, where somebody goes on with it.
    pub http_trace: Option<Box<TraceContext>>,
    /// The span of ours that the exchange is, filled in by whoever begins it: the parent of what the server does. Boxed, because
    /// most exchanges are none.
    pub span: OnceLock<Box<OwnSpan>>,
    /// The other side, filled in by the connection that takes the message upstream.
    pub upstream: OnceLock<UpstreamSide>,
    /// What the server does for this exchange that is no message to the client.
    pub pulse: Pulse,
    /// What was done on the way to the message that passes now.
    pub deeds: Deeds,
    /// For how long it waits because we want it to.
    pub waits: Waits,
}

impl Origin {
    /// An origin with a fresh exchange number and nothing optional set.
    pub fn new(peer: PeerId, transport: Transport, revision: Revision) -> Self {
        Self {
            exchange: ExchangeId::next(),
            peer,
            transport,
            revision,
            session: None,
            principal: None,
            related: None,
            is_own: false,
            http_trace: None,
            span: OnceLock::new(),
            upstream: OnceLock::new(),
            pulse: Pulse::default(),
            deeds: Deeds::default(),
            waits: Waits::default(),
        }
    }

    /// The origin of what the proxy asks in its own name. Like that of a client on a pipe, which mirrors nothing in headers:
    /// whoever sends it over HTTP writes them.
    pub fn own(peer: PeerId, revision: Revision) -> Self {
        Self { is_own: true, ..Self::new(peer, Transport::Stdio, revision) }
    }

    /// The span that whoever gets this request is told of. Where the message said so, it is asked as it leaves: a rule may have
    /// kept it from the receiver.
    pub fn told_span(&self, request: &Request) -> Option<TraceContext> {
        let span = self.span.get()?;
        if span.is_in_message { TraceContext::of_request(request) } else { Some(span.context.clone()) }
    }
}

/// The span of ours that an exchange is.
#[derive(Clone, Debug)]
pub struct OwnSpan {
    /// The span, as whoever gets the request is told of it.
    pub context: TraceContext,
    /// It was written into the message, where it can be taken out again.
    pub is_in_message: bool,
}

impl OwnSpan {
    /// The span of an exchange that another is made of, whose receiver is told of this; of none if there is nothing to tell.
    pub fn handed_on(context: Option<TraceContext>) -> OnceLock<Box<Self>> {
        context.map_or_else(OnceLock::new, |context| Box::new(Self { context, is_in_message: false }).into())
    }
}

/// Signs of life of the server that its client hears nothing of: whoever ends what is silent looks here first.
#[derive(Debug, Default)]
pub struct Pulse(AtomicU64);

impl Pulse {
    /// One more sign.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The signs so far.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A copy is the origin of another exchange, which has shown nothing yet.
impl Clone for Pulse {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// What interceptors have done to a message, in words, until somebody takes them to write them down. What was done to a
/// message that does not go on is found beside the next one of its exchange.
#[derive(Debug, Default)]
pub struct Deeds(Mutex<Done>);

#[derive(Debug, Default)]
struct Done {
    words: Vec<Box<str>>,
    before: Vec<Message>,
    is_seen_twice: bool,
}

impl Deeds {
    /// Words at most that nobody has taken, and messages likewise.
    const MAX: usize = 32;

    fn done(&self) -> MutexGuard<'_, Done> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one; beyond the bound the first ones stand.
    pub fn add(&self, deed: impl Into<Box<str>>) {
        let mut done = self.done();
        if done.words.len() < Self::MAX {
            done.words.push(deed.into());
        }
    }

    /// All that nobody has taken yet.
    pub fn take(&self) -> Vec<Box<str>> {
        std::mem::take(&mut self.done().words)
    }

    /// Keeps a reply as it came that does not go on like that.
    pub fn keep(&self, before: Message) {
        let mut done = self.done();
        if done.before.len() < Self::MAX {
            done.before.push(before);
        }
    }

    /// The replies as they came that did not go on like that.
    pub fn take_before(&self) -> Vec<Message> {
        std::mem::take(&mut self.done().before)
    }

    /// Whoever writes down messages in front of the interceptors says that what they change of this exchange is written down
    /// in both forms.
    pub fn see_twice(&self) {
        self.done().is_seen_twice = true;
    }

    /// Whether messages of this exchange are written down on both sides of the interceptors.
    pub fn are_seen_twice(&self) -> bool {
        self.done().is_seen_twice
    }
}

/// A copy is the origin of another exchange, to which nothing was done yet.
impl Clone for Deeds {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// The server's side of an exchange.
#[derive(Clone, Debug)]
pub struct UpstreamSide {
    /// The upstream's name in the configuration.
    pub name: Arc<str>,
    /// How we speak to it.
    pub transport: Transport,
    /// The revision we speak with it.
    pub revision: Revision,
}

/// A transport, on either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// One message a line over a pipe.
    Stdio,
    /// HTTP+SSE of 2024-11-05: a GET stream and a POST endpoint.
    Sse,
    /// Streamable HTTP, either era.
    Http,
}

impl Transport {
    /// The word for it in logs, tapes and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdio => "stdio",
            Self::Sse => "sse",
            Self::Http => "http",
        }
    }
}

/// Numbers the exchanges of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId(u64);

impl ExchangeId {
    /// The next number; never given twice in one process.
    pub fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The number itself.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "x{}", self.0)
    }
}

/// The scope of a client's ids: two messages of one peer with equal ids mean the same request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerId(u64);

impl PeerId {
    /// A scope of its own.
    pub fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A session as it may appear in logs and tapes: a short hash of its id, never the id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionTag(pub Arc<str>);

impl fmt::Display for SessionTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
