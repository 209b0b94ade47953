//! SEC-12, T58, T79, SEC-10: what belongs to one principal is to another as if it were not there, and claims decide who sees
//! what.

use http::Method;
use serde_json::{Value, json};
use shadowcat_tests::client::{INITIALIZED, call, initialize};
use shadowcat_tests::operator::Operator;
use shadowcat_tests::proxy::{Proxy, before_command, before_url};
use shadowcat_tests::raw::{Ask, ask, get, post};
use shadowcat_tests::server::{HttpServer, HttpSettings, Speaks, member, path};
use shadowcat_tests::upstream::{Reply, Seen, Upstream};
use shadowcat_tests::wait::{soon, until, within};
use tokio::task::JoinSet;

use crate::auth::{ANN, BOB, asking, pipe, session};
use crate::bridge_tasks::{before, legacy_server, taking};
use crate::bridged::{FORMS, LEGACY, On, Round, Server, call_of, code, kind, modern};
use crate::faults::courtesy;
use crate::harness::child;
use crate::peers::START;
use crate::sessions::written;

const NEWEST: &str = "2025-11-25";
const ACCEPT: &str = r#"{"action":"accept"}"#;

/// Everything that can be asked of a session.
fn ways(id: &str) -> Vec<(&'static str, Ask)> {
    let list = r#"{"jsonrpc":"2.0","id":"q","method":"tools/list"}"#;
    let stream = || get("/mcp").header("Accept", "text/event-stream");
    let ways = vec![
        ("a request", post("/mcp", list)),
        ("a notification", post("/mcp", INITIALIZED)),
        ("an answer", post("/mcp", r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)),
        ("a batch", post("/mcp", &format!("[{list}]"))),
        ("the standing stream", stream()),
        ("a stream gone on with", stream().header("Last-Event-ID", "0-0")),
        ("its end", ask(Method::DELETE, "/mcp")),
    ];
    ways.into_iter().map(|(way, asked)| (way, asked.header("Mcp-Session-Id", id))).collect()
}

/// Somebody else's session is answered for as one that never was.
async fn looks_like_none(proxy: &Proxy, id: &str) {
    let none = "00112233445566778899aabbccddeeff";
    for ((way, theirs), (_, unknown)) in ways(id).into_iter().zip(ways(none)) {
        let answer = theirs.bearer(BOB).send(proxy.address).await;
        let reference = unknown.bearer(BOB).send(proxy.address).await;
        assert_eq!((answer.status, reference.status), (404, 404), "{way}");
        assert_eq!(answer.text().await, reference.text().await, "{way}");
    }
}

async fn goes_on(proxy: &Proxy, id: &str) {
    let list = r#"{"jsonrpc":"2.0","id":"q","method":"tools/list"}"#;
    let answer = post("/mcp", list).header("Mcp-Session-Id", id).bearer(ANN).send(proxy.address).await;
    assert_eq!(answer.status, 200);
    let text = answer.message().await;
    assert!(member(&text, "result").is_some(), "{text}");
}

#[tokio::test]
async fn sec12_x05_somebody_elses_session_looks_like_none_also_after_kill_9() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let proxy = asking(before_url(&server.url())).start().await;
    // The revision that has batches.
    let id = session(&proxy, ANN, "2025-03-26").await;
    looks_like_none(&proxy, &id).await;
    goes_on(&proxy, &id).await;
    written(&proxy).await;
    let proxy = proxy.crash_and_restart().await;
    looks_like_none(&proxy, &id).await;
    goes_on(&proxy, &id).await;
    looks_like_none(&proxy, &id).await;
    let ended = ask(Method::DELETE, "/mcp").header("Mcp-Session-Id", &id).bearer(ANN);
    assert_eq!(ended.send(proxy.address).await.status, 200);
}

#[tokio::test]
async fn sec12_a_session_from_before_anybody_was_asked_is_nobodys_who_is() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let open = before_url(&server.url()).start().await;
    let id = crate::edge::session(&open, NEWEST).await;
    written(&open).await;
    let proxy = open.end_and_start(asking(before_url(&server.url()))).await;
    looks_like_none(&proxy, &id).await;
    let of_ann = session(&proxy, ANN, NEWEST).await;
    written(&proxy).await;
    let open = proxy.end_and_start(before_url(&server.url())).await;
    let asked = ways(&of_ann).remove(0).1;
    assert_eq!(asked.send(open.address).await.status, 404);
}

