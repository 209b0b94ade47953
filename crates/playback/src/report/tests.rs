//! What the reports look like, and what judging finds.

use serde_json::json;
use shadowcat_pipeline::Direction::{ToClient, ToServer};

use super::*;
use crate::replay::{Played, Run, Surprise};
use crate::script::testing::{frame, tapes};
use crate::script::{Outcome, Script};

fn script() -> Script {
    let call = |id: u64, name: &str| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": name, "arguments": {"n": id}}});
    let tools = json!([
        {"name": "a", "description": "one", "inputSchema": {"properties": {"n": {}}, "required": ["n"]}},
        {"name": "b"},
    ]);
    let frames = vec![
        frame(1, 0, ToServer, &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})),
        frame(1, 10, ToClient, &json!({"id": 1, "result": {"tools": tools}})),
        frame(2, 20, ToServer, &call(2, "a")),
        frame(2, 30, ToClient, &answer(2, "one\ntwo\nthree")),
        frame(3, 40, ToServer, &call(3, "b")),
        frame(3, 50, ToClient, &answer(3, "same")),
        frame(4, 60, ToServer, &call(4, "b")),
    ];
    Script::new(tapes([frames])).unwrap()
}

fn answer(id: u64, text: &str) -> Value {
    json!({"id": id, "result": {"content": [{"type": "text", "text": text}]}})
}

fn run(answers: [Value; 3]) -> Run {
    let outcome = |answer: Value| Outcome {
        answer: Some(answer.to_string().into()),
        between: Vec::new(),
        took: Some(Duration::from_millis(7)),
    };
    let outcomes =
        [1, 21, 41].map(|seq| Place { tape: 0, seq }).into_iter().zip(answers.map(outcome)).collect();
    let surprises = vec![Surprise::NotOnTape(json!({"method": "roots/list"}))];
    let played =
        Played { outcomes, surprises, redacted: vec![Place { tape: 0, seq: 21 }], ..Played::default() };
    Run { clients: vec![played], elapsed: Duration::from_millis(80) }
}

fn changed() -> Run {
    let tools = json!([
        {"name": "a", "description": "uno", "inputSchema": {"properties": {"n": {}, "m": {}}, "required": ["m", "n"]}},
        {"name": "c"},
    ]);
    let broken = json!({"id": 3, "result": {"isError": true, "content": [{"type": "text", "text": "<broken> & \"gone\""}]}});
    run([json!({"id": 9, "result": {"tools": tools}}), answer(2, "one\n2\nthree"), broken])
}

fn report(run: &Run) -> Report {
    let named = |name: &str| name.to_owned();
    let terms = Terms { before: named("the tape"), after: named("http://h/mcp"), ..Terms::default() };
    judge(&terms, &script(), Before::Tape, run)
}

#[test]
fn the_text_names_calls_paths_and_lines() {
    insta::assert_snapshot!(report(&changed()).write(Form::Text));
}

#[test]
fn junit_has_a_case_for_each_call_and_escapes_what_it_shows() {
    insta::assert_snapshot!(report(&changed()).write(Form::Junit));
}

#[test]
fn json_is_for_programs() {
    let report: Value = serde_json::from_str(&report(&changed()).write(Form::Json)).unwrap();
    assert_eq!(report["same"], false);
    let verdicts: Vec<&Value> =
        report["calls"].as_array().unwrap().iter().map(|call| &call["verdict"]).collect();
    assert_eq!(verdicts, ["differs", "differs", "differs", "passed_over"]);
    assert_eq!(report["calls"][1]["findings"][0]["path"], "$.result.content[0].text");
}

#[test]
fn two_runs_are_compared_with_each_other() {
    let terms = Terms::default();
    let (first, second) = (changed(), changed());
    let report = judge(&terms, &script(), Before::Run(&first), &second);
    assert!(!report.differs(), "{}", report.write(Form::Text));
}

#[test]
fn a_server_that_gives_no_answer_at_all_is_a_failure() {
    let refusal = |id: u64| {
        json!({"id": id, "error": {"code": -31004, "message": "the server could not be reached",
            "data": {"origin": "shadowcat"}}})
    };
    let report = report(&run([refusal(1), refusal(2), refusal(3)]));
    assert_eq!(
        report.failure.as_deref(),
        Some("http://h/mcp gave no answer at all: the server could not be reached")
    );
}
