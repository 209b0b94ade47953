//! Messages of an HTTP server that belong to something: to a question of its own, or to a request in flight.

use http::Method;
use shadowcat_tests::client::call;
use shadowcat_tests::proxy::{Proxy, before_url};
use shadowcat_tests::raw::{Events, post};
use shadowcat_tests::server::{member, path};
use shadowcat_tests::upstream::{Pieces, Reply, Seen, Upstream};
use shadowcat_tests::wait::{soon, until};
use tokio::sync::mpsc;

use crate::edge::session;
use crate::faults::courtesy;

/// A server that hands each of its streams to the test, the standing one and those of calls, and a proxy before it.
struct Streams {
    _upstream: Upstream,
    proxy: Proxy,
    opened: mpsc::Receiver<(Seen, Pieces)>,
}

impl Streams {
    async fn start() -> Self {
        let (sender, opened) = mpsc::channel(16);
        let upstream = Upstream::start(move |seen| {
            let sender = sender.clone();
            async move {
                if let Some(reply) = courtesy(&seen).filter(|_| seen.method != Method::GET) {
                    return reply;
                }
                let (pieces, reply) = Reply::events();
                sender.send((seen, pieces)).await.unwrap();
                reply
            }
        })
        .await;
        let proxy = before_url(&upstream.url("/mcp")).start().await;
        Self { _upstream: upstream, proxy, opened }
    }

    /// The next stream that was opened this way.
    async fn next(&mut self, method: Method) -> (Seen, Pieces) {
        soon("a stream of the server", async {
            loop {
                let (seen, pieces) = self.opened.recv().await.unwrap();
                if seen.method == method {
                    return (seen, pieces);
                }
            }
        })
        .await
    }

    /// A call in flight: its events at the client, what the server got of it, and the server's stream for it.
    async fn called(&mut self, id: &str, more: &str) -> (Events, Seen, Pieces) {
        let asked = post("/mcp", &call("1", "x", "{}", more)).header("Mcp-Session-Id", id);
        let address = self.proxy.address;
        let (answer, (seen, pieces)) = tokio::join!(asked.send(address), self.next(Method::POST));
        (answer.events(), seen, pieces)
    }
}

#[tokio::test]
async fn t14_a_question_withdrawn_on_the_stream_of_a_call_is_withdrawn_by_the_clients_number_of_it() {
    let mut streams = Streams::start().await;
    let id = session(&streams.proxy, "2025-06-18").await;
    let (mut events, _, pieces) = streams.called(&id, "").await;
    pieces
        .event(r#"{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"?"}}"#)
        .await;
    let question = events.message().await;
    assert_eq!(member(&question, "method").as_deref(), Some("\"elicitation/create\""));
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"q"}}"#;
    pieces.event(cancel).await;
    let withdrawn = events.message().await;
    assert_eq!(member(&withdrawn, "method").as_deref(), Some("\"notifications/cancelled\""), "{withdrawn}");
    assert_eq!(path(&withdrawn, &["params", "requestId"]), member(&question, "id"));
}

#[tokio::test]
async fn t13_progress_on_the_standing_stream_reaches_its_request_under_the_clients_token() {
    let mut streams = Streams::start().await;
    let id = session(&streams.proxy, "2025-06-18").await;
    let (_, standing) = streams.next(Method::GET).await;
    let (mut events, seen, pieces) = streams.called(&id, r#""_meta":{"progressToken":"mine"}"#).await;
    let progress = |token: &str| {
        let params = format!(r#"{{"progressToken":{token},"progress":1}}"#);
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{params}}}"#)
    };
    let own = path(&seen.body, &["params", "_meta", "progressToken"]).unwrap();
    standing.event(&progress(&own)).await;
    assert_eq!(events.message().await, progress("\"mine\""));
    let own = seen.member("id").unwrap();
    pieces.event(&format!(r#"{{"jsonrpc":"2.0","id":{own},"result":{{}}}}"#)).await;
    assert_eq!(events.message().await, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
}

#[tokio::test]
async fn a_question_beside_a_whole_answer_is_asked_by_our_number_and_answered_by_the_servers() {
    let upstream = Upstream::start(|seen| async move {
        match courtesy(&seen) {
            Some(reply) => reply,
            None if seen.rpc().is_none() => Reply::empty(202),
            None => {
                let id = seen.member("id").unwrap();
                let question = r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#;
                Reply::json(200, format!(r#"[{question},{{"jsonrpc":"2.0","id":{id},"result":{{}}}}]"#))
            }
        }
    })
    .await;
    let proxy = before_url(&upstream.url("/mcp")).start().await;
    let id = session(&proxy, "2025-06-18").await;
    let in_session = |text: &str| post("/mcp", text).header("Mcp-Session-Id", &id);
    let mut events = in_session(&call("1", "x", "{}", "")).send(proxy.address).await.events();
    let question = events.message().await;
    assert_eq!(member(&question, "method").as_deref(), Some("\"roots/list\""), "{question}");
    let ours = member(&question, "id").unwrap();
    assert_ne!(ours, "\"q\"", "the client may have a question of that name already");
    assert_eq!(events.message().await, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    let answer = format!(r#"{{"jsonrpc":"2.0","id":{ours},"result":{{"roots":[]}}}}"#);
    assert_eq!(in_session(&answer).send(proxy.address).await.status, 202);
    let answered = |seen: &Seen| seen.rpc().is_none() && seen.member("id").as_deref() == Some("\"q\"");
    until("the server has its answer", || upstream.seen().iter().any(answered)).await;
}
