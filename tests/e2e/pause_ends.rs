//! How a held message ends about which nobody decides, and what its client sees meanwhile.

use std::time::Duration;

use serde_json::json;
use shadowcat_tests::client::{Client, call};
use shadowcat_tests::proxy::{before_command, before_url};
use shadowcat_tests::raw::Events;
use shadowcat_tests::server::{Answers, HttpServer, HttpSettings, SseServer};
use shadowcat_tests::wait::within;

use crate::bridged::code;
use crate::harness::child;
use crate::modern::tool;
use crate::pause::{breakpoints, paused};

const PATIENCE: Duration = Duration::from_mins(2);
const DENIED: i64 = -31_015;
const SHUTTING_DOWN: i64 = -31_008;
const OVERLOADED: i64 = -31_007;

/// A call as it goes, and its answer as it comes back.
const SIDES: [&str; 2] = ["~t plain & ~q", "~t plain & ~s"];

#[tokio::test]
async fn at_its_deadline_a_message_is_refused_or_goes_on() {
    let sse = SseServer::start().await;
    for (side, verdict, expected) in
        [(SIDES[0], "block", Some(DENIED)), (SIDES[1], "block", Some(DENIED)), (SIDES[1], "continue", None)]
    {
        let config = format!("{}  deadline: 50ms\n  verdict: {verdict}\n", breakpoints(&[side]));
        for reverse in [before_command(&[child()]), before_url(&sse.url())] {
            let (proxy, _operator) = paused(reverse, &config).await;
            for mut client in [Client::http(proxy.address), Client::sse(proxy.address).await] {
                client.handshake("2025-11-25").await;
                let answer = client.request(&call("1", "plain", "{}", "")).await;
                assert_eq!(code(&answer), expected, "{side} {verdict}: {answer}");
            }
        }
        let (proxy, _operator) = paused(before_command(&[child()]), &config).await;
        let answer = tool("1", "plain").send(proxy.address).await.message().await;
        assert_eq!(code(&answer), expected, "{side} {verdict}: {answer}");
    }
}

