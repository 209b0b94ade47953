//! What a request asks, apart from how it is written and from what belongs to one run: two that ask the same are the
//! same key, and two that do not differ at paths.

use serde_json::Value;

use crate::ignored::Ignored;
use crate::run_values::{is_redacted, meaning};
use crate::{Path, Segment};

/// Whole numbers up to here are the same in both spellings: a `f64` holds each of them exactly.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
/// What a client adds to a call in its later rounds; the call is the same.
const INPUT_RESPONSES: &str = "inputResponses";

/// What one request asks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    /// `method` and `params`, without what is not meant.
    pub(super) value: Value,
    /// The same as text, by which it is found.
    pub(super) key: String,
    /// The answers to what the server asked in an earlier round.
    pub(super) responses: Option<Value>,
}

impl Asked {
    /// Reads the text of a request or notification; none if it is no JSON object.
    pub(super) fn read(text: &[u8], ignored: &Ignored) -> Option<Self> {
        let message: Value = serde_json::from_slice(text).ok()?;
        let mut value = meaning(&message);
        let params = value.get_mut("params").and_then(Value::as_object_mut);
        let responses = params.and_then(|params| params.remove(INPUT_RESPONSES));
        ignored.remove_from(&mut value);
        drop_empty_params(&mut value);
        one_spelling(&mut value);
        let key = value.to_string();
        value.is_object().then_some(Self { value, key, responses })
    }

    pub(super) fn method(&self) -> &str {
        self.value.get("method").and_then(Value::as_str).unwrap_or_default()
    }

    /// The method and the one thing it works on, where it names one.
    pub(super) fn subject(&self) -> String {
        match self.name() {
            Some(name) => format!("{} {name:?}", self.method()),
            None => self.method().to_owned(),
        }
    }

    pub(super) fn name(&self) -> Option<&str> {
        let params = self.value.get("params")?;
        let named = ["name", "uri", "taskId"].iter().find_map(|member| params.get(member));
        named.or_else(|| params.get("ref")?.get("name")).and_then(Value::as_str)
    }

    /// Whether a part of it was a secret that the tape does not show.
    pub(super) fn has_marks(&self) -> bool {
        has_marks(&self.value)
    }
}

/// `{}` and no params ask the same, and so does a call without arguments.
fn drop_empty_params(value: &mut Value) {
    let Some(message) = value.as_object_mut() else { return };
    if let Some(params) = message.get_mut("params").and_then(Value::as_object_mut) {
        params.retain(|name, value| name != "arguments" || !is_empty(value));
    }
    if message.get("params").is_some_and(is_empty) {
        message.remove("params");
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty)
}

/// Writes whole numbers in one way: `1.0` and `1e0` are `1`.
fn one_spelling(value: &mut Value) {
    match value {
        Value::Object(members) => members.values_mut().for_each(one_spelling),
        Value::Array(elements) => elements.iter_mut().for_each(one_spelling),
        Value::Number(number) if number.is_f64() => {
            let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= EXACT_MAX);
            if let Some(float) = float {
                #[expect(clippy::cast_possible_truncation, reason = "it is whole and within the bound")]
                let whole = float as i64;
                *value = whole.into();
            }
        }
        _ => {}
    }
}

fn has_marks(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.values().any(has_marks),
        Value::Array(elements) => elements.iter().any(has_marks),
        Value::String(text) => is_redacted(text),
        _ => false,
    }
}

/// Whether a live value is the recorded one, where what was redacted is anything.
pub(super) fn fits(recorded: &Value, live: &Value) -> bool {
    match (recorded, live) {
        (Value::String(text), _) if is_redacted(text) => true,
        (Value::Object(recorded), Value::Object(live)) => {
            recorded.len() == live.len()
                && recorded.iter().all(|(name, value)| live.get(name).is_some_and(|other| fits(value, other)))
        }
        (Value::Array(recorded), Value::Array(live)) => {
            recorded.len() == live.len() && recorded.iter().zip(live).all(|(value, other)| fits(value, other))
        }
        (recorded, live) => recorded == live,
    }
}

