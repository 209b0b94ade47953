//! Messages that are held until somebody decides: on each transport, in both eras and across a bridge, changed or not.

use std::path::Path;
use std::process::Command;

use futures_util::future::join_all;
use serde_json::{Value, json};
use shadowcat_tests::client::{Client, call};
use shadowcat_tests::operator::Operator;
use shadowcat_tests::proxy::{Proxy, Reverse, before_command, before_url, program};
use shadowcat_tests::server::{Answers, HttpServer, HttpSettings, Speaks, SseServer, member, path};
use shadowcat_tests::wait::within;

use crate::bridged::code;
use crate::harness::child;
use crate::modern::{body, envelope};

/// Several things happen one behind the other, on a machine that may be busy.
const PATIENCE: std::time::Duration = std::time::Duration::from_mins(2);

pub(crate) async fn paused(reverse: Reverse, config: &str) -> (Proxy, Operator) {
    let proxy = reverse.config(config).argument("--admin").argument("127.0.0.1:0").start().await;
    let operator = Operator::of(proxy.data()).await;
    (proxy, operator)
}

pub(crate) fn breakpoints(filters: &[&str]) -> String {
    let listed: Vec<String> = filters.iter().map(|filter| format!("    - filter: \"{filter}\"\n")).collect();
    format!("pause:\n  breakpoints:\n{}", listed.concat())
}

fn forward(data: &Path, filters: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.arg("forward").arg("--data").arg(data).args(["--admin", "127.0.0.1:0"]);
    for filter in filters {
        command.args(["--break", filter]);
    }
    command.arg("--").arg(child());
    command
}

