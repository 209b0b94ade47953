//! T32-T41: sessions, answers one can come back to, the standing stream, HTTP+SSE on both sides.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use shadowcat_tests::client::{Client, INITIALIZED, call, initialize, read_to_the_response};
use shadowcat_tests::proxy::{before_command, before_url};
use shadowcat_tests::raw::{Ask, Event, ask, get, post};
use shadowcat_tests::server::{Answers, HttpServer, HttpSettings, SseServer, member, path};
use shadowcat_tests::upstream::{Pieces, Reply, Seen, Upstream};
use shadowcat_tests::wait::{soon, until};
use tokio::sync::{Mutex, mpsc};

use crate::edge::session;
use crate::harness::child;

const NEWEST: &str = "2025-11-25";

fn in_session(id: &str, body: &str) -> Ask {
    post("/mcp", body).header("Mcp-Session-Id", id)
}

fn list(id: &str) -> Ask {
    in_session(id, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)
}

#[tokio::test]
async fn t32_session_ids_are_visible_ascii_unguessable_and_not_the_upstreams() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let proxy = before_url(&server.url()).start().await;
    let (first, second) = (session(&proxy, NEWEST).await, session(&proxy, NEWEST).await);
    for id in [&first, &second] {
        assert!(id.bytes().all(|byte| byte.is_ascii_graphic()), "{id}");
        assert!(id.len() >= 22, "128 bits need more than {id}");
        assert!(!server.sessions().contains(id), "the upstream's id must not be shown");
    }
    let common = first.bytes().zip(second.bytes()).take_while(|(a, b)| a == b).count();
    assert!(common < first.len() / 2, "{first} and {second} are related");
}

#[tokio::test]
async fn t33_s9_a_missing_session_is_400_and_an_unknown_one_404_on_every_method() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let proxy = before_url(&server.url()).start().await;
    let missing = post("/mcp", r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).send(proxy.address).await;
    assert_eq!(missing.status, 400);
    for unknown in ["nonsense", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "../../etc/passwd", "x y"] {
        assert_eq!(list(unknown).send(proxy.address).await.status, 404, "{unknown}");
        for method in [Method::GET, Method::DELETE] {
            let asked = ask(method.clone(), "/mcp")
                .headers(&[("Accept", "text/event-stream"), ("Mcp-Session-Id", unknown)]);
            assert_eq!(asked.send(proxy.address).await.status, 404, "{method} {unknown}");
        }
    }
}

#[tokio::test]
async fn t34_s5_delete_ends_the_session_here_and_at_the_upstream() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let proxy = before_url(&server.url()).start().await;
    let id = session(&proxy, NEWEST).await;
    assert!((proxy.metric("shadowcat_sessions_active").await - 1.0).abs() < 0.1);
    let ended = ask(Method::DELETE, "/mcp").header("Mcp-Session-Id", &id).send(proxy.address).await;
    assert!((200..300).contains(&ended.status), "{}", ended.status);
    assert!(proxy.metric("shadowcat_sessions_active").await.abs() < 0.1);
    assert_eq!(list(&id).send(proxy.address).await.status, 404);
    assert_eq!(
        ask(Method::DELETE, "/mcp").header("Mcp-Session-Id", &id).send(proxy.address).await.status,
        404
    );
    until("the upstream's session is deleted", || server.sessions().is_empty()).await;
}

#[tokio::test]
async fn t35_s8_a_session_the_upstream_forgot_is_set_up_again_unseen() {
    for answers in [Answers::Fitting, Answers::Stream] {
        let server = HttpServer::start(HttpSettings { answers, ..HttpSettings::default() }).await;
        let proxy = before_url(&server.url()).start().await;
        let id = session(&proxy, NEWEST).await;
        let level = r#"{"jsonrpc":"2.0","id":"l","method":"logging/setLevel","params":{"level":"debug"}}"#;
        in_session(&id, level).send(proxy.address).await.message().await;
        let first = server.upstream.call("initialize").await;
        server.forget();
        let answer = in_session(&id, &call("\"7\"", "echo", "{}", "")).send(proxy.address).await;
        assert_eq!(answer.status, 200);
        let text = answer.message().await;
        assert_eq!(member(&text, "id").as_deref(), Some("\"7\""), "{text}");
        assert!(member(&text, "result").is_some(), "{text}");
        let handshakes = server.upstream.calls("initialize");
        assert_eq!(handshakes.len(), 2, "once more, and only once");
        assert_eq!(handshakes[1].member("params"), first.member("params"), "the client's own handshake");
        assert_eq!(server.upstream.calls("notifications/initialized").len(), 2);
        assert_eq!(
            server.upstream.calls("logging/setLevel").len(),
            2,
            "what the session had set is set again"
        );
    }
}

