//! What bridges are beside their messages: found out when they are needed, seen from outside, ended in order.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use shadowcat_tests::client::{Client, call, initialize};
use shadowcat_tests::process::gone;
use shadowcat_tests::proxy::{Proxy, before_command, before_url};
use shadowcat_tests::raw::post;
use shadowcat_tests::server::{HttpServer, HttpSettings, Speaks, member, path};
use shadowcat_tests::upstream::{Reply, Seen, Upstream};
use shadowcat_tests::wait::{found, soon, until};
use tokio::task::JoinSet;

use crate::bridged::{
    ALL, Bridged, FORMS, LEGACY, MODERN, On, Round, Server, before_legacy, bridged, call_of, code, kind,
    modern,
};
use crate::edge::session;
use crate::harness::child;
use crate::recording::shadowcat;
use crate::sessions::written;

const NEWEST: &str = "2025-11-25";
const COMPLETE: Option<&str> = Some("\"complete\"");

#[tokio::test]
async fn t73_a_child_shows_its_era_by_its_answer_to_the_first_question() {
    let legacy: [&[&str]; 5] = [
        &["--discover", "-32601"],
        &["--discover", "-32602"],
        &["--discover", "-32000"],
        &["--silent-on", "server/discover"],
        &["--exit-on", "server/discover"],
    ];
    let mut trying = JoinSet::new();
    for (words, speaks) in
        legacy.into_iter().map(|words| (words, "legacy")).chain([(&["--discover", "-32022"][..], "modern")])
    {
        trying.spawn(async move {
            let directory = tempfile::tempdir().unwrap();
            let log = directory.path().join("log");
            let child = child();
            let command = [&[&*child, "--speaks", speaks, "--log", log.to_str().unwrap()], words].concat();
            let proxy = before_command(&command).start().await;
            let answer =
                call_of("1", "count", "{}", "{}").send_patiently(proxy.address).await.message().await;
            assert_eq!(kind(&answer).as_deref(), COMPLETE, "{words:?}: {answer}");
            let read = std::fs::read_to_string(&log).unwrap();
            assert_eq!(read.contains("\"initialize\""), speaks == "legacy", "{words:?}: {read}");
            let again = call_of("2", "count", "{}", "{}").send(proxy.address).await.message().await;
            let counted = path(&again, &["result", "count"]);
            assert_eq!(counted.as_deref(), Some("2"), "{words:?}: one child serves: {again}");
            let read = std::fs::read_to_string(&log).unwrap();
            let probes = read.matches("\"server/discover\"").count();
            assert_eq!(probes, 1, "{words:?}: the verdict is remembered: {read}");
        });
    }
    while let Some(tried) = trying.join_next().await {
        tried.unwrap();
    }
}

/// A server that answers modern requests with `modern`, and the handshake of the legacy eras as it should.
async fn answering(modern: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |seen: Seen| {
        let id = seen.member("id");
        let reply = match (seen.header("mcp-protocol-version"), id) {
            (Some("2026-07-28"), Some(id)) => modern(&id),
            (_, None) => Reply::empty(if seen.method == http::Method::POST { 202 } else { 405 }),
            (_, Some(id)) => {
                let result = match seen.rpc().as_deref() {
                    Some("initialize") => {
                        r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"x","version":"1"}}"#
                    }
                    _ => r#"{"content":[]}"#,
                };
                Reply::json(200, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
                    .header("mcp-session-id", "u")
            }
        };
        async move { reply }
    })
    .await
}

