//! From a script and what came of it to a report.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use shadowcat_protocol::{json, meta, method};

use super::latency::latencies;
use super::{Finding, Judged, Report, Terms, Verdict, explain};
use crate::compare::{Match, Rules, compare};
use crate::replay::{Played, Run, Surprise};
use crate::script::{Call, Client, Outcome, Script};
use crate::tapes::Place;

/// What a run is compared with.
#[derive(Clone, Copy, Debug)]
pub enum Before<'a> {
    /// What is on the tape.
    Tape,
    /// Another run of the same script.
    Run(&'a Run),
}

/// Compares a run with the tape, or with another run.
pub fn judge(terms: &Terms, script: &Script, before: Before<'_>, after: &Run) -> Report {
    let mut report = Report {
        tapes: script.tapes.clone(),
        before: terms.before.clone(),
        after: terms.after.clone(),
        calls: Vec::new(),
        remarks: Vec::new(),
        latencies: Vec::new(),
        length: script.length,
        elapsed: after.elapsed,
        notes: notes(script, after),
        failure: failure(script, after, &terms.after),
    };
    let mut times = BTreeMap::new();
    for (number, (client, played)) in script.clients.iter().zip(&after.clients).enumerate() {
        let first = match before {
            Before::Tape => None,
            Before::Run(run) => run.clients.get(number),
        };
        let bridged = first.map_or(client.bridged, |first| first.bridged);
        let rules = Rules { across_eras: bridged != played.bridged, ..terms.rules.clone() };
        for call in client.calls() {
            let expected = match before {
                Before::Tape => Some(&call.outcome),
                Before::Run(_) => first.and_then(|first| first.outcomes.get(&call.place)),
            };
            let verdict = verdict(&rules, call, (expected, matches!(before, Before::Tape)), played);
            note_time(&mut times, call, expected, played);
            report.calls.push(judged(script, client, call, played, verdict));
        }
        report.remarks.extend(questions(script, &rules, played, first));
        report.remarks.extend(words(client, played, first));
        report.remarks.extend(played.failure.iter().map(|failure| Finding::plain(failure.clone())));
    }
    report.calls.sort_by_key(|call| call.place);
    report.latencies = latencies(times, terms.slowdown_max);
    report
}

type Times = BTreeMap<String, Vec<(std::time::Duration, std::time::Duration)>>;

/// Calls of one tool belong together, and so do those of one method that has no tools.
fn note_time(times: &mut Times, call: &Call, before: Option<&Outcome>, played: &Played) {
    let after = played.outcomes.get(&call.place).and_then(|outcome| outcome.took);
    let (Some(before), Some(after)) = (before.and_then(|outcome| outcome.took), after) else { return };
    if matches!(call.method.as_str(), method::INITIALIZE | method::LISTEN) || call.refused.is_some() {
        return;
    }
    let kind = match (&call.name, call.method.as_str()) {
        (Some(name), method::TOOLS_CALL | method::PROMPTS_GET) => format!("{} {name}", call.method),
        _ => call.method.clone(),
    };
    times.entry(kind).or_default().push((before, after));
}

fn judged(script: &Script, client: &Client, call: &Call, played: &Played, verdict: Verdict) -> Judged {
    Judged {
        place: call.place,
        frame: script.frame(call.place),
        session: client.session.clone(),
        method: call.method.clone(),
        name: call.name.clone(),
        arguments: call.arguments(),
        took: played.outcomes.get(&call.place).and_then(|live| live.took),
        verdict,
    }
}

fn verdict(
    rules: &Rules,
    call: &Call,
    (expected, is_tape): (Option<&Outcome>, bool),
    played: &Played,
) -> Verdict {
    match (expected, played.outcomes.get(&call.place)) {
        (_, None) | (None, _) => Verdict::PassedOver("it was not said again".to_owned()),
        (Some(_), Some(_)) if is_tape && call.refused.is_some() => {
            let reason = call.refused.as_deref().unwrap_or_default();
            Verdict::PassedOver(format!("the proxy answered it itself on the tape ({reason})"))
        }
        (Some(expected), Some(live)) => compared(rules, call, expected, live),
    }
}

fn compared(rules: &Rules, call: &Call, expected: &Outcome, live: &Outcome) -> Verdict {
    let mut findings = between(rules, expected, live);
    let is_held = call.method == method::LISTEN;
    match (&expected.answer, &live.answer) {
        _ if is_held => (),
        (None, _) if findings.is_empty() => {
            return Verdict::PassedOver("it has no answer to be compared with".to_owned());
        }
        (None, _) => (),
        (Some(_), None) => findings.push(Finding::plain("it is not answered any more")),
        (Some(before), Some(after)) => {
            if let (Ok(before), Ok(after)) = (serde_json::from_str(before), serde_json::from_str(after)) {
                let differences = compare(rules, &before, &after);
                findings.extend(explain::findings(call, &before, &after, differences));
            }
        }
    }
    if findings.is_empty() { Verdict::Same } else { Verdict::Differs(findings) }
}

