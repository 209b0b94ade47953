//! The way to a session's client: its standing stream, the streams of its open requests, and what it was asked.
//!
//! To the pipeline the client is a [`Service`] like any other: a server's request goes in, the client's response
//! comes out. Which stream carries it is decided here.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use shadowcat_pipeline::{Envelope, ExchangeId, Refusal, RefusalKind, Replies, Service};
use shadowcat_protocol::{Id, Message, Notification, Request, Response, method};
use tokio::sync::oneshot;

use crate::stream::{Budget, Lost, Stream, StreamClosed, StreamLimits};

/// Requests of one server that wait for one client at a time.
pub const ASKS_MAX: usize = 256;
/// Ended answers kept for a client that comes back for them.
const ENDED_STREAMS_MAX: usize = 8;

/// The way to one client.
pub struct Outlet {
    limits: StreamLimits,
    budget: Arc<Budget>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    standing: Option<Numbered>,
    /// The streams of open requests by exchange: the last is the newest.
    open: BTreeMap<ExchangeId, Numbered>,
    /// Streams of answered requests whose last messages the client may not have seen.
    ended: VecDeque<Numbered>,
    asks: HashMap<u64, oneshot::Sender<Response>>,
    asked: u64,
    streams: u64,
}

#[derive(Clone)]
struct Numbered {
    number: u64,
    stream: Arc<Stream>,
}

impl Outlet {
    /// A way to a client that has opened no stream yet. `bytes_max` bounds what all its streams hold together.
    pub fn new(limits: StreamLimits, bytes_max: usize) -> Arc<Self> {
        Self::counting(limits, bytes_max, Lost::default())
    }

    /// As [`Outlet::new`]; messages that give way because the client is away count as `lost`.
    pub fn counting(limits: StreamLimits, bytes_max: usize, lost: Lost) -> Arc<Self> {
        Arc::new(Self { limits, budget: Budget::new(bytes_max, lost), inner: Mutex::default() })
    }

