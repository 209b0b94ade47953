//! The interceptor that notes every message. It only takes notes: all that costs time is the writer thread's.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use shadowcat_pipeline::{Direction, Envelope, Interceptor, Next, Origin, Refusal, Replies};
use shadowcat_protocol::Message;

use crate::clock::Moment;
use crate::feed::Audience;

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

/// A message as the data path hands it over: shared bytes and a shared origin, nothing copied.
#[derive(Clone, Debug)]
pub(crate) struct Captured {
    pub(crate) moment: Moment,
    pub(crate) hop: &'static str,
    pub(crate) direction: Direction,
    pub(crate) origin: Arc<Origin>,
    pub(crate) message: Message,
    pub(crate) passed: Passed,
    /// The stable word of a refusal.
    pub(crate) refused: Option<&'static str>,
    /// For answers: when the message passed that they answer.
    pub(crate) asked: Option<Instant>,
    /// What rules did to it.
    pub(crate) rules: Box<[Box<str>]>,
}

impl Captured {
    /// What it counts for in the queue's bound.
    pub(crate) fn bytes(&self) -> usize {
        self.message.text().len() + self.rules.iter().map(|rule| rule.len()).sum::<usize>() + FRAME_OVERHEAD
    }
}

impl Recorder {
    pub(crate) fn new(audience: Audience, hop: &'static str) -> Self {
        let hops = Hops { to_server: hop, to_client: hop };
        Self { audience, hops, passed: Passed::AsWritten }
    }

    /// The same, where exchanges that a server begins pass at another hop: what is outermost for clients is innermost for
    /// servers.
    #[must_use]
    pub fn to_client_at(self, hop: &'static str) -> Self {
        Self { hops: Hops { to_client: hop, ..self.hops }, ..self }
    }

    /// The same, at a place where messages are in the words of another era than their sender's.
    #[must_use]
    pub fn translated(self) -> Self {
        Self { passed: Passed::Translated, ..self }
    }
}

#[async_trait]
impl Interceptor for Recorder {
    fn name(&self) -> &'static str {
        "record"
    }

    async fn intercept(&self, envelope: Envelope, next: Next<'_>) -> Result<Replies, Refusal> {
        self.audience.room().await;
        let exchange = Exchange::begin(self, &envelope);
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
    passed: Passed,
    back: Direction,
    origin: Arc<Origin>,
    id: Option<shadowcat_protocol::Id>,
    asked: Instant,
}

impl Exchange {
    fn begin(recorder: &Recorder, envelope: &Envelope) -> Self {
        let asked = Instant::now();
        let hop = match envelope.direction {
            Direction::ToServer => recorder.hops.to_server,
            Direction::ToClient => recorder.hops.to_client,
        };
        recorder.audience.tell(|| Captured {
            moment: Moment::at(asked),
            hop,
            direction: envelope.direction,
            origin: Arc::clone(&envelope.origin),
            message: envelope.message.clone(),
            passed: recorder.passed,
            refused: None,
            asked: None,
            rules: envelope.origin.deeds.take().into(),
        });
        Self {
            audience: recorder.audience.clone(),
            hop,
            passed: recorder.passed,
            back: envelope.direction.back(),
            origin: Arc::clone(&envelope.origin),
            id: envelope.request_id().cloned(),
            asked,
        }
    }

    fn reply(&self, reply: &Result<Message, Refusal>) {
        match reply {
            Ok(message) => self.tell(|| message.clone(), None),
            Err(refusal) => self.refusal(refusal),
        }
    }

    /// The frame holds what the peer is told, not the cause, which is for the log only.
    fn refusal(&self, refusal: &Refusal) {
        let told = || Message::Response(refusal.response(self.id.as_ref()));
        self.tell(told, Some(refusal.kind.reason()));
    }

    fn tell(&self, message: impl FnOnce() -> Message, refused: Option<&'static str>) {
        self.audience.tell(|| {
            let message = message();
            let answers = matches!(message, Message::Response(_));
            Captured {
                moment: Moment::now(),
                hop: self.hop,
                direction: self.back,
                origin: Arc::clone(&self.origin),
                message,
                passed: self.passed,
                refused,
                asked: answers.then_some(self.asked),
                rules: self.origin.deeds.take().into(),
            }
        });
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
            moment: Moment::now(),
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

    pub(crate) fn captured() -> Captured {
        capture(CALL)
    }
}
