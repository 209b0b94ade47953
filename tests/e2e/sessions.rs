//! S2, S5-S9, F22, F33-F37: sessions outlive the process, belong to one client, and mix up nothing.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use shadowcat_tests::client::{Client, call};
use shadowcat_tests::process::gone;
use shadowcat_tests::proxy::{Proxy, before_command, before_url, configured};
use shadowcat_tests::raw::{Ask, post};
use shadowcat_tests::server::{Answers, HttpServer, HttpSettings, Speaks, SseServer, member, path};
use shadowcat_tests::upstream::{Reply, Upstream};
use shadowcat_tests::wait::{found, soon, until};

use crate::bridged::{Bridged, On, bridged};
use crate::edge::session;
use crate::harness::child;

const NEWEST: &str = "2025-11-25";

fn in_session(id: &str, body: &str) -> Ask {
    post("/mcp", body).header("Mcp-Session-Id", id)
}

pub(crate) fn list(id: &str) -> Ask {
    in_session(id, r#"{"jsonrpc":"2.0","id":"still","method":"tools/list"}"#)
}

pub(crate) async fn goes_on(proxy: &Proxy, id: &str) {
    let answer = list(id).send(proxy.address).await;
    let status = answer.status;
    let text = answer.message().await;
    assert_eq!(status, 200, "{text}");
    assert!(member(&text, "result").is_some(), "{text}");
    assert_eq!(member(&text, "id").as_deref(), Some("\"still\""));
}

#[tokio::test]
async fn s2_f22_a_session_goes_on_after_kill_9_before_an_http_server_that_remembers() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let proxy = before_url(&server.url()).start().await;
    let id = session(&proxy, NEWEST).await;
    goes_on(&proxy, &id).await;
    written(&proxy).await;
    let proxy = proxy.crash_and_restart().await;
    goes_on(&proxy, &id).await;
    assert_eq!(server.upstream.calls("initialize").len(), 1, "the server's own session is used on");
}

/// Waits until no session record waits to be written.
pub(crate) async fn written(proxy: &Proxy) {
    soon("the store is up to date", async {
        while proxy.metric("shadowcat_store_queued").await > 0.0
            || proxy.metric("shadowcat_store_written_total").await < 1.0
        {}
    })
    .await;
}

#[tokio::test]
async fn s2_f22_a_session_goes_on_after_kill_9_before_an_http_server_that_forgot() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let proxy = before_url(&server.url()).start().await;
    let id = session(&proxy, NEWEST).await;
    written(&proxy).await;
    server.forget();
    let first = server.upstream.call("initialize").await;
    let proxy = proxy.crash_and_restart().await;
    goes_on(&proxy, &id).await;
    let handshakes = server.upstream.calls("initialize");
    assert_eq!(handshakes.len(), 2);
    assert_eq!(handshakes[1].member("params"), first.member("params"), "the stored handshake, byte for byte");
}

#[tokio::test]
async fn s2_f22_a_session_goes_on_after_kill_9_with_a_new_child_and_a_new_stream() {
    let server = SseServer::start().await;
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    for proxy in [
        before_url(&server.url()).start().await,
        before_command(&[&child(), "--log", log.to_str().unwrap()]).start().await,
    ] {
        let id = session(&proxy, NEWEST).await;
        goes_on(&proxy, &id).await;
        written(&proxy).await;
        let proxy = proxy.crash_and_restart().await;
        goes_on(&proxy, &id).await;
        let proxy = proxy.end_and_restart().await;
        goes_on(&proxy, &id).await;
    }
    let lines = std::fs::read_to_string(&log).unwrap();
    let handshakes: BTreeSet<_> = lines
        .lines()
        .filter(|line| line.contains("\"initialize\""))
        .map(|line| member(line, "params"))
        .collect();
    assert_eq!(handshakes.len(), 1, "each child got the client's own handshake");
    assert_eq!(lines.lines().filter(|line| line.contains("\"initialize\"")).count(), 3);
}

