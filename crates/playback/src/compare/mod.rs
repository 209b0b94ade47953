//! Two answers to the same question, compared by meaning: what belongs to one run is passed over, and so is what was
//! told to be; what is left and differs is named by its path.

mod lists;
mod strings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

use crate::generated;
use crate::ignored::{Ignored, is_ignored};
use crate::path::{Path, Segment};
use crate::run_values::{is_redacted, run_value};

/// Differences of one answer that are told; there may be more.
const DIFFERENCES_MAX: usize = 200;

/// How alike two answers have to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Match {
    /// The same values, in the same order, but for ids and tokens of the protocol itself.
    Exact,
    /// The same values; times and made up ids may differ, lists of named things may have another order.
    #[default]
    Values,
    /// The same members of the same types, whatever their values.
    Structural,
}

/// What counts as a difference.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// How alike two answers have to be.
    pub by: Match,
    /// What is not looked at.
    pub ignored: Ignored,
    /// By how much two numbers may differ.
    pub tolerance: f64,
    /// Whether a bridge between the eras stood in the way on one side only, and what it adds does not count.
    pub across_eras: bool,
}

/// One difference.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Where it stands.
    pub path: Path,
    /// On tape, or at the first server; none if it is not there.
    pub before: Option<Value>,
    /// Live, or at the second server; none if it is not there.
    pub after: Option<Value>,
}

/// The differences of two messages.
pub fn compare(rules: &Rules, before: &Value, after: &Value) -> Vec<Difference> {
    let (mut before, mut after) = (before.clone(), after.clone());
    for message in [&mut before, &mut after] {
        plain(message, rules.across_eras);
        rules.ignored.remove_from(message);
    }
    let mut walk = Walk { rules, path: Path::root(), found: Vec::new() };
    walk.value(&before, &after);
    walk.found
}

/// Whether a question on tape and a live one ask the same.
pub fn means_the_same(before: &Value, after: &Value) -> bool {
    compare(&Rules::default(), before, after).is_empty()
}

/// Leaves out what says nothing: the version of JSON-RPC, and that a result is a whole one, which is so unless it is said
/// otherwise; and, across the eras, what only one of them has.
fn plain(message: &mut Value, across_eras: bool) {
    let Some(members) = message.as_object_mut() else { return };
    members.remove("jsonrpc");
    let Some(result) = members.get_mut("result").and_then(Value::as_object_mut) else { return };
    if result.get("resultType").is_some_and(|kind| kind == "complete") {
        result.remove("resultType");
    }
    if !across_eras {
        return;
    }
    result.remove("ttlMs");
    result.remove("cacheScope");
    if let Some(meta) = result.get_mut("_meta").and_then(Value::as_object_mut) {
        meta.retain(|key, _| !key.starts_with("io.modelcontextprotocol/"));
        if meta.is_empty() {
            result.remove("_meta");
        }
    }
}

struct Walk<'a> {
    rules: &'a Rules,
    path: Path,
    found: Vec<Difference>,
}

