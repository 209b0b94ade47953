//! The interceptor that notes every message. It only takes notes: all that costs time is the writer thread's.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use shadowcat_pipeline::{Direction, Envelope, ExchangeId, Interceptor, Next, Origin, Refusal, Replies};
use shadowcat_protocol::Message;

use crate::feed::Audience;
use crate::record::Kind;
use crate::seen::{Facts, Seen};

/// What a frame costs in memory besides its message; the queue's bound in bytes counts it.
const FRAME_OVERHEAD: usize = 256;

/// Records the message going in, each reply coming back, and a refusal in place of a reply.
///
/// It neither delays nor refuses: when the tape cannot follow, the message is counted as lost. Several recorders may
/// write one tape from several places of the chain; `hop` tells their frames apart.
#[derive(Clone, Debug)]
pub struct Recorder {
    audience: Audience,
    hops: Hops,
    passed: Passed,
    part: Part,
}

/// Which messages are recorded at a place.
#[derive(Clone)]
enum Part {
    All,
    /// All; and where somebody behind could change messages now, those as well that were changed, as they came.
    InFront(Arc<dyn Fn() -> bool + Send + Sync>),
    /// What the one in front leaves to this one: what clients sent and was changed, and exchanges that servers begin while
    /// somebody could change them.
    Behind,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "All",
            Self::InFront(_) => "InFront",
            Self::Behind => "Behind",
        })
    }
}

/// The places at which messages of either direction are recorded.
#[derive(Clone, Copy, Debug)]
struct Hops {
    to_server: &'static str,
    to_client: &'static str,
}

/// How a message that went on stands to what its sender wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// As it was.
    AsWritten,
    /// In the words of another era.
    Translated,
}

/// A message with all that is known of it: shared bytes and a shared origin, nothing copied.
#[derive(Clone, Debug)]
pub(crate) struct Captured<O = Arc<Origin>, M = Message> {
    pub(crate) passed_at: Instant,
    pub(crate) hop: &'static str,
    pub(crate) direction: Direction,
    pub(crate) origin: O,
    pub(crate) message: M,
    pub(crate) passed: Passed,
    /// The stable word of a refusal.
    pub(crate) refused: Option<&'static str>,
    /// For answers: when the message passed that they answer.
    pub(crate) asked: Option<Instant>,
    /// What rules did to it.
    pub(crate) rules: Box<[Box<str>]>,
}

/// The same while it passes.
pub(crate) type Passing<'a> = Captured<&'a Arc<Origin>, &'a Message>;

impl<O: Borrow<Arc<Origin>>, M: Borrow<Message>> Captured<O, M> {
    /// What it counts for in the queue's bound.
    pub(crate) fn bytes(&self) -> usize {
        let message = self.message.borrow();
        // A copy has the method once more.
        let text = message.text().len() + message.method().map_or(0, str::len);
        text + self.rules.iter().map(|rule| rule.len()).sum::<usize>() + FRAME_OVERHEAD
    }

    /// What its frame says.
    pub(crate) fn seen(&self) -> Seen<'_> {
        let (origin, message) = (self.origin.borrow(), self.message.borrow());
        let upstream = origin.upstream.get();
        Seen {
            facts: Facts {
                passed_at: self.passed_at,
                hop: self.hop,
                direction: self.direction,
                exchange: origin.exchange.get(),
                related: origin.related.map(ExchangeId::get),
                client: (origin.transport, origin.revision),
                kind: Kind::of(message),
                action: match (self.refused, self.passed) {
                    (Some(_), _) => "refused",
                    (None, Passed::AsWritten) => "passed",
                    (None, Passed::Translated) => "translated",
                },
                refused: self.refused,
                asked: self.asked,
            },
            session: origin.session.as_ref().map(|session| &*session.0),
            upstream: upstream.map(|side| (&*side.name, (side.transport, side.revision))),
            method: message.method(),
            rules: &self.rules,
            message: message.text(),
        }
    }
}