#[tokio::test]
async fn s2_f22_kill_9_under_load_loses_no_session_and_answers_what_was_in_flight_with_an_end() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let mut proxy = before_url(&server.url()).start().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        for _ in 0..4 {
            ids.push(session(&proxy, NEWEST).await);
        }
        written(&proxy).await;
        let address = proxy.address;
        let calls = ids.iter().flat_map(|id| {
            (0..5).map(move |number| {
                in_session(id, &call(&number.to_string(), "hold", "{}", "")).attempt(address)
            })
        });
        let kill = async {
            until("calls are in flight", || server.upstream.calls("tools/call").len() >= ids.len()).await;
            proxy.crash_and_restart().await
        };
        let (ends, restarted) = soon("every call ends", async { tokio::join!(join_all(calls), kill) }).await;
        proxy = restarted;
        assert!(ends.iter().all(Result::is_err), "a held call cannot have an answer");
        for id in &ids {
            goes_on(&proxy, id).await;
        }
    }
}

#[tokio::test]
async fn s8_a_child_that_died_is_started_anew_and_only_what_was_in_flight_fails() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let proxy = before_command(&[&child(), "--log", log.to_str().unwrap()]).start().await;
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    let who = client.request(&call("0", "who", "{}", "")).await;
    client.send(&call("1", "hold", "{}", "")).await;
    client.send(&call("2", "crash", r#"{"after":1}"#, "")).await;
    for id in ["1", "2"] {
        let ended = client.response(id).await;
        let reason = path(&ended, &["error", "data", "reason"]);
        assert_eq!(reason.as_deref(), Some("\"upstream_exited\""), "{ended}");
    }
    let again = client.request(&call("3", "who", "{}", "")).await;
    assert!(member(&again, "result").is_some(), "{again}");
    assert_ne!(path(&who, &["result", "pid"]), path(&again, &["result", "pid"]));
    let lines = std::fs::read_to_string(&log).unwrap();
    assert_eq!(lines.matches("\"crash\"").count(), 1, "a call is never sent twice");
}

/// Three clients with a session each, and the process that serves the first of them.
async fn three_clients(proxy: &Proxy) -> (Vec<Client>, String) {
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Client::http(proxy.address);
        client.handshake(NEWEST).await;
        clients.push(client);
    }
    let who = clients[0].request(&call("0", "who", "{}", "")).await;
    (clients, path(&who, &["result", "pid"]).unwrap())
}