#[tokio::test]
async fn sec12_the_pipe_of_an_sse_client_is_its_own() {
    let proxy = asking(before_command(&[child()])).start().await;
    let (mut events, endpoint) = pipe(&proxy, ANN).await;
    let message = initialize("1", "2024-11-05");
    let theirs = post(&endpoint, &message).bearer(BOB).send(proxy.address).await;
    let unknown = post("/messages?session_id=00112233445566778899aabbccddeeff", &message).bearer(BOB);
    let unknown = unknown.send(proxy.address).await;
    assert_eq!((theirs.status, unknown.status), (404, 404));
    assert_eq!(theirs.text().await, unknown.text().await);
    assert_eq!(post(&endpoint, &message).send(proxy.address).await.status, 401);
    assert_eq!(post(&endpoint, &message).bearer(ANN).send(proxy.address).await.status, 202);
    assert!(events.message().await.contains("protocolVersion"));
}

#[tokio::test]
async fn t58_a_state_is_of_no_use_to_another_principal() {
    for on in LEGACY {
        let (server, reverse) = Server::start(on, Speaks::Legacy).await;
        let proxy = asking(reverse).start().await;
        let asked = call_of("1", "ask", r#"{"id":9}"#, FORMS).bearer(ANN);
        let first = Round::of(&asked.send(proxy.address).await.message().await);
        let retry = || first.retry("2", "ask", r#"{"id":9}"#, FORMS, ACCEPT);
        let refused = retry().bearer(BOB).send(proxy.address).await.message().await;
        assert_eq!(code(&refused), Some(-32602), "{on:?}: {refused}");
        assert_eq!(server.responses(), Vec::<String>::new(), "{on:?}: the server never sees it");
        let done = retry().bearer(ANN).send(proxy.address).await.message().await;
        assert_eq!(kind(&done).as_deref(), Some("\"complete\""), "{on:?}: {done}");
        assert_eq!(server.responses().len(), 1, "{on:?}");
    }
}

#[tokio::test]
async fn t79_somebody_elses_task_looks_like_none() {
    for flag in ["--http", "--sse", "--stdio"] {
        let before = before(&legacy_server(), flag, asking).await;
        let ask = async |asked: Ask, token: &str| {
            asked.bearer(token).send_patiently(before.proxy.address).await.message().await
        };
        let created = ask(call_of("1", "forever", "{}", &taking()), ANN).await;
        assert_eq!(kind(&created).as_deref(), Some("\"task\""), "{flag}: {created}");
        let task: String = serde_json::from_str(&path(&created, &["result", "taskId"]).unwrap()).unwrap();
        let about = |method: &str, task: &str| {
            let answers = if method == "tasks/update" { r#""inputResponses":{"q1":{}},"# } else { "" };
            modern("2", method, Some(task), &format!(r#""taskId":"{task}",{answers}"#), &taking(), "")
        };
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            let theirs = ask(about(method, &task), BOB).await;
            let unknown = ask(about(method, "no-such-task"), BOB).await;
            let codes = (code(&theirs), code(&unknown));
            assert_eq!(codes, (Some(-32602), Some(-32602)), "{flag}, {method}: {theirs}");
            assert_eq!(path(&theirs, &["error"]), path(&unknown, &["error"]), "{flag}, {method}");
        }
        let own = ask(about("tasks/get", &task), ANN).await;
        assert_eq!(path(&own, &["result", "status"]).as_deref(), Some("\"working\""), "{flag}: {own}");
    }
}

#[tokio::test]
async fn two_principals_with_equal_ids_get_each_their_own() {
    for speaks in [Speaks::Legacy, Speaks::Modern] {
        let server = HttpServer::start(HttpSettings { speaks, ..HttpSettings::default() }).await;
        let proxy = asking(before_url(&server.url())).start().await;
        let one = async |token: &str, word: &str| {
            for round in 0..20 {
                let asked = call_of("1", "echo", &format!(r#"{{"secret":"{word}-{round}"}}"#), "{}");
                let answer = asked.bearer(token).send(proxy.address).await.message().await;
                assert_eq!(member(&answer, "id").as_deref(), Some("1"));
                assert!(answer.contains(&format!("{word}-{round}")), "{speaks:?}: {answer}");
            }
        };
        tokio::join!(one(ANN, "of-ann"), one(BOB, "of-bob"));
        if speaks == Speaks::Legacy {
            for seen in server.upstream.calls("tools/call") {
                let session = seen.header("mcp-session-id").unwrap();
                let of_both = ["of-ann", "of-bob"].map(|word| {
                    let calls = server.upstream.calls("tools/call");
                    let mut same = calls.iter().filter(|call| call.header("mcp-session-id") == Some(session));
                    same.any(|call| call.body.contains(word))
                });
                assert_ne!(of_both, [true, true], "each has sessions of their own");
            }
        }
    }
}

/// Rules by which only admins see and call a tool.
const BY_ROLE: &str = r#"
rules:
  - name: tools-of-admins-unseen
    when: {on: answer, method: tools/list, not: {claims: {$.role: admin}}}
    do: [remove: "$.tools[?@.name == 'array']"]
  - name: tools-of-admins
    when: {tool: array, not: {claims: {$.role: admin}}}
    do: [block: this tool is for admins]
  - name: who-asks
    when: {tool: echo, claims: {$.teams: {contains: blue}}}
    do:
      - set: {$.arguments.asked_by: "{{ principal }}, {{ claims.role }}"}
"#;

/// A server with two tools that says what it was called with.
fn offers_two_tools(seen: &Seen) -> Reply {
    if let Some(reply) = courtesy(seen) {
        return reply;
    }
    let id = seen.member("id").unwrap();
    let result = if seen.rpc().as_deref() == Some("tools/list") {
        let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
        json!({"tools": [tool("echo"), tool("array")]}).to_string()
    } else {
        format!(r#"{{"content":[],"structuredContent":{}}}"#, seen.member("params").unwrap())
    };
    Reply::json(200, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
}

#[tokio::test]
async fn claims_decide_who_sees_a_tool_and_who_may_call_it() {
    let upstream = Upstream::start(|seen| async move { offers_two_tools(&seen) }).await;
    let proxy = asking(before_url(&upstream.url("/mcp"))).config(BY_ROLE).start().await;
    for (token, is_admin) in [(ANN, true), (BOB, false)] {
        let id = session(&proxy, token, NEWEST).await;
        let legacy = |body: &str| post("/mcp", body).header("Mcp-Session-Id", &id).bearer(token);
        let lists = [
            modern("1", "tools/list", None, "", "{}", "").bearer(token),
            legacy(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#),
        ];
        for asked in lists {
            let listed = asked.send(proxy.address).await.message().await;
            assert!(listed.contains(r#""name":"echo""#), "{listed}");
            assert_eq!(listed.contains(r#""name":"array""#), is_admin, "{listed}");
        }
        for asked in [call_of("2", "array", "{}", "{}").bearer(token), legacy(&call("2", "array", "{}", ""))]
        {
            let called = asked.send(proxy.address).await.message().await;
            assert_eq!(member(&called, "result").is_some(), is_admin, "{called}");
            assert_eq!(called.contains("policy_denied"), !is_admin, "{called}");
        }
        let echo = call_of("3", "echo", "{}", "{}").bearer(token).send(proxy.address).await.message().await;
        assert_eq!(echo.contains(r#""asked_by":"ann, admin""#), is_admin, "{echo}");
    }
}

#[tokio::test]
async fn what_was_approved_for_one_is_held_again_for_another() {
    let config = "admin: {}\napprovals:\n  - name: plain-ones\n    when: {tool: plain}\n";
    let proxy = asking(before_command(&[child()])).config(config).start().await;
    let operator = Operator::of(proxy.data()).await;
    let held = async |token: &'static str| {
        let mut asked = JoinSet::new();
        asked.spawn(call_of("1", "plain", "{}", "{}").bearer(token).send_patiently(proxy.address));
        operator.holding(1).await;
        let one: Value = operator.held().await.remove(0);
        (asked, one)
    };
    let (asked, one) = held(ANN).await;
    assert_eq!(one["principal"], "ann", "{one}");
    // Its client gives up, and the approval waits for it.
    drop(asked);
    within(START, "the caller is gone", async {
        while !operator.held().await.iter().any(|held| held["abandoned"] == true) {}
    })
    .await;
    let approve = async |one: &Value| {
        let id = one["id"].as_str().unwrap();
        operator.post(&format!("/v1/approvals/{id}"), &json!({"approve": true})).await.0
    };
    assert_eq!(approve(&one).await, 200);
    let (mut asked, other) = held(BOB).await;
    assert_eq!(other["principal"], "bob", "the grant is ann's: {other}");
    assert_eq!(approve(&other).await, 200);
    assert!(asked.join_next().await.unwrap().unwrap().message().await.contains("\"result\""));
    let again = call_of("1", "plain", "{}", "{}").bearer(ANN).send(proxy.address).await.message().await;
    assert!(member(&again, "result").is_some(), "{again}");
}

#[tokio::test]
async fn t77_sec10_a_token_is_on_no_wire_no_tape_and_in_no_log() {
    for speaks in [Speaks::Both, Speaks::Legacy, Speaks::Modern] {
        let server = HttpServer::start(HttpSettings { speaks, ..HttpSettings::default() }).await;
        let reverse = asking(before_url(&server.url())).config("record: {redact: false}\nadmin: {}\n");
        let proxy = reverse.argument("--log-level").argument("trace").start().await;
        let id = session(&proxy, ANN, NEWEST).await;
        let legacy = post("/mcp", &call("1", "echo", "{}", "")).header("Mcp-Session-Id", &id).bearer(ANN);
        legacy.send(proxy.address).await.message().await;
        call_of("2", "echo", "{}", "{}").bearer(ANN).send(proxy.address).await.message().await;
        // Those that are turned away, too.
        for asked in [
            post(&format!("/mcp?access_token={ANN}"), "{}"),
            post("/mcp", "{}").header("Cookie", &format!("token={ANN}")),
            post("/mcp", "{}").bearer(&format!("{ANN}-and-more")),
            post("/mcp", "{}").header("Authorization", &format!("Bearer {ANN} {ANN}")),
        ] {
            assert!(asked.send(proxy.address).await.status >= 400);
        }
        let secret = ANN.split_once('-').unwrap().1;
        for seen in server.upstream.seen() {
            let told = format!("{} {:?} {}", seen.path, seen.headers, seen.body);
            assert!(!told.contains(secret), "{told}");
        }
        let tapes = || {
            let entries = std::fs::read_dir(proxy.data().join("tapes")).unwrap();
            entries.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap()).collect::<String>()
        };
        until("the calls are on the tape", || tapes().matches("\"echo\"").count() >= 2).await;
        assert!(!tapes().contains(secret));
        let log = proxy.process.stderr();
        assert!(log.contains("turned away"), "{log}");
        assert!(!log.contains(secret), "{log}");
        let figures = proxy.page("/metrics").await.1 + &proxy.page("/health").await.1;
        assert!(!figures.contains(secret));
        // A record is written behind the call that makes it.
        let listed = soon("the session is listed", async {
            loop {
                let listed = proxy.sessions(&["list", "-o", "json"]).await;
                let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
                if listed.contains("\"ann\"") {
                    break listed;
                }
            }
        });
        let listed = listed.await;
        assert!(!listed.contains(secret), "{listed}");
        let seen = Operator::of(proxy.data()).await.get("/v1/sessions").await.to_string();
        assert!(seen.contains("\"ann\"") && !seen.contains(secret), "{seen}");
    }
}

/// One call that waits for its client.
struct Parked {
    number: usize,
    arguments: String,
    first: Round,
}

fn token_of(principal: usize) -> String {
    format!("token-{principal}-5f0c77d1a2")
}

#[tokio::test]
async fn b3_fifty_parked_calls_of_ten_principals_never_cross() {
    const PRINCIPALS: usize = 10;
    let line = |number| format!("    - {{name: p{number}, token: \"${{P{number}}}\"}}\n");
    let config = format!("auth:\n  tokens:\n{}", (0..PRINCIPALS).map(line).collect::<String>());
    for on in LEGACY {
        let (server, reverse) = match on {
            // A call that may be asked something has a child for itself, of half of them.
            On::Stdio => Server::start_children(120),
            On::Http | On::Sse => Server::start(on, Speaks::Legacy).await,
        };
        let reverse = (0..PRINCIPALS).fold(reverse.config(&config), |reverse, number| {
            reverse.variable(&format!("P{number}"), &token_of(number))
        });
        let proxy = reverse.bearer(&token_of(0)).start().await;
        let address = proxy.address;
        let mut calling = JoinSet::new();
        for number in 0..50 {
            calling.spawn(async move {
                let arguments = format!(r#"{{"tag":"call-{number}"}}"#);
                // Each says the same of itself, and numbers its calls alike.
                let asked = call_of("1", "ask", &arguments, FORMS).bearer(&token_of(number % PRINCIPALS));
                let first = Round::of(&asked.send_patiently(address).await.message().await);
                let message = path(first.request(), &["params", "message"]);
                assert_eq!(message, Some(format!("\"call-{number}\"")));
                Parked { number, arguments, first }
            });
        }
        let parked = calling.join_all().await;
        assert_eq!(parked.len(), 50);
        let mut answering = JoinSet::new();
        for Parked { number, arguments, first } in parked.into_iter().rev() {
            answering.spawn(async move {
                let answer = format!(r#"{{"action":"accept","content":{{"n":{number}}}}}"#);
                let retry = || first.retry("1", "ask", &arguments, FORMS, &answer);
                let other = token_of((number + 1) % PRINCIPALS);
                let refused = retry().bearer(&other).send_patiently(address).await.message().await;
                assert_eq!(code(&refused), Some(-32602), "{number}: {refused}");
                let own = token_of(number % PRINCIPALS);
                let done = retry().bearer(&own).send_patiently(address).await.message().await;
                let told = path(&done, &["result", "answers"]).unwrap_or_default();
                assert!(told.contains(&format!(r#""content":{{"n":{number}}}"#)), "{number}: {done}");
            });
        }
        answering.join_all().await;
        assert_eq!(server.calls("tools/call").len(), 50, "none was made twice");
        assert_eq!(server.responses().len(), 50);
        assert!(proxy.metric("shadowcat_bridge_parked").await < 0.1);
    }
}
