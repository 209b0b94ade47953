//! What a player says to requests, on tapes made of frames.

use bytes::Bytes;
use serde_json::{Value, json};
use shadowcat_pipeline::Direction;
use shadowcat_protocol::{Era, Limits, Message, Request, Response};
use shadowcat_tape::{Action, ClientSide, Frame, Header, Kind, Record};
use time::OffsetDateTime;

use super::scene::{Act, Scene};
use super::{Cursor, Player, Settings, Turn};
use crate::ignored::Ignored;
use crate::script::testing;
use crate::tapes::Tapes;

/// A tape being made.
#[derive(Default)]
struct Tape {
    frames: Vec<Frame>,
    exchange: u64,
}

impl Tape {
    fn frame(&mut self, direction: Direction, exchange: u64, session: Option<&str>, message: &Value) {
        let kind = match (message.get("method"), message.get("id")) {
            (Some(_), Some(_)) => Kind::Request,
            (Some(_), None) => Kind::Notification,
            _ => Kind::Response,
        };
        let era = if session.is_some() { "legacy" } else { "modern" };
        let seq = self.frames.len() as u64 + 1;
        self.frames.push(Frame {
            seq,
            at_us: seq * 1_000,
            time: OffsetDateTime::UNIX_EPOCH,
            hop: "edge".to_owned(),
            direction,
            exchange,
            related: None,
            session: session.map(str::to_owned),
            client: ClientSide {
                transport: "stdio".to_owned(),
                revision: "2025-11-25".to_owned(),
                era: era.to_owned(),
            },
            upstream: None,
            kind,
            method: message.get("method").and_then(Value::as_str).map(str::to_owned),
            action: Action::Passed,
            took_us: None,
            rules: Vec::new(),
            redactions: 0,
            unfolded: false,
            message: message.to_string(),
        });
    }

    /// A call and its result.
    fn call(mut self, session: Option<&str>, method: &str, params: &Value, result: &Value) -> Self {
        self.asks(session, method, params);
        self.answers(session, self.exchange, result);
        self
    }

    fn asks(&mut self, session: Option<&str>, method: &str, params: &Value) {
        self.exchange += 1;
        let id = self.exchange;
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.frame(Direction::ToServer, id, session, &message);
    }

    fn answers(&mut self, session: Option<&str>, exchange: u64, result: &Value) {
        let message = json!({"jsonrpc": "2.0", "id": exchange, "result": result});
        self.frame(Direction::ToClient, exchange, session, &message);
    }
}

fn player(tapes: Vec<Tape>, settings: Settings) -> Player {
    Player::new(testing::tapes(tapes.into_iter().map(|tape| tape.frames)), settings).unwrap()
}

fn request(method: &str, params: &Value) -> Request {
    let text = json!({"jsonrpc": "2.0", "id": "live", "method": method, "params": params}).to_string();
    let Ok(Message::Request(request)) = Message::parse(Bytes::from(text), &Limits::default()) else {
        panic!()
    };
    request
}

/// The result a client gets, or the sentence it is told.
fn ask(
    player: &Player,
    era: Era,
    cursor: &mut Cursor,
    method: &str,
    params: &Value,
) -> Result<Value, String> {
    let value = |response: &Response| {
        let message: Value = serde_json::from_slice(response.text()).unwrap();
        assert_eq!(message["id"], "live");
        message.get("result").or(message.get("error")).unwrap().clone()
    };
    match player.answer(era, cursor, &request(method, params)) {
        Turn::Ready(response) => Ok(value(&response)),
        Turn::Scene(scene, live) => Ok(value(&live.answer(scene.answer().unwrap()))),
        Turn::Missing(what) => Err(what),
    }
}

fn echo(text: &str) -> Value {
    json!({"name": "echo", "arguments": {"text": text}})
}

const S: Option<&str> = Some("s1");
const CALL: &str = "tools/call";

