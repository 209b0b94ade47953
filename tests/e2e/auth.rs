//! T78, SEC-04, SEC-06, SEC-10: who does not say who they are gets in nowhere, does nothing, and learns where to go.

use http::Method;
use shadowcat_tests::client::{INITIALIZED, call, initialize};
use shadowcat_tests::proxy::{Proxy, Reverse, before_command, before_url};
use shadowcat_tests::raw::{Answer, Ask, Events, ask, get, post};
use shadowcat_tests::server::{HttpServer, HttpSettings, member};
use shadowcat_tests::upstream::{Reply, Upstream};
use shadowcat_tests::wait::soon;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::child;
use crate::modern::{body, envelope};

/// Two who are let in, by tokens that are nowhere else.
pub(crate) const ANN: &str = "ann-7719e04c2b6f4d0c";
pub(crate) const BOB: &str = "bob-c2f0a1b35c77410e";

/// A configuration by which the two are let in.
pub(crate) const BOTH: &str = r#"
auth:
  scopes: [mcp]
  tokens:
    - {name: ann, token: "${ANN}", claims: {role: admin, teams: [red, blue]}}
    - {name: bob, token: "${BOB}", claims: {role: guest}}
"#;

/// A proxy that asks who its clients are.
pub(crate) fn asking(proxy: Reverse) -> Reverse {
    proxy.config(BOTH).variable("ANN", ANN).variable("BOB", BOB).bearer(ANN)
}

async fn pair() -> (HttpServer, Proxy) {
    let server = HttpServer::start(HttpSettings::default()).await;
    let proxy = asking(before_url(&server.url())).start().await;
    (server, proxy)
}

/// A session of whoever has this token.
pub(crate) async fn session(proxy: &Proxy, token: &str, revision: &str) -> String {
    let answer = post("/mcp", &initialize("0", revision)).bearer(token).send(proxy.address).await;
    assert_eq!(answer.status, 200);
    let id = answer.header("mcp-session-id").expect("a session id").to_owned();
    answer.message().await;
    let done = post("/mcp", INITIALIZED).header("Mcp-Session-Id", &id).bearer(token);
    assert_eq!(done.send(proxy.address).await.status, 202);
    id
}

/// An HTTP+SSE stream of whoever has this token, and where its messages are sent to.
pub(crate) async fn pipe(proxy: &Proxy, token: &str) -> (Events, String) {
    let asked = get("/sse").header("Accept", "text/event-stream").bearer(token);
    let mut events = asked.send(proxy.address).await.events();
    let endpoint = events.next().await.expect("the endpoint").data;
    (events, endpoint)
}

/// Every way to say something, and on which face of the endpoint.
fn every_way() -> Vec<(&'static str, &'static str, Ask)> {
    let call = body("1", "tools/list", "");
    let initialize = initialize("1", "2025-11-25");
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]"#;
    let session = "0123456789abcdef0123456789abcdef";
    let stream = |ask: Ask| ask.header("Accept", "text/event-stream").header("Mcp-Session-Id", session);
    vec![
        ("a modern request", "mcp", envelope("tools/list", None, &call)),
        (
            "a subscription",
            "mcp",
            envelope("subscriptions/listen", None, &body("1", "subscriptions/listen", "")),
        ),
        ("a handshake", "mcp", post("/mcp", &initialize)),
        ("a legacy request", "mcp", post("/mcp", &initialize).header("Mcp-Session-Id", session)),
        ("a batch", "mcp", post("/mcp", batch).header("Mcp-Session-Id", session)),
        ("what is no JSON", "mcp", post("/mcp", "{").header("Mcp-Session-Id", session)),
        ("what is no JSON by its header", "mcp", ask(Method::POST, "/mcp").body("x")),
        ("a standing stream", "mcp", stream(get("/mcp"))),
        ("a stream gone on with", "mcp", stream(get("/mcp")).header("Last-Event-ID", "1-1")),
        ("the end of a session", "mcp", ask(Method::DELETE, "/mcp").header("Mcp-Session-Id", session)),
        ("a method that there is not", "mcp", ask(Method::PUT, "/mcp")),
        ("a GET without a session", "mcp", get("/mcp")),
        ("an SSE stream", "sse", get("/sse").header("Accept", "text/event-stream")),
        ("a wrong method there", "sse", ask(Method::POST, "/sse").body("{}")),
        ("an SSE message", "sse", post(&format!("/messages?session_id={session}"), &initialize)),
        ("figures", "mcp", get("/metrics")),
    ]
}

/// What whoever was refused is told of how to get in.
pub(crate) fn challenge(answer: &Answer) -> String {
    answer.header("www-authenticate").expect("a challenge").to_owned()
}

