//! Q7, SEC-32: upstreams behind TLS, in both versions of HTTP; who is not trusted gets no message. T77: nobody's
//! credentials reach a server but those that are meant for it.

use futures_util::future::join_all;
use http::Version;
use shadowcat_tests::client::{Client, call, initialize};
use shadowcat_tests::proxy::{Proxy, Reverse, configured};
use shadowcat_tests::raw::{Ask, post};
use shadowcat_tests::server::{Answers, HttpServer, HttpSettings, Speaks, SseServer, member, path};
use shadowcat_tests::tls::{Authority, Identity};
use shadowcat_tests::upstream::Upstream;

use crate::children::reason;
use crate::faults::courtesy;
use crate::modern::tool;

const NEWEST: &str = "2025-11-25";
const H2: &[&str] = &["h2", "http/1.1"];
const H1: &[&str] = &["http/1.1"];

fn before(url: &str, trusted: Option<&Authority>) -> Reverse {
    let trust = trusted.map(|authority| format!("  ca_file: {}\n", authority.file().display()));
    configured(&format!("upstream:\n  url: {url}\n{}", trust.unwrap_or_default()))
}

/// A call with everything a stream can carry, and something on the standing stream.
async fn talks(proxy: &Proxy) {
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    client.send(&call("1", "chatter", "{}", r#""_meta":{"progressToken":"p"}"#)).await;
    let ask = client.message("elicitation/create").await;
    client.message("notifications/progress").await;
    let id = member(&ask, "id").unwrap();
    client.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"accept"}}}}"#)).await;
    let answer = client.response("1").await;
    assert_eq!(path(&answer, &["result", "answer", "result", "action"]).as_deref(), Some("\"accept\""));
    client.request(&call("2", "updated", "{}", "")).await;
    client.message("notifications/resources/updated").await;
}

#[tokio::test]
async fn q7_calls_and_streams_work_over_tls_in_both_versions_of_http() {
    for (offers, version) in [(H2, Version::HTTP_2), (H1, Version::HTTP_11), (&[], Version::HTTP_11)] {
        let authority = Authority::default();
        for answers in [Answers::Fitting, Answers::Stream] {
            let settings = HttpSettings { answers, ..HttpSettings::default() };
            let server = HttpServer::start_secure(settings, &authority, &Identity::localhost(offers)).await;
            let proxy = before(&server.url(), Some(&authority)).start().await;
            talks(&proxy).await;
            let modern = tool("1", "echo").send(proxy.address).await.message().await;
            assert!(member(&modern, "result").is_some(), "{modern}");
            let seen = server.upstream.seen();
            assert!(seen.iter().all(|seen| seen.version == version), "{offers:?}");
        }
        let server = SseServer::start_secure(&authority, &Identity::localhost(offers)).await;
        talks(&before(&server.url(), Some(&authority)).start().await).await;
        assert!(server.upstream.seen().iter().all(|seen| seen.version == version), "{offers:?}");
    }
}

#[tokio::test]
async fn q7_connections_are_far_fewer_than_requests() {
    const CLIENTS: usize = 10;
    const CALLS: usize = 30;
    for (offers, connections_max) in [(H2, 1), (H1, 2 * CLIENTS)] {
        let authority = Authority::default();
        let identity = Identity::localhost(offers);
        let server = HttpServer::start_secure(HttpSettings::default(), &authority, &identity).await;
        let proxy = before(&server.url(), Some(&authority)).start().await;
        join_all((0..CLIENTS).map(async |_| {
            let mut client = Client::http(proxy.address);
            client.handshake(NEWEST).await;
            for number in 1..=CALLS {
                let answer = client.request(&call(&number.to_string(), "echo", "{}", "")).await;
                assert!(member(&answer, "result").is_some(), "{answer}");
            }
        }))
        .await;
        let (requests, accepted) = (server.upstream.seen().len(), server.upstream.accepted());
        assert!(requests >= CLIENTS * CALLS, "{requests} requests");
        assert!(accepted <= connections_max, "{offers:?}: {accepted} connections for {requests} requests");
        let opened = proxy.metric("shadowcat_upstream_connections_opened_total").await;
        let reused = proxy.metric("shadowcat_upstream_connections_reused_total").await;
        assert!(
            (opened - f64::from(u32::try_from(accepted).unwrap())).abs() < 0.5,
            "{opened}, not {accepted}"
        );
        assert!(reused >= f64::from(u32::try_from(CLIENTS * CALLS).unwrap()), "{offers:?}: {reused} reused");
    }
}