async fn modern_call(proxy: &Proxy, tool: &str, arguments: &str) -> String {
    let members = format!(r#""name":"{tool}","arguments":{arguments},"#);
    let asked = envelope("tools/call", Some(tool), &body("\"m\"", "tools/call", &members));
    within(PATIENCE, "an answer", async { asked.send_patiently(proxy.address).await.text_patiently().await })
        .await
}

fn arrived(answer: &str) -> Option<String> {
    path(answer, &["result", "request", "params", "arguments"])
}

/// Numbers from 0 up to `count` in an order of their own.
fn shuffled(count: usize) -> impl Iterator<Item = usize> {
    // 77 and 200 have no divisor in common.
    (0..count).map(move |number| (number * 77 + 31) % count)
}

#[tokio::test]
async fn each_of_200_held_messages_reaches_its_own_client_in_whatever_order_they_go() {
    let (proxy, operator) = paused(before_command(&[child()]), &breakpoints(&["~t plain & ~q"])).await;
    let mut clients = Vec::new();
    for number in 0..10 {
        let mut client =
            if number % 2 == 0 { Client::http(proxy.address) } else { Client::sse(proxy.address).await };
        client.handshake("2025-11-25").await;
        clients.push(client);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        for id in 0..20 {
            client.send(&call(&id.to_string(), "plain", &format!(r#"{{"of":[{number},{id}]}}"#), "")).await;
        }
    }
    let held = operator.holding(200).await;
    assert!((proxy.metric("shadowcat_held").await - 200.0).abs() < 0.1);
    for number in shuffled(200) {
        operator.resume(held[number]["id"].as_str().unwrap()).await;
    }
    join_all(clients.into_iter().enumerate().map(|(number, mut client)| async move {
        for id in 0..20 {
            let answer = client.response(&id.to_string()).await;
            assert_eq!(arrived(&answer), Some(format!(r#"{{"of":[{number},{id}]}}"#)));
        }
        assert!(client.left().iter().all(|left| member(left, "id").is_none()), "nobody else's");
    }))
    .await;
    assert!(operator.held().await.is_empty());
    assert!((proxy.metric("shadowcat_held_released_total").await - 200.0).abs() < 0.1);
}

/// A call is edited on its way there and its answer on its way back.
async fn edits(operator: &Operator) {
    operator.edit(|message| message["params"]["arguments"] = json!({"n": 2})).await;
    operator.edit(|message| message["result"]["more"] = json!(true)).await;
}

fn is_edited(answer: &str) {
    assert_eq!(arrived(answer).as_deref(), Some(r#"{"n":2}"#), "{answer}");
    assert_eq!(path(answer, &["result", "more"]).as_deref(), Some("true"), "{answer}");
}

async fn legacy_edits(mut client: Client, operator: &Operator) {
    client.handshake("2025-11-25").await;
    client.send(&call("1", "plain", r#"{"n":1}"#, "")).await;
    edits(operator).await;
    is_edited(&client.response("1").await);
}

async fn modern_edits(proxy: &Proxy, operator: &Operator) {
    let (answer, ()) = tokio::join!(modern_call(proxy, "plain", r#"{"n":1}"#), edits(operator));
    let data = answer.lines().filter_map(|line| line.strip_prefix("data: ")).next_back();
    is_edited(data.unwrap_or_else(|| panic!("what is held is a stream: {answer}")));
}

const CALLS: &[&str] = &["~t plain"];

#[tokio::test]
async fn a_call_and_its_answer_are_edited_on_every_transport() {
    let directory = tempfile::tempdir().unwrap();
    let client = Client::stdio(forward(directory.path(), CALLS));
    let operator = Operator::of(directory.path()).await;
    legacy_edits(client, &operator).await;
    for answers in [Answers::Fitting, Answers::Stream] {
        let server = HttpServer::start(HttpSettings { answers, ..HttpSettings::default() }).await;
        let (proxy, operator) = paused(before_url(&server.url()), &breakpoints(CALLS)).await;
        legacy_edits(Client::http(proxy.address), &operator).await;
        legacy_edits(Client::sse(proxy.address).await, &operator).await;
        modern_edits(&proxy, &operator).await;
    }
    let server = SseServer::start().await;
    let (proxy, operator) = paused(before_url(&server.url()), &breakpoints(CALLS)).await;
    legacy_edits(Client::sse(proxy.address).await, &operator).await;
}

#[tokio::test]
async fn a_call_and_its_answer_are_edited_across_a_bridge() {
    let (proxy, operator) =
        paused(before_command(&[&child(), "--speaks", "legacy"]), &breakpoints(CALLS)).await;
    modern_edits(&proxy, &operator).await;
    let settings = HttpSettings { speaks: Speaks::Modern, ..HttpSettings::default() };
    let server = HttpServer::start(settings).await;
    let (proxy, operator) = paused(before_url(&server.url()), &breakpoints(CALLS)).await;
    legacy_edits(Client::http(proxy.address), &operator).await;
    legacy_edits(Client::sse(proxy.address).await, &operator).await;
}

/// A question of the server and its client's answer are edited; meanwhile others are served by the same server.
async fn question(mut client: Client, operator: &Operator) {
    client.handshake("2025-11-25").await;
    client.send(&call("7", "chatter", "{}", "")).await;
    let (id, mut message) = operator.only().await;
    assert_eq!(member(&client.request(&call("8", "other", "{}", "")).await, "id").as_deref(), Some("8"));
    message["params"]["message"] = json!("Really?");
    operator.decide(&id, &json!({ "verdict": "edit", "message": message })).await;
    let ask = client.message("elicitation/create").await;
    assert_eq!(path(&ask, &["params", "message"]).as_deref(), Some("\"Really?\""), "{ask}");
    let id = member(&ask, "id").unwrap();
    client.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"accept"}}}}"#)).await;
    operator.edit(|message| message["result"]["content"] = json!({"sure": true})).await;
    let answer = client.response("7").await;
    let sure = path(&answer, &["result", "answer", "result", "content", "sure"]);
    assert_eq!(sure.as_deref(), Some("true"), "{answer}");
}

#[tokio::test]
async fn a_question_of_a_server_and_its_answer_are_edited() {
    let filters = &["~m elicitation/create"];
    let directory = tempfile::tempdir().unwrap();
    let client = Client::stdio(forward(directory.path(), filters));
    let operator = Operator::of(directory.path()).await;
    question(client, &operator).await;
    let server = HttpServer::start(HttpSettings::default()).await;
    for reverse in [before_command(&[child()]), before_url(&server.url())] {
        let (proxy, operator) = paused(reverse, &breakpoints(filters)).await;
        question(Client::http(proxy.address), &operator).await;
        question(Client::sse(proxy.address).await, &operator).await;
    }
}

#[tokio::test]
async fn a_held_question_takes_no_place_of_the_calls_of_its_client() {
    // The call in whose course the server asks has one of two places.
    let config = format!("limits: {{in_flight_per_session: 2}}\n{}", breakpoints(&["~m elicitation/create"]));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sc.yaml");
    std::fs::write(&file, &config).unwrap();
    let mut forward = Command::new(program());
    forward.args(["forward", "--admin", "127.0.0.1:0", "--data"]).arg(directory.path());
    forward.arg("--config").arg(file).arg("--").arg(child());
    let (proxy, over_http) = paused(before_command(&[child()]), &config).await;
    let stdio = Client::stdio(forward);
    let over_stdio = Operator::of(directory.path()).await;
    for (mut client, operator) in [(stdio, over_stdio), (Client::http(proxy.address), over_http)] {
        client.handshake("2025-11-25").await;
        client.send(&call("7", "chatter", "{}", "")).await;
        operator.holding(1).await;
        for id in 10..20 {
            let answer = client.request(&call(&id.to_string(), "other", "{}", "")).await;
            assert_eq!(code(&answer), None, "{answer}");
        }
        let (id, _) = operator.only().await;
        operator.decide(&id, &json!({"verdict": "answer", "result": {"action": "decline"}})).await;
        assert_eq!(code(&client.response("7").await), None);
    }
}

#[tokio::test]
async fn each_event_of_a_stream_is_held_by_itself() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let (proxy, operator) = paused(before_url(&server.url()), &breakpoints(&["~n & ~to client"])).await;
    let members = r#""name":"burst","arguments":{"events":3,"bytes":10},"#;
    let meta = format!(r#""_meta":{{"progressToken":1,{}}}"#, crate::modern::META);
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{members}{meta}}}}}"#);
    let mut events = envelope("tools/call", Some("burst"), &text).send(proxy.address).await.events();
    let words = ["resume", "drop", "resume"];
    for word in words {
        let (id, message) = operator.only().await;
        assert_eq!(message["method"], "notifications/progress");
        operator.decide(&id, &json!({ "verdict": word })).await;
    }
    let told = |event: &str| path(event, &["params", "progress"]);
    assert_eq!(told(&events.message().await).as_deref(), Some("0"));
    assert_eq!(told(&events.message().await).as_deref(), Some("2"));
    assert_eq!(code(&events.message().await), None);
}

#[tokio::test]
async fn a_call_is_answered_or_refused_by_whoever_decides() {
    let (proxy, operator) = paused(before_command(&[child()]), &breakpoints(&["~t plain & ~q"])).await;
    let mut client = Client::http(proxy.address);
    client.handshake("2025-11-25").await;
    for (verdict, expected) in [
        (json!({"verdict": "answer", "result": {"mine": 1}}), Ok(r#"{"mine":1}"#)),
        (json!({"verdict": "answer", "error": {"code": 42, "message": "no"}}), Err((42, "no"))),
        (json!({"verdict": "block", "reason": "not now"}), Err((-31_015, "not now"))),
    ] {
        client.send(&call("1", "plain", "{}", "")).await;
        let (id, _) = operator.only().await;
        operator.decide(&id, &verdict).await;
        let answer = client.response("1").await;
        match expected {
            Ok(result) => assert_eq!(member(&answer, "result").as_deref(), Some(result)),
            Err((number, sentence)) => {
                assert_eq!(code(&answer), Some(number), "{answer}");
                let told = path(&answer, &["error", "message"]);
                assert_eq!(told, Some(format!("\"{sentence}\"")), "{answer}");
            }
        }
    }
}

#[tokio::test]
async fn what_a_rule_pauses_waits_in_the_same_place() {
    let rules = "rules:\n  - {name: look, when: {tool: plain}, do: [{pause: {for: 1h}}, {tag: seen}]}\n";
    let (proxy, operator) = paused(before_command(&[child()]), &format!("record: {{}}\n{rules}")).await;
    let mut client = Client::http(proxy.address);
    client.handshake("2025-11-25").await;
    client.send(&call("1", "plain", "{}", "")).await;
    let held = operator.holding(1).await;
    assert_eq!(held[0]["cause"], json!({"kind": "rule", "name": "look"}));
    operator.edit(|message| message["params"]["arguments"] = json!({"n": 2})).await;
    assert_eq!(arrived(&client.response("1").await).as_deref(), Some(r#"{"n":2}"#));
    let deed = r#""rules":["look: pause","rule look (h-1): edit by "#;
    shadowcat_tests::wait::until("the deed on the tape", || {
        let tapes = std::fs::read_dir(proxy.data().join("tapes")).into_iter().flatten();
        let mut texts = tapes.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok());
        texts.any(|text| text.contains(deed))
    })
    .await;
}

const APPROVALS: &str = "approvals:\n  - name: plain-ones\n    when: {tool: plain}\n";

#[tokio::test]
async fn a_call_waits_for_its_approval_and_a_late_one_is_good_once_for_the_same_call() {
    let (proxy, operator) = paused(before_command(&[child()]), APPROVALS).await;
    let approve = async |approve: bool| {
        let listed = operator.get("/v1/approvals").await;
        let id = listed["held"][0]["id"].as_str().unwrap().to_owned();
        let (status, value) =
            operator.post(&format!("/v1/approvals/{id}"), &json!({"approve": approve})).await;
        assert_eq!(status, 200, "{value}");
    };
    for (yes, told) in [(true, r#""n":1"#), (false, "policy_denied")] {
        let (answer, ()) = tokio::join!(modern_call(&proxy, "plain", r#"{"n":1}"#), async {
            operator.holding(1).await;
            approve(yes).await;
        });
        assert!(answer.contains(told), "{answer}");
    }
    // Its client gives up, somebody says yes, and the client tries again.
    let members = r#""name":"plain","arguments":{"n":1},"#;
    let asked = envelope("tools/call", Some("plain"), &body("1", "tools/call", members));
    drop(asked.send(proxy.address).await);
    let abandoned = |held: &[Value]| held.iter().any(|held| held["abandoned"] == true);
    within(PATIENCE, "the caller is gone", async { while !abandoned(&operator.held().await) {} }).await;
    approve(true).await;
    assert!(modern_call(&proxy, "plain", r#"{ "n":1 }"#).await.contains(r#""n":1"#));
    assert!(operator.held().await.is_empty());
    let (answer, ()) = tokio::join!(modern_call(&proxy, "plain", r#"{"n":1}"#), async {
        operator.holding(1).await;
        approve(false).await;
    });
    assert!(answer.contains("policy_denied"), "once: {answer}");
    let (_, page) = proxy.page("/metrics").await;
    for (outcome, count) in [("granted", 2), ("denied", 2), ("used", 1), ("expired", 0)] {
        let line = format!("shadowcat_approvals_total{{outcome=\"{outcome}\"}} {count}");
        assert!(page.contains(&line), "{line} in {page}");
    }
}
