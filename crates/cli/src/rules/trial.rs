//! The messages of a tape, judged by rules as if they passed now.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use shadowcat_pipeline::Direction;
use shadowcat_protocol::Message;
use shadowcat_rules::{Asked, Facts, Rules, Scene, Speech, Step, World};
use shadowcat_tape::{Action, Frame, message_limits};

use super::deed::Deed;

/// Requests that wait for their answers at most: listeners and what was never answered stay. Beyond it the oldest are
/// forgotten, and their answers are judged as answers to nothing.
const OPEN_MAX: usize = 65_536;
/// The point of the path at which rules stand.
const HOP: &str = "edge";

/// One tape on its way through rules.
pub(super) struct Trial<'r> {
    rules: &'r Rules,
    open: BTreeMap<u64, Open>,
    /// The name of the server, as soon as a message says it.
    server: Option<String>,
    pub(super) counts: Counts,
}

enum Open {
    Asked(Box<Asked>, Direction),
    /// A rule ended the request, so that what the tape has of its replies would never have been said.
    Ended,
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) messages: u64,
    /// Messages that fit a rule.
    pub(super) fitting: u64,
    /// Replies to requests that a rule would have ended.
    pub(super) unsaid: u64,
    /// Messages that are none.
    pub(super) unread: u64,
}

/// What a rule would have done to a message.
pub(super) struct Fired<'a> {
    pub(super) rule: &'a str,
    pub(super) first: bool,
    pub(super) deed: Deed<'a>,
}

/// The clock of the tape, and dice that fall the same way each time.
struct Then<'f>(&'f Frame);

impl World for Then<'_> {
    fn now(&self) -> SystemTime {
        self.0.time.into()
    }

    fn random(&self) -> [u8; 16] {
        // An odd factor spreads the numbers of messages over all bits.
        u128::from(self.0.seq).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes()
    }
}

impl<'r> Trial<'r> {
    pub(super) fn new(rules: &'r Rules) -> Self {
        Self { rules, open: BTreeMap::new(), server: None, counts: Counts::default() }
    }

    /// Judges one message.
    pub(super) fn frame<E>(
        &mut self,
        frame: &Frame,
        mut each: impl FnMut(Fired<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some(upstream) = &frame.upstream {
            self.server.get_or_insert_with(|| upstream.name.clone());
        }
        // A refusal is the proxy's own word, which no rule sees.
        if frame.hop != HOP || matches!(frame.action, Action::Refused { .. }) {
            return Ok(());
        }
        self.counts.messages += 1;
        let Ok(message) = Message::parse(frame.message.clone().into(), &message_limits()) else {
            self.counts.unread += 1;
            return Ok(());
        };
        match self.open.get(&frame.exchange) {
            Some(Open::Ended) => {
                self.counts.unsaid += 1;
                Ok(())
            }
            _ => self.judge(frame, message, &mut each),
        }
    }

    fn judge<E>(
        &mut self,
        frame: &Frame,
        message: Message,
        each: &mut impl FnMut(Fired<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let facts = Facts {
            session: frame.session.as_deref(),
            principal: None,
            claims: None,
            server: self.server.as_deref(),
            transport: &frame.client.transport,
            revision: &frame.client.revision,
            era: &frame.client.era,
            upstream: frame.upstream.as_ref().map(|side| Speech {
                transport: &side.transport,
                revision: &side.revision,
                era: &side.era,
            }),
            headers: &[],
        };
        let asked = match self.open.get(&frame.exchange) {
            Some(Open::Asked(asked, direction)) if *direction != frame.direction => Some(&**asked),
            _ => None,
        };
        let took = frame.took_us.map(Duration::from_micros);
        let mut judgement =
            self.rules.judge(message, Scene { direction: frame.direction, facts: &facts, asked, took });
        let (mut fits, mut is_ended) = (false, false);
        loop {
            let before = judgement.message().text().clone();
            let Some(fired) = judgement.next(&Then(frame)) else { break };
            is_ended = fired.step.is_last() && fired.step != Step::Stop;
            fits = true;
            let deed = Deed {
                step: &fired.step,
                before: std::str::from_utf8(&before).unwrap_or_default(),
                after: std::str::from_utf8(judgement.message().text()).unwrap_or_default(),
                headers: judgement.headers().unwrap_or_default(),
            };
            each(Fired { rule: fired.rule, first: fired.first, deed })?;
        }
        let message = judgement.into_message();
        self.counts.fitting += u64::from(fits);
        self.note(frame, message, is_ended);
        Ok(())
    }

    /// Keeps what answers will be judged with.
    fn note(&mut self, frame: &Frame, message: Message, is_ended: bool) {
        match message {
            Message::Request(_) if is_ended => drop(self.open.insert(frame.exchange, Open::Ended)),
            Message::Request(request) => {
                let asked = Open::Asked(Box::new(Asked::new(request)), frame.direction);
                self.open.insert(frame.exchange, asked);
            }
            Message::Response(_) => drop(self.open.remove(&frame.exchange)),
            Message::Notification(_) => {}
        }
        if self.open.len() > OPEN_MAX {
            self.open.pop_first();
        }
    }
}
