//! The rounds of a modern call joined to one: an answer that wants more, and the same request with it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Call, Client, Question, Says, Step};
use crate::run_values::meaning;
use crate::tapes::Place;

/// What a call that wants more is known by: its method, its name, and the state its client brings back.
type Key = (String, Option<String>, Option<String>);

/// Joins the rounds of the calls of one client. What was asked and answered in them joins its questions.
pub(super) fn join(client: &mut Client) {
    let mut waiting: BTreeMap<Key, (usize, Map<String, Value>)> = BTreeMap::new();
    let mut steps: Vec<Step> = Vec::with_capacity(client.steps.len());
    for step in std::mem::take(&mut client.steps) {
        let Says::Call(call) = step.says else {
            steps.push(step);
            continue;
        };
        let brought = brought(&call.request);
        let begun = brought.as_ref().and_then(|(state, _)| waiting.remove(&key(&call, state.as_ref())));
        let asked_again = begun.and_then(|(place, wanted)| Some((place, wanted, brought?.1)));
        let wants = wants(&call);
        let next_key = wants.as_ref().map(|(state, _)| key(&call, state.as_ref()));
        let place = if let Some((place, wanted, responses)) = asked_again {
            client.questions.extend(questions(step.place, wanted, responses));
            if let Some(Step { says: Says::Call(first), .. }) = steps.get_mut(place) {
                first.go_on(*call, step.at);
            }
            place
        } else {
            steps.push(Step { says: Says::Call(call), ..step });
            steps.len() - 1
        };
        if let (Some(key), Some((_, wanted))) = (next_key, wants) {
            waiting.insert(key, (place, wanted));
        }
    }
    client.steps = steps;
}

impl Call {
    /// Another round of it.
    fn go_on(&mut self, round: Self, at: Duration) {
        self.rounds.push(at);
        self.ended = round.ended;
        self.refused = round.refused;
        self.outcome.answer = round.outcome.answer;
        self.outcome.between.extend(round.outcome.between);
        self.outcome.took = self.outcome.took.zip(round.outcome.took).map(|(before, now)| before + now);
    }
}

fn key(call: &Call, state: Option<&String>) -> Key {
    (call.method.clone(), call.name.clone(), state.cloned())
}

/// The state and the answers that a request brings back, if it is a later round.
fn brought(request: &str) -> Option<(Option<String>, Map<String, Value>)> {
    // Almost no request has them, and looking is cheaper than reading.
    if !request.contains("inputResponses") && !request.contains("requestState") {
        return None;
    }
    let request: Value = serde_json::from_str(request).ok()?;
    let params = request.get("params")?.as_object()?;
    let responses = params.get("inputResponses").and_then(Value::as_object).cloned();
    let state = params.get("requestState").and_then(Value::as_str).map(str::to_owned);
    (responses.is_some() || state.is_some()).then(|| (state, responses.unwrap_or_default()))
}

/// The state and the questions of an answer that wants more.
fn wants(call: &Call) -> Option<(Option<String>, Map<String, Value>)> {
    let answer = call.outcome.answer.as_deref().filter(|answer| answer.contains("input_required"))?;
    wanted(&serde_json::from_str(answer).ok()?)
}

/// The state and the questions of an answer that wants more.
pub(crate) fn wanted(answer: &Value) -> Option<(Option<String>, Map<String, Value>)> {
    let result = answer.get("result")?;
    if result.get("resultType")? != "input_required" {
        return None;
    }
    let state = result.get("requestState").and_then(Value::as_str).map(str::to_owned);
    let asked = result.get("inputRequests").and_then(Value::as_object).cloned();
    Some((state, asked.unwrap_or_default()))
}

fn questions(
    place: Place,
    wanted: Map<String, Value>,
    responses: Map<String, Value>,
) -> impl Iterator<Item = Question> {
    wanted.into_iter().map(move |(key, asked)| Question {
        place,
        asked: meaning(&asked),
        reply: responses.get(&key).map(|result| json!({ "result": result })),
        took: Duration::ZERO,
    })
}