#[tokio::test]
async fn t36_a_404_of_the_upstream_never_ends_the_clients_session() {
    let upstream = Upstream::start(|seen| async move {
        let id = seen.member("id").unwrap_or("null".into());
        match seen.rpc().as_deref() {
            Some("initialize") => {
                let result = r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"x","version":"1"}}"#;
                Reply::json(200, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
            }
            Some("notifications/initialized") => Reply::empty(202),
            Some("foo/bar") => {
                let error = r#"{"code":-32601,"message":"no such method","data":{"n":1.0}}"#;
                Reply::json(404, format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#))
            }
            _ => Reply::empty(404),
        }
    })
    .await;
    let proxy = before_url(&upstream.url("/mcp")).start().await;
    let id = session(&proxy, NEWEST).await;
    let unknown = in_session(&id, r#"{"jsonrpc":"2.0","id":5,"method":"foo/bar"}"#).send(proxy.address).await;
    assert_eq!(unknown.status, 200);
    let text = unknown.text().await;
    assert_eq!(
        text,
        r#"{"jsonrpc":"2.0","id":5,"error":{"code":-32601,"message":"no such method","data":{"n":1.0}}}"#
    );
    let bare = list(&id).send(proxy.address).await;
    assert_ne!(bare.status, 404, "it would end the session");
    assert_eq!(member(&bare.text().await, "id").as_deref(), Some("1"));
}

/// An upstream that streams what a test hands out, one stream after the other.
async fn streaming() -> (Upstream, mpsc::Receiver<(Seen, Pieces)>) {
    let (sender, receiver) = mpsc::channel(16);
    let upstream = Upstream::start(move |seen| {
        let sender = sender.clone();
        async move {
            let id = seen.member("id");
            match (seen.rpc().as_deref(), id) {
                (Some("initialize"), Some(id)) => {
                    let result = r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"x","version":"1"}}"#;
                    let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
                    Reply::json(200, text).header("mcp-session-id", "u-1")
                }
                (None, None) if seen.method == Method::GET => Reply::empty(405),
                (Some(_), Some(_)) => {
                    let (pieces, reply) = Reply::events();
                    sender.send((seen, pieces)).await.unwrap();
                    reply
                }
                _ => Reply::empty(202),
            }
        }
    })
    .await;
    (upstream, receiver)
}

fn note(number: u32) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"info","data":{number}}}}}"#
    )
}