impl Passing<'_> {
    /// It, for longer than it passes.
    pub(crate) fn kept(&self) -> Captured {
        let Self { passed_at, hop, direction, passed, refused, asked, .. } = *self;
        let (origin, message, rules) = (Arc::clone(self.origin), self.message.clone(), self.rules.clone());
        Captured { passed_at, hop, direction, origin, message, passed, refused, asked, rules }
    }
}

impl Recorder {
    pub(crate) fn new(audience: Audience, hop: &'static str) -> Self {
        let hops = Hops { to_server: hop, to_client: hop };
        Self { audience, hops, passed: Passed::AsWritten, part: Part::All }
    }

    /// The same, where exchanges that a server begins pass at another hop: what is outermost for clients is innermost for
    /// servers.
    #[must_use]
    pub fn to_client_at(self, hop: &'static str) -> Self {
        Self { hops: Hops { to_client: hop, ..self.hops }, ..self }
    }

    /// The same, in front of those who change hardly any message: only these are recorded in both forms, with the help of a
    /// recorder behind them ([`Recorder::behind`]). Of what a server begins it is not known here what becomes of it, so that it
    /// is recorded in both places whenever it could be changed. Whether this is so is looked at once for an exchange, here; those
    /// behind find it noted ([`shadowcat_pipeline::Deeds::are_seen_twice`]), and keep to it.
    #[must_use]
    pub fn in_front(self, could_change: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { part: Part::InFront(Arc::new(could_change)), ..self }
    }

    /// The other one of the two.
    #[must_use]
    pub fn behind(self) -> Self {
        Self { part: Part::Behind, ..self }
    }

    /// The same, at a place where messages are in the words of another era than their sender's.
    #[must_use]
    pub fn translated(self) -> Self {
        Self { passed: Passed::Translated, ..self }
    }

    fn wanted(&self, envelope: &Envelope) -> Wanted {
        match (&self.part, envelope.direction) {
            (Part::All | Part::InFront(_), _) => Wanted::Exchange,
            (Part::Behind, Direction::ToServer) if envelope.is_changed => Wanted::Message,
            (Part::Behind, Direction::ToClient) if envelope.origin.deeds.are_seen_twice() => Wanted::Exchange,
            (Part::Behind, _) => Wanted::Nothing,
        }
    }

    /// Where a message is recorded, and where its replies are that somebody behind changes.
    fn hops(&self, envelope: &Envelope) -> (&'static str, Option<&'static str>) {
        let Hops { to_server, to_client } = self.hops;
        let could_change = matches!(&self.part, Part::InFront(could_change) if could_change());
        if could_change {
            envelope.origin.deeds.see_twice();
        }
        match (&self.part, envelope.direction) {
            (_, Direction::ToServer) => (to_server, could_change.then_some(to_client)),
            // Nobody records it behind.
            (Part::InFront(_), Direction::ToClient) if !could_change => (to_server, None),
            (_, Direction::ToClient) => (to_client, None),
        }
    }
}

/// What is recorded of an exchange.
#[derive(PartialEq, Eq)]
enum Wanted {
    Nothing,
    /// What opens it.
    Message,
    Exchange,
}

#[async_trait]
impl Interceptor for Recorder {
    fn name(&self) -> &'static str {
        "record"
    }

    fn concerns(&self, envelope: &Envelope) -> bool {
        self.wanted(envelope) != Wanted::Nothing
    }

    async fn intercept(&self, envelope: Envelope, next: Next<'_>) -> Result<Replies, Refusal> {
        self.audience.room().await;
        let exchange = Exchange::begin(self, &envelope);
        if self.wanted(&envelope) != Wanted::Exchange {
            return next.run(envelope).await;
        }
        match next.run(envelope).await {
            Ok(replies) => Ok(replies.inspect(move |reply| exchange.reply(reply))),
            Err(refusal) => {
                exchange.refusal(&refusal);
                Err(refusal)
            }
        }
    }
}