    /// The same way, whose streams and questions are numbered from here on: a client may still know earlier numbers.
    #[must_use]
    pub fn numbering_from(self: Arc<Self>, first: u64) -> Arc<Self> {
        let mut inner = self.lock();
        inner.streams = first;
        inner.asked = first;
        drop(inner);
        self
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stream for messages that belong to no open request, made at first need, and its number.
    pub fn standing(&self) -> (u64, Arc<Stream>) {
        let mut inner = self.lock();
        let standing = match &inner.standing {
            Some(standing) if !standing.stream.is_ended() => standing.clone(),
            _ => {
                let fresh = inner.number(Stream::new(self.limits, Arc::clone(&self.budget)));
                inner.standing = Some(fresh.clone());
                fresh
            }
        };
        (standing.number, standing.stream)
    }

    /// A stream for the answer to one request, and its number; [`Outlet::close_exchange`] when it is answered.
    pub fn open_exchange(&self, exchange: ExchangeId) -> (u64, Arc<Stream>) {
        let mut inner = self.lock();
        let fresh = inner.number(Stream::new(self.limits, Arc::clone(&self.budget)));
        inner.open.insert(exchange, fresh.clone());
        (fresh.number, fresh.stream)
    }

    /// The answer to this exchange will take long: its stream is open from now on, and kept alive.
    pub fn open_stream(&self, exchange: ExchangeId) {
        let open = self.lock().open.get(&exchange).cloned();
        if let Some(open) = open {
            open.stream.open();
        }
    }

    /// The server has let go of the stream of this exchange for a while, so the client may let go of its own: it is to
    /// come back after `retry` (2025-11-25 transports, polling).
    pub fn send_away(&self, exchange: ExchangeId, retry: Duration) {
        let open = self.lock().open.get(&exchange).cloned();
        if let Some(open) = open {
            open.stream.send_away(retry);
        }
    }

    /// The exchange is over: its stream ends, and is kept for a while if it was used.
    pub fn close_exchange(&self, exchange: ExchangeId) {
        let mut inner = self.lock();
        let Some(closed) = inner.open.remove(&exchange) else { return };
        closed.stream.end();
        if closed.stream.kept_bytes() > 0 {
            inner.ended.push_back(closed);
        }
        while inner.ended.len() > ENDED_STREAMS_MAX {
            inner.ended.pop_front();
        }
    }

    /// Whether this is the number of the standing stream.
    pub fn is_standing(&self, number: u64) -> bool {
        self.lock().standing.as_ref().is_some_and(|standing| standing.number == number)
    }

    /// The stream with this number, if it is still there.
    pub fn stream(&self, number: u64) -> Option<Arc<Stream>> {
        let inner = self.lock();
        let known = inner.standing.iter().chain(inner.open.values()).chain(inner.ended.iter());
        known.into_iter().find(|known| known.number == number).map(|known| Arc::clone(&known.stream))
    }

    /// Whether the client is there right now: it has a stream open, or waits for an answer.
    pub fn is_attached(&self) -> bool {
        let inner = self.lock();
        inner.standing.iter().chain(inner.open.values()).any(|known| known.stream.is_attached())
    }

    /// Requests of the client that are being answered.
    pub fn open_exchanges(&self) -> usize {
        self.lock().open.len()
    }

    /// Bytes held for the client.
    pub fn kept_bytes(&self) -> usize {
        self.budget.used()
    }

    /// Forgets answers that nobody came back for since before `oldest`.
    pub fn forget_ended(&self, oldest: tokio::time::Instant) {
        self.lock().ended.retain(|known| known.stream.detached_since().is_none_or(|since| since > oldest));
    }

    /// Ends the answers whose client has let go of them before `oldest` and has not come back.
    pub fn abandon(&self, oldest: tokio::time::Instant) {
        for open in self.lock().open.values() {
            open.stream.abandon(oldest);
        }
    }

    /// Hands a response of the client to the request it answers; says whether there was one.
    pub fn answer(&self, response: Response) -> bool {
        let asked = response.id().and_then(Id::as_u64);
        let waiting = asked.and_then(|number| self.lock().asks.remove(&number));
        waiting.is_some_and(|waiting| waiting.send(response).is_ok())
    }

    /// Ends the standing stream alone; requests go on being answered.
    pub fn close_standing(&self) {
        if let Some(standing) = &self.lock().standing {
            standing.stream.end();
        }
    }

    /// Ends every stream; what is queued still goes out. Those of open requests are ended by whoever answers these, with
    /// the word that they are answered no more.
    pub fn close(&self) {
        let mut inner = self.lock();
        if let Some(standing) = &inner.standing {
            standing.stream.end();
        }
        for open in inner.open.values() {
            open.stream.give_up();
        }
        inner.ended.clear();
        inner.asks.clear();
    }

    /// Where a message goes: to the request it belongs to, else to the standing stream, else (for what must not wait)
    /// to the newest open request whose client is there, or the newest at all, else to the standing stream that the
    /// client may open later.
    fn choose(&self, related: Option<ExchangeId>, urgent: bool) -> Arc<Stream> {
        {
            let inner = self.lock();
            if let Some(own) = related.and_then(|exchange| inner.open.get(&exchange)) {
                return Arc::clone(&own.stream);
            }
            let attached = inner.standing.as_ref().is_some_and(|standing| standing.stream.is_attached());
            if !attached
                && urgent
                && let Some(open) = inner.newest_open()
            {
                return open;
            }
        }
        self.standing().1
    }

    fn register(&self, asker: oneshot::Sender<Response>) -> Result<u64, Refusal> {
        let mut inner = self.lock();
        if inner.asks.len() >= ASKS_MAX {
            return Err(Refusal::new(RefusalKind::LimitQueue)
                .with_detail("the client has too many unanswered requests"));
        }
        inner.asked += 1;
        let number = inner.asked;
        inner.asks.insert(number, asker);
        Ok(number)
    }

    async fn ask(
        self: &Arc<Self>,
        request: Request,
        related: Option<ExchangeId>,
    ) -> Result<Replies, Refusal> {
        let stream = self.choose(related, true);
        if request.method() == method::PING && !stream.is_attached() && !self.is_attached() {
            // Nobody could carry it to the client, and a server must not take a quiet client for a dead one.
            return Ok(Replies::one(Message::Response(Response::result(request.id(), "{}"))));
        }
        let (asker, answer) = oneshot::channel();
        let number = self.register(asker)?;
        let pending = Pending { outlet: Arc::downgrade(self), stream: Arc::clone(&stream), number };
        let own = request.with_ids(&Id::from_u64(number), None);
        stream.push(own.text().clone()).await.map_err(refuse)?;
        let id = request.id().clone();
        Ok(Replies::stream(futures_util::stream::once(async move {
            let _pending = pending;
            match answer.await {
                Ok(response) => Ok(Message::Response(response.with_id(&id))),
                Err(_) => Err(Refusal::new(RefusalKind::SessionLost).with_detail("the client is gone")),
            }
        })))
    }
}

#[async_trait]
impl Service for OutletService {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let related = envelope.origin.related;
        match envelope.message {
            Message::Request(request) => self.0.ask(request, related).await,
            Message::Notification(note) => {
                let urgent = note.method() == method::LOG_MESSAGE || note.method() == method::PROGRESS;
                let stream = self.0.choose(related, urgent);
                stream.push(note.text().clone()).await.map_err(refuse)?;
                Ok(Replies::none())
            }
            Message::Response(_) => Err(Refusal::bad_message(
                shadowcat_protocol::codes::INVALID_REQUEST,
                "a response was sent where a request belongs",
            )),
        }
    }
}

