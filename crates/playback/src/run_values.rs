//! Which values belong to one run of a conversation: the one table of where they stand, and how they are carried over
//! from one run to another.

use std::collections::HashMap;

use serde_json::Value;
use shadowcat_protocol::{meta, method};

use crate::generated;
use crate::path::{Path, Segment};

/// Values carried over at most; a conversation that makes more ids goes on with those it has.
const CARRIED_MAX: usize = 65_536;

/// What a value that belongs to one run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunValue {
    /// The id of a request, or a place that names one.
    Id,
    /// The token of a request's progress.
    ProgressToken,
    /// The place in a list.
    Cursor,
    /// What a server gives a client to bring back.
    RequestState,
    /// The name of a task.
    Task,
    /// The name of a subscription, which is the id of the request that opened it.
    Subscription,
    /// The name of a question on a web page.
    Elicitation,
    /// The trace that a request belongs to.
    Trace,
    /// A time.
    Time,
}

/// Where they stand. `*` is any one step: a member of `params` or of `result`, or an element of a list.
const PLACES: [(&[&str], RunValue); 25] = [
    (&["id"], RunValue::Id),
    (&["params", "requestId"], RunValue::Id),
    (&["params", "_meta", "progressToken"], RunValue::ProgressToken),
    (&["params", "progressToken"], RunValue::ProgressToken),
    (&["params", "cursor"], RunValue::Cursor),
    (&["result", "nextCursor"], RunValue::Cursor),
    (&["params", "requestState"], RunValue::RequestState),
    (&["result", "requestState"], RunValue::RequestState),
    (&["params", "taskId"], RunValue::Task),
    (&["result", "taskId"], RunValue::Task),
    (&["result", "task", "taskId"], RunValue::Task),
    (&["result", "tasks", "*", "taskId"], RunValue::Task),
    (&["params", "notifications", "taskIds", "*"], RunValue::Task),
    (&["*", "_meta", meta::RELATED_TASK, "taskId"], RunValue::Task),
    (&["*", "_meta", meta::SUBSCRIPTION], RunValue::Subscription),
    (&["params", "elicitationId"], RunValue::Elicitation),
    (&["error", "data", "elicitations", "*", "elicitationId"], RunValue::Elicitation),
    (&["*", "_meta", "traceparent"], RunValue::Trace),
    (&["*", "_meta", "tracestate"], RunValue::Trace),
    (&["*", "_meta", "baggage"], RunValue::Trace),
    (&["*", "createdAt"], RunValue::Time),
    (&["*", "lastUpdatedAt"], RunValue::Time),
    (&["result", "task", "createdAt"], RunValue::Time),
    (&["result", "task", "lastUpdatedAt"], RunValue::Time),
    (&["result", "tasks", "*", "lastUpdatedAt"], RunValue::Time),
];
/// Members of `_meta` that say how a client speaks, not what it means.
const CLIENT_KEYS: [&str; 5] =
    [meta::VERSION, meta::CLIENT_INFO, meta::CAPABILITIES, meta::LOG_LEVEL, "progressToken"];
/// Begins what stands on a tape in place of a secret.
const REDACTED: &str = "[redacted:";

/// What the value at this place of a message is, if it belongs to one run.
pub fn run_value(path: &Path) -> Option<RunValue> {
    PLACES.iter().find(|(pattern, _)| path.is(pattern)).map(|(_, value)| *value)
}

/// Whether this text holds what stands on a tape in place of a secret.
pub fn is_redacted(text: &str) -> bool {
    text.contains(REDACTED)
}

/// A request or notification without what belongs to one run, to how its sender speaks, or goes without saying: what is left decides whether
/// two of them ask the same. Its members are in the order of their names, so that its text can be compared.
pub fn meaning(message: &Value) -> Value {
    let mut meant = message.clone();
    let Some(members) = meant.as_object_mut() else { return meant };
    members.remove("id");
    members.remove("jsonrpc");
    let is_elicitation = members.get("method").is_some_and(|name| name == method::ELICITATION);
    let Some(params) = members.get_mut("params").and_then(Value::as_object_mut) else { return meant };
    if is_elicitation && params.get("mode").is_some_and(|mode| mode == "form") {
        // 2025-11-25 elicitation: without a mode it is a form, and before that there was no other.
        params.remove("mode");
    }
    params.remove("requestState");
    params.remove("progressToken");
    if let Some(meta) = params.get_mut("_meta").and_then(Value::as_object_mut) {
        let is_trace = |key: &str| matches!(key, "traceparent" | "tracestate" | "baggage");
        meta.retain(|key, _| !CLIENT_KEYS.contains(&key.as_str()) && !is_trace(key));
        if meta.is_empty() {
            params.remove("_meta");
        }
    }
    if params.is_empty() {
        members.remove("params");
    }
    meant
}

/// Values of the run on tape and what stands in their place in the live run.
#[derive(Clone, Debug, Default)]
pub struct Carried {
    live: HashMap<String, String>,
}

