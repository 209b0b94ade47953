//! A message that was noted, as a frame: redacted, and in the words of the format.

use shadowcat_pipeline::ExchangeId;

use crate::clock::{Moment, Reading, micros};
use crate::line::{FrameLine, Sides, Word};
use crate::record::Kind;
use crate::recorder::{Captured, Passed};
use crate::redact::Redactor;

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
    pub(crate) fn frame(
        &self,
        seq: u64,
        captured: &Captured,
        now: &Reading,
        write: impl FnOnce(&FrameLine<'_>),
    ) {
        let text = captured.message.to_line();
        let redacted = self.redactor.as_ref().and_then(|redactor| redactor.line(&text));
        let method = captured.message.method();
        let safe_method = method.map(|method| match &self.redactor {
            Some(redactor) => redactor.text(method).text,
            None => method.into(),
        });
        let origin = &captured.origin;
        let age = now.moment.steady.saturating_duration_since(captured.passed_at);
        write(&FrameLine {
            seq,
            at_us: micros(now.since_begun(age)),
            time: now.text_before(age),
            hop: Word::own(captured.hop),
            direction: captured.direction,
            exchange: origin.exchange.get(),
            related: origin.related.map(ExchangeId::get),
            session: origin.session.as_ref().map(|session| &*session.0),
            client: self.sides.line(origin.transport, origin.revision),
            upstream: origin
                .upstream
                .get()
                .map(|side| (&*side.name, self.sides.line(side.transport, side.revision))),
            kind: Kind::of(&captured.message),
            method: safe_method.as_deref(),
            action: Word::own(action(captured)),
            reason: captured.refused,
            rules: captured.rules.iter().map(|rule| &**rule).collect(),
            took_us: captured.asked.map(|asked| micros(captured.passed_at.duration_since(asked))),
            redactions: redacted.as_ref().map_or(0, |redacted| redacted.count),
            unfolded: text.len() != captured.message.text().len(),
            message: redacted.as_ref().map_or(&text, |redacted| redacted.text.as_bytes()),
        });
    }
}

fn action(captured: &Captured) -> &'static str {
    match (captured.refused, captured.passed) {
        (Some(_), _) => "refused",
        (None, Passed::AsWritten) => "passed",
        (None, Passed::Translated) => "translated",
    }
}
