//! F30, M6: SIGTERM under load, and the pages that tell how the proxy is.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use shadowcat_tests::client::{Client, call};
use shadowcat_tests::process::gone;
use shadowcat_tests::proxy::{before_command, before_url};
use shadowcat_tests::raw::{get, post};
use shadowcat_tests::server::{HttpServer, HttpSettings, member, path};
use shadowcat_tests::upstream::{Reply, Upstream};
use shadowcat_tests::wait::{found, soon, until, within};
use tokio::sync::Semaphore;

use crate::edge::session;
use crate::harness::child;
use crate::modern::tool;

#[tokio::test]
async fn f30_m6_what_is_in_flight_at_sigterm_is_answered_whole_and_nothing_new_is_taken() {
    let gate = Arc::new(Semaphore::new(0));
    let upstream = {
        let gate = Arc::clone(&gate);
        Upstream::start(move |seen| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                let id = seen.member("id").unwrap();
                let fill = "x".repeat(16 * 1024);
                Reply::json(200, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete","fill":"{fill}"}}}}"#))
            }
        })
        .await
    };
    let proxy = before_url(&upstream.url("/mcp")).start().await;
    let address = proxy.address;
    let calls = futures_util::future::join_all((1..=50).map(|number| async move {
        let answer = tool(&number.to_string(), "x").send(address).await;
        (answer.status, answer.text().await)
    }));
    let end = async {
        until("all calls are in flight", || upstream.calls("tools/call").len() == 50).await;
        proxy.process.signal(Signal::TERM);
        // New work is refused, by a closed port or by an answer that says so.
        soon("the proxy is no longer ready", async {
            while get("/ready").attempt(address).await.is_ok_and(|answer| answer.status == 200) {}
        })
        .await;
        if let Ok(answer) = soon("a word on new work", tool("99", "x").attempt(address)).await {
            assert_eq!(answer.status, 503);
            let text = answer.text().await;
            assert_eq!(
                path(&text, &["error", "data", "reason"]).as_deref(),
                Some("\"shutting_down\""),
                "{text}"
            );
        }
        gate.add_permits(1000);
    };
    let (answers, ()) = tokio::join!(calls, end);
    for (status, text) in answers {
        assert_eq!(status, 200);
        assert_eq!(path(&text, &["result", "fill"]).map(|fill| fill.len()), Some(16 * 1024 + 2));
    }
    assert!(proxy.process.ended().await.success(), "exit status 0");
}

#[tokio::test]
async fn f30_a_second_sigterm_ends_it_at_once_and_the_calls_are_told() {
    let proxy = before_command(&[child()]).start().await;
    let mut client = Client::http(proxy.address);
    client.handshake("2025-11-25").await;
    let who = client.request(&call("0", "who", "{}", "")).await;
    client.send(&call("1", "hold", "{}", "")).await;
    client.request(&call("2", "echo", r#"{"after":1}"#, "")).await;
    proxy.process.signal(Signal::TERM);
    proxy.process.says_somewhere("told to end").await;
    proxy.process.signal(Signal::TERM);
    within(Duration::from_secs(10), "the end", proxy.process.ended()).await;
    let ended = client.response("1").await;
    assert_eq!(path(&ended, &["error", "data", "reason"]).as_deref(), Some("\"shutting_down\""), "{ended}");
    gone(&[path(&who, &["result", "pid"]).unwrap().parse().unwrap()]).await;
}

#[tokio::test]
async fn f30_calls_that_do_not_end_are_told_when_the_grace_is_over() {
    let proxy = before_command(&[child()]).config("timeouts:\n  shutdown: 1s\n").start().await;
    let mut client = Client::http(proxy.address);
    client.handshake("2025-11-25").await;
    client.send(&call("1", "hold", "{}", "")).await;
    client.request(&call("2", "echo", r#"{"after":1}"#, "")).await;
    proxy.process.signal(Signal::TERM);
    let ended = client.response("1").await;
    assert_eq!(path(&ended, &["error", "data", "reason"]).as_deref(), Some("\"shutting_down\""), "{ended}");
    proxy.process.ended().await;
}

#[tokio::test]
async fn f30_idle_streams_do_not_keep_it_from_ending() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let proxy = before_url(&server.url()).start().await;
    let id = session(&proxy, "2025-11-25").await;
    let standing = get("/mcp")
        .headers(&[("Accept", "text/event-stream"), ("Mcp-Session-Id", &id)])
        .send(proxy.address)
        .await;
    let sse = get("/sse").header("Accept", "text/event-stream").send(proxy.address).await;
    proxy.process.signal(Signal::TERM);
    assert!(proxy.process.ended().await.success());
    standing.text().await;
    sse.text().await;
}

#[tokio::test]
async fn m5_the_pages_tell_the_truth() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let proxy = before_url(&server.url()).start().await;
    let (status, health) = proxy.page("/health").await;
    assert_eq!((status, member(&health, "status").as_deref()), (200, Some("\"ok\"")), "{health}");
    assert_eq!(proxy.page("/ready").await.0, 200);
    assert!(proxy.metric("shadowcat_sessions_active").await.abs() < 0.1);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(session(&proxy, "2025-11-25").await);
    }
    assert!((proxy.metric("shadowcat_sessions_active").await - 3.0).abs() < 0.1);
    for id in &ids {
        let asked = post("/mcp", &call("1", "echo", "{}", "")).header("Mcp-Session-Id", id);
        assert_eq!(asked.send(proxy.address).await.status, 200);
    }
    assert_eq!(get("/nothing").send(proxy.address).await.status, 404);
}

#[tokio::test]
async fn forward_ends_with_its_client_and_takes_its_server_along() {
    let mut command = std::process::Command::new(shadowcat_tests::proxy::program());
    let directory = tempfile::tempdir().unwrap();
    let starts = directory.path().join("starts");
    command.args(["forward", "--", &child(), "--starts", starts.to_str().unwrap()]);
    let mut client = Client::stdio(command);
    client.handshake("2025-11-25").await;
    client.request(&call("1", "echo", "{}", "")).await;
    client.close();
    assert!(client.process().ended().await.success());
    let pids = found("the child's start", || std::fs::read_to_string(&starts).ok()).await;
    let pids: Vec<u32> = pids.lines().filter_map(|line| line.parse().ok()).collect();
    gone(&pids).await;
}

#[tokio::test]
async fn forward_answers_what_was_asked_before_its_input_ended() {
    let mut command = std::process::Command::new(shadowcat_tests::proxy::program());
    let server = HttpServer::start(HttpSettings::default()).await;
    command.args(["forward", &server.url()]);
    let mut client = Client::stdio(command);
    client.handshake("2025-11-25").await;
    for number in 1..=20 {
        client.send(&call(&number.to_string(), "echo", "{}", "")).await;
    }
    client.close();
    for number in 1..=20 {
        client.response(&number.to_string()).await;
    }
    assert!(client.process().ended().await.success());
}
