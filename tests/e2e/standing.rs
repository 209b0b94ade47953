//! The standing stream of an upstream session: there before the first request, kept as long as somebody wants it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use http::Method;
use shadowcat_tests::client::call;
use shadowcat_tests::proxy::before_url;
use shadowcat_tests::raw::{Answer, Ask, get, post};
use shadowcat_tests::upstream::{Pieces, Reply, Seen, Upstream};
use shadowcat_tests::wait::{soon, within};
use tokio::sync::{Notify, mpsc};

use crate::bridged::{kind, modern};
use crate::edge::session;

const NEWEST: &str = "2025-11-25";
const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;

/// A server with sessions `u-1`, `u-2`, ...; a GET is answered by `stand`, a request with an empty result.
async fn server<F>(stand: impl Fn(Seen) -> F + Send + Sync + 'static) -> Upstream
where
    F: Future<Output = Reply> + Send + 'static,
{
    let stand = Arc::new(stand);
    let sessions = Arc::new(AtomicU32::new(0));
    Upstream::start(move |seen| {
        let (stand, sessions) = (Arc::clone(&stand), Arc::clone(&sessions));
        async move {
            match (seen.rpc().as_deref(), seen.member("id")) {
                (Some("initialize"), Some(id)) => {
                    let number = sessions.fetch_add(1, Ordering::Relaxed) + 1;
                    let result = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"x","version":"1"}}"#;
                    let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
                    Reply::json(200, text).header("mcp-session-id", &format!("u-{number}"))
                }
                (Some(_), Some(id)) => {
                    Reply::json(200, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#))
                }
                _ if seen.method == Method::GET => stand(seen).await,
                _ => Reply::empty(202),
            }
        }
    })
    .await
}

/// A server that hands the pieces of each standing stream to the test.
async fn streaming() -> (Upstream, mpsc::Receiver<Pieces>) {
    let (sender, receiver) = mpsc::channel(16);
    let upstream = server(move |_| {
        let sender = sender.clone();
        async move {
            let (pieces, reply) = Reply::events();
            sender.send(pieces).await.unwrap();
            reply
        }
    });
    (upstream.await, receiver)
}

fn stand(id: &str) -> Ask {
    get("/mcp").headers(&[("Accept", "text/event-stream"), ("Mcp-Session-Id", id)])
}

async fn called(proxy: std::net::SocketAddr, id: &str) -> Answer {
    post("/mcp", &call("1", "x", "{}", "")).header("Mcp-Session-Id", id).send(proxy).await
}

#[tokio::test]
async fn the_stream_is_open_before_the_first_request_reaches_the_server() {
    let never = Arc::new(Notify::new());
    // Many servers send no head before they have something to say.
    let upstream = server(move |_| {
        let never = Arc::clone(&never);
        async move {
            never.notified().await;
            Reply::empty(200)
        }
    })
    .await;
    let proxy = before_url(&upstream.url("/mcp")).start().await;
    for _ in 0..10 {
        let id = session(&proxy, NEWEST).await;
        assert_eq!(called(proxy.address, &id).await.status, 200);
    }
    let seen = upstream.seen();
    let gets: Vec<_> = seen.iter().enumerate().filter(|(_, seen)| seen.method == Method::GET).collect();
    assert_eq!(gets.len(), 10, "one stream a session");
    for (place, get) in gets {
        let session = get.header("mcp-session-id");
        let first = seen.iter().position(|seen| {
            seen.rpc().as_deref() == Some("tools/call") && seen.header("mcp-session-id") == session
        });
        assert!(first.is_some_and(|first| place < first), "{session:?} was asked before it could ask back");
    }
}

#[tokio::test]
async fn what_the_server_says_before_the_client_listens_waits_for_it() {
    let (upstream, mut streams) = streaming().await;
    let proxy = before_url(&upstream.url("/mcp")).start().await;
    let id = session(&proxy, NEWEST).await;
    let pieces = soon("the server's stream", streams.recv()).await.unwrap();
    pieces.event(CHANGED).await;
    let mut events = stand(&id).send(proxy.address).await.events();
    assert_eq!(events.message().await, CHANGED);
    assert!(streams.try_recv().is_err(), "the client's stream is fed by the one that is there");
}

#[tokio::test]
async fn a_stream_no_client_asks_for_is_closed_again_and_opened_when_one_does() {
    let (upstream, mut streams) = streaming().await;
    let proxy = before_url(&upstream.url("/mcp")).start().await;
    let id = session(&proxy, NEWEST).await;
    let unwanted = soon("the server's stream", streams.recv()).await.unwrap();
    within(Duration::from_mins(1), "the stream is closed", unwanted.closed()).await;
    let mut events = stand(&id).send(proxy.address).await.events();
    let wanted = soon("a stream for the client", streams.recv()).await.unwrap();
    wanted.event(CHANGED).await;
    assert_eq!(events.message().await, CHANGED);
}

