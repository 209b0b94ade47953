//! T42-T46: subscriptions, cancels by closing, answers that ask for input.

use std::path::Path;

use shadowcat_tests::proxy::{Proxy, before_command, before_url};
use shadowcat_tests::raw::{Ask, Events, post};
use shadowcat_tests::server::{HttpServer, HttpSettings, member, path};
use shadowcat_tests::upstream::{Reply, Upstream};
use shadowcat_tests::wait::{found, soon};

use crate::harness::child;

/// The metadata of a modern request.
pub(crate) const META: &str = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}"#;
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// A modern request; `members` are of its params and end with a comma.
pub(crate) fn body(id: &str, method: &str, members: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{members}"_meta":{{{META}}}}}}}"#)
}

/// A POST with the headers of a modern request.
pub(crate) fn envelope(method: &str, name: Option<&str>, body: &str) -> Ask {
    let asked = post("/mcp", body).headers(&[("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", method)]);
    match name {
        Some(name) => asked.header("Mcp-Name", name),
        None => asked,
    }
}

/// A modern call of a tool.
pub(crate) fn tool(id: &str, name: &str) -> Ask {
    envelope(
        "tools/call",
        Some(name),
        &body(id, "tools/call", &format!(r#""name":"{name}","arguments":{{}},"#)),
    )
}

/// A proxy before a child that writes what it reads to a file.
async fn before_child(log: &Path) -> Proxy {
    before_command(&[&child(), "--log", log.to_str().unwrap()]).start().await
}

fn lines(log: &Path) -> Vec<String> {
    std::fs::read_to_string(log).unwrap_or_default().lines().map(str::to_owned).collect()
}

async fn listen(proxy: &Proxy, id: &str) -> Events {
    let filter = r#""notifications":{"toolsListChanged":true,"promptsListChanged":true},"#;
    let asked = envelope("subscriptions/listen", None, &body(id, "subscriptions/listen", filter));
    let mut events = asked.send(proxy.address).await.events();
    let first = events.message().await;
    assert_eq!(member(&first, "method").as_deref(), Some(r#""notifications/subscriptions/acknowledged""#));
    let accepted = path(&first, &["params", "notifications"]);
    assert_eq!(accepted.as_deref(), Some(r#"{"toolsListChanged":true}"#), "{first}");
    assert_eq!(path(&first, &["params", "_meta", SUBSCRIPTION]).as_deref(), Some(id), "{first}");
    events
}

#[tokio::test]
async fn t42_a_subscription_is_acknowledged_first_and_keeps_its_own_id() {
    let server = HttpServer::start(HttpSettings::default()).await;
    for proxy in [before_url(&server.url()).start().await, before_command(&[child()]).start().await] {
        let mut events = listen(&proxy, "\"L-1\"").await;
        tool("5", "updated").send(proxy.address).await.message().await;
        let changed = events.message().await;
        assert_eq!(member(&changed, "method").as_deref(), Some(r#""notifications/tools/list_changed""#));
        assert_eq!(path(&changed, &["params", "_meta", SUBSCRIPTION]).as_deref(), Some("\"L-1\""));
    }
}

#[tokio::test]
async fn t43_two_subscriptions_on_one_child_do_not_cross() {
    let proxy = before_command(&[child()]).start().await;
    let ids = ["1", "\"1\"", "9007199254740993"];
    let mut streams = Vec::new();
    for id in ids {
        streams.push(listen(&proxy, id).await);
    }
    tool("1", "updated").send(proxy.address).await.message().await;
    for (id, events) in ids.iter().zip(&mut streams) {
        let changed = events.message().await;
        assert_eq!(path(&changed, &["params", "_meta", SUBSCRIPTION]).as_deref(), Some(*id), "{changed}");
    }
}

#[tokio::test]
async fn t44_a_subscription_gets_its_result_when_the_proxy_ends() {
    let server = HttpServer::start(HttpSettings::default()).await;
    for proxy in [before_url(&server.url()).start().await, before_command(&[child()]).start().await] {
        let events = listen(&proxy, "\"L-1\"").await;
        proxy.process.signal(rustix::process::Signal::TERM);
        let rest = events.rest().await;
        let result = &rest.last().expect("a final result").data;
        assert_eq!(member(result, "id").as_deref(), Some("\"L-1\""), "{result}");
        assert_eq!(path(result, &["result", "resultType"]).as_deref(), Some("\"complete\""), "{result}");
        assert_eq!(path(result, &["result", "_meta", SUBSCRIPTION]).as_deref(), Some("\"L-1\""), "{result}");
        assert!(proxy.process.ended().await.success());
    }
}

#[tokio::test]
async fn t45_closing_the_stream_cancels_the_call_of_a_child_under_the_proxys_own_id() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let proxy = before_child(&log).await;
    let hung = tool("\"mine\"", "late");
    let waiting = tokio::time::timeout(std::time::Duration::MAX, hung.send_patiently(proxy.address));
    let own = tokio::select! {
        _ = waiting => panic!("the call must not be answered"),
        own = found("the call at the child", || {
            lines(&log).iter().find(|line| line.contains("\"late\"")).and_then(|line| member(line, "id"))
        }) => own,
    };
    assert_ne!(own, "\"mine\"");
    let told = || lines(&log).into_iter().find(|line| line.contains("notifications/cancelled"));
    let cancelled = found("the cancel at the child", told).await;
    assert_eq!(path(&cancelled, &["params", "requestId"]), Some(own), "{cancelled}");
    // The late answer belongs to nobody, and others are served.
    assert_eq!(tool("\"mine\"", "echo").send(proxy.address).await.status, 200);
    soon("the late answer is counted", async {
        while proxy.metric("shadowcat_upstream_stray_total").await < 1.0 {}
    })
    .await;
}

#[tokio::test]
async fn t45_closing_the_stream_closes_the_call_at_an_http_server() {
    let closed = std::sync::Arc::new(tokio::sync::Notify::new());
    let upstream = {
        let closed = std::sync::Arc::clone(&closed);
        Upstream::start(move |_| {
            let closed = std::sync::Arc::clone(&closed);
            async move {
                let (pieces, reply) = Reply::events();
                pieces.event(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#).await;
                #[expect(clippy::disallowed_methods, reason = "ends with the answer it watches")]
                tokio::spawn(async move {
                    pieces.closed().await;
                    closed.notify_one();
                });
                reply
            }
        })
        .await
    };
    let proxy = before_url(&upstream.url("/mcp")).start().await;
    let mut events = tool("1", "hang").send(proxy.address).await.events();
    events.message().await;
    drop(events);
    soon("the upstream's stream closed", closed.notified()).await;
    assert!(upstream.calls("notifications/cancelled").is_empty(), "on HTTP the closed stream is the cancel");
}

#[tokio::test]
async fn t46_request_state_and_responses_travel_untouched() {
    let asks = r#"{"resultType":"input_required","inputRequests":{"q":{"method":"elicitation/create","params":{"message":"?","requestedSchema":{}}}},"requestState":"AbC+/=="}"#;
    let upstream = Upstream::start(move |seen| async move {
        let id = seen.member("id").unwrap();
        let done = path(&seen.body, &["params", "requestState"]).is_some();
        let result = if done { r#"{"resultType":"complete","content":[]}"# } else { asks };
        Reply::json(200, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
    })
    .await;
    let proxy = before_url(&upstream.url("/mcp")).start().await;
    let asked = tool("1", "deploy").send(proxy.address).await.message().await;
    assert_eq!(path(&asked, &["result"]).as_deref(), Some(asks));
    let members = r#""name":"deploy","arguments":{},"inputResponses":{"q":{"action":"accept"}},"requestState":"AbC+/==","#;
    let retry = envelope("tools/call", Some("deploy"), &body("2", "tools/call", members));
    let done = retry.send(proxy.address).await.message().await;
    assert_eq!(path(&done, &["result", "resultType"]).as_deref(), Some("\"complete\""), "{done}");
    assert_eq!(member(&done, "id").as_deref(), Some("2"));
    let calls = upstream.calls("tools/call");
    assert_eq!(calls.len(), 2);
    assert_ne!(calls[0].member("id"), calls[1].member("id"));
    assert_eq!(path(&calls[1].body, &["params", "requestState"]).as_deref(), Some(r#""AbC+/==""#));
    assert_eq!(
        path(&calls[0].body, &["params", "arguments"]),
        path(&calls[1].body, &["params", "arguments"])
    );
    assert_eq!(calls[1].header("mcp-method"), Some("tools/call"));
    assert_eq!(calls[1].header("mcp-name"), Some("deploy"));
}

#[tokio::test]
async fn t52_a_tool_with_a_wrong_annotation_is_not_offered_by_an_http_server() {
    let tools = r#"{"resultType":"complete","tools":[{"name":"good","inputSchema":{"type":"object"}},{"name":"bad","inputSchema":{"type":"object","properties":{"n":{"type":"number","x-mcp-header":"N"}}}}],"ttlMs":0,"cacheScope":"private"}"#;
    let upstream = Upstream::start(move |seen| async move {
        let id = seen.member("id").unwrap();
        Reply::json(200, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{tools}}}"#))
    })
    .await;
    let proxy = before_url(&upstream.url("/mcp")).start().await;
    let listed =
        envelope("tools/list", None, &body("1", "tools/list", "")).send(proxy.address).await.message().await;
    assert!(listed.contains("\"good\"") && !listed.contains("\"bad\""), "{listed}");
}

#[tokio::test]
async fn t53_a_tool_that_rules_have_renamed_is_called_by_its_own_name_in_the_body_and_in_the_headers() {
    const RENAMED: &str = r#"
rules:
  - {name: offered, when: {on: answer, method: tools/list}, do: [{replace: {"$.tools[*].name": {find: "^a$", with: b}}}]}
  - {name: called, when: {tool: b}, do: [{set: {"$.name": a}}]}
"#;
    let upstream = Upstream::start(move |seen| async move {
        let id = seen.member("id").unwrap();
        let result = match seen.member("method").as_deref() {
            Some("\"tools/list\"") => {
                r#"{"resultType":"complete","tools":[{"name":"a","inputSchema":{"type":"object"}}],"ttlMs":0,"cacheScope":"private"}"#
            }
            _ => r#"{"resultType":"complete","content":[]}"#,
        };
        Reply::json(200, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
    })
    .await;
    let proxy = before_url(&upstream.url("/mcp")).config(RENAMED).start().await;
    let list = envelope("tools/list", None, &body("1", "tools/list", ""));
    let listed = list.send(proxy.address).await.message().await;
    assert!(listed.contains(r#""name":"b""#) && !listed.contains(r#""name":"a""#), "{listed}");
    assert_eq!(tool("2", "b").send(proxy.address).await.status, 200);
    let [called] = &upstream.calls("tools/call")[..] else { panic!("it was not called once") };
    assert_eq!(path(&called.body, &["params", "name"]).as_deref(), Some("\"a\""));
    assert_eq!(called.header("mcp-name"), Some("a"));
}

#[tokio::test]
async fn t55_a_request_of_a_modern_server_never_reaches_the_client() {
    let upstream = Upstream::start(move |seen| async move {
        let id = seen.member("id").unwrap();
        let asks = r#"{"jsonrpc":"2.0","id":77,"method":"elicitation/create","params":{}}"#;
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete"}}}}"#);
        Reply::stream(format!("data: {asks}\n\ndata: {answer}\n\n"))
    })
    .await;
    let proxy = before_url(&upstream.url("/mcp")).start().await;
    let answer = tool("1", "x").send(proxy.address).await;
    let text = if answer.is_stream() {
        answer.events().rest().await.into_iter().map(|event| event.data).collect()
    } else {
        answer.text().await
    };
    assert!(!text.contains("elicitation/create"), "{text}");
    assert!(text.contains("\"id\":1"), "{text}");
}

#[tokio::test]
async fn t76_two_modern_clients_of_one_child_may_use_the_same_id_and_token() {
    let proxy = before_command(&[child()]).start().await;
    let with_token = |id: &str| {
        let members = format!(r#""name":"echo","arguments":{{"who":{id}}},"#);
        let text =
            body(id, "tools/call", &members).replacen(r#""_meta":{"#, r#""_meta":{"progressToken":1,"#, 1);
        envelope("tools/call", Some("echo"), &text)
    };
    let (first, second) =
        tokio::join!(with_token("1").send(proxy.address), with_token("\"1\"").send(proxy.address));
    for (answer, id) in [(first, "1"), (second, "\"1\"")] {
        let text = answer.message().await;
        assert_eq!(member(&text, "id").as_deref(), Some(id), "{text}");
        assert_eq!(path(&text, &["result", "request", "params", "arguments", "who"]).as_deref(), Some(id));
    }
}

#[tokio::test]
async fn t76_each_of_two_clients_with_one_id_and_token_hears_its_own_progress() {
    let proxy = before_command(&[child()]).start().await;
    let told = async |bytes: usize, token: &str| {
        let members = format!(r#""name":"burst","arguments":{{"events":30,"bytes":{bytes}}},"#);
        let stamped = format!(r#""_meta":{{"progressToken":{token},"#);
        let text = body("1", "tools/call", &members).replacen(r#""_meta":{"#, &stamped, 1);
        let events = envelope("tools/call", Some("burst"), &text).send(proxy.address).await.events();
        events.rest().await.into_iter().map(|event| event.data).collect::<Vec<_>>()
    };
    for (one, other) in [("1", "1"), ("1", "\"1\"")] {
        let (first, second) = tokio::join!(told(1, one), told(2, other));
        for (texts, token, fill) in [(first, one, "\"x\""), (second, other, "\"xx\"")] {
            let (answer, progress) = texts.split_last().unwrap();
            assert_eq!(member(answer, "id").as_deref(), Some("1"), "{answer}");
            assert_eq!(progress.len(), 30, "{progress:?}");
            for note in progress {
                assert_eq!(path(note, &["params", "progressToken"]).as_deref(), Some(token), "{note}");
                assert_eq!(path(note, &["params", "message"]).as_deref(), Some(fill), "{note}");
            }
        }
    }
}
