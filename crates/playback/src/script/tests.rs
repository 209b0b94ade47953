//! Scripts made from a few frames.

use std::time::Duration;

use serde_json::json;
use shadowcat_pipeline::Direction::{ToClient, ToServer};
use shadowcat_tape::{ClientSide, Frame, Header, Lost, ReadError, Record};

use super::testing::{frame, header, tapes};
use super::*;
use crate::tapes::{LoadError, Tapes};

fn modern(frame: Frame) -> Frame {
    let era = "modern".to_owned();
    Frame { session: None, client: ClientSide { era, ..frame.client }, ..frame }
}

fn script(frames: Vec<Frame>) -> Script {
    Script::new(tapes([frames])).unwrap()
}

fn call(id: u64, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
}

#[test]
fn a_session_is_a_client_with_its_calls_its_notes_and_what_it_was_asked_and_told() {
    let script = script(vec![
        frame(1, 100, ToServer, &call(1, &json!({"name": "echo"}))),
        frame(2, 101, ToClient, &json!({"id": 0, "method": "roots/list"})),
        frame(2, 102, ToServer, &json!({"id": 0, "result": {"roots": []}})),
        frame(3, 103, ToClient, &json!({"method": "notifications/tools/list_changed"})),
        frame(1, 104, ToClient, &json!({"method": "notifications/progress"})),
        frame(1, 105, ToClient, &json!({"id": 1, "result": {}})),
        frame(4, 106, ToServer, &json!({"method": "notifications/roots/list_changed"})),
    ]);
    let [client] = &script.clients[..] else { panic!("{script:?}") };
    assert_eq!(client.session.as_deref(), Some("a1b2"));
    assert_eq!(client.steps.len(), 2);
    let call = client.calls().next().unwrap();
    assert_eq!((call.method.as_str(), call.name.as_deref(), &*call.id), ("tools/call", Some("echo"), "1"));
    assert_eq!(call.outcome.between.len(), 1);
    assert_eq!(call.ended, Some(Duration::from_millis(5)));
    assert_eq!(client.questions[0].asked, json!({"method": "roots/list"}));
    assert_eq!(client.questions[0].reply, Some(json!({"result": {"roots": []}})));
    assert_eq!(client.heard[0].method, "notifications/tools/list_changed");
    assert_eq!((client.begins(), script.length), (Duration::ZERO, Duration::from_millis(6)));
}

#[test]
fn the_rounds_of_a_modern_call_are_one_call_and_their_questions_are_questions() {
    let ask = json!({"method": "elicitation/create", "params": {"message": "who?"}});
    let wants = json!({"id": 1, "result": {"resultType": "input_required", "requestState": "[redacted:0a]",
        "inputRequests": {"q": ask}}});
    let again = json!({"name": "greet", "requestState": "[redacted:0a]",
        "inputResponses": {"q": {"action": "accept"}}});
    let script = script(vec![
        modern(frame(1, 0, ToServer, &call(1, &json!({"name": "greet"})))),
        modern(frame(1, 5, ToClient, &wants)),
        modern(frame(2, 50, ToServer, &call(2, &again))),
        modern(frame(2, 55, ToClient, &json!({"id": 2, "result": {"resultType": "complete"}}))),
    ]);
    let [client] = &script.clients[..] else { panic!("{script:?}") };
    let calls: Vec<&Call> = client.calls().collect();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].rounds, [Duration::from_millis(50)]);
    assert_eq!(calls[0].outcome.took, Some(Duration::from_millis(10)));
    assert!(calls[0].outcome.answer.as_deref().unwrap().contains("complete"));
    assert_eq!(client.questions[0].asked, ask);
    assert_eq!(client.questions[0].reply, Some(json!({"result": {"action": "accept"}})));
}

fn ping(id: u64) -> Value {
    json!({"id": id, "jsonrpc": "2.0", "method": "ping"})
}

