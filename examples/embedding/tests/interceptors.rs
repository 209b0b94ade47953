//! Interceptors of a program, in proxies within this process: what they may do, and what a faulty one costs.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test is told, and what is tried")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shadowcat_gateway::interceptor::{
    Envelope, Interceptor, Message, Next, Refusal, Replies, Response, async_trait, json,
};
use shadowcat_gateway::{Proxy, Running};
use shadowcat_tests::client::{Client, call};
use shadowcat_tests::raw::get;
use shadowcat_tests::server::{HttpServer, HttpSettings, path};
use shadowcat_tests::wait::{SOON, within};

/// Sees each message of both directions, and what comes back for it.
#[derive(Clone, Default)]
struct Counts {
    messages: Arc<AtomicUsize>,
    replies: Arc<AtomicUsize>,
}

#[async_trait]
impl Interceptor for Counts {
    fn name(&self) -> &'static str {
        "counts"
    }

    async fn intercept(&self, envelope: Envelope, next: Next<'_>) -> Result<Replies, Refusal> {
        self.messages.fetch_add(1, Ordering::Relaxed);
        let replies = Arc::clone(&self.replies);
        Ok(next.run(envelope).await?.inspect(move |_| {
            replies.fetch_add(1, Ordering::Relaxed);
        }))
    }
}

/// Does what the name of the called tool says.
struct Obedient;

#[async_trait]
impl Interceptor for Obedient {
    fn name(&self) -> &'static str {
        "obedient"
    }

    async fn intercept(&self, mut envelope: Envelope, next: Next<'_>) -> Result<Replies, Refusal> {
        let Message::Request(request) = &envelope.message else { return next.run(envelope).await };
        match request.name().as_deref() {
            Some("answered") => {
                let answer = Response::result(request.id(), r#"{"by":"obedient"}"#);
                return Ok(Replies::one(Message::Response(answer)));
            }
            Some("edited") => {
                envelope.origin.deeds.add("obedient: edit");
                envelope.message =
                    Message::Request(request.with_params(r#"{"name":"other","arguments":{}}"#));
                envelope.is_changed = true;
            }
            Some("stamped") => {
                return Ok(next.run(envelope).await?.map(|reply| match reply? {
                    Message::Response(response) if response.result_json().is_some() => {
                        Ok(Message::Response(response.with_result(r#"{"stamped":true}"#)))
                    }
                    other => Ok(other),
                }));
            }
            Some("panics") => panic!("on purpose"),
            Some("hangs") => std::future::pending().await,
            _ => {}
        }
        next.run(envelope).await
    }
}

/// A proxy with both, and a client of it.
async fn start(config: &str) -> (Running, Client, Counts, HttpServer) {
    let server = HttpServer::start(HttpSettings::default()).await;
    let counts = Counts::default();
    let proxy = Proxy::before_url(server.url()).config(config);
    let proxy = proxy.interceptor(Obedient).interceptor(counts.clone()).start().await.unwrap();
    let mut client = Client::http(proxy.address().unwrap());
    client.handshake("2025-11-25").await;
    (proxy, client, counts, server)
}

fn code(answer: &str) -> Option<i64> {
    path(answer, &["error", "code"])?.parse().ok()
}

#[tokio::test]
async fn an_interceptor_answers_edits_and_stamps_behind_the_rules() {
    let tapes = tempfile::tempdir().unwrap();
    let config = format!(
        "record: {{dir: {}}}\nrules:\n  - {{name: hide, when: {{tool: hidden}}, do: [{{set: {{$.name: answered}}}}]}}\n",
        tapes.path().display()
    );
    let (proxy, mut client, counts, server) = start(&config).await;
    for tool in ["answered", "hidden"] {
        let answer = client.request(&call(&format!("\"{tool}\""), tool, "{}", "")).await;
        assert_eq!(path(&answer, &["result", "by"]).as_deref(), Some("\"obedient\""), "{answer}");
    }
    let handshake = counts.messages.load(Ordering::Relaxed);
    let answer = client.request(&call("3", "edited", "{}", "")).await;
    assert_eq!(path(&answer, &["result", "request", "params", "name"]).as_deref(), Some("\"other\""));
    let answer = client.request(&call("4", "stamped", "{}", "")).await;
    assert_eq!(path(&answer, &["result"]).as_deref(), Some(r#"{"stamped":true}"#), "{answer}");
    assert_eq!(
        counts.messages.load(Ordering::Relaxed),
        handshake + 2,
        "what is answered before goes no further"
    );
    assert!(counts.replies.load(Ordering::Relaxed) >= 3);
    assert!(!server.upstream.seen().iter().any(|seen| seen.body.contains("answered")));

    drop(client);
    let ended = proxy.stop().await;
    assert!(ended.in_order && ended.saved, "{ended:?}");
    let tape = std::fs::read_to_string(ended.recorded.unwrap().0).unwrap();
    let edited = tape.lines().find(|line| line.contains(r#""rules":["obedient: edit"]"#));
    let message = edited.and_then(|line| json::get(line, &["message", "params", "name"]));
    assert_eq!(message, Some("\"other\""), "{tape}");
}

/// Nothing is in flight any more, the proxy says that it is well, and the next call is answered.
async fn is_well(proxy: &Running, client: &mut Client) {
    let address = proxy.address().unwrap();
    assert_eq!(code(&client.request(&call("\"last\"", "echo", "{}", "")).await), None);
    let page = async |path: &str| get(path).send_patiently(address).await.text_patiently().await;
    let is_over = async { while !page("/metrics").await.contains("\nshadowcat_calls_in_flight 0\n") {} };
    within(SOON * 3, "the end of every call", is_over).await;
    let health = page("/health").await;
    assert!(health.contains(r#""status":"ok""#), "{health}");
}

#[tokio::test]
async fn a_thousand_calls_on_which_an_interceptor_panics_cost_an_error_each() {
    let (proxy, mut client, _counts, _server) = start("").await;
    for round in 0..10 {
        let ids: Vec<String> = (0..100).map(|number| (round * 100 + number).to_string()).collect();
        for id in &ids {
            client.send(&call(id, "panics", "{}", "")).await;
        }
        for id in &ids {
            let answer = within(SOON * 3, "an answer", client.response(id)).await;
            assert_eq!(code(&answer), Some(-31_000), "{answer}");
        }
    }
    is_well(&proxy, &mut client).await;
    drop(client);
    assert!(proxy.stop().await.in_order);
}

#[tokio::test]
async fn a_thousand_calls_on_which_an_interceptor_hangs_end_at_their_limit() {
    let (proxy, mut client, _counts, _server) = start("timeouts: {request: 500ms}\n").await;
    for round in 0..5 {
        let ids = (0..200).map(|number| (round * 200 + number).to_string());
        let ids: Vec<String> = ids.collect();
        for id in &ids {
            client.send(&call(id, "hangs", "{}", "")).await;
        }
        let answered = async {
            for id in &ids {
                let answer = client.response(id).await;
                assert_eq!(code(&answer), Some(-31_002), "{answer}");
            }
        };
        within(SOON * 3, "the end of every call", answered).await;
    }
    is_well(&proxy, &mut client).await;
    drop(client);
    assert!(proxy.stop().await.in_order);
}
