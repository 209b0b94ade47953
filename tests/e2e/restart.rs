//! What an earlier process has left: ids and numbers are not used again, and a session set up again leaves nothing behind.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use shadowcat_tests::client::{Client, call};
use shadowcat_tests::process::gone;
use shadowcat_tests::proxy::{Proxy, before_command, before_url};
use shadowcat_tests::raw::{Event, Events, get, post};
use shadowcat_tests::server::{HttpServer, HttpSettings, path};
use shadowcat_tests::upstream::{Pieces, Reply, Seen, Upstream};
use shadowcat_tests::wait::{soon, within};
use tokio::sync::Mutex;

use crate::edge::session;
use crate::harness::child;
use crate::sessions::{goes_on, written};

const NEWEST: &str = "2025-11-25";

#[tokio::test]
async fn s2_the_requests_of_a_session_never_have_an_id_of_an_earlier_process() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let proxy = before_url(&server.url()).start().await;
    let id = session(&proxy, NEWEST).await;
    goes_on(&proxy, &id).await;
    written(&proxy).await;
    let proxy = proxy.crash_and_restart().await;
    goes_on(&proxy, &id).await;
    let ids: Vec<_> = server.upstream.seen().iter().filter_map(|seen| seen.member("id")).collect();
    assert_eq!(ids.len(), 3, "{ids:?}");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "each once: {ids:?}");
}

/// Two messages onto the standing stream that nobody reads yet.
async fn update(proxy: &Proxy, id: &str) {
    let asked = post("/mcp", &call("1", "updated", "{}", "")).header("Mcp-Session-Id", id);
    let answer = asked.send(proxy.address).await;
    assert_eq!(answer.status, 200);
    answer.message().await;
}

async fn standing(proxy: &Proxy, id: &str, last: Option<&str>) -> Events {
    let mut asked = get("/mcp").headers(&[("Accept", "text/event-stream"), ("Mcp-Session-Id", id)]);
    if let Some(last) = last {
        asked = asked.header("Last-Event-ID", last);
    }
    asked.send(proxy.address).await.events()
}

async fn two(mut events: Events) -> Vec<Event> {
    let mut two = Vec::new();
    while two.len() < 2 {
        two.extend(events.next().await.filter(|event| !event.data.is_empty()));
    }
    two
}

#[tokio::test]
async fn s2_an_event_id_of_an_earlier_process_hides_nothing_of_this_one() {
    let proxy = before_command(&[child()]).start().await;
    let id = session(&proxy, NEWEST).await;
    update(&proxy, &id).await;
    let seen = two(standing(&proxy, &id, None).await).await.pop().and_then(|event| event.id);
    let seen = seen.expect("events have ids");
    written(&proxy).await;
    let proxy = proxy.crash_and_restart().await;
    update(&proxy, &id).await;
    let again = two(standing(&proxy, &id, Some(&seen)).await).await;
    assert!(again[0].data.contains("resources/updated"), "{again:?}");
    assert!(again[1].data.contains("tools/list_changed"), "{again:?}");
}

/// Calls until one is given up while its session is set up again; what was lost with the old connection was in flight.
async fn gives_up(client: &mut Client) {
    loop {
        let ended = client.request(&call("2", "echo", "{}", "")).await;
        let reason = path(&ended, &["error", "data", "reason"]);
        match reason.as_deref() {
            Some("\"upstream_timeout\"") => return,
            Some("\"session_lost\"" | "\"upstream_exited\"") => {}
            _ => panic!("{ended}"),
        }
    }
}

#[tokio::test]
async fn s8_a_child_whose_handshake_nobody_waits_for_any_more_is_ended() {
    let directory = tempfile::tempdir().unwrap();
    let (mark, starts) = (directory.path().join("mark"), directory.path().join("starts"));
    // The first child serves; those after it answer nothing.
    let script =
        r#"if [ -e "$1" ]; then exec "$0" --mute --starts "$2"; fi; : > "$1"; exec "$0" --starts "$2""#;
    let (child, mark, starts_at) = (child(), mark.to_str().unwrap(), starts.to_str().unwrap());
    let proxy = before_command(&["sh", "-c", script, &child, mark, starts_at])
        .argument("--request-timeout")
        .argument("500ms")
        .start()
        .await;
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    client.request(&call("1", "crash", "{}", "")).await;
    gives_up(&mut client).await;
    soon("no child is left", async { while proxy.metric("shadowcat_children").await > 0.0 {} }).await;
    let pids = std::fs::read_to_string(&starts).unwrap();
    let pids: Vec<u32> = pids.lines().filter_map(|line| line.parse().ok()).collect();
    assert!(pids.len() >= 2, "{pids:?}");
    gone(&pids).await;
}

/// An HTTP+SSE server whose first stream serves, while nothing is answered on the others.
async fn serves_once() -> (Upstream, Arc<Mutex<Vec<Pieces>>>) {
    let streams = Arc::<Mutex<Vec<Pieces>>>::default();
    let known = Arc::clone(&streams);
    let answer = move |seen: Seen| {
        let known = Arc::clone(&known);
        async move {
            let mut streams = known.lock().await;
            if seen.method == http::Method::GET {
                let (pieces, reply) = Reply::events();
                let endpoint = format!("event: endpoint\ndata: /messages?id={}\n\n", streams.len());
                pieces.write(endpoint).await;
                streams.push(pieces);
                return reply;
            }
            if let Some(id) = seen.member("id").filter(|_| seen.path.ends_with("=0")) {
                let result = r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"x","version":"1"}}"#;
                streams[0].event(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)).await;
            }
            Reply::empty(202)
        }
    };
    (Upstream::start(answer).await, streams)
}

#[tokio::test]
async fn s8_a_stream_whose_handshake_nobody_waits_for_any_more_is_closed() {
    let (upstream, streams) = serves_once().await;
    let proxy = before_url(&format!("sse+{}", upstream.url("/sse")))
        .argument("--request-timeout")
        .argument("500ms")
        .start()
        .await;
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    upstream.cut_all();
    gives_up(&mut client).await;
    let second = within(Duration::from_secs(20), "a second stream", async {
        loop {
            if let Some(second) = streams.lock().await.get(1).cloned() {
                return second;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    soon("the second stream is closed", second.closed()).await;
}
