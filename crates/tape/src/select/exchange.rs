//! What a filter can ask of an exchange that is being recorded.

use std::time::UNIX_EPOCH;

use shadowcat_filter::{Field, Flag, Quantity, Subject};
use shadowcat_pipeline::Direction;
use shadowcat_protocol::Message;

use crate::clock::Moment;
use crate::line::side_words;
use crate::outcome::Outcome;
use crate::record::{Kind, name};
use crate::recorder::Captured;
use crate::subject::id;

/// The messages of one exchange at one hop, as far as they have come; the one that opened it is the first.
pub(super) struct Exchange<'a>(pub(super) &'a [&'a Captured]);

impl Captured {
    /// How it turned out; none for what is no answer.
    pub(super) fn outcome(&self) -> Option<Outcome<'_>> {
        Outcome::of(Kind::of(&self.message), self.text(), self.refused)
    }

    /// A message that was parsed is UTF-8.
    fn text(&self) -> &str {
        self.message.as_str()
    }

    fn is_answer(&self) -> bool {
        matches!(self.message, Message::Response(_))
    }
}

impl Exchange<'_> {
    fn all(&self) -> impl Iterator<Item = &Captured> {
        self.0.iter().copied()
    }

    fn answers(&self) -> impl Iterator<Item = &Captured> {
        self.all().filter(|captured| captured.is_answer())
    }

    fn asked(&self, is: impl FnOnce(&Captured) -> bool) -> bool {
        self.all().next().is_some_and(is)
    }
}

impl Subject for Exchange<'_> {
    fn is(&self, flag: Flag) -> bool {
        let kind = |kind| self.asked(|first| Kind::of(&first.message) == kind);
        match flag {
            Flag::Failed => self.all().filter_map(Captured::outcome).any(|outcome| outcome.is_failure()),
            Flag::Request => kind(Kind::Request),
            Flag::Notification => kind(Kind::Notification),
            Flag::Answer => self.answers().next().is_some(),
            Flag::ToServer => self.asked(|first| first.direction == Direction::ToServer),
            Flag::ToClient => self.asked(|first| first.direction == Direction::ToClient),
        }
    }

    fn any(&self, field: Field, test: &mut dyn FnMut(&str) -> bool) -> bool {
        match field {
            Field::Method => self.asked(|first| first.message.method().is_some_and(test)),
            Field::Name => self.asked(|first| name(first.text()).is_some_and(|name| test(&name))),
            Field::Code => {
                let mut outcomes = self.all().filter_map(Captured::outcome);
                outcomes.any(|outcome| outcome.code().is_some_and(&mut *test))
            }
            Field::Text => self.all().any(|captured| test(captured.text())),
            Field::AskedText => self.asked(|first| !first.is_answer() && test(first.text())),
            Field::AnswerText => self.answers().any(|captured| test(captured.text())),
            Field::Id => self.asked(|first| id(first.text()).is_some_and(|id| test(&id))),
            Field::Session => {
                self.asked(|first| first.origin.session.as_ref().is_some_and(|tag| test(&tag.0)))
            }
            Field::Principal => self.asked(|first| {
                first.origin.principal.as_ref().is_some_and(|principal| test(principal.name()))
            }),
            Field::Client => self.asked(|first| {
                side_words(first.origin.transport, first.origin.revision).into_iter().any(test)
            }),
            Field::Upstream => self.asked(|first| {
                first.origin.upstream.get().is_some_and(|side| {
                    test(&side.name) || side_words(side.transport, side.revision).into_iter().any(test)
                })
            }),
        }
    }

    fn amount(&self, quantity: Quantity) -> Option<u64> {
        match quantity {
            Quantity::Took => {
                let answer = self.answers().last()?;
                let took = answer.passed_at.saturating_duration_since(answer.asked?);
                u64::try_from(took.as_micros()).ok()
            }
            Quantity::Size => Some(self.all().map(|captured| captured.message.text().len() as u64).sum()),
            Quantity::Time => {
                let since =
                    Moment::now().wall_at(self.all().next()?.passed_at).duration_since(UNIX_EPOCH).ok()?;
                u64::try_from(since.as_micros()).ok()
            }
        }
    }
}