#[tokio::test]
async fn t74_an_http_server_shows_its_era_by_more_than_a_status() {
    let unsupported = |id: &str| {
        let data = r#"{"supported":["2026-07-28"],"requested":"2026-07-28"}"#;
        let error = format!(r#"{{"code":-32022,"message":"no","data":{data}}}"#);
        Reply::json(400, format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#))
    };
    let empty = answering(|_| Reply::empty(400)).await;
    let proxy = before_url(&empty.url("/mcp")).start().await;
    let answer = call_of("1", "x", "{}", "{}").send(proxy.address).await.message().await;
    assert_eq!(kind(&answer).as_deref(), COMPLETE, "{answer}");
    let upstream = answering(unsupported).await;
    let proxy = before_url(&upstream.url("/mcp")).start().await;
    let answer = call_of("1", "x", "{}", "{}").send(proxy.address).await.message().await;
    assert_eq!(code(&answer), Some(-32022), "{answer}");
    assert!(upstream.calls("initialize").is_empty(), "a modern server: {answer}");
}

#[tokio::test]
async fn t74_a_fault_of_an_http_server_is_the_clients_answer_and_is_not_remembered() {
    for status in [401, 403, 429, 503] {
        for body in ["", r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"no"},"id":null}"#] {
            let has_fault = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
            let is_faulty = std::sync::Arc::clone(&has_fault);
            let upstream = Upstream::start(move |seen: Seen| {
                let id = seen.member("id").unwrap_or_else(|| "null".into());
                let supported = r#""supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0"#;
                let result = format!(r#"{{"resultType":"complete",{supported},"cacheScope":"private"}}"#);
                let is_faulty = is_faulty.load(std::sync::atomic::Ordering::SeqCst);
                let fault = if body.is_empty() { Reply::empty(status) } else { Reply::json(status, body) };
                let answer = Reply::json(200, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#));
                async move { if is_faulty { fault } else { answer } }
            })
            .await;
            let proxy = before_url(&upstream.url("/mcp")).start().await;
            let answer = call_of("1", "x", "{}", "{}").send(proxy.address).await;
            assert_eq!(answer.status, status, "the server's own status, {body}");
            has_fault.store(false, std::sync::atomic::Ordering::SeqCst);
            let answer = call_of("2", "x", "{}", "{}").send(proxy.address).await.message().await;
            assert_eq!(kind(&answer).as_deref(), COMPLETE, "{status}: {answer}");
            assert!(upstream.calls("initialize").is_empty(), "{status}: no evidence of a legacy server");
        }
    }
}

#[tokio::test]
async fn t74_silence_of_an_http_server_is_no_evidence_and_is_not_remembered() {
    let silent = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let is_silent = std::sync::Arc::clone(&silent);
    let upstream = Upstream::start(move |seen: Seen| {
        let is_silent = is_silent.load(std::sync::atomic::Ordering::SeqCst);
        async move {
            if is_silent {
                return std::future::pending().await;
            }
            let supported = r#""supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0"#;
            let result = format!(r#"{{"resultType":"complete",{supported},"cacheScope":"private"}}"#);
            let id = seen.member("id").unwrap();
            Reply::json(200, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
        }
    })
    .await;
    let short = before_url(&upstream.url("/mcp")).argument("--request-timeout").argument("500ms");
    let proxy = short.start().await;
    let answer = call_of("1", "x", "{}", "{}").send_patiently(proxy.address).await.message().await;
    assert!(path(&answer, &["error"]).is_some(), "{answer}");
    silent.store(false, std::sync::atomic::Ordering::SeqCst);
    // The question of the first client is still under way, and who comes meanwhile waits for it.
    soon("a call is answered", async {
        loop {
            let answer = call_of("2", "x", "{}", "{}").send_patiently(proxy.address).await.message().await;
            if kind(&answer).as_deref() == COMPLETE {
                return;
            }
        }
    })
    .await;
    assert!(upstream.calls("initialize").is_empty());
}

#[tokio::test]
async fn without_a_bridge_a_client_gets_the_servers_own_refusal() {
    for on in LEGACY {
        let bridged = before_legacy(on, "bridge:\n  enabled: false\n").await;
        let refused = bridged.ask(modern("1", "server/discover", None, "", "{}", "")).await;
        assert!(path(&refused, &["result"]).is_none(), "{on:?}: {refused}");
        assert_eq!(bridged.server.calls("initialize"), Vec::<String>::new(), "{on:?}");
    }
    for (on, expected) in [(On::Http, -32020), (On::Stdio, -32022)] {
        let bridged = bridged(on, Speaks::Modern, "bridge:\n  enabled: false\n").await;
        let refused = bridged.ask(post("/mcp", &initialize("\"i\"", NEWEST))).await;
        assert_eq!(code(&refused), Some(expected), "{on:?}: {refused}");
        assert_eq!(bridged.server.calls("server/discover"), Vec::<String>::new(), "{on:?}");
    }
}

#[tokio::test]
async fn b7_a_server_of_both_eras_is_used_in_its_clients_own() {
    let server = HttpServer::start(HttpSettings::default()).await;
    for proxy in [before_url(&server.url()).start().await, before_command(&[child()]).start().await] {
        let answer = call_of("1", "echo", "{}", "{}").send(proxy.address).await.message().await;
        assert!(answer.contains("io.modelcontextprotocol/protocolVersion"), "{answer}");
        let id = session(&proxy, NEWEST).await;
        let answer = post("/mcp", &call("1", "echo", "{}", "")).header("Mcp-Session-Id", &id);
        let answer = answer.send(proxy.address).await.message().await;
        assert!(!answer.contains("io.modelcontextprotocol/protocolVersion"), "{answer}");
        for name in ["shadowcat_bridge_to_legacy_total", "shadowcat_bridge_to_modern_total"] {
            assert!(proxy.metric(name).await < 0.1, "{name}");
        }
    }
}

#[tokio::test]
async fn b3_fifty_parked_calls_at_once_never_cross() {
    const CALLS: usize = 50;
    // A call that may be asked has a session for itself, among those of the clients that declare the same.
    let more = ["", r#","roots":{}"#, r#","sampling":{}"#, r#","roots":{},"sampling":{}"#];
    let clients = more.map(|more| format!(r#"{{"elicitation":{{"form":{{}}}}{more}}}"#));
    let bridged = std::sync::Arc::new(before_legacy(On::Http, "").await);
    let mut calling = JoinSet::new();
    for number in 0..CALLS {
        let (bridged, capabilities) =
            (std::sync::Arc::clone(&bridged), clients[number % clients.len()].clone());
        calling.spawn(async move {
            let arguments = format!(r#"{{"tag":"call-{number}"}}"#);
            let first = Round::of(&bridged.ask(call_of("1", "ask", &arguments, &capabilities)).await);
            let message = path(first.request(), &["params", "message"]);
            assert_eq!(message, Some(format!("\"call-{number}\"")));
            (number, arguments, capabilities, first)
        });
    }
    let mut parked = Vec::new();
    while let Some(called) = calling.join_next().await {
        parked.push(called.unwrap());
    }
    bridged.metric_is("shadowcat_bridge_parked", 50.0).await;
    let mut answering = JoinSet::new();
    for (number, arguments, capabilities, first) in parked.into_iter().rev() {
        let bridged = std::sync::Arc::clone(&bridged);
        answering.spawn(async move {
            let answer = format!(r#"{{"action":"accept","content":{{"n":{number}}}}}"#);
            let done = bridged.ask(first.retry("1", "ask", &arguments, &capabilities, &answer)).await;
            let told = path(&done, &["result", "answers"]).unwrap_or_default();
            assert!(told.contains(&format!(r#""content":{{"n":{number}}}"#)), "{number}: {done}");
        });
    }
    while let Some(answered) = answering.join_next().await {
        answered.unwrap();
    }
    assert_eq!(bridged.server.calls("tools/call").len(), CALLS);
    assert_eq!(bridged.server.responses().len(), CALLS);
    bridged.metric_is("shadowcat_bridge_parked", 0.0).await;
}

#[tokio::test]
async fn the_end_of_the_proxy_ends_parked_calls_and_subscriptions_in_order() {
    for on in LEGACY {
        let bridged = before_legacy(on, "").await;
        let (_, events) = bridged.listen("\"L\"", r#"{"toolsListChanged":true}"#).await;
        Round::of(&bridged.ask(call_of("1", "ask", r#"{"id":9}"#, FORMS)).await);
        let children = bridged.proxy.process.children();
        bridged.proxy.process.signal(Signal::TERM);
        let rest = events.rest().await;
        let result = &rest.last().expect("a final result").data;
        assert_eq!(member(result, "id").as_deref(), Some("\"L\""), "{on:?}: {result}");
        assert_eq!(kind(result).as_deref(), COMPLETE, "{on:?}: {result}");
        assert!(bridged.proxy.process.ended().await.success(), "{on:?}");
        gone(&children).await;
        let answer = r#"{"jsonrpc":"2.0","id":9,"result":{"action":"cancel"}}"#;
        assert_eq!(bridged.server.responses(), [answer], "{on:?}");
        if let Server::Http(server) = &bridged.server {
            until("the sessions of the server are deleted", || server.sessions().is_empty()).await;
        }
    }
}

/// The frames of the tape in a directory: their hop, action, exchange and message.
fn frames(directory: &Path) -> Vec<[String; 4]> {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let texts = files.map(|file| std::fs::read(file.path()).unwrap_or_default());
    let text: String = texts.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect();
    let lines = text.lines().filter(|line| member(line, "record").as_deref() == Some("\"frame\""));
    let part = |line: &str, name: &str| member(line, name).unwrap_or_default();
    lines.map(|line| ["hop", "action", "exchange", "message"].map(|name| part(line, name))).collect()
}

/// Waits until one exchange is on tape as it was at the edge and as it was at the wire, and nothing else is translated.
async fn both_forms(directory: &Path, at_edge: &str, at_wire: &str) {
    let of = |frames: &[[String; 4]], hop: &str, action: &str, part: &str| {
        let mine =
            frames.iter().filter(|[at, what, _, text]| at == hop && what == action && text.contains(part));
        mine.map(|[_, _, exchange, _]| exchange.clone()).collect::<BTreeSet<_>>()
    };
    found("both forms on the tape", || {
        let frames = frames(directory);
        let edge = of(&frames, "\"edge\"", "\"passed\"", at_edge);
        let wire = of(&frames, "\"wire\"", "\"translated\"", at_wire);
        edge.intersection(&wire).next().map(|_| ())
    })
    .await;
}

/// A proxy that records in this directory and logs what the bridge does, before a server of one era.
async fn witnessed(on: On, speaks: Speaks, tapes: &Path) -> Bridged {
    let (server, reverse) = Server::start(on, speaks).await;
    let reverse = reverse.config(&format!("record:\n  dir: {}\n", tapes.display()));
    Bridged { proxy: reverse.argument("--log-level").argument("debug").start().await, server }
}

/// Waits until the log has a line with each of these.
async fn logged(proxy: &Proxy, parts: &[&str]) {
    until(format!("{parts:?} in the log"), || {
        proxy.process.stderr().lines().any(|line| parts.iter().all(|part| line.contains(part)))
    })
    .await;
}

/// Waits until `tape show` says with one call, and with no other, that something of it was not carried.
async fn shown_as_lost(tapes: &Path, tool: &str, what: &str) {
    let lost = format!("not carried: {what}");
    let shown = found("what was not carried on the tape", || {
        let tape = std::fs::read_dir(tapes).ok()?.next()?.ok()?.path();
        let shown = String::from_utf8(shadowcat(&["tape", "show"], &tape, None).stdout).ok()?;
        shown.contains(&lost).then_some(shown)
    })
    .await;
    // Below its call.
    let (before, behind) = shown.split_once(&lost).unwrap();
    let call = before.lines().rev().find(|line| line.contains("tools/call"));
    assert!(call.is_some_and(|call| call.contains(tool)) && !behind.contains(&lost), "{shown}");
}

#[tokio::test]
async fn b8_both_forms_of_a_bridged_exchange_are_on_tape_and_counted() {
    let version = "io.modelcontextprotocol/protocolVersion";
    for on in LEGACY {
        let tapes = tempfile::tempdir().unwrap();
        let bridged = witnessed(on, Speaks::Legacy, tapes.path()).await;
        bridged.ask(call_of("\"edge-id\"", "echo", "{}", "{}")).await;
        assert!(bridged.proxy.metric("shadowcat_bridge_to_legacy_total").await > 0.5, "{on:?}");
        assert!(bridged.proxy.metric("shadowcat_bridge_sessions").await > 0.5, "{on:?}");
        both_forms(tapes.path(), version, r#""params":{"name":"echo","arguments":{}"#).await;
        for [hop, action, _, text] in frames(tapes.path()) {
            let expected = if hop == "\"wire\"" { "\"translated\"" } else { "\"passed\"" };
            assert_eq!(action, expected, "{on:?}: {text}");
            let is_call = member(&text, "method").as_deref() == Some("\"tools/call\"");
            assert_eq!(is_call && text.contains(version), is_call && hop == "\"edge\"", "{on:?}: {text}");
        }
        logged(&bridged.proxy, &["translated", "tools/call", NEWEST]).await;
        bridged.ask(call_of("2", "visited", "{}", ALL)).await;
        bridged.metric_is("shadowcat_bridge_not_carried_total", 1.0).await;
        logged(&bridged.proxy, &["not carried", "notifications/elicitation/complete"]).await;
        if on == On::Http {
            // Only there a server says which call it belongs to.
            shown_as_lost(tapes.path(), "visited", "notifications/elicitation/complete").await;
        }
    }
    for on in MODERN {
        let tapes = tempfile::tempdir().unwrap();
        let bridged = witnessed(on, Speaks::Modern, tapes.path()).await;
        let mut client = Client::http(bridged.proxy.address);
        client.handshake(NEWEST).await;
        client.request(&call("1", "count", "{}", "")).await;
        assert!(bridged.proxy.metric("shadowcat_bridge_to_modern_total").await > 0.5, "{on:?}");
        both_forms(tapes.path(), r#""params":{"name":"count","arguments":{}}"#, version).await;
        logged(&bridged.proxy, &["translated", "tools/call", NEWEST]).await;
        let mut older = Client::http(bridged.proxy.address);
        older.handshake("2024-11-05").await;
        older.request(&call("1", "media", "{}", "")).await;
        // Sound and a link.
        bridged.metric_is("shadowcat_bridge_not_carried_total", 2.0).await;
        logged(&bridged.proxy, &["not carried", "audio"]).await;
        shown_as_lost(tapes.path(), "media", "audio").await;
        shown_as_lost(tapes.path(), "media", "resource_link").await;
    }
}

async fn goes_on(proxy: &Proxy, id: &str) -> String {
    let asked = post("/mcp", &call("1", "log", "{}", "")).header("Mcp-Session-Id", id);
    let answer = asked.send(proxy.address).await;
    assert_eq!(answer.status, 200);
    answer.message().await
}

#[tokio::test]
async fn s2_a_session_before_a_modern_server_survives_the_death_of_the_proxy() {
    for on in MODERN {
        let Bridged { proxy, server } = bridged(on, Speaks::Modern, "").await;
        let id = session(&proxy, NEWEST).await;
        for (method, params) in [
            ("logging/setLevel", r#"{"level":"error"}"#),
            ("resources/subscribe", r#"{"uri":"test://thing"}"#),
        ] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{params}}}"#);
            let answer = post("/mcp", &text).header("Mcp-Session-Id", &id).send(proxy.address).await;
            assert!(path(&answer.message().await, &["result"]).is_some(), "{on:?}, {method}");
        }
        goes_on(&proxy, &id).await;
        written(&proxy).await;
        let before = server.calls("subscriptions/listen").len();
        let proxy = proxy.crash_and_restart().await;
        let answer = goes_on(&proxy, &id).await;
        assert!(path(&answer, &["result"]).is_some(), "{on:?}: {answer}");
        let calls = server.calls("tools/call");
        let levels: Vec<_> = calls
            .iter()
            .filter_map(|text| path(text, &["params", "_meta", "io.modelcontextprotocol/logLevel"]))
            .collect();
        assert_eq!(levels, ["\"error\"", "\"error\""], "{on:?}: {calls:?}");
        let offered =
            path(calls.last().unwrap(), &["params", "_meta", "io.modelcontextprotocol/clientCapabilities"]);
        assert!(member(&offered.unwrap(), "elicitation").is_some(), "{on:?}: {calls:?}");
        let standing = shadowcat_tests::raw::get("/mcp")
            .headers(&[("Accept", "text/event-stream"), ("Mcp-Session-Id", &id)]);
        let mut events = standing.send(proxy.address).await.events();
        // Beside it there is the one for lists, which all sessions share.
        let again = found("the subscription", || {
            let mut listens = server.calls("subscriptions/listen").into_iter().skip(before);
            listens.find_map(|text| path(&text, &["params", "notifications", "resourceSubscriptions"]))
        });
        assert_eq!(again.await, r#"["test://thing"]"#, "{on:?}");
        soon("news of the resource", async {
            // What the server says before it has the subscription, nobody hears.
            loop {
                let asked = post("/mcp", &call("1", "updated", "{}", "")).header("Mcp-Session-Id", &id);
                asked.send(proxy.address).await.message().await;
                let next = tokio::time::timeout(Duration::from_millis(500), events.message()).await;
                if next.is_ok_and(|text| text.contains("test://thing")) {
                    return;
                }
            }
        })
        .await;
    }
}

/// One of everything a bridge keeps for a while, then nobody who uses it.
async fn used(bridged: &Bridged) {
    bridged.ask(call_of("1", "count", "{}", "{}")).await;
    Round::of(&bridged.ask(call_of("2", "ask", "{}", FORMS)).await);
    let (_, events) = bridged.listen("3", r#"{"toolsListChanged":true}"#).await;
    drop(events);
    bridged.metric_is("shadowcat_bridge_parked", 0.0).await;
    bridged.metric_is("shadowcat_bridge_sessions", 0.0).await;
    let warm = bridged.proxy.metric("shadowcat_children_warm").await;
    bridged.metric_is("shadowcat_children", warm).await;
    if let Server::Http(server) = &bridged.server {
        until("the sessions of the server are deleted", || server.sessions().is_empty()).await;
    }
}

/// The tasks of a proxy without those of its connections to the server, which are kept for a while.
async fn tasks_at_rest(proxy: &Proxy) -> f64 {
    proxy.metric("shadowcat_tasks").await - proxy.metric("shadowcat_upstream_connections").await
}

#[tokio::test]
async fn m7_nothing_is_left_of_bridged_sessions_that_nobody_uses() {
    for on in LEGACY {
        let bridged = before_legacy(on, "bridge:\n  session_idle: 300ms\n  parked_for: 300ms\n").await;
        used(&bridged).await;
        let tasks = tasks_at_rest(&bridged.proxy).await;
        for _ in 0..5 {
            used(&bridged).await;
        }
        soon(format!("{on:?}: no more than {tasks} tasks"), async {
            while tasks_at_rest(&bridged.proxy).await > tasks {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}
