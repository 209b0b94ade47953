//! Many exchanges past slow and faulty rules at once: whoever is held up holds nobody else up.

use std::time::Duration;

use futures_util::future::join_all;
use shadowcat_tests::client::{Client, call};
use shadowcat_tests::proxy::{Proxy, before_command, before_url};
use shadowcat_tests::raw::Events;
use shadowcat_tests::server::{HttpServer, HttpSettings, path};
use shadowcat_tests::wait::{SOON, within};

use crate::bridged::code;
use crate::harness::child;
use crate::modern::{META, envelope};

/// How long anything may take that takes its time.
const PATIENTLY: Duration = Duration::from_mins(2);

/// A call that is answered by so many events, and then its response.
async fn burst(proxy: &Proxy, events: usize, bytes: usize) -> Events {
    let members = format!(r#""name":"burst","arguments":{{"events":{events},"bytes":{bytes}}},"#);
    let meta = format!(r#""_meta":{{"progressToken":1,{META}}}"#);
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{members}{meta}}}}}"#);
    envelope("tools/call", Some("burst"), &text).send(proxy.address).await.events()
}

/// Reads all of them, in their order.
async fn in_order(mut events: Events, count: usize) {
    for number in 0..count {
        let event = events.message().await;
        assert_eq!(path(&event, &["params", "progress"]), Some(format!("{number}")), "{event:.200}");
    }
    let answer = events.message().await;
    assert!(path(&answer, &["result"]).is_some(), "{answer:.200}");
}

fn delayed(events: &str) -> String {
    format!(
        "rules:\n  - name: slow\n    when: {{on: notification, method: notifications/progress}}\n    do: [{{delay: {events}}}]\n"
    )
}

/// Calls, one behind the other, until `done`; how many were answered.
async fn calls(mut client: Client, done: &std::cell::Cell<bool>) -> usize {
    let mut answered = 0;
    while !done.get() {
        let answer = client.request(&call(&answered.to_string(), "echo", "{}", "")).await;
        assert_eq!(code(&answer), None, "{answer}");
        answered += 1;
    }
    answered
}

#[tokio::test]
async fn other_sessions_go_on_while_a_rule_is_slow_on_a_stream_of_10_000_events() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let proxy = before_url(&server.url()).config(&delayed("1ms")).start().await;
    let mut others = Vec::new();
    for _ in 0..4 {
        let mut client = Client::http(proxy.address);
        client.handshake("2025-11-25").await;
        others.push(client);
    }
    let before = proxy.process.resident_bytes_peak();
    let stream = burst(&proxy, 10_000, 1_000).await;
    let done = std::cell::Cell::new(false);
    let reading = async {
        in_order(stream, 10_000).await;
        done.set(true);
    };
    let ((), answered) =
        tokio::join!(reading, join_all(others.into_iter().map(|client| calls(client, &done))));
    // The stream took ten seconds of delays at least.
    assert!(answered.iter().all(|answered| *answered > 5), "{answered:?}");
    let grown = proxy.process.resident_bytes_peak().saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} bytes");
}

#[tokio::test]
async fn a_stream_that_nobody_reads_past_a_rule_stops_its_own_server_and_nobody_else() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let proxy = before_url(&server.url()).config(&delayed("1ms")).start().await;
    let mut client = Client::http(proxy.address);
    client.handshake("2025-11-25").await;
    let mut events = burst(&proxy, 10_000, 4_000).await;
    for id in 0..200 {
        // One event of the forty megabytes behind it, and then a whole call.
        let event = events.message().await;
        assert_eq!(path(&event, &["params", "progress"]), Some(format!("{id}")), "{event:.200}");
        assert_eq!(code(&client.request(&call(&id.to_string(), "echo", "{}", "")).await), None);
    }
    assert!(proxy.process.resident_bytes_peak() < 48 << 20, "{} bytes", proxy.process.resident_bytes_peak());
}

#[tokio::test]
async fn one_worker_serves_100_streams_that_all_wait_for_a_rule() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let started = before_url(&server.url()).config(&delayed("200ms")).argument("--workers=1").start();
    let proxy = started.await;
    // One behind the other they would take 400 seconds.
    let streams = join_all((0..100).map(|_| async {
        let events = burst(&proxy, 20, 100).await;
        in_order(events, 20).await;
    }));
    within(PATIENTLY, "the end of 100 streams", streams).await;
}

/// Every way in which a rule lets a call hang.
const HANGING: &str = "\
rules:
  - {name: never, when: {tool: never}, do: [fault: timeout]}
  - {name: lost, when: {tool: lost}, do: [drop]}
  - {name: later, when: {tool: later}, do: [delay: 1h]}
  - {name: silent, when: {tool: silent, on: answer}, do: [{delay: 1h}]}
timeouts: {request: 1s}
";

#[tokio::test]
async fn a_thousand_calls_that_rules_let_hang_end_at_their_limit_and_the_next_one_is_answered() {
    let proxy = before_command(&[child()]).config(HANGING).start().await;
    for tool in ["never", "lost", "later", "silent"] {
        let mut client = Client::http(proxy.address);
        client.handshake("2025-11-25").await;
        let ids: Vec<String> = (0..250).map(|id| id.to_string()).collect();
        for id in &ids {
            client.send(&call(id, tool, "{}", "")).await;
        }
        let answered = async {
            for id in &ids {
                let answer = client.response(id).await;
                assert_eq!(code(&answer), Some(-31_002), "{tool}: {answer}");
            }
        };
        within(PATIENTLY, format_args!("an end of each call of {tool}"), answered).await;
        assert_eq!(code(&client.request(&call("\"last\"", "echo", "{}", "")).await), None);
    }
    let fired = async { while proxy.metric("shadowcat_rule_fired_total").await < 1_000.0 {} };
    within(SOON, "a thousand messages that rules fitted", fired).await;
}
