//! F07: clients that are gone without a word, or stand still, with their streams open.

use shadowcat_tests::client::call;
use shadowcat_tests::proxy::{Proxy, before_url};
use shadowcat_tests::raw::{Events, get, post};
use shadowcat_tests::server::{HttpServer, HttpSettings};
use shadowcat_tests::wait::{soon, until};
use socket2::{SockFilter, SockRef};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::edge::session;

const NEWEST: &str = "2025-11-25";
const GHOSTS: usize = 100;

/// The standing stream of a session, of which the head is read and then nothing any more.
async fn stream_of(proxy: &Proxy, id: &str) -> TcpStream {
    let mut socket = TcpStream::connect(proxy.address).await.unwrap();
    let asked = format!(
        "GET /mcp HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\nMcp-Session-Id: {id}\r\n\r\n",
        proxy.address
    );
    socket.write_all(asked.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        head.push(soon("the head of the stream", socket.read_u8()).await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
    socket
}

/// From here on nothing that is sent to this socket arrives, nor is it acknowledged: its machine is gone.
fn vanish(socket: &TcpStream) {
    const RETURN_NOTHING: SockFilter = SockFilter::new(0x06, 0, 0, 0);
    SockRef::from(socket).attach_filter(&[RETURN_NOTHING]).unwrap();
}

/// A client that reads its stream.
async fn living(proxy: &Proxy) -> (String, Events) {
    let id = session(proxy, NEWEST).await;
    let asked = get("/mcp").headers(&[("Accept", "text/event-stream"), ("Mcp-Session-Id", &id)]);
    let events = asked.send(proxy.address).await.events();
    (id, events)
}

async fn attached(proxy: &Proxy, streams: u32) {
    soon(format!("{streams} streams are open"), async {
        while (proxy.metric("shadowcat_sessions_attached").await - f64::from(streams)).abs() > 0.5 {}
    })
    .await;
}

#[tokio::test]
async fn f07_streams_of_clients_that_vanished_are_closed_and_those_of_others_are_not() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let config = "http:\n  keep_alive: 100ms\ntimeouts:\n  write_stall: 2s\n";
    let proxy = before_url(&server.url()).config(config).start().await;
    let (id, mut living) = living(&proxy).await;
    let mut sockets = Vec::new();
    for _ in 0..GHOSTS {
        let ghost = session(&proxy, NEWEST).await;
        sockets.push(stream_of(&proxy, &ghost).await);
    }
    attached(&proxy, 101).await;
    let descriptors = proxy.process.descriptors();
    sockets.iter().for_each(vanish);
    attached(&proxy, 1).await;
    until("their connections are gone", || proxy.process.descriptors() + GHOSTS <= descriptors + 5).await;
    let updated = post("/mcp", &call("1", "updated", "{}", "")).header("Mcp-Session-Id", &id);
    assert_eq!(updated.send(proxy.address).await.status, 200);
    assert!(living.message().await.contains("resources/updated"));
    drop(sockets);
}

#[tokio::test]
async fn f07_a_session_that_nobody_uses_ends_although_its_stream_is_open() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let config = "sessions:\n  idle: 4s\nhttp:\n  keep_alive: 100ms\ntimeouts:\n  header_read: 1s\n";
    let proxy = before_url(&server.url()).config(config).start().await;
    let (id, mut living) = living(&proxy).await;
    let mut stopped = Vec::new();
    for _ in 0..GHOSTS {
        let ghost = session(&proxy, NEWEST).await;
        stopped.push(stream_of(&proxy, &ghost).await);
    }
    while let Some(event) = living.next().await {
        assert_eq!(event.data, "", "nobody has said anything");
    }
    assert!(living.comments > 0, "up to then it was kept alive");
    let again = get("/mcp").headers(&[("Accept", "text/event-stream"), ("Mcp-Session-Id", &id)]);
    assert_eq!(again.send(proxy.address).await.status, 404);
    attached(&proxy, 0).await;
    until("the upstream's sessions are deleted", || server.sessions().is_empty()).await;
    // Those who stand still do not close their side.
    for mut socket in stopped {
        let mut rest = Vec::new();
        soon("the end of the connection", socket.read_to_end(&mut rest)).await.unwrap();
        assert!(rest.ends_with(b"0\r\n\r\n"), "the stream ended in order");
    }
}
