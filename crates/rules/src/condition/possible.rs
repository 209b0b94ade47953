//! Which messages a condition could hold for, judged by what is known before any of them is looked at.

use shadowcat_filter::{Field, Flag, Foresight, Quantity};
use shadowcat_protocol::{Direction, method};

use super::{Condition, Root};
use crate::scene::Kind;
use crate::view::Named;

/// What is known of a message: enough to sort rules by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape<'a> {
    pub(crate) kind: Kind,
    pub(crate) direction: Direction,
    pub(crate) method: Known<'a>,
}

/// A method, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known<'a> {
    /// This one.
    Is(&'a str),
    /// None of these, or none at all.
    NoneOf(&'a [String]),
}

/// Whether a condition holds for messages of one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Chance {
    Never,
    Sometimes,
    Always,
}

impl From<bool> for Chance {
    fn from(holds: bool) -> Self {
        if holds { Self::Always } else { Self::Never }
    }
}

impl Condition {
    pub(crate) fn chance(&self, shape: &Shape<'_>) -> Chance {
        match self {
            Self::All(parts) => parts.iter().map(|part| part.chance(shape)).min().unwrap_or(Chance::Always),
            Self::Any(parts) => parts.iter().map(|part| part.chance(shape)).max().unwrap_or(Chance::Never),
            Self::Not(part) => match part.chance(shape) {
                Chance::Never => Chance::Always,
                Chance::Sometimes => Chance::Sometimes,
                Chance::Always => Chance::Never,
            },
            Self::Kind(kinds) => kinds.contains(&shape.kind).into(),
            Self::Goes(direction) => (shape.direction == *direction).into(),
            Self::Method(patterns) => match shape.method {
                Known::Is(method) => patterns.fit(method).into(),
                Known::NoneOf(others) => match patterns.texts() {
                    Some(texts) if texts.iter().all(|text| others.iter().any(|other| other == text)) => {
                        Chance::Never
                    }
                    _ => Chance::Sometimes,
                },
            },
            Self::Name(named, _) => named_chance(*named, shape),
            Self::Content(Root::Result | Root::Error, ..) if shape.kind != Kind::Answer => Chance::Never,
            Self::Filter(filter) => filter.foreseen(shape).map_or(Chance::Sometimes, Chance::from),
            Self::Fact(..) | Self::Header(..) | Self::Size { .. } | Self::Content(..) | Self::Claims(..) => {
                Chance::Sometimes
            }
        }
    }

    /// The names of which the message has to have one, where that can be told.
    pub(crate) fn names(&self) -> Option<Vec<&str>> {
        match self {
            Self::Name(_, patterns) => patterns.texts(),
            Self::All(parts) => parts.iter().find_map(Self::names),
            _ => None,
        }
    }

    /// The methods that are written in it as they are.
    pub(crate) fn methods<'c>(&'c self, found: &mut Vec<&'c str>) {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.methods(found)),
            Self::Not(part) => part.methods(found),
            Self::Method(patterns) => found.extend(patterns.texts().unwrap_or_default()),
            Self::Name(Named::Tool, _) => found.push(method::TOOLS_CALL),
            Self::Name(Named::Prompt, _) => found.push(method::PROMPTS_GET),
            Self::Name(Named::Resource, _) => found.push(method::RESOURCES_READ),
            _ => {}
        }
    }
}

impl Foresight for Shape<'_> {
    fn is(&self, flag: Flag) -> Option<bool> {
        match flag {
            Flag::Request => Some(self.kind == Kind::Request),
            Flag::Notification => Some(self.kind == Kind::Notification),
            Flag::Answer => Some(self.kind == Kind::Answer),
            Flag::ToServer => Some(self.direction == Direction::ToServer),
            Flag::ToClient => Some(self.direction == Direction::ToClient),
            Flag::Failed => self.unless_answer(),
        }
    }

    fn any(&self, field: Field, test: &mut dyn FnMut(&str) -> bool) -> Option<bool> {
        match (field, self.method) {
            (Field::Method, Known::Is(method)) => Some(test(method)),
            (Field::Code | Field::AnswerText, _) => self.unless_answer(),
            _ => None,
        }
    }

    fn is_known(&self, quantity: Quantity) -> Option<bool> {
        (quantity == Quantity::Took && self.kind == Kind::Request).then_some(false)
    }
}

impl Shape<'_> {
    /// What only an answer can say.
    fn unless_answer(&self) -> Option<bool> {
        (self.kind != Kind::Answer).then_some(false)
    }
}

/// A notification among the replies to a call is about the tool that was called.
fn named_chance(named: Named, shape: &Shape<'_>) -> Chance {
    match (shape.kind, shape.method, named) {
        (Kind::Notification, ..) | (_, _, Named::Any) => Chance::Sometimes,
        (_, Known::Is(method), named) if named.is_of(method) => Chance::Sometimes,
        (_, Known::Is(_), _) => Chance::Never,
        (_, Known::NoneOf(others), named) => {
            let is_elsewhere = |method: &str| others.iter().any(|other| other == method);
            match named {
                Named::Tool if is_elsewhere(method::TOOLS_CALL) => Chance::Never,
                Named::Prompt if is_elsewhere(method::PROMPTS_GET) => Chance::Never,
                _ => Chance::Sometimes,
            }
        }
    }
}