#[test]
fn equal_calls_are_answered_in_their_order_and_the_last_answer_is_given_again() {
    let tape = Tape::default()
        .call(S, CALL, &echo("a"), &json!(1))
        .call(S, CALL, &echo("b"), &json!(10))
        .call(S, CALL, &echo("a"), &json!(2));
    let player = player(vec![tape], Settings::default());
    let (mut one, mut two) = (Cursor::default(), Cursor::default());
    for expected in [1, 2, 2] {
        assert_eq!(ask(&player, Era::Legacy, &mut one, CALL, &echo("a")), Ok(json!(expected)));
    }
    assert_eq!(
        ask(&player, Era::Legacy, &mut two, CALL, &echo("a")),
        Ok(json!(1)),
        "each client has its own place"
    );
    let report = player.report();
    assert_eq!((report.played, report.repeated, report.missed), (4, 1, 0));
    assert_eq!(report.unused, [r#"tools/call "echo" (0.tape, frame 3)"#]);
}

#[test]
fn a_strict_player_calls_no_tool_more_often_than_the_tape() {
    let tape = Tape::default().call(S, CALL, &echo("a"), &json!(1)).call(
        S,
        "tools/list",
        &json!({}),
        &json!({"tools": []}),
    );
    let player = player(vec![tape], Settings { is_strict: true, ..Settings::default() });
    let mut cursor = Cursor::default();
    assert!(ask(&player, Era::Legacy, &mut cursor, CALL, &echo("a")).is_ok());
    let told = ask(&player, Era::Legacy, &mut cursor, CALL, &echo("a")).unwrap_err();
    assert!(told.contains("once more than on the tape, where the last is 0.tape, frame 1"), "{told}");
    for _ in 0..2 {
        assert!(ask(&player, Era::Legacy, &mut cursor, "tools/list", &json!({})).is_ok());
    }
    assert!(!player.report().is_complete());
}

#[test]
fn the_answers_of_one_recorded_session_come_before_those_of_the_next() {
    let tape = Tape::default()
        .call(S, CALL, &echo("a"), &json!("first of s1"))
        .call(Some("s2"), CALL, &echo("a"), &json!("first of s2"))
        .call(S, CALL, &echo("a"), &json!("second of s1"));
    let player = player(vec![tape], Settings::default());
    let mut cursor = Cursor::default();
    for expected in ["first of s1", "second of s1", "first of s2"] {
        assert_eq!(ask(&player, Era::Legacy, &mut cursor, CALL, &echo("a")), Ok(json!(expected)));
    }
}

#[test]
fn a_later_tape_takes_the_place_of_an_earlier_one_where_it_has_answers() {
    let base =
        Tape::default().call(S, CALL, &echo("a"), &json!("old")).call(S, CALL, &echo("b"), &json!("kept"));
    let fix = Tape::default().call(S, CALL, &echo("a"), &json!("new"));
    let player = player(vec![base, fix], Settings::default());
    let mut cursor = Cursor::default();
    for (text, expected) in [("a", "new"), ("a", "new"), ("b", "kept")] {
        assert_eq!(ask(&player, Era::Legacy, &mut cursor, CALL, &echo(text)), Ok(json!(expected)));
    }
    assert!(player.report().is_complete(), "what was replaced is not missed");
}

#[test]
fn tapes_of_one_run_are_one_and_a_call_may_go_on_from_one_to_the_next() {
    let header = |tape: &str, previous: Option<&str>| {
        Record::Header(Header {
            major: 1,
            minor: 0,
            program: "0".to_owned(),
            tape: tape.to_owned(),
            created: OffsetDateTime::UNIX_EPOCH,
            redacted: true,
            imported: None,
            previous: previous.map(str::to_owned),
            partial: false,
        })
    };
    let mut whole = Tape::default().call(S, CALL, &echo("a"), &json!(1));
    whole.asks(S, CALL, &echo("a"));
    let mut rest = Tape::default();
    rest.answers(S, 2, &json!(2));
    let rest = rest.call(S, CALL, &json!({"name": "echo"}), &json!(3));
    let records = |header: Record, tape: Tape| {
        let frames = tape.frames.into_iter().map(|frame| Record::Frame(Box::new(frame)));
        std::iter::once(header).chain(frames).map(Ok)
    };
    let mut tapes = Tapes::default();
    tapes.read("one", records(header("1", None), whole)).unwrap();
    tapes.read("two", records(header("2", Some("1")), rest)).unwrap();
    let player = Player::new(tapes, Settings::default()).unwrap();
    let mut cursor = Cursor::default();
    for expected in [1, 2] {
        assert_eq!(ask(&player, Era::Legacy, &mut cursor, CALL, &echo("a")), Ok(json!(expected)));
    }
    assert_eq!(player.report().unused, [r#"tools/call "echo" (two, frame 2)"#]);
}

#[test]
fn what_was_redacted_matches_anything_and_what_is_ignored_does_not_count() {
    let login = |token: &str, at: u64| json!({"name": "login", "arguments": {"token": token, "at": at}});
    let tape = Tape::default().call(S, CALL, &login("[redacted:0123456789ab]", 1), &json!("in"));
    let ignored = Ignored::parse(&["$.params.arguments.at"]).unwrap();
    let player = player(vec![tape], Settings { ignored, ..Settings::default() });
    let mut cursor = Cursor::default();
    assert_eq!(ask(&player, Era::Legacy, &mut cursor, CALL, &login("secret", 99)), Ok(json!("in")));
    let other = json!({"name": "login", "arguments": {"token": "x", "as": "root"}});
    assert!(ask(&player, Era::Legacy, &mut cursor, CALL, &other).is_err());
}

#[test]
fn a_call_that_is_not_there_is_told_the_nearest_and_what_differs() {
    let tape = Tape::default()
        .call(S, CALL, &echo("a long way off"), &json!(1))
        .call(S, CALL, &json!({"name": "sum", "arguments": {"a": 1, "b": 2}}), &json!(3))
        .call(S, CALL, &json!({"name": "sum", "arguments": {"a": 5, "b": 6}}), &json!(11));
    let player = player(vec![tape], Settings::default());
    let miss = |method: &str, params: Value| {
        ask(&player, Era::Legacy, &mut Cursor::default(), method, &params).unwrap_err()
    };
    assert_eq!(
        miss(CALL, json!({"name": "sum", "arguments": {"a": 5, "b": 7}})),
        "no recorded call asks tools/call \"sum\" so; the nearest (0.tape, frame 5) differs at \
         $.params.arguments.b: recorded 6, asked 7"
    );
    assert_eq!(
        miss(CALL, json!({"name": "subtract"})),
        "no recorded call asks tools/call \"subtract\"; the tape has tools/call of \"echo\", \"sum\""
    );
    assert_eq!(
        miss("prompts/get", json!({"name": "hi"})),
        "no recorded call asks prompts/get \"hi\", or any prompts/get"
    );
}

#[test]
fn what_is_told_of_a_missing_call_shows_no_secret_of_its_client() {
    let tape = Tape::default().call(S, CALL, &echo("a"), &json!(1));
    let player = player(vec![tape], Settings::default());
    let secret = json!({"name": "echo", "arguments": {"text": "b", "password": "hunter2-hunter2"}});
    let told = ask(&player, Era::Legacy, &mut Cursor::default(), CALL, &secret).unwrap_err();
    assert!(told.contains("$.params.arguments.password: recorded nothing, asked \"[redacted:"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn a_call_without_its_answer_is_missing_and_one_that_was_cancelled_stays_silent() {
    let mut tape = Tape::default();
    tape.asks(S, CALL, &echo("cancelled"));
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
    tape.frame(Direction::ToServer, 9, S, &cancel);
    tape.asks(S, CALL, &echo("cut off"));
    let player = player(vec![tape], Settings::default());
    let told = ask(&player, Era::Legacy, &mut Cursor::default(), CALL, &echo("cut off")).unwrap_err();
    assert_eq!(told, "the tape ends before the answer to tools/call \"echo\" (0.tape, frame 3)");
    let turn = player.answer(Era::Legacy, &mut Cursor::default(), &request(CALL, &echo("cancelled")));
    let Turn::Scene(scene, _) = turn else { panic!("{turn:?}") };
    assert!(matches!(scene.steps.as_slice(), [step] if matches!(step.act, Act::Silence)));
}

fn acts(scene: &Scene) -> Vec<&'static str> {
    let all = scene.steps.iter().chain(scene.after.iter());
    all.map(|step| match step.act {
        Act::Reply(_) => "reply",
        Act::Tell(_) => "tell",
        Act::Ask(_) => "ask",
        Act::Answered(_) => "answered",
        Act::Answer(_) => "answer",
        Act::Silence => "silence",
    })
    .collect()
}

#[test]
fn what_the_server_says_and_asks_belongs_to_the_call_in_whose_course_it_does() {
    let mut tape = Tape::default();
    tape.asks(S, CALL, &echo("a"));
    let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress",
        "params": {"progressToken": "old", "progress": 1}});
    tape.frame(Direction::ToClient, 1, S, &progress);
    let question = json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": {}});
    tape.frame(Direction::ToClient, 50, S, &question);
    tape.frame(
        Direction::ToServer,
        50,
        S,
        &json!({"jsonrpc": "2.0", "id": "q", "result": {"action": "accept"}}),
    );
    tape.answers(S, 1, &json!("done"));
    let changed = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
    tape.frame(Direction::ToClient, 51, S, &changed);
    let player = player(vec![tape], Settings::default());
    let mut params = echo("a");
    params["_meta"] = json!({"progressToken": "live"});
    let turn = player.answer(Era::Legacy, &mut Cursor::default(), &request(CALL, &params));
    let Turn::Scene(scene, live) = turn else { panic!("{turn:?}") };
    assert_eq!(acts(&scene), ["reply", "ask", "answered", "answer", "tell"]);
    let Act::Reply(note) = &scene.steps[0].act else { panic!() };
    assert_eq!(live.reply(note).unwrap().progress_token(), Some("\"live\""));
    let Act::Ask(question) = &scene.steps[1].act else { panic!() };
    let answer = |action: &str| {
        let result = json!({"action": action}).to_string();
        Response::result(question.request.id(), &result)
    };
    player.heard(question, &answer("accept"));
    assert_eq!(player.report().surprises, 0);
    player.heard(question, &answer("decline"));
    assert_eq!(player.report().surprises, 1);
}

#[test]
fn the_rounds_of_a_modern_call_are_tied_by_a_state_that_is_fresh_for_each_client() {
    let asks =
        |state: &str| json!({"resultType": "input_required", "inputRequests": {}, "requestState": state});
    let with = |state: &str, answer: &str| {
        let mut params = echo("a");
        params["requestState"] = state.into();
        params["inputResponses"] = json!({"q": {"action": answer}});
        params
    };
    let tape = Tape::default()
        .call(None, CALL, &echo("a"), &asks("recorded"))
        .call(None, CALL, &with("recorded", "decline"), &json!("declined"))
        .call(None, CALL, &with("recorded", "accept"), &json!("accepted"))
        .call(None, CALL, &with("forged", "accept"), &json!("refused"));
    let player = player(vec![tape], Settings::default());
    let begin = || {
        let first = ask(&player, Era::Modern, &mut Cursor::default(), CALL, &echo("a")).unwrap();
        first["requestState"].as_str().unwrap().to_owned()
    };
    let (one, two) = (begin(), begin());
    assert!(one != two && one != "recorded");
    let go_on = |state: &str, answer: &str| {
        ask(&player, Era::Modern, &mut Cursor::default(), CALL, &with(state, answer))
    };
    assert_eq!(go_on(&one, "accept"), Ok(json!("accepted")));
    assert_eq!(go_on(&two, "decline"), Ok(json!("declined")));
    assert_eq!(
        go_on("unknown", "accept"),
        Ok(json!("refused")),
        "as the recorded server did with such a state"
    );
    assert_eq!(player.report().surprises, 0);
    assert_eq!(go_on(&one, "cancel"), Ok(json!("declined")), "the first there is");
    assert_eq!(player.report().surprises, 1);
}

#[test]
fn the_handshake_is_the_recorded_one_of_the_asked_revision_or_the_first() {
    let agreed = |version: &str| json!({"protocolVersion": version, "capabilities": {"tools": {}}});
    let tape = Tape::default()
        .call(S, "initialize", &agreed("2025-06-18"), &agreed("2025-06-18"))
        .call(S, "tools/list", &json!({}), &json!({"tools": []}))
        .call(Some("s2"), "initialize", &agreed("2025-11-25"), &agreed("2025-11-25"));
    let player = player(vec![tape], Settings::default());
    for (asked, answered) in
        [("2025-11-25", "2025-11-25"), ("2025-06-18", "2025-06-18"), ("2024-11-05", "2025-06-18")]
    {
        let result = ask(&player, Era::Legacy, &mut Cursor::default(), "initialize", &agreed(asked)).unwrap();
        assert_eq!(result["protocolVersion"], answered, "{asked}");
    }
    let discovered =
        ask(&player, Era::Modern, &mut Cursor::default(), "server/discover", &json!({})).unwrap();
    assert_eq!(discovered["code"], -32601, "the other era is left to the bridge");
}

#[test]
fn a_server_whose_greeting_is_not_on_the_tape_offers_what_was_used_of_it() {
    let tape = Tape::default().call(S, CALL, &echo("a"), &json!(1)).call(None, CALL, &echo("a"), &json!(1));
    let player = player(vec![tape], Settings::default());
    let params = json!({"protocolVersion": "2025-06-18"});
    let agreed = ask(&player, Era::Legacy, &mut Cursor::default(), "initialize", &params).unwrap();
    assert_eq!(agreed["protocolVersion"], "2025-06-18");
    assert_eq!(agreed["capabilities"], json!({"tools": {}}));
    let discovered =
        ask(&player, Era::Modern, &mut Cursor::default(), "server/discover", &json!({})).unwrap();
    assert_eq!(discovered["supportedVersions"], json!(["2026-07-28"]));
}

#[test]
fn a_tape_of_the_modern_era_alone_offers_no_other() {
    let offered = json!({"resultType": "complete", "supportedVersions": ["2025-11-25", "2026-07-28"]});
    let tape = Tape::default().call(None, "server/discover", &json!({}), &offered).call(
        None,
        CALL,
        &echo("a"),
        &json!(1),
    );
    let player = player(vec![tape], Settings::default());
    let told = ask(&player, Era::Modern, &mut Cursor::default(), "server/discover", &json!({})).unwrap();
    assert_eq!(told["supportedVersions"], json!(["2026-07-28"]));
    assert!(player.speaks(Era::Modern) && !player.speaks(Era::Legacy));
}

#[test]
fn what_every_server_does_is_answered_without_a_tape() {
    let tape = Tape::default().call(S, CALL, &echo("a"), &json!(1)).call(None, CALL, &echo("a"), &json!(1));
    let player = player(vec![tape], Settings::default());
    let mut cursor = Cursor::default();
    for (method, params) in [
        ("ping", json!({})),
        ("logging/setLevel", json!({"level": "debug"})),
        ("resources/subscribe", json!({"uri": "a:b"})),
    ] {
        assert_eq!(ask(&player, Era::Legacy, &mut cursor, method, &params), Ok(json!({})), "{method}");
    }
    let listen = request("subscriptions/listen", &json!({"notifications": {"toolsListChanged": true}}));
    let Turn::Scene(scene, _) = player.answer(Era::Modern, &mut cursor, &listen) else { panic!() };
    assert_eq!(acts(&scene), ["reply", "silence"]);
    assert!(player.report().misses.is_empty());
}

#[test]
fn what_the_proxy_let_pass_is_played_however_long_it_is() {
    let tape =
        Tape::default().call(Some("s"), "tools/call", &echo("hi"), &json!({ "text": "x".repeat(17 << 20) }));
    let player = player(vec![tape], Settings::default());
    let turn = player.answer(Era::Legacy, &mut Cursor::default(), &request("tools/call", &echo("hi")));
    let Turn::Scene(scene, _) = turn else { panic!("not on the tape") };
    assert!(scene.answer().is_some());
}
