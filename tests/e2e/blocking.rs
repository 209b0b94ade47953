//! HTTP+SSE servers that answer a POST only when the work it asked for is done, as those in Java do.

use std::sync::{Arc, Mutex};

use http::Method;
use shadowcat_tests::client::{Client, call};
use shadowcat_tests::proxy::before_url;
use shadowcat_tests::server::member;
use shadowcat_tests::upstream::{Pieces, Reply, Seen, Upstream};
use shadowcat_tests::wait::soon;
use tokio::sync::watch;

const PROGRESS: usize = 3;

/// What the client has got of its call: one more for each message.
type Got = watch::Sender<usize>;

async fn answer(seen: Seen, stream: Arc<Mutex<Option<Pieces>>>, got: Got) -> Reply {
    if seen.method == Method::GET {
        let (pieces, reply) = Reply::events();
        pieces.write("event: endpoint\ndata: /messages\n\n").await;
        *stream.lock().unwrap() = Some(pieces);
        return reply;
    }
    let (Some(id), Some(rpc)) = (seen.member("id"), seen.rpc()) else { return Reply::empty(202) };
    let pieces = stream.lock().unwrap().clone().unwrap();
    let result = if rpc == "initialize" {
        r#"{"protocolVersion":"2024-11-05","capabilities":{},"serverInfo":{"name":"x","version":"1"}}"#
    } else {
        for before in 0..PROGRESS {
            got.subscribe().wait_for(|got| *got == before).await.unwrap();
            let params = format!(r#"{{"progressToken":{id},"progress":{before}}}"#);
            let note = format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{params}}}"#);
            pieces.event(&note).await;
        }
        "{}"
    };
    pieces.event(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)).await;
    if rpc != "initialize" {
        got.subscribe().wait_for(|got| *got > PROGRESS).await.unwrap();
    }
    Reply::empty(200)
}

#[tokio::test]
async fn progress_comes_as_it_is_sent_and_the_result_before_the_post_is_answered() {
    let (stream, got) = (Arc::default(), watch::Sender::new(0));
    let seen_by = got.clone();
    let upstream = Upstream::start(move |seen| answer(seen, Arc::clone(&stream), seen_by.clone())).await;
    let proxy = before_url(&format!("sse+{}", upstream.url("/sse"))).start().await;
    let mut client = Client::http(proxy.address);
    client.handshake("2024-11-05").await;
    client.send(&call("7", "works", "{}", r#""_meta":{"progressToken":"p"}"#)).await;
    for _ in 0..PROGRESS {
        let progress = soon("progress", client.message("notifications/progress")).await;
        assert!(progress.contains(r#""progressToken":"p""#), "{progress}");
        got.send_modify(|got| *got += 1);
    }
    let answer = soon("the result", client.response("7")).await;
    assert!(member(&answer, "result").is_some(), "{answer}");
    got.send_modify(|got| *got += 1);
    assert_eq!(upstream.calls("notifications/cancelled").len(), 0);
}
