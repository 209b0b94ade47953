//! T01-T31: what the edge lets in, what it refuses, with which status and code, and that nothing refused goes on.

use http::Method;
use shadowcat_tests::client::initialize;
use shadowcat_tests::proxy::{Proxy, before_command, before_url};
use shadowcat_tests::raw::{Answer, Ask, ask, get, post};
use shadowcat_tests::server::{HttpServer, HttpSettings, member, path};
use shadowcat_tests::upstream::{Reply, Upstream};

use crate::harness::child;
use crate::modern::{META, body, envelope};
use crate::pause::paused;

const LIST: &str = "tools/list";
const UPSTREAM_PROTOCOL: i64 = -31_003;

/// A proxy before an HTTP server, and the server.
async fn pair() -> (HttpServer, Proxy) {
    let server = HttpServer::start(HttpSettings::default()).await;
    let config = "http:\n  allowed_origins: [https://app.example]\n";
    let proxy = before_url(&server.url()).config(config).start().await;
    (server, proxy)
}

/// The status, the code of the JSON-RPC error if there is one, and its id.
async fn verdict(answer: Answer) -> (u16, Option<i64>, Option<String>) {
    let status = answer.status;
    let text = answer.message().await;
    let code = path(&text, &["error", "code"]).and_then(|raw| raw.parse().ok());
    (status, code, member(&text, "id"))
}

fn list() -> Ask {
    envelope(LIST, None, &body("1", LIST, ""))
}

fn call(name: &str, arguments: &str) -> String {
    body("1", "tools/call", &format!(r#""name":"{name}","arguments":{arguments},"#))
}

fn with_meta(meta: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"_meta":{{{meta}}}}}}}"#)
}

#[tokio::test]
async fn t01_a_foreign_origin_is_refused_on_every_method_and_path() {
    let (server, proxy) = pair().await;
    let foreign = ("Origin", "https://evil.example");
    for path in ["/mcp", "/sse", "/messages", "/health", "/metrics", "/.well-known/anything"] {
        for method in [Method::POST, Method::GET, Method::DELETE, Method::OPTIONS, Method::PUT] {
            let asked = ask(method.clone(), path).headers(&[foreign]).body("{}");
            assert_eq!(asked.send(proxy.address).await.status, 403, "{method} {path}");
        }
    }
    assert_eq!(list().headers(&[foreign]).send(proxy.address).await.status, 403);
    for near in ["https://app.example.evil.example", "http://app.example", "null", "https://app.example:444"]
    {
        assert_eq!(list().header("Origin", near).send(proxy.address).await.status, 403, "{near}");
    }
    assert!(server.upstream.seen().is_empty(), "nothing may reach the upstream");
}

#[tokio::test]
async fn t02_no_origin_and_the_allowed_origin_are_served() {
    let (_server, proxy) = pair().await;
    assert_eq!(list().send(proxy.address).await.status, 200);
    assert_eq!(list().header("Origin", "https://app.example").send(proxy.address).await.status, 200);
}

#[tokio::test]
async fn t03_a_foreign_host_is_refused() {
    let (server, proxy) = pair().await;
    for host in ["evil.example:3000", "localhost.evil.example", "127.0.0.1.evil.example"] {
        assert_eq!(list().header("Host", host).send(proxy.address).await.status, 403, "{host}");
        assert_eq!(get("/sse").header("Host", host).send(proxy.address).await.status, 403, "{host}");
    }
    assert!(server.upstream.seen().is_empty(), "nothing may reach the upstream");
}