#[tokio::test]
async fn t78_sec04_every_way_in_refuses_whoever_does_not_say_who_they_are() {
    let (server, proxy) = pair().await;
    let ways = every_way();
    let refusals = 6 * ways.len();
    for (way, path, asked) in ways {
        let metadata = format!(
            "resource_metadata=\"{}\"",
            proxy.url(&format!("/.well-known/oauth-protected-resource/{path}"))
        );
        let answer = asked.clone().send(proxy.address).await;
        assert_eq!(answer.status, 401, "{way}");
        let told = challenge(&answer);
        assert!(told.starts_with("Bearer ") && told.contains(&metadata), "{way}: {told}");
        assert!(told.contains("scope=\"mcp\"") && !told.contains("error="), "{way}: {told}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{way}");
        for (token, status, error) in [
            ("Bearer not-one-of-the-tokens", 401, "error=\"invalid_token\""),
            ("Bearer eyJhbGciOiJub25lIn0.e30.", 401, "error=\"invalid_token\""),
            ("Bearer", 400, "error=\"invalid_request\""),
            ("Bearer a b", 400, "error=\"invalid_request\""),
        ] {
            let answer = asked.clone().header("Authorization", token).send(proxy.address).await;
            assert_eq!(answer.status, status, "{way}: {token}");
            let told = challenge(&answer);
            assert!(told.contains(error) && told.contains(&metadata), "{way}: {token}: {told}");
        }
        let twice = asked.bearer(ANN).bearer(BOB).send(proxy.address).await;
        assert_eq!(twice.status, 400, "{way}");
    }
    assert!(server.upstream.seen().is_empty(), "nothing may reach the server");
    assert!(proxy.metric("shadowcat_sessions").await < 1.0);
    let denials = proxy.metric("shadowcat_auth_denials_total").await;
    assert_eq!(denials.to_string(), refusals.to_string(), "each is counted, and once");
}

#[tokio::test]
async fn sec06_a_token_is_accepted_from_its_header_alone() {
    let (server, proxy) = pair().await;
    let list = body("1", "tools/list", "");
    for query in ["access_token", "token", "authorization"] {
        let path = format!("/mcp?{query}={ANN}");
        let answer = post(&path, &list).send(proxy.address).await;
        assert!([401, 404].contains(&answer.status), "{query}: {}", answer.status);
    }
    for (name, value) in [
        ("Cookie", format!("access_token={ANN}; Authorization=Bearer {ANN}")),
        ("Proxy-Authorization", format!("Bearer {ANN}")),
        ("X-Authorization", format!("Bearer {ANN}")),
        ("Authorization", ANN.to_owned()),
        ("Authorization", format!("Basic {ANN}")),
    ] {
        let answer = envelope("tools/list", None, &list).header(name, &value).send(proxy.address).await;
        assert_eq!(answer.status, 401, "{name}");
    }
    assert!(server.upstream.seen().is_empty(), "nothing may reach the server");
}

#[tokio::test]
async fn t78_metadata_is_for_everybody_and_names_the_endpoint_that_was_asked_for() {
    let (_server, proxy) = pair().await;
    let well_known = "/.well-known/oauth-protected-resource";
    for (path, endpoint) in [("", "/mcp"), ("/mcp", "/mcp"), ("/sse", "/sse"), ("/messages", "/sse")] {
        let (status, text) = proxy.page(&format!("{well_known}{path}")).await;
        assert_eq!(status, 200, "{path}");
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["resource"], proxy.url(endpoint), "{path}");
        assert_eq!(document["bearer_methods_supported"], serde_json::json!(["header"]));
        assert_eq!(document["scopes_supported"], serde_json::json!(["mcp"]));
    }
    assert_eq!(get(&format!("{well_known}/other")).send(proxy.address).await.status, 404);
    assert_eq!(post(well_known, "{}").send(proxy.address).await.status, 405);
    for path in ["/health", "/healthz", "/livez", "/ready", "/readyz"] {
        assert_eq!(get(path).send(proxy.address).await.status, 200, "{path}");
    }
    let foreign = get(well_known).header("Host", "evil.example").send(proxy.address).await;
    assert_eq!(foreign.status, 403, "the gate is in front of everything");
}