/// What came before the answer. How often a server tells its progress is a matter of time, so that only whether it does
/// counts, unless all is to be the same.
fn between(rules: &Rules, expected: &Outcome, live: &Outcome) -> Vec<Finding> {
    let of_call = |outcome: &Outcome| -> Vec<Value> {
        let texts = outcome.between.iter().filter(|text| is_about_its_call(text));
        texts.filter_map(|text| serde_json::from_str(text).ok()).collect()
    };
    let (before, after) = (of_call(expected), of_call(live));
    if rules.by == Match::Exact {
        let differs = before.len() != after.len()
            || before.iter().zip(&after).any(|(before, after)| !compare(rules, before, after).is_empty());
        let says =
            || format!("what came before the answer differs: {} and {} messages", before.len(), after.len());
        return if differs { vec![Finding::plain(says())] } else { Vec::new() };
    }
    let (before, after) = (methods(&before), methods(&after));
    let gone = before.iter().filter(|method| !after.contains(method));
    let new = after.iter().filter(|method| !before.contains(method));
    gone.map(|method| Finding::plain(format!("no {method} comes before the answer any more")))
        .chain(new.map(|method| Finding::plain(format!("{method} comes before the answer now"))))
        .collect()
}

/// Whether a message names the call it belongs to. On a pipe others cannot be told from what belongs to none.
fn is_about_its_call(text: &str) -> bool {
    json::get(text, &["params", "progressToken"]).is_some()
        || json::get(text, &["params", "_meta", meta::SUBSCRIPTION]).is_some()
}

fn methods(messages: &[Value]) -> Vec<String> {
    let mut methods: Vec<String> = Vec::new();
    for method in messages.iter().filter_map(|message| message.get("method")?.as_str()) {
        if !methods.iter().any(|known| known == method) {
            methods.push(method.to_owned());
        }
    }
    methods
}

/// What the server asked otherwise than on tape, or than in the other run.
fn questions(script: &Script, rules: &Rules, played: &Played, first: Option<&Played>) -> Vec<Finding> {
    let known = first.map_or(&[][..], |first| &first.surprises);
    let new = played.surprises.iter().filter(|surprise| !known.contains(surprise));
    new.flat_map(|surprise| match surprise {
        Surprise::NotOnTape(asked) => {
            vec![question(
                "the server asks what is not on the tape, and was given an error",
                None,
                Some(asked),
            )]
        }
        Surprise::Again(asked) => {
            vec![question("the server asks more often than on the tape", None, Some(asked))]
        }
        Surprise::Otherwise(place, before, after) => {
            let says = format!("the server asks otherwise than in {}", script.frame(*place));
            let found = compare(rules, before, after).into_iter();
            found
                .map(|found| Finding {
                    path: Some(found.path.to_string()),
                    before: found.before,
                    after: found.after,
                    ..question(&says, Some(before), None)
                })
                .collect()
        }
        Surprise::NotAsked(place, asked) => {
            let says = format!("the server does not ask any more what it asked in {}", script.frame(*place));
            vec![question(&says, Some(asked), None)]
        }
    })
    .collect()
}

fn question(says: &str, before: Option<&Value>, after: Option<&Value>) -> Finding {
    let method = before.or(after).and_then(|asked| asked.get("method")?.as_str()).unwrap_or_default();
    Finding { says: format!("{method}: {says}"), path: None, before: before.cloned(), after: after.cloned() }
}

/// What the server no longer says of its own accord.
fn words(client: &Client, played: &Played, first: Option<&Played>) -> Vec<Finding> {
    let heard = |played: &Played| -> BTreeSet<String> {
        played.heard.iter().filter_map(|text| method_of(text).map(str::to_owned)).collect()
    };
    let mut before: BTreeSet<String> = match first {
        Some(first) => heard(first),
        None => client.heard.iter().map(|heard| heard.method.clone()).collect(),
    };
    before.retain(|method| client.hears_again(method));
    let live = heard(played);
    let gone = before.difference(&live);
    gone.map(|method| Finding::plain(format!("the server sends no {method} any more"))).collect()
}

fn method_of(text: &str) -> Option<&str> {
    json::get(text, &["method"])?.strip_prefix('"')?.strip_suffix('"')
}

fn notes(script: &Script, after: &Run) -> Vec<String> {
    let mut notes = Vec::new();
    if script.lost > 0 {
        notes.push(format!("the tape lacks {} messages, which could not be played", script.lost));
    }
    let redacted: Vec<Place> =
        after.clients.iter().flat_map(|played| played.redacted.iter().copied()).collect();
    if let Some(first) = redacted.first() {
        let count = redacted.len();
        notes.push(format!(
            "{count} calls were sent with the mark of a secret that the tape does not show; the first is {}",
            script.frame(*first)
        ));
    }
    notes
}

/// Why nothing could be compared: not one answer came from the server itself.
fn failure(script: &Script, after: &Run, server: &str) -> Option<String> {
    let refusal = |answer: &str| {
        let origin = json::get(answer, &["error", "data", "origin"])?;
        let reason = json::get(answer, &["error", "message"]).and_then(json::string)?;
        (origin == "\"shadowcat\"").then(|| reason.into_owned())
    };
    let answers = |played: &'_ Played, first_only: bool| -> Vec<Box<str>> {
        let all = played.outcomes.values().filter_map(|outcome| outcome.answer.clone());
        if first_only { all.take(1).collect() } else { all.collect() }
    };
    let mut reason = None;
    for (client, played) in script.clients.iter().zip(&after.clients) {
        // Without its session a client of the legacy era is told so by the proxy, whatever it asks.
        for answer in answers(played, !client.is_modern) {
            match refusal(&answer) {
                Some(refused) => reason = reason.or(Some(refused)),
                None => return None,
            }
        }
    }
    let failed = after.clients.iter().find_map(|played| played.failure.clone());
    let reason = reason.or(failed).unwrap_or_else(|| "no answer came".to_owned());
    Some(format!("{server} gave no answer at all: {reason}"))
}