#[tokio::test]
async fn a_client_is_not_kept_waiting_for_a_head_the_server_does_not_send() {
    let speak = Arc::new(Notify::new());
    let speaks = Arc::clone(&speak);
    let upstream = server(move |_| {
        let speaks = Arc::clone(&speaks);
        async move {
            speaks.notified().await;
            Reply::stream(format!("data: {CHANGED}\n\n"))
        }
    })
    .await;
    let proxy = before_url(&upstream.url("/mcp")).start().await;
    let id = session(&proxy, NEWEST).await;
    let answer = stand(&id).send(proxy.address).await;
    assert!(answer.is_stream(), "{}", answer.status);
    speak.notify_waiters();
    assert_eq!(answer.events().message().await, CHANGED);
}

#[tokio::test]
async fn a_listening_client_gets_its_messages_again_after_the_server_forgot_the_session() {
    let (sender, mut streams) = mpsc::channel::<Pieces>(16);
    let forgets = Arc::new(AtomicBool::new(false));
    let forgotten = Arc::clone(&forgets);
    let upstream = server(move |seen| {
        let sender = sender.clone();
        let forgotten = forgotten.load(Ordering::Relaxed) && seen.header("mcp-session-id") == Some("u-1");
        async move {
            if forgotten {
                return Reply::empty(404);
            }
            let (pieces, reply) = Reply::events();
            sender.send(pieces).await.unwrap();
            reply
        }
    })
    .await;
    let proxy = before_url(&upstream.url("/mcp")).start().await;
    let id = session(&proxy, NEWEST).await;
    let before = soon("the server's stream", streams.recv()).await.unwrap();
    let mut events = stand(&id).send(proxy.address).await.events();
    before.write(format!("id: 1\nretry: 1\ndata: {CHANGED}\n\n")).await;
    assert_eq!(events.message().await, CHANGED);

    // As a restart of the server looks from here.
    forgets.store(true, Ordering::Relaxed);
    before.cut().await;
    let again = soon("the stream of a new session", streams.recv()).await.unwrap();
    assert_eq!(upstream.calls("initialize").len(), 2, "the handshake is said again");
    again.event(CHANGED).await;
    assert_eq!(events.message().await, CHANGED, "on the stream the client has had all along");
}

#[tokio::test]
async fn a_server_without_the_stream_is_asked_for_it_and_used_all_the_same() {
    for status in [404, 405] {
        let upstream = server(move |_| async move { Reply::empty(status) }).await;
        let proxy = before_url(&upstream.url("/mcp")).start().await;
        let id = session(&proxy, NEWEST).await;
        assert_eq!(called(proxy.address, &id).await.status, 200, "{status}");
        let answer = stand(&id).send(proxy.address).await;
        assert!(answer.is_stream(), "{}", answer.status);
        assert_eq!(called(proxy.address, &id).await.status, 200, "{status}");
    }
}

#[tokio::test]
async fn t63_a_stream_that_is_refused_after_it_was_promised_ends_the_subscription() {
    // As long as the connection waits for the server's word, and when it does not any more.
    for late in [Duration::ZERO, Duration::from_millis(1_200)] {
        let (word, is_said) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let (awaited, known) = (Arc::clone(&word), Arc::clone(&is_said));
        let upstream = server(move |_| {
            let (awaited, known) = (Arc::clone(&awaited), Arc::clone(&known));
            async move {
                if !known.load(Ordering::SeqCst) {
                    awaited.notified().await;
                }
                Reply::empty(405)
            }
        })
        .await;
        let proxy = before_url(&upstream.url("/mcp")).start().await;
        let listen = || {
            let members = r#""notifications":{"toolsListChanged":true},"#;
            modern("1", "subscriptions/listen", None, members, "{}", "")
        };
        let mut events = listen().send(proxy.address).await.events();
        let promised = events.message().await;
        assert!(promised.contains(r#""toolsListChanged":true"#), "{promised}");
        tokio::time::sleep(late).await;
        is_said.store(true, Ordering::SeqCst);
        word.notify_one();
        let end = events.message().await;
        assert_eq!(kind(&end).as_deref(), Some("\"complete\""), "{end}");
        let honest = listen().send(proxy.address).await.events().message().await;
        assert!(honest.contains(r#""notifications":{}"#), "{honest}");
    }
}

#[tokio::test]
async fn a_stream_counts_as_taken_up_once_however_many_tries_it_took() {
    let tries = Arc::new(AtomicU32::new(0));
    let (sender, mut streams) = mpsc::channel::<Pieces>(16);
    let upstream = server(move |_| {
        let (number, sender) = (tries.fetch_add(1, Ordering::Relaxed), sender.clone());
        async move {
            match number {
                0 => Reply::stream("id: e1\nretry: 1\ndata:\n\n"),
                1..=3 => Reply::empty(503),
                _ => {
                    let (pieces, reply) = Reply::events();
                    sender.send(pieces).await.unwrap();
                    reply
                }
            }
        }
    })
    .await;
    let proxy = before_url(&upstream.url("/mcp")).start().await;
    let id = session(&proxy, NEWEST).await;
    let mut events = stand(&id).send(proxy.address).await.events();
    let pieces = soon("the stream taken up", streams.recv()).await.unwrap();
    pieces.event(CHANGED).await;
    assert_eq!(events.message().await, CHANGED);
    let resumed = proxy.metric("shadowcat_upstream_resumed_total").await;
    assert!((resumed - 1.0).abs() < 0.1, "{resumed} streams taken up");
}
