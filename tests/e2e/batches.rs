//! Batches of 2025-03-26: the bounds on what is in them, and what is said when nothing is to be.

use http::Method;
use shadowcat_tests::client::{Client, call};
use shadowcat_tests::proxy::before_url;
use shadowcat_tests::raw::{get, post};
use shadowcat_tests::server::{HttpServer, HttpSettings, path};
use shadowcat_tests::upstream::{Pieces, Reply, Upstream};
use shadowcat_tests::wait::soon;
use tokio::sync::mpsc;

use crate::edge::session;
use crate::faults::courtesy;

const BATCHES: &str = "2025-03-26";
const CANCEL: &str = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;

#[tokio::test]
async fn each_request_of_a_batch_needs_its_own_place_in_the_session() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let proxy = before_url(&server.url()).config("limits:\n  in_flight_per_session: 2\n").start().await;
    let id = session(&proxy, BATCHES).await;
    let requests = [1, 2, 3, 4, 5].map(|id| call(&id.to_string(), "echo", "{}", ""));
    // Twice: the places are free again when the batch is answered.
    for _ in 0..2 {
        let batch = post("/mcp", &format!("[{}]", requests.join(","))).header("Mcp-Session-Id", &id);
        let answer = batch.send(proxy.address).await;
        assert_eq!(answer.status, 200);
        let text = answer.text().await;
        let count = |what: &str| text.matches(what).count();
        assert_eq!((count(r#""result":"#), count(r#""reason":"overloaded""#)), (2, 3), "{text}");
    }
}

#[tokio::test]
async fn nothing_is_said_to_a_batch_whose_requests_were_all_cancelled() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let proxy = before_url(&server.url()).start().await;
    let hangs = format!("[{}]", call("1", "hang", "{}", ""));

    let id = session(&proxy, BATCHES).await;
    let in_session = |text: &str| post("/mcp", text).header("Mcp-Session-Id", &id);
    let (answer, cancelled) = tokio::join!(in_session(&hangs).send(proxy.address), async {
        server.upstream.call("tools/call").await;
        in_session(CANCEL).send(proxy.address).await
    });
    assert_eq!((answer.status, cancelled.status), (202, 202));
    assert_eq!(answer.text().await, "");

    let mut client = Client::sse(proxy.address).await;
    client.handshake(BATCHES).await;
    client.send(&hangs).await;
    soon("the call", async {
        while server.upstream.calls("tools/call").len() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    client.send(CANCEL).await;
    server.upstream.call("notifications/cancelled").await;
    let answer = client.request(&call("2", "echo", "{}", "")).await;
    assert!(path(&answer, &["result"]).is_some(), "{answer}");
    assert_eq!(client.left(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_no_message_in_a_batch_of_the_server_is_counted_and_holds_up_nothing() {
    const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    let (keep, _kept) = mpsc::channel::<Pieces>(1);
    let upstream = Upstream::start(move |seen| {
        let keep = keep.clone();
        async move {
            match (seen.member("id"), courtesy(&seen)) {
                (None, _) if seen.method == Method::GET => {
                    let (pieces, reply) = Reply::events();
                    for batch in ["[]".to_owned(), format!("[7,{CHANGED}]")] {
                        pieces.event(&batch).await;
                    }
                    keep.send(pieces).await.unwrap();
                    reply
                }
                (Some(id), None) => {
                    let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
                    Reply::stream(format!("data: []\n\ndata: [7,{answer}]\n\n"))
                }
                (_, reply) => reply.unwrap_or_else(|| Reply::empty(202)),
            }
        }
    })
    .await;
    let proxy = before_url(&upstream.url("/mcp")).start().await;
    let id = session(&proxy, BATCHES).await;
    let listening = get("/mcp").headers(&[("Accept", "text/event-stream"), ("Mcp-Session-Id", &id)]);
    let mut events = listening.send(proxy.address).await.events();
    assert_eq!(soon("what is whole", events.message()).await, CHANGED);
    let called = post("/mcp", &call("1", "x", "{}", "")).header("Mcp-Session-Id", &id);
    let answer = called.send(proxy.address).await.message().await;
    assert!(path(&answer, &["result"]).is_some(), "{answer}");
    let garbage = proxy.metric("shadowcat_upstream_garbage_total").await;
    assert!((garbage - 4.0).abs() < 0.1, "{garbage} counted");
}