#[tokio::test]
async fn t04_to_t13_a_modern_request_is_checked_header_by_header() {
    let (server, proxy) = pair().await;
    let version = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#;
    let ancient = META.replace("2026-07-28", "1900-01-01");
    let empty = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;
    let named = |name: &str| envelope("tools/call", Some(name), &call("a", "{}"));
    let cases = [
        ("T04 no _meta", envelope(LIST, None, empty), -32602),
        ("T05 no clientCapabilities", envelope(LIST, None, &with_meta(version)), -32602),
        (
            "T06 an older header",
            list().without("mcp-protocol-version").header("MCP-Protocol-Version", "2025-11-25"),
            -32020,
        ),
        ("T07 an unknown _meta version", envelope(LIST, None, &with_meta(&ancient)), -32020),
        (
            "T08 both unknown",
            envelope(LIST, None, &with_meta(&ancient))
                .without("mcp-protocol-version")
                .header("MCP-Protocol-Version", "1900-01-01"),
            -32022,
        ),
        ("T09 no version header", list().without("mcp-protocol-version"), -32020),
        ("T10 no Mcp-Method", list().without("mcp-method"), -32020),
        ("T11 another case", list().without("mcp-method").header("Mcp-Method", "TOOLS/LIST"), -32020),
        ("T12 another name", named("b"), -32020),
        ("T13 no name", named("a").without("mcp-name"), -32020),
        (
            "T15 bad padding",
            envelope("tools/call", Some("=?base64?R3LDvMOfZQ=?="), &call("Grüße", "{}")),
            -32020,
        ),
    ];
    for (case, asked, code) in cases {
        let verdict = verdict(asked.send(proxy.address).await).await;
        assert_eq!(verdict, (400, Some(code), Some("1".into())), "{case}");
    }
    assert!(server.upstream.seen().is_empty(), "nothing may reach the upstream");
}

