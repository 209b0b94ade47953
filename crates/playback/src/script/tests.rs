//! Scripts made from a few frames.

use std::time::Duration;

use serde_json::json;
use shadowcat_pipeline::Direction::{ToClient, ToServer};
use shadowcat_tape::{ClientSide, Frame, Lost, Record};

use super::testing::frame;
use super::*;

fn modern(frame: Frame) -> Frame {
    let era = "modern".to_owned();
    Frame { session: None, client: ClientSide { era, ..frame.client }, ..frame }
}

fn script(frames: Vec<Frame>) -> Script {
    let mut loading = Loading::default();
    for frame in frames {
        loading.take(Record::Frame(Box::new(frame))).unwrap();
    }
    loading.finish().unwrap()
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

#[test]
fn tapes_are_played_one_behind_the_other_and_a_session_goes_on() {
    let mut loading = Loading::default();
    let ping = |id: u64| json!({"id": id, "jsonrpc": "2.0", "method": "ping"});
    loading.take(Record::Frame(Box::new(frame(1, 10, ToServer, &ping(1))))).unwrap();
    loading.take(Record::Lost(Lost { since: 2, count: 3, reason: "disk".to_owned() })).unwrap();
    loading.next_tape();
    loading.take(Record::Frame(Box::new(frame(1, 5, ToServer, &ping(2))))).unwrap();
    let script = loading.finish().unwrap();
    assert_eq!((script.clients.len(), script.lost), (1, 3));
    let at: Vec<Duration> = script.clients[0].steps.iter().map(|step| step.at).collect();
    assert_eq!(at, [Duration::ZERO, Duration::from_millis(5)]);
}

#[test]
fn a_tape_on_which_no_client_says_anything_is_refused() {
    assert!(matches!(Loading::default().finish(), Err(LoadError::Nothing)));
    let mut loading = Loading::default();
    let note = json!({"method": "notifications/tools/list_changed"});
    loading.take(Record::Frame(Box::new(frame(1, 0, ToClient, &note)))).unwrap();
    assert!(matches!(loading.finish(), Err(LoadError::Nothing)));
}
