//! A filter as a tree: what it matches, and how it is written.

use std::fmt;

use crate::comparison::Comparison;
use crate::operators::{Operator, Takes};
use crate::pattern::Pattern;
use crate::subject::{Fact, Field, Flag, Foresight, Heard, Quantity, Subject};

/// A filter or a part of one. Parts joined by one sign are in one list, so that a filter has one tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Box<Expression>),
    Term(Term),
}

/// An operator with what stands behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    pub(crate) operator: &'static Operator,
    pub(crate) test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    Is(Flag),
    Fits(Field, Pattern),
    Measures(Quantity, Comparison),
}

impl Expression {
    pub(crate) fn matches(&self, subject: &(impl Subject + ?Sized)) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.matches(subject)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(subject)),
            Self::Not(part) => !part.matches(subject),
            Self::Term(term) => term.test.passes(subject),
        }
    }

    /// The same of what is not all heard; none if it is open.
    pub(crate) fn settled(&self, subject: &(impl Subject + ?Sized), heard: Heard) -> Option<bool> {
        self.decided(&|test| {
            let is_known = test.fact().known_from().is_some_and(|from| from <= heard);
            is_known.then(|| test.passes(subject))
        })
    }

    /// The same of what nobody has seen yet; none if that decides.
    pub(crate) fn foreseen(&self, of: &impl Foresight) -> Option<bool> {
        self.decided(&|test| match test {
            Test::Is(flag) => of.is(*flag),
            Test::Fits(field, pattern) => of.any(*field, &mut |text| pattern.fits(text)),
            Test::Measures(quantity, _) => of.is_known(*quantity).filter(|is_known| !is_known),
        })
    }

    /// Whether it holds, as far as its tests say; none if one decides that does not.
    fn decided(&self, says: &impl Fn(&Test) -> Option<bool>) -> Option<bool> {
        // One part decides if it is not what all have to be.
        let joined = |parts: &[Self], all: bool| {
            let mut parts = parts.iter().map(|part| part.decided(says));
            parts.try_fold(Some(all), |open, part| match part {
                Some(part) if part != all => Err(part),
                Some(_) => Ok(open),
                None => Ok(None),
            })
        };
        match self {
            Self::All(parts) => joined(parts, true).unwrap_or_else(Some),
            Self::Any(parts) => joined(parts, false).unwrap_or_else(Some),
            Self::Not(part) => part.decided(says).map(|is| !is),
            Self::Term(term) => says(&term.test),
        }
    }

    /// `&` of these.
    pub(crate) fn all(parts: Vec<Self>) -> Self {
        let flat =
            parts.into_iter().flat_map(|part| if let Self::All(inner) = part { inner } else { vec![part] });
        one_or(flat.collect(), Self::All)
    }

    /// `|` of these.
    pub(crate) fn any(parts: Vec<Self>) -> Self {
        let flat =
            parts.into_iter().flat_map(|part| if let Self::Any(inner) = part { inner } else { vec![part] });
        one_or(flat.collect(), Self::Any)
    }

    /// How tightly it holds together: what is looser than its surroundings is put in parentheses.
    fn tightness(&self) -> u8 {
        match self {
            Self::Any(_) => 0,
            Self::All(_) => 1,
            Self::Not(_) | Self::Term(_) => 2,
        }
    }

    fn print_within(&self, tightness: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tightness() < tightness { write!(f, "({self})") } else { write!(f, "{self}") }
    }
}

fn one_or(mut parts: Vec<Expression>, join: impl FnOnce(Vec<Expression>) -> Expression) -> Expression {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            join(parts)
        }
    }
}

impl Test {
    fn passes(&self, subject: &(impl Subject + ?Sized)) -> bool {
        match self {
            Self::Is(flag) => subject.is(*flag),
            Self::Fits(field, pattern) => subject.any(*field, &mut |text| pattern.fits(text)),
            Self::Measures(quantity, comparison) => {
                subject.amount(*quantity).is_some_and(|amount| comparison.holds(amount))
            }
        }
    }

    fn fact(&self) -> Fact {
        match self {
            Self::Is(flag) => Fact::Is(*flag),
            Self::Fits(field, _) => Fact::Fits(*field),
            Self::Measures(quantity, _) => Fact::Measures(*quantity),
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |parts: &[Self], sign: &str, f: &mut fmt::Formatter<'_>| {
            parts.iter().enumerate().try_for_each(|(place, part)| {
                f.write_str(if place == 0 { "" } else { sign })?;
                part.print_within(self.tightness() + 1, f)
            })
        };
        match self {
            Self::All(parts) => joined(parts, " & ", f),
            Self::Any(parts) => joined(parts, " | ", f),
            Self::Not(part) => {
                f.write_str("!")?;
                part.print_within(self.tightness(), f)
            }
            Self::Term(term) => term.fmt(f),
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "~{}", self.operator.name)?;
        match (&self.test, &self.operator.takes) {
            (Test::Is(flag), Takes::Word(words)) => {
                let word = words.iter().find(|(_, known)| known == flag).map_or("", |(word, _)| word);
                write!(f, " {word}")
            }
            (Test::Is(_), _) => Ok(()),
            (Test::Fits(_, pattern), _) => write!(f, " {pattern}"),
            (Test::Measures(quantity, comparison), _) => {
                f.write_str(" ")?;
                comparison.print(*quantity, f)
            }
        }
    }
}
