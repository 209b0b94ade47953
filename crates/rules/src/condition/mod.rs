//! Whether a message fits a rule.

mod compile;
mod content;
mod need;
mod path;
mod possible;

use shadowcat_filter::{Filter, Pattern};
use shadowcat_protocol::Direction;

use crate::scene::Kind;
use crate::strict::Unreadable;
use crate::view::{Named, View};

pub(crate) use compile::{compile, regex};
pub(crate) use content::{Demand, Root};
pub(crate) use need::Need;
pub(crate) use path::Path;
pub(crate) use possible::{Chance, Known, Shape};

/// A condition as a tree. The parts of a list stand in the order of what they cost.
#[derive(Debug)]
pub(crate) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Kind(Vec<Kind>),
    Goes(Direction),
    Method(Patterns),
    Name(Named, Patterns),
    Fact(Fact, Patterns),
    Header(Box<str>, Patterns),
    Size { above: Option<usize>, below: Option<usize> },
    Content(Root, Box<Path>, Box<Demand>),
    Claims(Box<Path>, Box<Demand>),
    Filter(Box<Filter>),
}

/// A text that is known of an exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fact {
    Server,
    Session,
    Principal,
    Revision,
    Transport,
    Era,
}

/// Patterns of which one has to fit.
#[derive(Debug)]
pub(crate) struct Patterns(Vec<Pattern>);

impl Patterns {
    pub(crate) fn fit(&self, text: &str) -> bool {
        self.0.iter().any(|pattern| pattern.fits(text))
    }

    /// The texts that fit, where they can be listed.
    pub(crate) fn texts(&self) -> Option<Vec<&str>> {
        self.0.iter().map(Pattern::only_text).collect()
    }
}

impl Condition {
    pub(crate) fn all(mut parts: Vec<Self>) -> Self {
        match parts.pop() {
            Some(only) if parts.is_empty() => only,
            last => {
                parts.extend(last);
                Self::All(parts)
            }
        }
    }

    /// # Errors
    /// It depends on content that two parsers could read differently.
    pub(crate) fn holds<'v>(&self, view: &'v View<'_>) -> Result<bool, &'v Unreadable> {
        let facts = view.scene.facts;
        Ok(match self {
            Self::All(parts) => {
                for part in parts {
                    if !part.holds(view)? {
                        return Ok(false);
                    }
                }
                true
            }
            Self::Any(parts) => {
                for part in parts {
                    if part.holds(view)? {
                        return Ok(true);
                    }
                }
                false
            }
            Self::Not(part) => !part.holds(view)?,
            Self::Kind(kinds) => kinds.contains(&view.kind),
            Self::Goes(direction) => view.scene.direction == *direction,
            Self::Method(patterns) => view.method.is_some_and(|method| patterns.fit(method)),
            Self::Name(kind, patterns) => view.name_of(*kind).is_some_and(|name| patterns.fit(name)),
            Self::Fact(fact, patterns) => {
                let text = match fact {
                    Fact::Server => facts.server,
                    Fact::Session => facts.session,
                    Fact::Principal => facts.principal,
                    Fact::Revision => Some(facts.revision),
                    Fact::Transport => Some(facts.transport),
                    Fact::Era => Some(facts.era),
                };
                text.is_some_and(|text| patterns.fit(text))
            }
            Self::Header(name, patterns) => {
                let mut same = view.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
                same.any(|(_, value)| patterns.fit(value))
            }
            Self::Size { above, below } => {
                let size = view.message.text().len();
                above.is_none_or(|bound| size > bound) && below.is_none_or(|bound| size < bound)
            }
            Self::Content(root, path, demand) => {
                root.of(view).map_or(Ok(false), |content| content::holds(content, path, demand))?
            }
            // Of somebody unknown there is nothing to be found: what must not be there is not.
            Self::Claims(path, demand) => match facts.claims {
                Some(claims) => path.shows(claims, |found| demand.is_met(found)),
                None => demand.is_met(&[]),
            },
            Self::Filter(filter) => filter.matches(view),
        })
    }

    /// What is left to be asked of a message that was found by its kind and its direction.
    pub(crate) fn beyond_shape(self) -> Self {
        let Self::All(mut parts) = self else { return self };
        parts.retain(|part| !matches!(part, Self::Kind(_) | Self::Goes(_)));
        Self::all(parts)
    }

    /// How much it costs, roughly: cheap ones are asked first.
    fn cost(&self) -> u32 {
        match self {
            Self::Kind(_) | Self::Goes(_) | Self::Size { .. } => 1,
            Self::Method(_) | Self::Name(..) | Self::Fact(..) => 2,
            Self::Header(..) | Self::Claims(..) => 4,
            Self::Content(..) => 20,
            Self::Filter(_) => 30,
            Self::Not(part) => part.cost(),
            Self::All(parts) | Self::Any(parts) => parts.iter().map(Self::cost).sum(),
        }
    }
}