#[tokio::test]
async fn t78_behind_a_terminator_the_url_of_its_clients_is_told() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let config = "auth:\n  resource: https://mcp.example.com/team/mcp\n  tokens: [{name: ann, token: '${ANN}'}]\n\
                  http: {allowed_hosts: [mcp.example.com]}\n";
    let proxy = before_url(&server.url()).config(config).variable("ANN", ANN).start().await;
    let asked = |path: &str| get(path).header("Host", "mcp.example.com");
    let told = challenge(&asked("/sse").send(proxy.address).await);
    let metadata = "https://mcp.example.com/.well-known/oauth-protected-resource/team/sse";
    assert!(told.contains(metadata), "{told}");
    for path in
        ["/.well-known/oauth-protected-resource/team/sse", "/.well-known/oauth-protected-resource/sse"]
    {
        let text = asked(path).send(proxy.address).await.text().await;
        assert_eq!(
            member(&text, "resource").as_deref(),
            Some("\"https://mcp.example.com/team/sse\""),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_is_told_that_it_may_ask_before_it_has_a_token() {
    let (_server, proxy) = pair().await;
    let origin = ("Origin", "http://localhost:6274");
    let preflight =
        ask(Method::OPTIONS, "/mcp").headers(&[origin, ("Access-Control-Request-Method", "POST")]);
    let answer = preflight.send(proxy.address).await;
    assert_eq!(answer.status, 204);
    assert!(answer.header("access-control-allow-headers").unwrap().contains("authorization"));
    let answer = post("/mcp", "{}").headers(&[origin]).send(proxy.address).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("access-control-allow-origin"), Some(origin.1));
    assert!(answer.header("access-control-expose-headers").unwrap().contains("www-authenticate"));
}

#[tokio::test]
async fn a_servers_own_challenge_is_not_shown_to_clients_who_have_a_token() {
    for status in [401, 403] {
        let upstream = Upstream::start(move |_| async move {
            Reply::json(status, r#"{"error":"x"}"#).header("WWW-Authenticate", r#"Bearer realm="server""#)
        })
        .await;
        let proxy = asking(before_url(&upstream.url("/mcp"))).start().await;
        let asked = envelope("tools/list", None, &body("1", "tools/list", ""));
        let answer = asked.bearer(ANN).send(proxy.address).await;
        assert_eq!(answer.status, 502);
        assert_eq!(answer.header("www-authenticate"), None);
    }
}

/// Somebody with two tokens, and a tool that only one of them is good for.
const TWO_ROLES: &str = r#"
auth:
  tokens:
    - {name: ann, token: "${ANN}", claims: {role: guest}}
    - {name: ann, token: "${BOB}", claims: {role: admin}}
rules:
  - name: echo-of-admins
    when: {tool: echo, not: {claims: {$.role: admin}}}
    do: [block: this tool is for admins]
"#;

#[tokio::test]
async fn sec12_a_message_on_a_pipe_has_the_claims_of_its_own_token() {
    let asked = before_command(&[child()]).config(TWO_ROLES).variable("ANN", ANN).variable("BOB", BOB);
    let (guest, admin) = (ANN, BOB);
    let proxy = asked.bearer(guest).start().await;
    let (mut events, endpoint) = pipe(&proxy, guest).await;
    let send = async |token: &str, message: &str| {
        assert_eq!(post(&endpoint, message).bearer(token).send(proxy.address).await.status, 202);
    };
    send(guest, &initialize("0", "2024-11-05")).await;
    assert!(events.message().await.contains("protocolVersion"));
    send(guest, INITIALIZED).await;

    // A call of the guest whose body the proxy is waiting for, which it says.
    let mut slow = TcpStream::connect(proxy.address).await.unwrap();
    let body = call("1", "echo", "{}", "");
    let request = format!(
        "POST {endpoint} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {guest}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        proxy.address,
        body.len()
    );
    slow.write_all(request.as_bytes()).await.unwrap();
    let mut told = [0; 12];
    soon("the body is asked for", slow.read_exact(&mut told)).await.unwrap();
    assert_eq!(&told, b"HTTP/1.1 100");

    send(admin, &call("2", "echo", "{}", "")).await;
    let answer = events.message().await;
    assert!(member(&answer, "result").is_some(), "{answer}");
    slow.write_all(body.as_bytes()).await.unwrap();
    let answer = events.message().await;
    assert!(answer.contains("this tool is for admins"), "{answer}");
}

#[tokio::test]
async fn strangers_are_told_whether_it_is_well_and_no_more() {
    // Where nothing listens.
    let closed = "http://127.0.0.1:1/mcp";
    let proxy = asking(before_url(closed)).start().await;
    let call = envelope("tools/list", None, &body("1", "tools/list", ""));
    call.bearer(ANN).send(proxy.address).await;
    let told = async |path: &str, token: Option<&str>| {
        let asked = token.into_iter().fold(get(path), Ask::bearer);
        asked.send(proxy.address).await.text().await
    };
    for stranger in [None, Some("not-one-of-the-tokens")] {
        assert_eq!(told("/health", stranger).await, "{\"status\":\"degraded\"}\n");
        assert_eq!(told("/ready", stranger).await, "{\"ready\":false}\n");
    }
    assert!(told("/health", Some(ANN)).await.contains("could not be reached"));
    assert!(told("/ready", Some(ANN)).await.contains("could not be reached"));
    let open = before_url(closed).start().await;
    assert!(open.page("/health").await.1.contains("\"reasons\""));
}