#[tokio::test]
async fn a_client_that_cancels_is_let_go_and_hears_nothing() {
    for side in SIDES {
        let (proxy, operator) = paused(before_command(&[child()]), &breakpoints(&[side])).await;
        for mut client in [Client::http(proxy.address), Client::sse(proxy.address).await] {
            client.handshake("2025-11-25").await;
            client.send(&call("1", "plain", "{}", "")).await;
            operator.holding(1).await;
            client
                .send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#)
                .await;
            operator.holding(0).await;
            assert_eq!(code(&client.request(&call("2", "other", "{}", "")).await), None);
            assert!(client.left().iter().all(|left| !left.contains(r#""id":1,"#)));
        }
        assert!((proxy.metric("shadowcat_held_released_total{verdict=\"gone\"}").await - 2.0).abs() < 0.1);
    }
}

#[tokio::test]
async fn a_client_that_is_gone_leaves_nothing_held() {
    for side in SIDES {
        let (proxy, operator) = paused(before_command(&[child()]), &breakpoints(&[side])).await;
        let answer = tool("1", "plain").send(proxy.address).await;
        operator.holding(1).await;
        drop(answer);
        operator.holding(0).await;
        let mut client = Client::sse(proxy.address).await;
        client.handshake("2025-11-25").await;
        client.send(&call("1", "plain", "{}", "")).await;
        operator.holding(1).await;
        drop(client);
        operator.holding(0).await;
        let mut client = Client::http(proxy.address);
        client.handshake("2025-11-25").await;
        client.send(&call("1", "plain", "{}", "")).await;
        operator.holding(1).await;
        let end = shadowcat_tests::raw::ask(http::Method::DELETE, "/mcp")
            .header("Mcp-Session-Id", &client.session())
            .header("MCP-Protocol-Version", "2025-11-25");
        assert_eq!(end.send(proxy.address).await.status, 200);
        operator.holding(0).await;
    }
}

#[tokio::test]
async fn a_proxy_that_ends_gives_every_message_its_verdict_first() {
    for (side, verdict, expected) in [
        (SIDES[0], "block", Some(SHUTTING_DOWN)),
        (SIDES[1], "block", Some(SHUTTING_DOWN)),
        (SIDES[0], "continue", None),
        (SIDES[1], "continue", None),
    ] {
        let config = format!("{}  verdict: {verdict}\n", breakpoints(&[side]));
        let (proxy, operator) = paused(before_command(&[child()]), &config).await;
        let mut clients = vec![Client::http(proxy.address), Client::sse(proxy.address).await];
        for client in &mut clients {
            client.handshake("2025-11-25").await;
            client.send(&call("1", "plain", "{}", "")).await;
        }
        let modern = tool("1", "plain").send(proxy.address).await;
        operator.holding(3).await;
        proxy.process.signal(rustix::process::Signal::TERM);
        assert_eq!(code(&modern.message().await), expected, "{side} {verdict}");
        for mut client in clients {
            let answer = client.response("1").await;
            assert_eq!(code(&answer), expected, "{side} {verdict}: {answer}");
        }
        let status = within(PATIENCE, "the end of the proxy", proxy.process.ended()).await;
        assert!(status.success(), "{status}");
    }
}

/// Waits for so many comments on a stream that carries nothing else yet.
async fn comments(events: &mut Events, count: usize) {
    within(PATIENCE, "comments on a stream that waits", async {
        while events.comments < count {
            // A priming event of 2025-11-25 has no data.
            let next = tokio::time::timeout(Duration::from_millis(50), events.next_patiently()).await;
            assert!(next.is_err() || matches!(&next, Ok(Some(event)) if event.data.is_empty()), "{next:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_stream_of_a_client_that_waits_is_kept_alive_and_its_call_outlives_its_limits() {
    let config = "http: {keep_alive: 50ms}\ntimeouts: {request: 300ms, request_max: 500ms}\n";
    let answers = HttpSettings { answers: Answers::Fitting, ..HttpSettings::default() };
    let server = HttpServer::start(answers).await;
    for side in SIDES {
        let config = format!("{config}{}", breakpoints(&[side]));
        let (proxy, operator) = paused(before_url(&server.url()), &config).await;
        let mut client = Client::http(proxy.address);
        client.handshake("2025-11-25").await;
        let legacy = shadowcat_tests::raw::post("/mcp", &call("1", "plain", "{}", ""))
            .header("Mcp-Session-Id", &client.session())
            .header("MCP-Protocol-Version", "2025-11-25");
        for asked in [tool("1", "plain"), legacy] {
            let mut events = asked.send(proxy.address).await.events();
            // Longer than both limits.
            comments(&mut events, 20).await;
            let (id, _) = operator.only().await;
            operator.resume(&id).await;
            let answer = events.message().await;
            assert_eq!(code(&answer), None, "{answer}");
        }
    }
}

#[tokio::test]
async fn what_there_is_no_room_for_gets_its_verdict_at_once() {
    let config = format!("{}  held_max: 1\n", breakpoints(&["~t plain & ~q"]));
    let (proxy, operator) = paused(before_command(&[child()]), &config).await;
    let first = tool("1", "plain").send(proxy.address).await;
    let (id, _) = operator.only().await;
    let second = tool("2", "plain").send(proxy.address).await.message().await;
    assert_eq!(code(&second), Some(OVERLOADED), "{second}");
    operator.resume(&id).await;
    assert_eq!(code(&first.message().await), None);
    assert!((proxy.metric("shadowcat_held_refused_total").await - 1.0).abs() < 0.1);
}

#[tokio::test]
async fn a_breakpoint_is_set_and_taken_away_while_messages_pass() {
    let (proxy, operator) = paused(before_command(&[child()]), "").await;
    let plain = async || code(&tool("1", "plain").send(proxy.address).await.message().await);
    assert_eq!(plain().await, None);
    let (status, set) = operator.post("/v1/breakpoints", &json!({"filter": "~t plain & ~q"})).await;
    assert_eq!(status, 201, "{set}");
    let held = tool("1", "plain").send(proxy.address).await;
    let (id, _) = operator.only().await;
    operator.decide(&id, &json!({"verdict": "block"})).await;
    assert_eq!(code(&held.message().await), Some(DENIED));
    operator.remove(&format!("/v1/breakpoints/{}", set["id"].as_str().unwrap())).await;
    assert_eq!(plain().await, None);
}