/// The outlet as the end of a chain.
#[derive(Clone)]
pub struct OutletService(pub Arc<Outlet>);

fn refuse(closed: StreamClosed) -> Refusal {
    Refusal::new(RefusalKind::LimitQueue).with_detail("the client does not take messages").with_cause(closed)
}

impl Inner {
    fn number(&mut self, stream: Arc<Stream>) -> Numbered {
        self.streams += 1;
        Numbered { number: self.streams, stream }
    }

    fn newest_open(&self) -> Option<Arc<Stream>> {
        let mut newest_first = self.open.values().rev().map(|open| &open.stream);
        let newest = newest_first.clone().next();
        let there = newest_first.find(|stream| stream.is_attached() && !stream.is_ended());
        there.or(newest).map(Arc::clone)
    }
}

/// A request of the server that the client has not answered; dropped early, the client is told to forget it.
struct Pending {
    outlet: Weak<Outlet>,
    stream: Arc<Stream>,
    number: u64,
}

impl Drop for Pending {
    fn drop(&mut self) {
        let Some(outlet) = self.outlet.upgrade() else { return };
        if outlet.lock().asks.remove(&self.number).is_some() {
            let cancelled = Notification::cancelled(&Id::from_u64(self.number), None);
            self.stream.offer(cancelled.text());
        }
    }
}

/// The place in a session's streams that an SSE event id names: `<stream>-<message>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventId {
    /// The stream's number in its session.
    pub stream: u64,
    /// The message's number in the stream; 0 names the place before the first.
    pub message: u64,
}

impl EventId {
    /// Reads what [`EventId::text`] has written.
    pub fn parse(text: &str) -> Option<Self> {
        let (stream, message) = text.split_once('-')?;
        Some(Self { stream: stream.parse().ok()?, message: message.parse().ok()? })
    }

    /// The text of it, which is written with each event.
    pub fn text(self) -> Box<str> {
        let (mut stream, mut message) = (itoa::Buffer::new(), itoa::Buffer::new());
        [stream.format(self.stream), "-", message.format(self.message)].concat().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shadowcat_pipeline::{Origin, PeerId, Transport};
    use shadowcat_protocol::Revision;

    fn outlet() -> Arc<Outlet> {
        let limits = StreamLimits {
            lag_bytes_max: 1_000,
            stall_max: Duration::from_mins(1),
            kept_events_max: 10,
            kept_bytes_max: 1_000,
        };
        Outlet::new(limits, 1_000)
    }

    #[tokio::test]
    async fn numbers_an_earlier_process_gave_mean_nothing_in_this_one() {
        let outlet = outlet().numbering_from(1_000);
        assert_eq!(outlet.standing().0, 1_001);
        assert!(outlet.stream(1).is_none());
        let ask = Request::new(&Id::from_u64(5), method::ELICITATION, Some("{}"));
        let origin = Origin::new(PeerId::next(), Transport::Http, Revision::V2025_11_25);
        let envelope = Envelope::to_client(Message::Request(ask), Arc::new(origin));
        let mut answers = OutletService(Arc::clone(&outlet)).handle(envelope).await.unwrap();
        let answer = |number| Response::result(&Id::from_u64(number), "{}");
        assert!(!outlet.answer(answer(1)), "an answer to a question of the earlier process");
        assert!(outlet.answer(answer(1_001)));
        let Some(Ok(Message::Response(given))) = answers.next().await else { panic!("no answer") };
        assert_eq!(given.id(), Some(&Id::from_u64(5)), "under the server's own id");
    }

    #[tokio::test]
    async fn a_question_that_belongs_to_no_request_goes_to_the_newest_whose_client_is_there() {
        let outlet = outlet();
        let (_, older) = outlet.open_exchange(ExchangeId::next());
        let (_, newer) = outlet.open_exchange(ExchangeId::next());
        let (reader, left) = (older.read(), newer.read());
        drop(left);
        let ask = Request::new(&Id::from_u64(5), method::ELICITATION, Some("{}"));
        let _answers = outlet.ask(ask, None).await.unwrap();
        assert!(older.kept_bytes() > 0 && newer.kept_bytes() == 0);
        drop(reader);
        let ask = Request::new(&Id::from_u64(6), method::ELICITATION, Some("{}"));
        let _answers = outlet.ask(ask, None).await.unwrap();
        assert!(newer.kept_bytes() > 0, "with nobody there it is kept where its client may come back");
    }
}
