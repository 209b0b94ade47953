//! The service around a modern server: what was asked before is answered from what is kept, and what passes back is kept if
//! it may be.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Envelope, Origin, PeerId, Refusal, Replies, Service, UpstreamSide};
use shadowcat_protocol::caching::Cacheable;
use shadowcat_protocol::{Id, Message, Request, Response, Revision, codes};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::key::{Question, Reader};
use crate::shelf::{Asked, Change, Found, Shelf};
use crate::{Counters, Settings, watch};

/// What the tape says of an answer that comes from here.
const DEED: &str = "cache: answered";

/// The server whose answers are kept.
pub trait Server: Service {
    /// Which conversation with the server goes on now; none if there is none. In another one it may be another server.
    fn conversation(&self) -> Option<u64>;
}

/// A cache before one modern server.
#[derive(Clone)]
pub struct Cache(Arc<Inside>);

pub(crate) struct Inside {
    pub(crate) server: Arc<dyn Server>,
    pub(crate) side: UpstreamSide,
    counters: Counters,
    held: Mutex<Held>,
    /// Something was added.
    pub(crate) filled: Notify,
    peer: PeerId,
    ids: AtomicU64,
}

struct Held {
    shelf: Shelf,
    /// The conversation that all on the shelf was said in.
    conversation: Option<u64>,
}

impl Held {
    /// Drops what was said in another conversation; gives how many answers that were.
    fn go_on_in(&mut self, conversation: Option<u64>) -> usize {
        match std::mem::replace(&mut self.conversation, conversation) {
            before if before == conversation => 0,
            // Nothing was said before the first.
            None => 0,
            Some(_) => self.shelf.hear(&Change::Everything),
        }
    }
}

impl Cache {
    /// A cache before this server, whose messages are marked as of this side. It hears of changes for as long as `tasks` run.
    pub fn new(server: Arc<dyn Server>, side: UpstreamSide, settings: Settings, tasks: &Tasks) -> Self {
        let held = Held { shelf: Shelf::new(settings), conversation: None };
        let inside = Arc::new(Inside {
            server,
            side,
            counters: Counters::default(),
            held: Mutex::new(held),
            filled: Notify::new(),
            peer: PeerId::next(),
            ids: AtomicU64::new(1),
        });
        tasks.spawn_until_stop(watch::run(Arc::clone(&inside)));
        Self(inside)
    }

    /// What is counted.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// How many answers are kept, and their bytes.
    pub fn size(&self) -> (usize, usize) {
        self.0.held().shelf.size()
    }
}

#[async_trait]
impl Service for Cache {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let (Message::Request(request), Some(question)) = (&envelope.message, Question::of(&envelope)) else {
            return Ok(self.0.hearing(self.0.server.handle(envelope).await?));
        };
        let (question, reader) = (Arc::new(question), Reader::of(&envelope.origin));
        match self.0.find(question, reader) {
            Ok(found) => Ok(self.0.told(&envelope.origin, found.answer.told(request.id(), found.ttl_ms))),
            Err(asked) => {
                let replies = self.0.server.handle(envelope).await?;
                Ok(self.0.keeping(replies, asked))
            }
        }
    }
}

impl Inside {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept, or what the server is to be asked.
    fn find(&self, question: Arc<Question>, reader: Option<Reader>) -> Result<Found, Asked> {
        let now = Instant::now();
        let (dropped, found) = {
            let mut held = self.held();
            let dropped = held.go_on_in(self.server.conversation());
            let found = held.shelf.find(&question, reader.as_ref(), now);
            (dropped, found.ok_or_else(|| held.shelf.asks(question, reader, now)))
        };
        self.counters.invalidated(dropped);
        self.counters.found(found.is_ok());
        found
    }

    /// An answer from here to a request of this origin.
    fn told(&self, origin: &Origin, answer: Response) -> Replies {
        tracing::debug!(exchange = %origin.exchange, "answered from the cache");
        origin.upstream.get_or_init(|| self.side.clone());
        origin.deeds.add(DEED);
        Replies::one(Message::Response(answer))
    }

    /// Replies among which an answer may be kept.
    fn keeping(self: &Arc<Self>, replies: Replies, asked: Asked) -> Replies {
        let (this, is_whole) = (Arc::clone(self), replies.head().status.is_none());
        // That in which the request has just left.
        let conversation = self.server.conversation();
        let mut asked = Some(asked).filter(|_| is_whole);
        self.hearing(replies).inspect(move |reply| {
            if let Ok(Message::Response(answer)) = reply
                && let Some(asked) = asked.take()
            {
                this.keep(asked, answer, conversation);
            }
        })
    }

    fn keep(&self, asked: Asked, answer: &Response, conversation: Option<u64>) {
        if conversation.is_none() || conversation != self.server.conversation() {
            return;
        }
        let (kept, dropped) = {
            let mut held = self.held();
            let dropped = held.go_on_in(conversation);
            (held.shelf.keep(asked, answer, Instant::now()), dropped)
        };
        self.counters.invalidated(dropped + kept.dropped);
        self.counters.evicted(kept.evicted);
        if kept.stored {
            self.counters.stored();
            self.filled.notify_one();
        }
    }

    /// Replies in which changes may be told of.
    fn hearing(self: &Arc<Self>, replies: Replies) -> Replies {
        let this = Arc::clone(self);
        replies.inspect(move |reply| {
            if let Ok(message) = reply {
                this.hear(message);
            }
        })
    }

    /// Drops what a message of the server tells of.
    pub(crate) fn hear(&self, message: &Message) {
        let change = match message {
            Message::Notification(note) => Change::told(note),
            Message::Response(answer) => match answer.error_code() {
                // 2026-07-28 streamable-http: whoever is told so reads the list of tools again.
                Some(codes::HEADER_MISMATCH) => Some(Change::Kinds(vec![Cacheable::Tools])),
                // The server is not what it said.
                Some(codes::UNSUPPORTED_VERSION) => Some(Change::Everything),
                _ => None,
            },
            Message::Request(_) => None,
        };
        if let Some(change) = change {
            self.drop_changed(&change);
        }
    }

    pub(crate) fn drop_changed(&self, change: &Change) {
        let dropped = self.held().shelf.hear(change);
        self.counters.invalidated(dropped);
        if dropped > 0 {
            tracing::debug!(upstream = %self.side.name, dropped, ?change, "kept answers may not hold any more");
        }
    }

    /// The resources among what is kept; none if nothing is.
    pub(crate) fn resources(&self) -> Option<BTreeSet<String>> {
        let (dropped, resources) = {
            let mut held = self.held();
            (held.go_on_in(self.server.conversation()), held.shelf.resources(Instant::now()))
        };
        self.counters.invalidated(dropped);
        resources
    }

    /// Asks the server something in the proxy's own name. The caller sets the deadline.
    pub(crate) async fn ask(&self, asked: &str, params: &str) -> Result<Replies, Refusal> {
        let id = Id::from_u64(self.ids.fetch_add(1, Ordering::Relaxed));
        let request = Message::Request(Request::new(&id, asked, Some(params)));
        let origin = Origin::own(self.peer, Revision::V2026_07_28);
        self.server.handle(Envelope::to_server(request, Arc::new(origin))).await
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