#[tokio::test]
async fn a_server_that_does_not_prove_who_it_is_gets_no_message_and_the_client_is_told_why() {
    let (authority, other) = (Authority::default(), Authority::new("Somebody else"));
    let localhost = Identity::localhost(H2);
    let elsewhere = Identity::named("elsewhere.example", H2);
    for (trusted, identity, why) in [
        (None, localhost.clone(), "signed by nobody trusted here; add its CA with `ca_file`"),
        (Some(&other), localhost.clone(), "signed by nobody trusted here"),
        (Some(&authority), elsewhere, "is for another host"),
        (Some(&authority), localhost.expired(), "has expired"),
    ] {
        let server = HttpServer::start_secure(HttpSettings::default(), &authority, &identity).await;
        let sse = SseServer::start_secure(&authority, &identity).await;
        let modern = || tool("1", "echo");
        let legacy = || post("/mcp", &initialize("1", NEWEST));
        // HTTP+SSE has no modern era.
        for (upstream, url, asks) in [
            (&server.upstream, server.url(), vec![legacy(), modern()]),
            (&sse.upstream, sse.url(), vec![legacy()]),
        ] {
            let proxy = before(&url, trusted).start().await;
            for ask in asks {
                refuses(&proxy, ask, why).await;
            }
            assert!(upstream.accepted() > 0, "{why}: it was tried");
            assert!(upstream.seen().is_empty(), "{why}: nothing was said");
        }
    }
}

#[tokio::test]
async fn a_server_without_tls_behind_an_https_url_gets_no_message() {
    let plain = Upstream::start(|seen| async move { courtesy(&seen).unwrap() }).await;
    let proxy = before(&plain.url("/mcp").replace("http:", "https:"), None).start().await;
    refuses(&proxy, tool("1", "echo"), "the server does not speak TLS on this port").await;
    assert!(plain.accepted() > 0);
    assert!(plain.seen().is_empty(), "there is no way back to plain HTTP");
}

/// The client is told why, and nothing that is not its business.
async fn refuses(proxy: &Proxy, ask: Ask, why: &str) {
    let answer = ask.send(proxy.address).await;
    assert_eq!(answer.status, 502, "{why}");
    let text = answer.text().await;
    assert_eq!(reason(&text).as_deref(), Some("\"upstream_unreachable\""), "{text}");
    assert!(text.contains(why), "not {why:?}: {text}");
    for private in ["UnknownIssuer", "rustls", "/tmp", "elsewhere.example"] {
        assert!(!text.contains(private), "{private}: {text}");
    }
}

#[tokio::test]
async fn t77_a_clients_credentials_reach_no_server() {
    let secrets = [("Authorization", "Bearer X-client"), ("Cookie", "k=X-client"), ("DPoP", "X-client")];
    for speaks in [Speaks::Both, Speaks::Legacy, Speaks::Modern] {
        let server = HttpServer::start(HttpSettings { speaks, ..HttpSettings::default() }).await;
        let own = "  headers:\n    Authorization: Bearer own\n";
        let config = format!("upstream:\n  url: {}\n{own}", server.url());
        let proxy = configured(&config).start().await;
        let modern = tool("1", "echo").headers(&secrets).send(proxy.address).await.message().await;
        assert!(member(&modern, "result").is_some(), "{modern}");
        let begun = post("/mcp", &initialize("0", NEWEST)).headers(&secrets).send(proxy.address).await;
        let id = begun.header("mcp-session-id").unwrap().to_owned();
        begun.message().await;
        let legacy = post("/mcp", &call("1", "echo", "{}", "")).headers(&secrets);
        let legacy = legacy.header("Mcp-Session-Id", &id).send(proxy.address).await.message().await;
        assert!(member(&legacy, "result").is_some(), "{legacy}");
        for seen in server.upstream.seen() {
            assert_eq!(seen.header("authorization"), Some("Bearer own"), "{}", seen.body);
            assert!(
                seen.headers.values().all(|value| !value.as_bytes().ends_with(b"X-client")),
                "{}",
                seen.body
            );
        }
    }
}