#[tokio::test]
async fn t30_t5_events_are_passed_on_before_the_upstream_ends() {
    let (upstream, mut streams) = streaming().await;
    let proxy = before_url(&upstream.url("/mcp")).start().await;
    let id = session(&proxy, NEWEST).await;
    let asked = in_session(&id, &call("1", "x", "{}", "")).send(proxy.address);
    let (answer, (seen, pieces)) = tokio::join!(asked, async { streams.recv().await.unwrap() });
    assert_eq!(answer.status, 200);
    assert!(answer.is_stream());
    assert_eq!(answer.header("x-accel-buffering"), Some("no"));
    let mut events = answer.events();
    for number in 0..5 {
        pieces.event(&note(number)).await;
        assert_eq!(events.message().await, note(number));
    }
    let own = seen.member("id").unwrap();
    pieces.event(&format!(r#"{{"jsonrpc":"2.0","id":{own},"result":{{}}}}"#)).await;
    assert_eq!(events.message().await, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    assert_eq!(events.next().await, None, "the stream ends with the response");
}

#[tokio::test]
async fn t37_t8_a_client_that_comes_back_gets_what_it_missed_of_that_stream_and_nothing_else() {
    let (upstream, mut streams) = streaming().await;
    let proxy = before_url(&upstream.url("/mcp")).start().await;
    let id = session(&proxy, NEWEST).await;
    let asked = in_session(&id, &call("\"a\"", "x", "{}", "")).send(proxy.address);
    let (answer, (seen, pieces)) = tokio::join!(asked, async { streams.recv().await.unwrap() });
    let mut events = answer.events();
    let mut last = None;
    for number in 0..3 {
        pieces.event(&note(number)).await;
    }
    while last.as_ref().is_none_or(|event: &Event| event.data != note(2)) {
        last = events.next().await;
    }
    drop(events);
    for number in 3..6 {
        assert!(pieces.event(&note(number)).await, "the upstream's stream goes on without the client");
    }
    let last = last.unwrap().id.expect("events have ids");
    let back = get("/mcp").headers(&[
        ("Accept", "text/event-stream"),
        ("Mcp-Session-Id", &id),
        ("Last-Event-ID", &last),
    ]);
    let mut events = back.send(proxy.address).await.events();
    for number in 3..6 {
        assert_eq!(events.message().await, note(number));
    }
    pieces.event(&note(6)).await;
    assert_eq!(events.message().await, note(6), "it goes on live");
    let own = seen.member("id").unwrap();
    pieces.event(&format!(r#"{{"jsonrpc":"2.0","id":{own},"result":{{}}}}"#)).await;
    assert_eq!(events.message().await, r#"{"jsonrpc":"2.0","id":"a","result":{}}"#);
    assert!(upstream.calls("notifications/cancelled").is_empty(), "leaving is no cancel");
}

#[tokio::test]
async fn r1_an_answer_larger_than_what_is_kept_for_a_client_that_comes_back_arrives_all_the_same() {
    let proxy = before_command(&[child()]).config("limits:\n  resume_bytes: 1KiB\n").start().await;
    let id = session(&proxy, NEWEST).await;
    let asked = in_session(&id, &call("1", "big", r#"{"bytes":4096}"#, ""));
    let text = asked.send(proxy.address).await.message().await;
    assert_eq!(path(&text, &["result", "fill"]).map(|fill| fill.len()), Some(4096 + 2), "{text}");
    assert!(proxy.metric("shadowcat_sessions_messages_lost_total").await.abs() < 0.1);
}

#[tokio::test]
async fn f38_an_event_id_of_another_session_brings_nothing_of_it() {
    let (upstream, mut streams) = streaming().await;
    let proxy = before_url(&upstream.url("/mcp")).start().await;
    let (mine, theirs) = (session(&proxy, NEWEST).await, session(&proxy, NEWEST).await);
    let asked = in_session(&mine, &call("1", "x", "{}", "")).send(proxy.address);
    let (answer, (_, pieces)) = tokio::join!(asked, async { streams.recv().await.unwrap() });
    let mut events = answer.events();
    pieces.event(&note(1)).await;
    pieces.event(&note(2)).await;
    let first = loop {
        let event = events.next().await.unwrap();
        if event.data == note(1) {
            break event.id.unwrap();
        }
    };
    let stolen = get("/mcp").headers(&[
        ("Accept", "text/event-stream"),
        ("Mcp-Session-Id", &theirs),
        ("Last-Event-ID", &first),
    ]);
    let answer = stolen.send(proxy.address).await;
    if answer.status == 200 {
        let delete = ask(Method::DELETE, "/mcp").header("Mcp-Session-Id", &theirs).send(proxy.address).await;
        assert!((200..300).contains(&delete.status));
        assert_eq!(answer.events().rest().await, [], "nothing of the other session");
    } else {
        assert_eq!(answer.status, 404);
    }
}

#[tokio::test]
async fn t38_a_stream_the_upstream_closes_is_taken_up_where_it_ended_after_the_wait_it_asked_for() {
    let gone = Arc::new(Mutex::new(None::<Instant>));
    let back = Arc::new(Mutex::new(None::<(Duration, String)>));
    let own = Arc::new(Mutex::new(String::new()));
    let upstream = {
        let (gone, back, own) = (Arc::clone(&gone), Arc::clone(&back), Arc::clone(&own));
        Upstream::start(move |seen| {
            let (gone, back, own) = (Arc::clone(&gone), Arc::clone(&back), Arc::clone(&own));
            async move {
                let id = seen.member("id");
                match (seen.rpc().as_deref(), id) {
                    (Some("initialize"), Some(id)) => {
                        let result = r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"x","version":"1"}}"#;
                        Reply::json(200, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)).header("mcp-session-id", "u")
                    }
                    (Some("tools/call"), Some(id)) => {
                        *own.lock().await = id;
                        *gone.lock().await = Some(Instant::now());
                        Reply::stream(format!("id: x\nretry: 500\ndata:\n\nid: y\ndata: {}\n\n", note(1)))
                    }
                    (None, None) if seen.header("last-event-id").is_some() => {
                        let waited = gone.lock().await.expect("a first stream").elapsed();
                        *back.lock().await = Some((waited, seen.header("last-event-id").unwrap().into()));
                        let own = own.lock().await.clone();
                        let answer = format!(r#"{{"jsonrpc":"2.0","id":{own},"result":{{}}}}"#);
                        Reply::stream(format!("id: z\ndata: {}\n\nid: zz\ndata: {answer}\n\n", note(2)))
                    }
                    (None, None) => Reply::empty(405),
                    _ => Reply::empty(202),
                }
            }
        })
        .await
    };
    let proxy = before_url(&upstream.url("/mcp")).start().await;
    let id = session(&proxy, NEWEST).await;
    let answer = in_session(&id, &call("1", "x", "{}", "")).send(proxy.address).await;
    let rest = get("/mcp").headers(&[("Accept", "text/event-stream"), ("Mcp-Session-Id", &id)]);
    let (sender, mut inbox) = mpsc::channel(16);
    soon("the response", read_to_the_response(proxy.address, answer, rest, &sender)).await;
    drop(sender);
    let mut texts = Vec::new();
    while let Some(text) = inbox.recv().await {
        texts.push(text);
    }
    assert_eq!(texts, [note(1), note(2), r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.into()]);
    let (waited, place) = back.lock().await.clone().expect("it came back");
    assert_eq!(place, "y");
    assert!(waited >= Duration::from_millis(500), "{waited:?}");
}

#[tokio::test]
async fn t39_a_message_goes_out_on_one_standing_stream_only() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let proxy = before_url(&server.url()).start().await;
    let id = session(&proxy, NEWEST).await;
    let stand = || get("/mcp").headers(&[("Accept", "text/event-stream"), ("Mcp-Session-Id", &id)]);
    let first = stand().send(proxy.address).await;
    let second = stand().send(proxy.address).await;
    in_session(&id, &call("1", "updated", "{}", "")).send(proxy.address).await.message().await;
    // Both come on the stream that was opened last; ending the session then ends both streams.
    assert!(first.is_stream() && second.is_stream());
    let (first, mut second) = (first.events(), second.events());
    let mut told = vec![second.message().await, second.message().await];
    ask(Method::DELETE, "/mcp").header("Mcp-Session-Id", &id).send(proxy.address).await;
    for rest in [first.rest().await, second.rest().await] {
        told.extend(rest.into_iter().map(|event| event.data));
    }
    told.sort();
    let methods: Vec<_> = told.iter().filter_map(|text| member(text, "method")).collect();
    assert_eq!(methods, [r#""notifications/resources/updated""#, r#""notifications/tools/list_changed""#]);
}

#[tokio::test]
async fn t40_an_http_sse_upstream_serves_streamable_clients() {
    let server = SseServer::start().await;
    let proxy = before_url(&server.url()).start().await;
    let id = session(&proxy, "2024-11-05").await;
    let answer = in_session(&id, &call("\"1\"", "echo", "{}", "")).send(proxy.address).await;
    assert_eq!(answer.status, 200);
    assert_eq!(member(&answer.message().await, "id").as_deref(), Some("\"1\""));
    let seen = server.upstream.seen();
    assert_eq!(
        (seen[0].method.as_str(), seen[0].path.as_str()),
        ("GET", "/sse"),
        "the endpoint is awaited first"
    );
    assert!(seen[1..].iter().all(|seen| seen.path.starts_with("/messages?id=")), "{seen:?}");
}

#[tokio::test]
async fn t40_an_endpoint_on_another_origin_is_refused() {
    let stranger = Upstream::start(|_| async { Reply::empty(202) }).await;
    for endpoint in
        [stranger.url("/messages"), "//evil.example/messages".into(), "https://127.0.0.1/messages".into()]
    {
        let upstream = Upstream::start(move |_| {
            let endpoint = endpoint.clone();
            async move {
                let (pieces, reply) = Reply::events();
                pieces.write(format!("event: endpoint\ndata: {endpoint}\n\n")).await;
                #[expect(clippy::disallowed_methods, reason = "ends with the answer it keeps open")]
                tokio::spawn(async move { pieces.closed().await });
                reply
            }
        })
        .await;
        let proxy = before_url(&format!("sse+{}", upstream.url("/sse"))).start().await;
        let answer = post("/mcp", &initialize("0", NEWEST)).send(proxy.address).await;
        assert_eq!(answer.status, 502);
        assert_eq!(member(&answer.text().await, "id").as_deref(), Some("0"));
    }
    assert!(stranger.seen().is_empty(), "nothing may go to a stranger");
}

#[tokio::test]
async fn t41_an_http_sse_client_is_served_as_2024_11_05_has_it() {
    let server = HttpServer::start(HttpSettings::default()).await;
    for proxy in [before_url(&server.url()).start().await, before_command(&[child()]).start().await] {
        let mut events = get("/sse").header("Accept", "text/event-stream").send(proxy.address).await.events();
        let first = events.next().await.unwrap();
        assert_eq!(first.kind, "endpoint");
        for (id, text) in [("0", initialize("0", "2024-11-05")), ("\"1\"", call("\"1\"", "echo", "{}", ""))] {
            assert_eq!(post(&first.data, &text).send(proxy.address).await.status, 202);
            let event = events.next().await.unwrap();
            assert_eq!(event.kind, "message");
            assert_eq!(member(&event.data, "id").as_deref(), Some(id), "{}", event.data);
        }
        let stranger = format!("{}x", first.data);
        assert_eq!(post(&stranger, INITIALIZED).send(proxy.address).await.status, 404);
    }
}

#[tokio::test]
async fn t11_notifications_are_accepted_without_waiting_for_the_upstream() {
    let upstream = Upstream::start(|seen| async move {
        match seen.rpc().as_deref() {
            Some("initialize") => {
                let result = r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"x","version":"1"}}"#;
                Reply::json(200, format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, seen.member("id").unwrap()))
            }
            Some("notifications/initialized") => Reply::empty(202),
            _ => std::future::pending().await,
        }
    })
    .await;
    let proxy = before_url(&upstream.url("/mcp")).start().await;
    let id = session(&proxy, NEWEST).await;
    let note = r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#;
    assert_eq!(in_session(&id, note).send(proxy.address).await.status, 202);
    upstream.call("notifications/roots/list_changed").await;
}

#[tokio::test]
async fn t6_silent_streams_are_kept_alive_by_comments() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let proxy = before_url(&server.url()).config("http:\n  keep_alive: 50ms\n").start().await;
    let id = session(&proxy, NEWEST).await;
    for path in ["/mcp", "/sse"] {
        let mut asked = get(path).header("Accept", "text/event-stream");
        if path == "/mcp" {
            asked = asked.header("Mcp-Session-Id", &id);
        }
        let mut answer = asked.send(proxy.address).await;
        let mut text = String::new();
        while text.matches("\n: ").count() + usize::from(text.starts_with(": ")) < 3 {
            let chunk = soon("a comment", answer.chunk()).await.expect("an open stream");
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

#[tokio::test]
async fn a_ping_of_the_server_on_a_quiet_session_is_answered() {
    let proxy = before_command(&[child()]).start().await;
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    let answer = client.request(r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#).await;
    assert_eq!(path(&answer, &["result"]).as_deref(), Some("{}"));
}