#[test]
fn tapes_are_played_one_behind_the_other_and_a_session_goes_on() {
    let first = [frame(1, 10, ToServer, &ping(1)), frame(1, 20, ToClient, &json!({"id": 1, "result": {}}))];
    // Of a tape that was begun long before its first message.
    let second = [frame(1, 60_010, ToServer, &ping(2)), frame(2, 60_015, ToServer, &ping(3))];
    let script = Script::new(tapes([first.to_vec(), second.to_vec()])).unwrap();
    let at: Vec<u128> = script.clients[0].steps.iter().map(|step| step.at.as_millis()).collect();
    assert_eq!((script.clients.len(), at), (1, vec![0, 11, 16]));
    let frames: Vec<String> = script.clients[0].steps.iter().map(|step| script.frame(step.place)).collect();
    assert_eq!(frames, ["frame 11 of 0.tape", "frame 60011 of 1.tape", "frame 60016 of 1.tape"]);
}

#[test]
fn a_call_that_is_answered_on_the_next_tape_of_its_run_is_one_call_at_its_times() {
    let header = |tape: &str, previous: Option<&str>| {
        Ok(Record::Header(Header {
            tape: tape.to_owned(),
            previous: previous.map(str::to_owned),
            ..header()
        }))
    };
    let of = |frame: Frame| Ok(Record::Frame(Box::new(frame)));
    let lost = Lost { since: 2, count: 3, reason: "disk".to_owned() };
    let mut tapes = Tapes::default();
    let asked = of(frame(1, 0, ToServer, &ping(1)));
    tapes.read("one", [header("a", None), asked, Ok(Record::Lost(lost))].into_iter()).unwrap();
    let answer = of(Frame { seq: 1, ..frame(1, 70, ToClient, &json!({"id": 1, "result": {}})) });
    let next = of(Frame { seq: 2, ..frame(2, 90, ToServer, &ping(2)) });
    tapes.read("two", [header("b", Some("a")), answer, next].into_iter()).unwrap();
    let script = Script::new(tapes).unwrap();
    let calls: Vec<&Call> = script.clients[0].calls().collect();
    assert_eq!(calls[0].ended, Some(Duration::from_millis(5)), "{calls:?}");
    assert_eq!(script.clients[0].steps[1].at, Duration::from_millis(90));
    assert_eq!((script.lost, script.frame(calls[1].place)), (3, "frame 2 of two".to_owned()));
}

#[test]
fn a_tape_that_is_being_written_is_played_as_far_as_it_is_whole_and_a_damaged_one_is_not() {
    let place = shadowcat_tape::Place { line: Some(3), offset: 70 };
    let asked = || Ok(Record::Frame(Box::new(frame(1, 0, ToServer, &ping(1)))));
    let mut tapes = Tapes::default();
    tapes.read("torn", [asked(), Err(ReadError::Torn { place })].into_iter()).unwrap();
    assert_eq!(Script::new(tapes).unwrap().calls(), 1);
    let fault = Err(ReadError::Corrupt { place, detail: String::new() });
    let read = Tapes::default().read("damaged", [asked(), fault, asked()].into_iter());
    assert!(matches!(read, Err(LoadError::Damaged(_))));
}

#[test]
fn a_tape_on_which_no_client_says_anything_is_refused() {
    let note = json!({"method": "notifications/tools/list_changed"});
    for frames in [vec![], vec![frame(1, 0, ToClient, &note)]] {
        assert!(matches!(Script::new(tapes([frames])), Err(Silent)));
    }
}

#[test]
fn what_a_server_says_behind_the_handshake_comes_by_chance() {
    let note = |name: &str| json!({"method": format!("notifications/{name}")});
    let script = script(vec![
        frame(1, 0, ToServer, &json!({"jsonrpc": "2.0", "id": 0, "method": "initialize"})),
        frame(1, 5, ToClient, &json!({"id": 0, "result": {}})),
        frame(2, 10, ToClient, &note("early")),
        frame(3, 15, ToServer, &ping(1)),
        frame(4, 20, ToClient, &note("both")),
        frame(3, 25, ToClient, &json!({"id": 1, "result": {}})),
        frame(5, 30, ToClient, &note("both")),
        frame(6, 35, ToClient, &note("message")),
    ]);
    let again = |name: &str| script.clients[0].hears_again(&format!("notifications/{name}"));
    assert_eq!(["early", "both", "message", "never"].map(again), [false, true, false, true]);
}

#[test]
fn a_long_call_is_a_call() {
    let long = call(1, &json!({"name": "x".repeat(17 << 20)}));
    assert_eq!(script(vec![frame(1, 100, ToServer, &long)]).calls(), 1);
}
