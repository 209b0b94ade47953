//! M5: the pages follow what they tell of, there and back.

use shadowcat_tests::client::{Client, call, initialize};
use shadowcat_tests::proxy::{Proxy, before_command, before_url};
use shadowcat_tests::raw::{ask, post};
use shadowcat_tests::upstream::{Reply, Seen, Upstream};
use shadowcat_tests::wait::soon;

use crate::faults::courtesy;
use crate::harness::child;

const NEWEST: &str = "2025-11-25";

async fn courteous(seen: Seen) -> Reply {
    courtesy(&seen).unwrap_or_else(|| Reply::empty(404))
}

/// Tries to open sessions until the page says what is expected.
async fn ready_becomes(proxy: &Proxy, expected: u16) {
    soon(format!("/ready says {expected}"), async {
        loop {
            post("/mcp", &initialize("1", NEWEST)).send(proxy.address).await.text().await;
            let (status, page) = proxy.page("/ready").await;
            let (_, health) = proxy.page("/health").await;
            assert_eq!(health.contains("could not be reached"), status == 503, "{page} {health}");
            if status == expected {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn m5_readiness_goes_with_its_upstream_and_comes_back_with_it() {
    let mut upstream = Upstream::start(courteous).await;
    let proxy = before_url(&upstream.url("/mcp")).start().await;
    for _ in 0..2 {
        ready_becomes(&proxy, 200).await;
        let address = upstream.address;
        drop(upstream);
        ready_becomes(&proxy, 503).await;
        upstream = Upstream::start_at(address, courteous).await;
    }
    ready_becomes(&proxy, 200).await;
}

#[tokio::test]
async fn m5_the_gauge_of_tasks_returns_to_where_it_was() {
    let proxy = before_command(&[child()]).start().await;
    let at_rest = proxy.metric("shadowcat_tasks").await;
    for _ in 0..3 {
        let mut client = Client::http(proxy.address);
        client.handshake(NEWEST).await;
        let in_session = proxy.metric("shadowcat_tasks").await;
        // The client's stream, and the task that reads for the child.
        assert!(in_session >= at_rest + 2.0, "{in_session} after {at_rest}");
        client.send(&call("1", "hang", "{}", "")).await;
        client.request(&call("2", "echo", r#"{"after":1}"#, "")).await;
        let end = ask(http::Method::DELETE, "/mcp").header("Mcp-Session-Id", &client.session());
        assert!((200..300).contains(&end.send(proxy.address).await.status));
        client.leave();
        soon("the tasks end", async { while proxy.metric("shadowcat_tasks").await > at_rest {} }).await;
    }
}

#[tokio::test]
async fn m5_a_client_that_leaves_during_its_handshake_leaves_no_session_and_no_child() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let proxy = before_command(&[&child(), "--mute", "--log", log.to_str().unwrap()]).start().await;
    for number in 1..=3 {
        let arrived = async {
            let read = || std::fs::read_to_string(&log).unwrap_or_default().lines().count() >= number;
            shadowcat_tests::wait::until("initialize at the child", read).await;
        };
        tokio::select! {
            _ = post("/mcp", &initialize("1", NEWEST)).send_patiently(proxy.address) => panic!("no answer"),
            () = arrived => {}
        }
    }
    soon("the sessions end", async { while proxy.metric("shadowcat_sessions_active").await > 0.0 {} }).await;
    soon("the children end", async { while proxy.metric("shadowcat_children").await > 0.0 {} }).await;
}