#[tokio::test]
async fn t75_f08_calls_in_flight_at_a_killed_child_all_end_with_its_exit_status() {
    let proxy = before_command(&[child()]).start().await;
    let (mut clients, pid) = three_clients(&proxy).await;
    for number in 1..=20 {
        clients[0].send(&call(&format!("\"{number}\""), "hold", "{}", "")).await;
    }
    clients[0].request(&call("\"sure\"", "echo", r#"{"after":20}"#, "")).await;
    let raw = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::kill_process(raw, rustix::process::Signal::KILL).unwrap();
    for number in 1..=20 {
        let ended = clients[0].response(&format!("\"{number}\"")).await;
        assert_eq!(
            path(&ended, &["error", "data", "reason"]).as_deref(),
            Some("\"upstream_exited\""),
            "{ended}"
        );
        let message = path(&ended, &["error", "message"]).unwrap();
        assert!(message.contains('9') || message.to_lowercase().contains("kill"), "{message}");
    }
    gone(&[pid.parse().unwrap()]).await;
    for client in &mut clients {
        let answer = client.request(&call("\"next\"", "echo", "{}", "")).await;
        assert!(member(&answer, "result").is_some(), "{answer}");
    }
}

#[tokio::test]
async fn t75_calls_of_three_clients_at_one_killed_modern_child_all_end_and_none_is_made_again() {
    let Bridged { proxy, server } = bridged(On::Stdio, Speaks::Modern, "").await;
    let (mut clients, pid) = three_clients(&proxy).await;
    server.call("subscriptions/listen").await;
    let listens = server.calls("subscriptions/listen").len();
    // The ids of two are told apart by their type alone.
    let ids = ["1", "\"1\"", "1"];
    for (client, id) in clients.iter_mut().zip(ids) {
        client.send(&call(id, "hold", "{}", "")).await;
    }
    clients[0].request(&call("\"sure\"", "echo", r#"{"after":3}"#, "")).await;
    let raw = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::kill_process(raw, rustix::process::Signal::KILL).unwrap();
    for (client, id) in clients.iter_mut().zip(ids) {
        let ended = client.response(id).await;
        let reason = path(&ended, &["error", "data", "reason"]);
        assert_eq!(reason.as_deref(), Some("\"upstream_exited\""), "{ended}");
    }
    gone(&[pid.parse().unwrap()]).await;
    for client in &mut clients {
        let answer = client.request(&call("2", "who", "{}", "")).await;
        assert!(path(&answer, &["result", "pid"]).is_some_and(|other| other != pid), "{answer}");
    }
    until("the subscription is opened again", || server.calls("subscriptions/listen").len() > listens).await;
    let held = server.calls("tools/call").into_iter().filter(|text| text.contains("\"hold\""));
    assert_eq!(held.count(), 3, "no call is sent twice");
}

#[tokio::test]
async fn s7_the_upstreams_session_id_never_reaches_the_client_nor_the_clients_the_upstream() {
    let server =
        HttpServer::start(HttpSettings { answers: Answers::Stream, ..HttpSettings::default() }).await;
    let proxy = before_url(&server.url()).start().await;
    let id = session(&proxy, NEWEST).await;
    let answer = in_session(&id, &call("1", "echo", "{}", "")).send(proxy.address).await;
    let headers = format!("{:?}", answer.headers);
    assert!(!headers.contains("upstream-session"), "{headers}");
    assert!(!answer.message().await.contains("upstream-session"));
    let seen = format!("{:?}", server.upstream.seen());
    assert!(!seen.contains(&id), "{seen}");
    assert_eq!(server.upstream.call("tools/call").await.header("mcp-session-id"), Some("upstream-session-1"));
}

#[tokio::test]
async fn s4_an_idle_session_ends_and_is_unknown_afterwards() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let proxy = before_url(&server.url()).config("sessions:\n  idle: 300ms\n").start().await;
    let id = session(&proxy, NEWEST).await;
    soon("the session ends", async { while proxy.metric("shadowcat_sessions_active").await > 0.0 {} }).await;
    assert_eq!(list(&id).send(proxy.address).await.status, 404);
    until("the upstream's session is deleted", || server.sessions().is_empty()).await;
}

#[tokio::test]
async fn f33_equal_ids_and_tokens_of_many_clients_each_get_their_own() {
    let server =
        HttpServer::start(HttpSettings { answers: Answers::Stream, ..HttpSettings::default() }).await;
    for proxy in [before_url(&server.url()).start().await, before_command(&[child()]).start().await] {
        let clients = (0..10).map(|number| {
            let address = proxy.address;
            async move {
                let mut client = Client::http(address);
                client.handshake(NEWEST).await;
                for round in 0..20 {
                    let canary = format!(r#"{{"client":{number},"round":{round}}}"#);
                    let id = if round % 2 == 0 { "1" } else { "\"1\"" };
                    let answer =
                        client.request(&call(id, "echo", &canary, r#""_meta":{"progressToken":1}"#)).await;
                    let mine = path(&answer, &["result", "request", "params", "arguments"]);
                    assert_eq!(mine, Some(canary), "{answer}");
                }
                assert_eq!(client.left(), Vec::<String>::new());
            }
        });
        join_all(clients).await;
    }
}

#[tokio::test]
async fn f34_the_same_id_twice_in_flight_gets_two_answers() {
    for proxy in both().await {
        let id = session(&proxy, NEWEST).await;
        let asked = |canary: &str| {
            in_session(&id, &call("1", "echo", &format!(r#"{{"c":"{canary}"}}"#), "")).send(proxy.address)
        };
        for round in 0..20 {
            let (a, b) = (format!("a{round}"), format!("b{round}"));
            let (first, second) = tokio::join!(asked(&a), asked(&b));
            for (answer, canary) in [(first, a), (second, b)] {
                let text = answer.message().await;
                let mine = path(&text, &["result", "request", "params", "arguments", "c"]);
                assert_eq!(mine, Some(format!("\"{canary}\"")), "{text}");
            }
        }
    }
}

async fn both() -> [Proxy; 2] {
    // The server lives as long as the proxy's test, which ends with this process.
    let server = Box::leak(Box::new(HttpServer::start(HttpSettings::default()).await));
    [before_url(&server.url()).start().await, before_command(&[child()]).start().await]
}

#[tokio::test]
async fn f35_answers_out_of_order_find_their_askers() {
    for proxy in both().await {
        let mut client = Client::http(proxy.address);
        client.handshake(NEWEST).await;
        for round in 0..3 {
            let ids: Vec<_> = (0..25).map(|number| format!("\"{round}-{number}\"")).collect();
            for id in &ids {
                client.send(&call(id, "hold", "{}", "")).await;
            }
            let after = format!(r#"{{"after":{}}}"#, 25 * (round + 1));
            client.request(&call("\"release\"", "release", &after, "")).await;
            let mut owns = BTreeSet::new();
            for id in &ids {
                owns.insert(path(&client.response(id).await, &["result", "upstream"]).unwrap());
            }
            assert_eq!(owns.len(), ids.len(), "each answer once");
        }
    }
}

#[tokio::test]
async fn f36_an_answer_after_the_timeout_reaches_nobody() {
    let proxy = before_command(&[child()]).argument("--request-timeout").argument("300ms").start().await;
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    // Its cancel, which the timeout sends, is what makes this tool answer.
    let ended = client.request(&call("1", "late", "{}", "")).await;
    assert_eq!(
        path(&ended, &["error", "data", "reason"]).as_deref(),
        Some("\"upstream_timeout\""),
        "{ended}"
    );
    soon("the late answer is counted", async {
        while proxy.metric("shadowcat_upstream_stray_total").await < 1.0 {}
    })
    .await;
    let again = client.request(&call("1", "echo", "{}", "")).await;
    assert!(path(&again, &["result", "request"]).is_some(), "{again}");
    assert_eq!(client.left(), Vec::<String>::new());
}

#[tokio::test]
async fn f37_unknown_and_doubled_answers_are_dropped_and_counted() {
    let server =
        HttpServer::start(HttpSettings { answers: Answers::Stream, ..HttpSettings::default() }).await;
    for proxy in [before_url(&server.url()).start().await, before_command(&[child()]).start().await] {
        let mut client = Client::http(proxy.address);
        client.handshake(NEWEST).await;
        for id in ["1", "987654321", "\"nobody\""] {
            let answer = client.request(&call(id, "stray", "{}", "")).await;
            assert!(!answer.contains("wrong"), "{answer}");
        }
        client.request(&call("5", "echo", "{}", "")).await;
        assert!(client.left().iter().all(|text| !text.contains("wrong")));
        assert!(proxy.metric("shadowcat_upstream_stray_total").await >= 3.0);
    }
}

#[tokio::test]
async fn q9_the_upstreams_own_http_errors_reach_the_client_with_their_headers() {
    for (status, header, value) in [
        (401, "www-authenticate", "Bearer resource_metadata=\"https://x.example/\""),
        (403, "www-authenticate", "Bearer error=\"insufficient_scope\""),
        (429, "retry-after", "17"),
    ] {
        let upstream =
            Upstream::start(move |_| async move { Reply::empty(status).header(header, value) }).await;
        let proxy = before_url(&upstream.url("/mcp")).start().await;
        let asked =
            post("/mcp", &shadowcat_tests::client::initialize("\"i\"", NEWEST)).send(proxy.address).await;
        assert_eq!(asked.status, status);
        assert_eq!(asked.header(header), Some(value));
        assert_eq!(member(&asked.text().await, "id").as_deref(), Some("\"i\""));
    }
}

#[tokio::test]
async fn q6_sessions_never_share_a_child() {
    let directory = tempfile::tempdir().unwrap();
    let starts = directory.path().join("starts");
    let command = format!(r#"["{}", "--starts", "{}"]"#, child(), starts.display());
    let proxy = configured(&format!("upstream:\n  command: {command}\n  warm: 2\n")).start().await;
    let mut pids = BTreeSet::new();
    for _ in 0..8 {
        let mut client = Client::http(proxy.address);
        client.handshake(NEWEST).await;
        assert!(
            pids.insert(
                path(&client.request(&call("1", "who", "{}", "")).await, &["result", "pid"]).unwrap()
            )
        );
        let session = client.session();
        let end = shadowcat_tests::raw::ask(http::Method::DELETE, "/mcp").header("Mcp-Session-Id", &session);
        end.send(proxy.address).await;
    }
    let started = found("the pool is full again", || {
        let lines = std::fs::read_to_string(&starts).unwrap_or_default();
        let pids: Vec<u32> = lines.lines().filter_map(|line| line.parse().ok()).collect();
        (pids.len() >= 10).then_some(pids)
    })
    .await;
    let used: Vec<u32> = pids.iter().map(|pid| pid.parse().unwrap()).collect();
    gone(&used).await;
    assert!(started.iter().filter(|pid| shadowcat_tests::process::is_running(**pid)).count() <= 2);
}
