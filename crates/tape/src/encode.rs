//! A message that passed, as a frame: redacted, and in the words of the format.

use shadowcat_protocol::lines::one_line;

use crate::clock::{Moment, Reading, micros};
use crate::line::{FrameLine, Sides, Word};
use crate::redact::Redactor;
use crate::seen::Seen;

/// Makes frames of what one tape, or one audience, is told.
#[derive(Debug)]
pub(crate) struct Encoder {
    redactor: Option<Redactor>,
    /// When its time began.
    begun: Moment,
    sides: Sides,
}

impl Encoder {
    pub(crate) fn new(redactor: Option<Redactor>, begun: Moment) -> Self {
        Self { redactor, begun, sides: Sides::new() }
    }

    /// The moment at which frames are made.
    pub(crate) fn now(&self) -> Reading {
        Reading::of(Moment::now(), self.begun.steady)
    }

    /// Hands the frame of this message, which passed not long before `now`, to `write`.
    pub(crate) fn frame(&self, seq: u64, seen: &Seen<'_>, now: &Reading, write: impl FnOnce(&FrameLine<'_>)) {
        let facts = &seen.facts;
        let text = one_line(seen.message);
        let redacted = self.redactor.as_ref().and_then(|redactor| redactor.line(&text));
        let safe_method = seen.method.map(|method| match &self.redactor {
            Some(redactor) => redactor.text(method).text,
            None => method.into(),
        });
        let age = now.moment.steady.saturating_duration_since(facts.passed_at);
        write(&FrameLine {
            seq,
            at_us: micros(now.since_begun(age)),
            time: now.text_before(age),
            hop: Word::own(facts.hop),
            direction: facts.direction,
            exchange: facts.exchange,
            related: facts.related,
            session: seen.session,
            client: self.sides.line(facts.client),
            upstream: seen.upstream.map(|(name, side)| (name, self.sides.line(side))),
            kind: facts.kind,
            method: safe_method.as_deref(),
            action: Word::own(facts.action),
            reason: facts.refused,
            rules: seen.rules.iter().map(|rule| &**rule).collect(),
            took_us: facts.asked.map(|asked| micros(facts.passed_at.duration_since(asked))),
            redactions: redacted.as_ref().map_or(0, |redacted| redacted.count),
            unfolded: text.len() != seen.message.len(),
            message: redacted.as_ref().map_or(&text, |redacted| redacted.text.as_bytes()),
        });
    }
}