impl Walk<'_> {
    fn differ(&mut self, before: Option<&Value>, after: Option<&Value>) {
        if self.found.len() < DIFFERENCES_MAX {
            let path = self.path.clone();
            self.found.push(Difference { path, before: before.cloned(), after: after.cloned() });
        }
    }

    fn within(&mut self, segment: Segment, work: impl FnOnce(&mut Self)) {
        self.path.push(segment);
        work(self);
        self.path.pop();
    }

    fn value(&mut self, before: &Value, after: &Value) {
        if before == after || run_value(&self.path).is_some() || is_ignored(before, after) {
            return;
        }
        if self.rules.by != Match::Exact && before.as_str().is_some_and(is_whole_mark) {
            return;
        }
        match (before, after) {
            (Value::Object(before), Value::Object(after)) => self.object(before, after),
            (Value::Array(before), Value::Array(after)) => self.array(before, after),
            (Value::String(old), Value::String(new)) => self.string(old, new),
            (Value::Number(old), Value::Number(new)) => {
                if !self.same_number(old, new) {
                    self.differ(Some(before), Some(after));
                }
            }
            (Value::Bool(_), Value::Bool(_)) if self.rules.by == Match::Structural && !self.is_verdict() => {}
            _ => self.differ(Some(before), Some(after)),
        }
    }

    fn object(&mut self, before: &Map<String, Value>, after: &Map<String, Value>) {
        for (name, value) in before {
            self.within(Segment::Member(name.clone()), |walk| match after.get(name) {
                Some(other) => walk.value(value, other),
                None => walk.differ(Some(value), None),
            });
        }
        for (name, value) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
            self.within(Segment::Member(name.clone()), |walk| walk.differ(None, Some(value)));
        }
    }

    fn array(&mut self, before: &[Value], after: &[Value]) {
        if self.rules.by != Match::Exact {
            if lists::is_set(&self.path) {
                return self.set(before, after);
            }
            if let Some(name) = lists::name_member(&self.path)
                && let (Some(before), Some(after)) =
                    (lists::by_name(before, name), lists::by_name(after, name))
            {
                return self.named(name, &before, &after);
            }
        }
        for (number, (value, other)) in before.iter().zip(after).enumerate() {
            self.within(Segment::Element(number), |walk| walk.value(value, other));
        }
        // How many there are is a value, and no shape.
        if self.rules.by == Match::Structural {
            return;
        }
        let shared = before.len().min(after.len());
        for (number, value) in before.iter().enumerate().skip(shared) {
            self.within(Segment::Element(number), |walk| walk.differ(Some(value), None));
        }
        for (number, value) in after.iter().enumerate().skip(shared) {
            self.within(Segment::Element(number), |walk| walk.differ(None, Some(value)));
        }
    }

    fn named(&mut self, name: &'static str, before: &BTreeMap<&str, &Value>, after: &BTreeMap<&str, &Value>) {
        for (text, value) in before {
            let segment = Segment::Named(name, (*text).to_owned());
            self.within(segment, |walk| match after.get(text) {
                Some(other) => walk.value(value, other),
                None => walk.differ(Some(value), None),
            });
        }
        for (text, value) in after.iter().filter(|(text, _)| !before.contains_key(*text)) {
            self.within(Segment::Named(name, (*text).to_owned()), |walk| walk.differ(None, Some(value)));
        }
    }

    fn set(&mut self, before: &[Value], after: &[Value]) {
        for value in before.iter().filter(|value| !after.contains(value)) {
            self.differ(Some(value), None);
        }
        for value in after.iter().filter(|value| !before.contains(value)) {
            self.differ(None, Some(value));
        }
    }

    fn same_number(&self, before: &Number, after: &Number) -> bool {
        if self.rules.by == Match::Structural {
            return true;
        }
        let is_time = |number: &Number| number.as_u64().is_some_and(generated::is_time);
        if self.rules.by == Match::Values && is_time(before) && is_time(after) {
            return true;
        }
        match (before.as_i128(), after.as_i128()) {
            (Some(before), Some(after)) if self.rules.tolerance == 0.0 => before == after,
            _ => match (before.as_f64(), after.as_f64()) {
                // Not `<=` alone: two infinities have no distance.
                (Some(before), Some(after)) => {
                    before.total_cmp(&after).is_eq() || (before - after).abs() <= self.rules.tolerance
                }
                _ => false,
            },
        }
    }

    fn string(&mut self, before: &str, after: &str) {
        let is_same = match self.rules.by {
            Match::Structural => !self.is_verdict(),
            Match::Values if is_redacted(before) => strings::fits_marks(before, after),
            Match::Values => generated::blanked(before) == generated::blanked(after),
            Match::Exact => is_redacted(before) && strings::fits_marks(before, after),
        };
        if is_same {
            return;
        }
        // Many servers answer with JSON in a text; what differs in it can be named.
        if self.rules.by == Match::Values
            && let (Some(old), Some(new)) = (strings::json_in(before), strings::json_in(after))
        {
            return self.within(Segment::Parsed, |walk| walk.value(&old, &new));
        }
        self.differ(Some(&Value::String(before.to_owned())), Some(&Value::String(after.to_owned())));
    }

    /// Whether a value decides what the rest means, so that it belongs to the shape.
    fn is_verdict(&self) -> bool {
        let Some(Segment::Member(name)) = self.path.segments().last() else { return false };
        matches!(name.as_str(), "isError" | "type" | "resultType" | "action")
    }
}

/// Whether a value was replaced as a whole; it may have been of any type.
fn is_whole_mark(text: &str) -> bool {
    is_redacted(text) && text.starts_with('[') && text.ends_with(']') && text.matches('[').count() == 1
}
