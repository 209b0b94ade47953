//! What is demanded of the values that a path finds in a message.

use regex::Regex;
use serde_json::{Number, Value};

use super::Path;
use super::need::{self, Pieces};
use crate::fault::{Faults, Place};
use crate::strict::{Content, Unreadable};
use crate::view::View;
use crate::written::Tests;

/// Where paths begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Root {
    Params,
    Result,
    Error,
}

impl Root {
    pub(crate) fn of<'v>(self, view: &'v View<'_>) -> Option<Content<'v>> {
        match self {
            Self::Params => view.params(),
            Self::Result => view.result(),
            Self::Error => view.error(),
        }
    }
}

/// Whether what this path finds meets the demand. What is not there needs no reading, and cannot be read in two ways.
pub(super) fn holds<'v>(content: Content<'v>, path: &Path, demand: &Demand) -> Result<bool, &'v Unreadable> {
    let untouched = |text: &str| {
        if path.finds_nothing_in(text) {
            Some(demand.is_met(&[]))
        } else {
            demand.is_unmet_in(text).then_some(false)
        }
    };
    if let Some(known) = content.unread().and_then(untouched) {
        return Ok(known);
    }
    match content.value() {
        Ok(value) => Ok(path.shows(value, |found| demand.is_met(found))),
        // Whether somebody else has read it makes no difference.
        Err(unreadable) => untouched(content.text()).ok_or(unreadable),
    }
}

/// What one of the found values has to be.
#[derive(Debug)]
pub(crate) struct Demand {
    exists: bool,
    equals: Option<Value>,
    contains: Option<Value>,
    matches: Option<Regex>,
    above: Option<f64>,
    below: Option<f64>,
    /// What has to be there for it to be met.
    pieces: Option<Pieces>,
}

impl Demand {
    pub(crate) fn compile(tests: &Tests, place: &Place<'_>, faults: &mut Faults) -> Self {
        let Tests { exists, equals, contains, matches, above, below } = tests;
        let is_other =
            equals.is_some() || contains.is_some() || matches.is_some() || above.is_some() || below.is_some();
        if exists.is_none() && !is_other {
            faults.add(
                place,
                "demands nothing; write a value, or one of exists, equals, contains, matches, above, below",
            );
        }
        if *exists == Some(false) && is_other {
            faults.add(
                &place.key("exists"),
                "what is not there cannot be anything else too; leave the others out",
            );
        }
        let matches = matches
            .as_deref()
            .and_then(|source| faults.take(&place.key("matches"), super::compile::regex(source)));
        let mut demand = Self {
            exists: exists.unwrap_or(true),
            equals: equals.clone(),
            contains: contains.clone(),
            matches,
            above: *above,
            below: *below,
            pieces: None,
        };
        let word = demand.word().map(|word| vec![word.as_bytes().to_vec()]);
        demand.pieces = word.or_else(|| demand.needs()).and_then(|pieces| Pieces::new(&pieces));
        demand
    }

    /// Whether nothing in a JSON text can meet it, as far as that can be told without reading it.
    fn is_unmet_in(&self, text: &str) -> bool {
        self.pieces.as_ref().is_some_and(|pieces| pieces.are_missing_in(text))
    }

    /// The word of JSON that it equals.
    fn word(&self) -> Option<&'static str> {
        match self.equals.as_ref().filter(|_| self.exists)? {
            Value::Bool(true) => Some("true"),
            Value::Bool(false) => Some("false"),
            Value::Null => Some("null"),
            _ => None,
        }
    }

    /// Texts of which a text that meets it has one in it; a list that meets it may have one as an element. `None` where that
    /// cannot be told, or something else can meet it.
    pub(super) fn needs(&self) -> Option<Vec<Vec<u8>>> {
        if !self.exists {
            return None;
        }
        let text = |value: &Option<Value>| {
            value.as_ref().and_then(Value::as_str).map(|text| vec![text.as_bytes().to_vec()])
        };
        let pieces = text(&self.equals)
            .or_else(|| text(&self.contains))
            .or_else(|| self.matches.as_ref().and_then(|regex| need::of_regex(regex.as_str())))?;
        pieces.iter().all(|piece| !piece.is_empty()).then_some(pieces)
    }

    pub(crate) fn is_met(&self, found: &[&Value]) -> bool {
        self.exists == found.iter().any(|value| !self.exists || self.is_met_by(value))
    }

    fn is_met_by(&self, value: &Value) -> bool {
        let number = || value.as_f64();
        self.equals.as_ref().is_none_or(|right| same(value, right))
            && self.above.is_none_or(|bound| number().is_some_and(|number| number > bound))
            && self.below.is_none_or(|bound| number().is_some_and(|number| number < bound))
            && self.contains.as_ref().is_none_or(|part| contains(value, part))
            && self
                .matches
                .as_ref()
                .is_none_or(|regex| value.as_str().is_some_and(|text| regex.is_match(text)))
    }
}

fn contains(value: &Value, part: &Value) -> bool {
    match (value, part) {
        (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
        (Value::Array(elements), part) => elements.iter().any(|element| same(element, part)),
        _ => false,
    }
}

/// Whether two values are the same; `1` and `1.0` are.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || same_fraction(one, other),
        _ => one == other,
    }
}

/// Only where one of them is written as a fraction: two whole numbers are compared by all their digits.
fn same_fraction(one: &Number, other: &Number) -> bool {
    (one.is_f64() || other.is_f64()) && one.as_f64() == other.as_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Place;
    use serde_json::json;

    fn is_met(tests: &Tests, value: &Value) -> bool {
        Demand::compile(tests, &Place::Root("x"), &mut Faults::default()).is_met(&[value])
    }

    #[test]
    fn numbers_are_compared_by_value() {
        let equals = |right: Value| Tests { equals: Some(right), ..Tests::default() };
        assert!(is_met(&equals(json!(1)), &json!(1.0)));
        assert!(!is_met(&equals(json!(9_007_199_254_740_993_u64)), &json!(9_007_199_254_740_992_u64)));
        assert!(!is_met(&equals(json!("1")), &json!(1)));
        let between = || Tests { above: Some(1.0), below: Some(2.0), ..Tests::default() };
        assert!(is_met(&between(), &json!(1.5)));
        assert!(!is_met(&between(), &json!(1)) && !is_met(&between(), &json!("1.5")));
    }

    #[test]
    fn a_text_contains_a_text_and_a_list_an_element() {
        let contains = |part: Value| Tests { contains: Some(part), ..Tests::default() };
        assert!(is_met(&contains(json!("ab")), &json!("cabd")));
        assert!(is_met(&contains(json!(2)), &json!([1, 2])));
        assert!(!is_met(&contains(json!("a")), &json!({"a": 1})));
    }

    #[test]
    fn what_must_not_exist_is_met_by_nothing() {
        let demand = |exists| {
            let tests = Tests { exists: Some(exists), ..Tests::default() };
            Demand::compile(&tests, &Place::Root("x"), &mut Faults::default())
        };
        assert!(demand(false).is_met(&[]) && !demand(false).is_met(&[&json!(null)]));
        assert!(!demand(true).is_met(&[]) && demand(true).is_met(&[&json!(null)]));
    }
}