#[tokio::test]
async fn t08_an_unsupported_version_is_told_what_is_supported() {
    let (_server, proxy) = pair().await;
    let ancient = with_meta(&META.replace("2026-07-28", "1900-01-01"));
    let asked = envelope(LIST, None, &ancient).without("mcp-protocol-version");
    let answer = asked.header("MCP-Protocol-Version", "1900-01-01").send(proxy.address).await.text().await;
    assert_eq!(
        path(&answer, &["error", "data", "requested"]).as_deref(),
        Some(r#""1900-01-01""#),
        "{answer}"
    );
    let supported = path(&answer, &["error", "data", "supported"]).unwrap();
    let supported: Vec<String> = serde_json::from_str(&supported).unwrap();
    assert!(supported.contains(&"2026-07-28".into()), "{answer}");
    let discovered =
        envelope("server/discover", None, &body("1", "server/discover", "")).send(proxy.address).await;
    let offered = path(&discovered.message().await, &["result", "supportedVersions"]).unwrap();
    assert!(supported.iter().all(|version| offered.contains(version)), "{supported:?} is not in {offered}");
}

#[tokio::test]
async fn t11_header_names_have_no_case_and_blanks_around_values_do_not_count() {
    let (_server, proxy) = pair().await;
    let asked = list().without("mcp-method").header("mcp-METHOD", "  tools/list ");
    assert_eq!(asked.send(proxy.address).await.status, 200);
}

#[tokio::test]
async fn t14_t16_names_in_base64_are_served_and_look_alikes_are_literal() {
    for proxy in [pair().await.1, before_command(&[child()]).start().await] {
        for (name, header) in [
            ("Grüße", "=?base64?R3LDvMOfZQ==?="),
            ("=?BASE64?eA==?=", "=?BASE64?eA==?="),
            ("=?base64?eA==?=", "=?base64?PT9iYXNlNjQ/ZUE9PT89?="),
            ("=?base64?eA==", "=?base64?eA=="),
        ] {
            let answer = envelope("tools/call", Some(header), &call(name, "{}")).send(proxy.address).await;
            let status = answer.status;
            let text = answer.message().await;
            assert_eq!(status, 200, "{name} as {header}: {text}");
            let quoted = serde_json::to_string(name).unwrap();
            assert_eq!(path(&text, &["result", "request", "params", "name"]), Some(quoted));
        }
    }
}

#[tokio::test]
async fn t14_the_name_reaches_an_http_upstream_in_base64() {
    let (server, proxy) = pair().await;
    let asked = envelope("tools/call", Some("=?base64?R3LDvMOfZQ==?="), &call("Grüße", "{}"));
    assert_eq!(asked.send(proxy.address).await.status, 200);
    let seen = server.upstream.call("tools/call").await;
    assert_eq!(seen.header("mcp-name"), Some("=?base64?R3LDvMOfZQ==?="));
}

/// T17-T19 where nobody but the proxy can check: the server is a child.
#[tokio::test]
async fn t17_t18_t19_mirrored_arguments_are_compared_with_the_body() {
    let proxy = before_command(&[child()]).start().await;
    let listed = list().send(proxy.address).await.message().await;
    assert!(listed.contains("x-mcp-header"), "{listed}");
    let eu = r#"{"loc":{"region":"eu"}}"#;
    for (case, arguments, header, expected) in [
        ("T17 another value", eu, Some(("Mcp-Param-Region", "us")), 400),
        ("T17 the value", eu, Some(("Mcp-Param-Region", "eu")), 200),
        ("T18 no header", eu, None, 400),
        ("T18 null needs none", r#"{"loc":{"region":null}}"#, None, 200),
        ("T18 nothing needs none", "{}", None, 200),
        ("T19 equal as numbers", r#"{"n":42}"#, Some(("Mcp-Param-N", "42.0")), 200),
        ("T19 another number", r#"{"n":42}"#, Some(("Mcp-Param-N", "43")), 400),
    ] {
        let mut asked = envelope("tools/call", Some("where"), &call("where", arguments));
        if let Some((name, value)) = header {
            asked = asked.header(name, value);
        }
        let (status, code, _) = verdict(asked.send(proxy.address).await).await;
        assert_eq!((status, code), (expected, (expected == 400).then_some(-32020)), "{case}");
    }
}

/// The proxy asks for the list of tools to know what is mirrored: it sees what a client would, and no person is asked about it.
#[tokio::test]
async fn t17_what_the_proxy_asks_to_know_what_is_mirrored_passes_rules_and_is_held_by_nobody() {
    let config = "rules:\n  - {name: rename, when: {on: answer, method: tools/list}, do: [{set: {'$.tools[2].name': place}}]}\n  \
                  - {name: look, when: {method: tools/list}, do: [{pause: {for: 1h}}]}\n\
                  pause: {breakpoints: [{filter: '~m tools/list'}]}\n\
                  approvals: [{name: lists, when: {method: tools/list}, deadline: 1h}]\n";
    let (proxy, operator) = paused(before_command(&[child()]), config).await;
    let called = |region| {
        let asked = envelope("tools/call", Some("place"), &call("place", r#"{"loc":{"region":"eu"}}"#));
        asked.header("Mcp-Param-Region", region).send(proxy.address)
    };
    assert_eq!(called("eu").await.status, 200);
    assert_eq!(verdict(called("us").await).await.0, 400, "the tool is known by the name that a rule gave it");
    assert!(operator.held().await.is_empty());
    // That of a client is, and a stream shows it that its request lives.
    let held = list().send(proxy.address).await;
    operator.holding(1).await;
    assert!(held.is_stream());
}

#[tokio::test]
async fn t20_an_unknown_mirrored_argument_travels_on() {
    let (server, proxy) = pair().await;
    let asked = envelope("tools/call", Some("echo"), &call("echo", "{}")).header("Mcp-Param-Foo", "x");
    assert_eq!(asked.send(proxy.address).await.status, 200);
    assert_eq!(server.upstream.call("tools/call").await.header("mcp-param-foo"), Some("x"));
}

#[tokio::test]
async fn t21_t22_methods_the_revision_does_not_have_are_not_found() {
    for proxy in [pair().await.1, before_command(&[child()]).start().await] {
        for method in ["foo/bar", "ping", "logging/setLevel", "resources/subscribe", "initialize"] {
            let asked = envelope(method, None, &body("\"x\"", method, ""));
            let verdict = verdict(asked.send(proxy.address).await).await;
            assert_eq!(verdict, (404, Some(-32601), Some("\"x\"".into())), "{method}");
        }
    }
}

#[tokio::test]
async fn t23_only_post_without_a_session() {
    let (_server, proxy) = pair().await;
    for method in [Method::GET, Method::DELETE, Method::PUT, Method::PATCH] {
        let answer =
            ask(method.clone(), "/mcp").header("Accept", "text/event-stream").send(proxy.address).await;
        assert_eq!(answer.status, 405, "{method}");
        assert!(answer.header("allow").unwrap().contains("POST"));
    }
}

#[tokio::test]
async fn t24_session_and_event_ids_mean_nothing_to_a_modern_request() {
    let (server, proxy) = pair().await;
    let answer =
        list().headers(&[("Mcp-Session-Id", "abc"), ("Last-Event-ID", "7")]).send(proxy.address).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("mcp-session-id"), None);
    assert_eq!(answer.header("last-event-id"), None);
    let seen = server.upstream.call(LIST).await;
    assert_eq!((seen.header("mcp-session-id"), seen.header("last-event-id")), (None, None));
}

#[tokio::test]
async fn t25_a_modern_notification_needs_no_method_header() {
    let (_server, proxy) = pair().await;
    let note = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    let answer = post("/mcp", note).header("MCP-Protocol-Version", "2026-07-28").send(proxy.address).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.text().await, "");
}

#[tokio::test]
async fn t26_a_modern_client_has_no_responses() {
    let (server, proxy) = pair().await;
    let asked =
        post("/mcp", r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).header("MCP-Protocol-Version", "2026-07-28");
    let (status, _, id) = verdict(asked.send(proxy.address).await).await;
    assert_eq!((status, id.filter(|id| id != "null")), (400, None));
    assert!(server.upstream.seen().is_empty());
}

/// Opens a session of this revision; gives its id.
pub(crate) async fn session(proxy: &Proxy, revision: &str) -> String {
    let answer = post("/mcp", &initialize("0", revision)).send(proxy.address).await;
    assert_eq!(answer.status, 200);
    let id = answer.header("mcp-session-id").expect("a session id").to_owned();
    answer.message().await;
    let done = post("/mcp", shadowcat_tests::client::INITIALIZED).header("Mcp-Session-Id", &id);
    assert_eq!(done.send(proxy.address).await.status, 202);
    id
}

#[tokio::test]
async fn t27_only_2025_03_26_has_batches() {
    let (_server, proxy) = pair().await;
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"tools/list"},{"jsonrpc":"2.0","id":"1","method":"tools/list"}]"#;
    let modern = post("/mcp", batch).headers(&[("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", LIST)]);
    assert_eq!(modern.send(proxy.address).await.status, 400);
    let newer = session(&proxy, "2025-06-18").await;
    assert_eq!(post("/mcp", batch).header("Mcp-Session-Id", &newer).send(proxy.address).await.status, 400);
    let older = session(&proxy, "2025-03-26").await;
    let answer = post("/mcp", batch).header("Mcp-Session-Id", &older).send(proxy.address).await;
    assert_eq!(answer.status, 200);
    let text = if answer.is_stream() {
        answer.events().rest().await.into_iter().map(|event| event.data).collect::<Vec<_>>().join("\n")
    } else {
        answer.text().await
    };
    assert!(text.contains(r#""id":1,"#) && text.contains(r#""id":"1","#), "{text}");
}

#[tokio::test]
async fn t28_a_session_keeps_its_revision_and_refuses_an_unknown_one() {
    let (_server, proxy) = pair().await;
    let id = session(&proxy, "2025-06-18").await;
    let asked =
        post("/mcp", r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).header("Mcp-Session-Id", &id);
    assert_eq!(asked.clone().send(proxy.address).await.status, 200);
    assert_eq!(
        asked.clone().header("MCP-Protocol-Version", "2025-06-18").send(proxy.address).await.status,
        200
    );
    assert_eq!(asked.header("MCP-Protocol-Version", "bogus").send(proxy.address).await.status, 400);
}

#[tokio::test]
async fn t29_a_client_that_accepts_only_json_never_gets_a_stream() {
    let (_server, proxy) = pair().await;
    let answer = list().without("accept").header("Accept", "application/json").send(proxy.address).await;
    assert_eq!(answer.status, 406);
    for liberal in ["*/*", "application/*, text/*"] {
        let answer = list().without("accept").header("Accept", liberal).send(proxy.address).await;
        assert_eq!(answer.status, 200, "{liberal}");
    }
    assert_eq!(list().without("accept").send(proxy.address).await.status, 200, "none at all");
}

#[tokio::test]
async fn t31_too_large_a_body_and_too_large_a_header_are_refused() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let config = "limits:\n  body: 64KiB\n  headers: 16KiB\n";
    let proxy = before_url(&server.url()).config(config).start().await;
    let fits = |bytes: usize| call("echo", &format!(r#"{{"fill":"{}"}}"#, "x".repeat(bytes)));
    let short = fits(0).len();
    let exact = envelope("tools/call", Some("echo"), &fits(64 * 1024 - short));
    assert_eq!(exact.send(proxy.address).await.status, 200, "the limit itself");
    let over = envelope("tools/call", Some("echo"), &fits(64 * 1024 - short + 1));
    let (status, code, _) = verdict(over.send(proxy.address).await).await;
    assert_eq!(status, 413);
    assert!(code.is_some_and(|code| !(-32768..=-32000).contains(&code)), "{code:?}");
    let wide = list().header("X-Fill", &"x".repeat(20 * 1024)).send(proxy.address).await;
    assert_eq!(wide.status, 431);
    assert_eq!(server.upstream.calls("tools/call").len(), 1, "only what fits may reach the upstream");
}

#[tokio::test]
async fn too_large_a_header_of_the_server_is_no_answer() {
    let upstream = Upstream::start(|seen| async move {
        let id = seen.member("id").unwrap_or_default();
        let answer =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete","tools":[]}}}}"#);
        Reply::json(200, answer).header("X-Fill", &"x".repeat(20 * 1024))
    })
    .await;
    for (headers, code) in [("16KiB", Some(UPSTREAM_PROTOCOL)), ("24KiB", None)] {
        let config = format!("bridge: {{enabled: false}}\nlimits: {{headers: {headers}}}\n");
        let proxy = before_url(&upstream.url("/mcp")).config(&config).start().await;
        assert_eq!(verdict(list().send(proxy.address).await).await.1, code, "{headers}");
    }
}

#[tokio::test]
async fn a_body_that_is_no_message_is_refused_with_the_code_that_says_why() {
    let (server, proxy) = pair().await;
    for (text, code) in [
        ("", -32700),
        ("{", -32700),
        ("nonsense", -32700),
        ("42", -32600),
        ("[]", -32600),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","METHOD":"tools/call"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","m\u0065thod":"tools/call"}"#, -32600),
    ] {
        let (status, found, _) = verdict(post("/mcp", text).send(proxy.address).await).await;
        assert_eq!((status, found), (400, Some(code)), "{text}");
    }
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":{}{}}}}}"#,
        "[".repeat(5000),
        "]".repeat(5000)
    );
    assert_eq!(post("/mcp", &deep).send(proxy.address).await.status, 400, "too deep");
    assert_eq!(list().without("content-type").send(proxy.address).await.status, 415);
    assert!(server.upstream.seen().is_empty(), "nothing may reach the upstream");
}