/// A place where a live value is not the recorded one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Difference {
    pub(super) path: String,
    pub(super) recorded: Option<Value>,
    pub(super) live: Option<Value>,
}

/// Where two values differ: the first `max` places, in the order of their names.
pub(super) fn differences(recorded: &Value, live: &Value, max: usize) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(&mut Path::root(), Some(recorded), Some(live), max, &mut found);
    found
}

fn compare(
    path: &mut Path,
    old: Option<&Value>,
    new: Option<&Value>,
    max: usize,
    found: &mut Vec<Difference>,
) {
    if found.len() >= max {
        return;
    }
    match (old, new) {
        (Some(Value::Object(olds)), Some(Value::Object(news))) => {
            let added = news.keys().filter(|name| !olds.contains_key(*name));
            for name in olds.keys().chain(added) {
                let step = Segment::Member(name.clone());
                path.within(step, |path| compare(path, olds.get(name), news.get(name), max, found));
            }
        }
        (Some(Value::Array(olds)), Some(Value::Array(news))) => {
            for number in 0..olds.len().max(news.len()) {
                let step = Segment::Element(number);
                path.within(step, |path| compare(path, olds.get(number), news.get(number), max, found));
            }
        }
        (Some(old), Some(new)) if fits(old, new) => {}
        (old, new) => {
            found.push(Difference { path: path.to_string(), recorded: old.cloned(), live: new.cloned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(params: &str) -> Asked {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        Asked::read(text.as_bytes(), &Ignored::default()).unwrap()
    }

    #[test]
    fn how_a_call_is_written_and_who_sends_it_do_not_matter() {
        let plain = asked(r#"{"name":"sum","arguments":{"a":1,"b":[2]}}"#);
        for params in [
            r#"{"arguments":{"b":[2.0],"a":1e0},"name":"sum"}"#,
            r#"{"name":"\u0073um","arguments":{"a":1,"b":[2]},"_meta":{"progressToken":7,"traceparent":"x"}}"#,
            r#"{"name":"sum","arguments":{"a":1,"b":[2]},"requestState":"s","inputResponses":{}}"#,
        ] {
            assert_eq!(asked(params).key, plain.key, "{params}");
        }
        for params in [
            r#"{"name":"sum","arguments":{"a":"1","b":[2]}}"#,
            r#"{"name":"sum","arguments":{"a":1,"b":[2,2]}}"#,
            r#"{"name":"sum"}"#,
        ] {
            assert_ne!(asked(params).key, plain.key, "{params}");
        }
        assert_eq!(asked(r#"{"name":"now","arguments":{}}"#).key, asked(r#"{"name":"now"}"#).key);
    }

    #[test]
    fn numbers_that_a_float_cannot_tell_apart_stay_two() {
        let of = |number: &str| asked(&format!(r#"{{"name":"n","arguments":{{"n":{number}}}}}"#)).key;
        assert_ne!(of("9007199254740992"), of("9007199254740993"));
        assert_ne!(of("0.1"), of("0.2"));
    }

    #[test]
    fn what_was_redacted_is_anything_and_all_else_is_itself() {
        let recorded = json!({"token": "Bearer [redacted:0123456789ab]", "n": 1});
        assert!(fits(&recorded, &json!({"token": "secret", "n": 1})));
        assert!(fits(&recorded, &json!({"token": 7, "n": 1})));
        assert!(!fits(&recorded, &json!({"token": "secret", "n": 2})));
        assert!(!fits(&recorded, &json!({"n": 1})));
    }

    #[test]
    fn each_difference_has_its_path() {
        let found = differences(
            &json!({"a": [1, {"b": 2}], "gone": 1, "same": 3}),
            &json!({"a": [1, {"b": 4}, 5], "new": 1, "same": 3}),
            9,
        );
        let paths: Vec<&str> = found.iter().map(|difference| difference.path.as_str()).collect();
        assert_eq!(paths, ["$.a[1].b", "$.a[2]", "$.gone", "$.new"]);
    }
}
