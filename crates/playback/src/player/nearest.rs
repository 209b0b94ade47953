//! What is told of a call that is not on the tapes: the recorded one that comes nearest, where it stands, and in what
//! the two differ.

use serde_json::Value;
use shadowcat_protocol::{Era, Response};

use super::Player;
use super::asked::{Asked, Difference, differences, fits};
use super::scene::Question;
use super::shelf::Recorded;

/// Recorded calls that are looked at.
const CANDIDATES_MAX: usize = 1_000;
/// Differences that are counted for one of them.
const DIFFERENCES_MAX: usize = 16;
/// Differences that are told.
const TOLD_MAX: usize = 3;
/// Characters of a value that are told.
const VALUE_CHARS_MAX: usize = 60;
/// Names that are told where no call has the right one.
const NAMES_MAX: usize = 8;

/// The sentence about a call that is not on the tapes.
pub(super) fn describe(player: &Player, era: Era, asked: &Asked, has_state: bool) -> String {
    let what = asked.subject();
    if has_state {
        return format!("no recorded call goes on with {what}, its state and these arguments");
    }
    let shelf = player.shelf(era);
    let candidates =
        || shelf.calls().filter(|call| call.asked.method() == asked.method()).take(CANDIDATES_MAX);
    if let Some(call) = candidates().find(|call| call.asked.key == asked.key) {
        return format!("the tape ends before the answer to {what} ({})", player.place(call));
    }
    let other = match era {
        Era::Legacy => &player.modern,
        Era::Modern => &player.legacy,
    };
    if let Some(call) = other.calls().find(|call| call.has_end && call.asked.key == asked.key) {
        return format!("no client of this era asked {what}; one of the other did ({})", player.place(call));
    }
    let near = candidates().filter(|call| call.asked.name() == asked.name());
    let live = player.veil(&asked.value);
    let near = near.map(|call| (differences(&call.asked.value, &live, DIFFERENCES_MAX), call));
    match near.min_by_key(|(found, _)| found.len()) {
        Some((found, call)) => nearest(&what, &found, &player.place(call)),
        None => elsewhere(&what, asked.method(), candidates()),
    }
}

fn nearest(what: &str, found: &[Difference], place: &str) -> String {
    let told: Vec<String> = found.iter().take(TOLD_MAX).map(tell).collect();
    let more = match found.len().saturating_sub(TOLD_MAX) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!("no recorded call asks {what} so; the nearest ({place}) differs at {}{more}", told.join("; "))
}

fn elsewhere<'a>(what: &str, method: &str, same_method: impl Iterator<Item = &'a Recorded>) -> String {
    let mut names: Vec<String> =
        same_method.filter_map(|call| call.asked.name().map(|name| shown(&Value::from(name)))).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return format!("no recorded call asks {what}, or any {method}");
    }
    let more = if names.len() > NAMES_MAX { ", …" } else { "" };
    names.truncate(NAMES_MAX);
    format!("no recorded call asks {what}; the tape has {method} of {}{more}", names.join(", "))
}

/// The sentence about a call that was made more often than on the tapes.
pub(super) fn used_up(player: &Player, era: Era, last: usize) -> String {
    let Some(call) = player.shelf(era).call(last) else { return String::new() };
    let (what, place) = (call.asked.subject(), player.place(call));
    format!("{what} is asked once more than on the tape, where the last is {place}")
}

/// In what a client's answer to a question differs from the recorded one, if it does.
pub(super) fn other_answer(player: &Player, question: &Question, answer: &Response) -> Option<String> {
    let outcome = |response: &Response| {
        let raw = response.result_json().or_else(|| response.error_json())?;
        serde_json::from_str::<Value>(raw).ok()
    };
    let (recorded, live) = (outcome(question.answer.as_ref()?)?, outcome(answer)?);
    if fits(&recorded, &live) {
        return None;
    }
    let found = differences(&recorded, &player.veil(&live), DIFFERENCES_MAX);
    let told: Vec<String> = found.iter().take(TOLD_MAX).map(tell).collect();
    Some(told.join("; "))
}

fn tell(difference: &Difference) -> String {
    let value = |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), shown);
    format!(
        "{}: recorded {}, asked {}",
        difference.path,
        value(&difference.recorded),
        value(&difference.live)
    )
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