/// What the replies of one envelope are noted with.
struct Exchange {
    audience: Audience,
    hop: &'static str,
    /// Where replies are recorded as they came that somebody changed.
    before: Option<&'static str>,
    passed: Passed,
    back: Direction,
    origin: Arc<Origin>,
    id: Option<shadowcat_protocol::Id>,
    asked: Instant,
}

impl Exchange {
    fn begin(recorder: &Recorder, envelope: &Envelope) -> Self {
        let asked = Instant::now();
        let (hop, before) = recorder.hops(envelope);
        recorder.audience.tell(|| Passing {
            passed_at: asked,
            hop,
            direction: envelope.direction,
            origin: &envelope.origin,
            message: &envelope.message,
            passed: recorder.passed,
            refused: None,
            asked: None,
            rules: envelope.origin.deeds.take().into(),
        });
        Self {
            audience: recorder.audience.clone(),
            hop,
            before,
            passed: recorder.passed,
            back: envelope.direction.back(),
            origin: Arc::clone(&envelope.origin),
            id: envelope.request_id().cloned(),
            asked,
        }
    }

    fn reply(&self, reply: &Result<Message, Refusal>) {
        match reply {
            Ok(message) => self.tell(message, None),
            Err(refusal) => self.refusal(refusal),
        }
    }

    /// The frame holds what the peer is told, not the cause, which is for the log only.
    fn refusal(&self, refusal: &Refusal) {
        if !self.audience.listens() {
            return;
        }
        let told = Message::Response(refusal.response(self.id.as_ref()));
        self.tell(&told, Some(refusal.kind.reason()));
    }

    fn tell(&self, message: &Message, refused: Option<&'static str>) {
        if let Some(hop) = self.before {
            for message in self.origin.deeds.take_before() {
                self.audience.tell(|| self.passing(hop, &message, None, Box::default()));
            }
        }
        self.audience.tell(|| self.passing(self.hop, message, refused, self.origin.deeds.take().into()));
    }

    fn passing<'a>(
        &'a self,
        hop: &'static str,
        message: &'a Message,
        refused: Option<&'static str>,
        rules: Box<[Box<str>]>,
    ) -> Passing<'a> {
        let answers = matches!(message, Message::Response(_));
        Passing {
            passed_at: Instant::now(),
            hop,
            direction: self.back,
            origin: &self.origin,
            message,
            passed: self.passed,
            refused,
            asked: answers.then_some(self.asked),
            rules,
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use bytes::Bytes;
    use shadowcat_pipeline::{PeerId, SessionTag, Transport};
    use shadowcat_protocol::{Limits, Revision};

    pub(crate) const CALL: &str = r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hi"}}}"#;

    pub(crate) fn message(text: &str) -> Message {
        Message::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::default()).unwrap()
    }

    pub(crate) fn origin() -> Arc<Origin> {
        let mut origin = Origin::new(PeerId::next(), Transport::Http, Revision::V2025_11_25);
        origin.session = Some(SessionTag("a1b2c3d4".into()));
        Arc::new(origin)
    }

    pub(crate) fn capture(text: &str) -> Captured {
        Captured {
            passed_at: Instant::now(),
            hop: "edge",
            direction: Direction::ToServer,
            origin: origin(),
            message: message(text),
            passed: Passed::AsWritten,
            refused: None,
            asked: None,
            rules: Box::default(),
        }
    }

    pub(crate) fn passing(captured: &Captured) -> Passing<'_> {
        let Captured { passed_at, hop, direction, passed, refused, asked, .. } = *captured;
        let (origin, message, rules) = (&captured.origin, &captured.message, captured.rules.clone());
        Passing { passed_at, hop, direction, origin, message, passed, refused, asked, rules }
    }

    pub(crate) fn captured() -> Captured {
        capture(CALL)
    }
}