impl Carried {
    /// Compares an answer on tape with the live one, and remembers what is another in this run: cursors, tasks, states,
    /// secrets that the tape does not show, and ids that servers make up.
    pub fn learn(&mut self, tape: &Value, live: &Value) {
        self.walk(&mut Path::root(), tape, live);
    }

    fn walk(&mut self, path: &mut Path, tape: &Value, live: &Value) {
        match (tape, live) {
            (Value::Object(tape), Value::Object(live)) => {
                for (name, value) in tape {
                    if let Some(other) = live.get(name) {
                        path.within(Segment::Member(name.clone()), |path| self.walk(path, value, other));
                    }
                }
            }
            (Value::Array(tape), Value::Array(live)) => {
                for (number, (value, other)) in tape.iter().zip(live).enumerate() {
                    path.within(Segment::Element(number), |path| self.walk(path, value, other));
                }
            }
            (Value::String(tape), Value::String(live)) if tape != live => self.string(path, tape, live),
            _ => (),
        }
    }

    fn string(&mut self, path: &Path, tape: &str, live: &str) {
        if is_redacted(tape) || run_value(path).is_some_and(|value| value != RunValue::Time) {
            return self.note(tape, live);
        }
        let (old, new): (Vec<&str>, Vec<&str>) =
            (generated::ids(tape).collect(), generated::ids(live).collect());
        if old.len() == new.len() {
            old.into_iter()
                .zip(new)
                .filter(|(old, new)| old != new)
                .for_each(|(old, new)| self.note(old, new));
        }
    }

    fn note(&mut self, tape: &str, live: &str) {
        if self.live.len() < CARRIED_MAX || self.live.contains_key(tape) {
            self.live.insert(tape.to_owned(), live.to_owned());
        }
    }

    /// Puts the live values in the place of those on tape, and says in how many strings.
    pub fn apply(&self, message: &mut Value) -> usize {
        if self.live.is_empty() {
            return 0;
        }
        match message {
            Value::Object(members) => members.values_mut().map(|value| self.apply(value)).sum(),
            Value::Array(elements) => elements.iter_mut().map(|value| self.apply(value)).sum(),
            Value::String(text) => self.apply_to(text),
            _ => 0,
        }
    }

    fn apply_to(&self, text: &mut String) -> usize {
        let changed = match self.live.get(text.as_str()) {
            Some(live) => live.clone(),
            None => generated::with_ids(text, |id| self.live.get(id).cloned()).into_owned(),
        };
        let is_changed = changed != *text;
        *text = changed;
        usize::from(is_changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn carried(tape: &Value, live: &Value, mut message: Value) -> (Value, usize) {
        let mut carried = Carried::default();
        carried.learn(tape, live);
        let count = carried.apply(&mut message);
        (message, count)
    }

    #[test]
    fn a_cursor_of_an_answer_is_carried_into_the_next_request() {
        let (message, count) = carried(
            &json!({"id": 1, "result": {"tools": [], "nextCursor": "old"}}),
            &json!({"id": 9, "result": {"tools": [], "nextCursor": "new"}}),
            json!({"method": "tools/list", "params": {"cursor": "old"}}),
        );
        assert_eq!(message, json!({"method": "tools/list", "params": {"cursor": "new"}}));
        assert_eq!(count, 1);
    }

    #[test]
    fn an_id_inside_a_text_is_carried_and_other_changes_are_not() {
        let (old, new) = ("0f0e0d0c-1111-4222-8333-444455556666", "aaaaaaaa-1111-4222-8333-444455556666");
        let (message, _) = carried(
            &json!({"result": {"content": [{"text": format!("made {old}"), "mood": "good"}]}}),
            &json!({"result": {"content": [{"text": format!("made {new}"), "mood": "bad"}]}}),
            json!({"params": {"uri": format!("file:///{old}.txt"), "mood": "good"}}),
        );
        assert_eq!(message, json!({"params": {"uri": format!("file:///{new}.txt"), "mood": "good"}}));
    }

    #[test]
    fn what_was_redacted_in_an_answer_is_sent_as_the_live_server_gave_it() {
        let (message, _) = carried(
            &json!({"result": {"structuredContent": {"token": "[redacted:0123456789ab]"}}}),
            &json!({"result": {"structuredContent": {"token": "live-secret"}}}),
            json!({"params": {"arguments": {"token": "[redacted:0123456789ab]"}}}),
        );
        assert_eq!(message, json!({"params": {"arguments": {"token": "live-secret"}}}));
    }

    #[test]
    fn what_a_message_means_is_not_changed_by_who_sends_it_and_when() {
        let ask = |id: u64, version: &str, token: &str| {
            json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
                "name": "echo",
                "arguments": {"id": 7},
                "_meta": {"progressToken": token, "io.modelcontextprotocol/protocolVersion": version,
                    "traceparent": token}
            }})
        };
        assert_eq!(meaning(&ask(1, "2026-07-28", "a")), meaning(&ask(2, "x", "b")));
        assert_eq!(meaning(&ask(1, "", ""))["params"], json!({"name": "echo", "arguments": {"id": 7}}));
        assert_eq!(meaning(&json!({"id": 1, "method": "ping", "params": {}})), json!({"method": "ping"}));
    }
}
