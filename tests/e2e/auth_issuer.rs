//! SEC-03, SEC-07, SEC-08: tokens of an issuer, its keys that change, and streams that end with the token they began with.

use std::time::Duration;

use serde_json::{Value, json};
use shadowcat_tests::client::{INITIALIZED, call, initialize};
use shadowcat_tests::issuer::{Issuer, now};
use shadowcat_tests::proxy::{Proxy, Reverse, before_command, before_url, program};
use shadowcat_tests::raw::{Answer, Events, get, post};
use shadowcat_tests::server::{HttpServer, HttpSettings, member, path};
use shadowcat_tests::tls::Authority;
use shadowcat_tests::upstream::{Reply, Upstream};
use shadowcat_tests::wait::within;

use crate::auth::{challenge, pipe, session};
use crate::bridged::{call_of, modern};
use crate::harness::child;
use crate::peers::{node, source};

const AUDIENCE: &str = "https://mcp.example.com/mcp";
/// How long a token is accepted behind its `exp`, for clocks that differ.
const LEEWAY: u64 = 30;
/// Long enough for what is done again half a minute later, on a slow machine.
const PATIENCE: Duration = Duration::from_mins(3);

/// A proxy that trusts one issuer.
fn trusting(reverse: Reverse, issuer: &str, more: &str) -> Reverse {
    reverse.config(&format!(
        "auth:\n  resource: {AUDIENCE}\n  scopes: [mcp]\n  issuers:\n    - issuer: {issuer}\n{more}"
    ))
}

fn claims() -> Value {
    json!({"sub": "7", "client_id": "app", "aud": AUDIENCE, "scope": "mcp", "exp": now() + 600})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

async fn lists(proxy: &Proxy, token: &str) -> Answer {
    modern("1", "tools/list", None, "", "{}", "").bearer(token).send(proxy.address).await
}

/// Asks until it is let in; the keys may be on their way.
async fn is_let_in(proxy: &Proxy, token: &str) {
    within(PATIENCE, "the token is accepted", async {
        while lists(proxy, token).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn sec03_a_token_of_the_issuer_lets_in_and_one_that_does_not_fit_does_nothing() {
    let issuer = Issuer::start().await;
    let server = HttpServer::start(HttpSettings::default()).await;
    let proxy = trusting(before_url(&server.url()), &issuer.url(), "").start().await;
    let good = issuer.token(&claims());
    assert_eq!(lists(&proxy, &good).await.status, 200, "the first request waits for the keys");
    let before = server.upstream.seen().len();
    let foreign = Issuer::start().await;
    let (_, rest) = good.split_once('.').unwrap();
    for (token, status, error) in [
        (issuer.token(&with("exp", json!(now() - 600))), 401, "the token has expired"),
        (issuer.token(&with("nbf", json!(now() + 600))), 401, "invalid_token"),
        (issuer.token(&with("aud", json!("https://other.example/mcp"))), 401, "invalid_token"),
        (issuer.token(&with("sub", json!(null))), 401, "invalid_token"),
        (issuer.token(&with("iss", json!("https://other.example"))), 401, "invalid_token"),
        (foreign.token(&with("iss", json!(issuer.url()))), 401, "invalid_token"),
        (foreign.token(&claims()), 401, "invalid_token"),
        // {"alg":"none"}
        (format!("eyJhbGciOiJub25lIn0.{rest}"), 401, "invalid_token"),
        (good[..good.len() - 2].to_owned(), 401, "invalid_token"),
        (issuer.token(&with("scope", json!("other"))), 403, "insufficient_scope"),
    ] {
        let answer = lists(&proxy, &token).await;
        assert_eq!(answer.status, status, "{error}");
        let told = challenge(&answer);
        assert!(told.contains(error) && told.contains("resource_metadata="), "{told}");
        assert!(told.contains("scope=\"mcp\""), "{told}");
    }
    assert_eq!(server.upstream.seen().len(), before, "nothing may reach the server");
    assert_eq!(issuer.asked_for_keys(), 1, "no bad token has its keys fetched again so soon");
    let (_, text) = proxy.page("/.well-known/oauth-protected-resource/mcp").await;
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["resource"], AUDIENCE);
    assert_eq!(document["authorization_servers"], json!([issuer.url()]));
    let audience = with("aud", json!(["https://mcp.example.com/sse"]));
    assert_eq!(lists(&proxy, &issuer.token(&audience)).await.status, 200, "the other endpoint's URL");
}

#[tokio::test]
async fn sec08_keys_that_change_are_found_and_guesses_do_not_ask_for_them() {
    let mut issuer = Issuer::start().await;
    let proxy = trusting(before_command(&[child()]), &issuer.url(), "").start().await;
    let old = issuer.token(&claims());
    is_let_in(&proxy, &old).await;
    issuer.change_key("second");
    let new = issuer.token(&claims());
    let begun = issuer.asked_for_keys();
    is_let_in(&proxy, &new).await;
    assert_eq!(issuer.asked_for_keys(), begun + 1, "however often it was tried");
    assert_eq!(lists(&proxy, &old).await.status, 401, "what the issuer has withdrawn is worth nothing");
    issuer.change_key("guess");
    let guess = issuer.token(&claims());
    for _ in 0..20 {
        assert_eq!(lists(&proxy, &guess).await.status, 401);
    }
    assert_eq!(issuer.asked_for_keys(), begun + 1);
}

#[tokio::test]
async fn sec08_an_issuer_behind_tls_is_asked_with_the_authority_that_is_named() {
    let authority = Authority::default();
    let issuer = Issuer::start_secure(&authority).await;
    let more = format!("      ca_file: {}\n      algorithms: [ES256, EdDSA]\n", authority.file().display());
    let proxy = trusting(before_command(&[child()]), &issuer.url(), &more).start().await;
    is_let_in(&proxy, &issuer.token(&claims())).await;
    let other = trusting(before_command(&[child()]), &issuer.url(), "").start().await;
    assert_eq!(lists(&other, &issuer.token(&claims())).await.status, 503, "nobody vouches for it");
    let narrow = format!("      ca_file: {}\n      algorithms: [ES256]\n", authority.file().display());
    let narrow = trusting(before_command(&[child()]), &issuer.url(), &narrow).start().await;
    assert_eq!(lists(&narrow, &issuer.token(&claims())).await.status, 401);
}

#[tokio::test]
async fn sec08_without_keys_clients_are_told_to_wait_and_no_redirect_is_followed() {
    let elsewhere = Issuer::start().await;
    let location = elsewhere.upstream.url("/keys");
    let moved = Upstream::start(move |_| {
        let reply = Reply::empty(302).header("Location", &location);
        async move { reply }
    })
    .await;
    let more = format!("      jwks: {}\n", moved.url("/keys"));
    let proxy = trusting(before_command(&[child()]), &elsewhere.url(), &more).start().await;
    let answer = lists(&proxy, &elsewhere.token(&claims())).await;
    assert_eq!((answer.status, answer.header("www-authenticate")), (503, None));
    assert!(answer.header("retry-after").is_some());
    assert_eq!(elsewhere.asked_for_keys(), 0);
    let (_, health) = proxy.page("/health").await;
    assert_eq!(health, "{\"status\":\"degraded\"}\n");
    proxy.process.says_somewhere("fault=it was answered with HTTP status 302").await;
}

#[tokio::test]
async fn keys_may_be_in_a_file_and_one_that_is_of_no_use_ends_the_start() {
    let issuer = Issuer::start().await;
    let keys = get("/keys").send(issuer.upstream.address).await.text().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.json");
    std::fs::write(&file, keys).unwrap();
    let more = format!("      jwks: {}\n", file.display());
    let proxy = trusting(before_command(&[child()]), &issuer.url(), &more).start().await;
    assert_eq!(lists(&proxy, &issuer.token(&claims())).await.status, 200);
    std::fs::write(&file, "not keys").unwrap();
    let config = directory.path().join("shadowcat.yaml");
    let text = format!(
        "upstream: {{command: ['{}']}}\nlisten: 127.0.0.1:0\nauth:\n  issuers: [{{issuer: '{}', jwks: '{}'}}]\n",
        child(),
        issuer.url(),
        file.display()
    );
    std::fs::write(&config, text).unwrap();
    let mut command = std::process::Command::new(program());
    command.arg("reverse").arg("--config").arg(&config);
    let process = shadowcat_tests::process::Process::start(command);
    process.says_somewhere("it is no JWK set").await;
    assert_eq!(process.ended().await.code(), Some(1));
}

async fn ends(what: &str, mut events: Events) -> Vec<String> {
    within(PATIENCE, format!("{what} ends"), async {
        let mut told = Vec::new();
        while let Some(event) = events.next_patiently().await {
            told.push(event.data);
        }
        told
    })
    .await
}

#[tokio::test]
async fn sec07_streams_end_with_their_token_and_a_newer_one_goes_on_with_them() {
    let issuer = Issuer::start().await;
    let proxy = trusting(before_command(&[child()]), &issuer.url(), "").start().await;
    is_let_in(&proxy, &issuer.token(&claims())).await;
    // Long enough for all that is opened with it.
    let short = issuer.token(&with("exp", json!(now() - LEEWAY + 60)));
    let id = session(&proxy, &short, "2025-11-25").await;
    let in_session = |body: &str| post("/mcp", body).header("Mcp-Session-Id", &id);
    let standing = || get("/mcp").headers(&[("Accept", "text/event-stream"), ("Mcp-Session-Id", &id)]);
    let stream = standing().bearer(&short).send(proxy.address).await.events();
    let held = in_session(&call("\"h\"", "chatter", "{}", r#""_meta":{"progressToken":"p"}"#)).bearer(&short);
    let mut held = held.send(proxy.address).await.events();
    let question = loop {
        let event = held.next().await.unwrap();
        if event.data.contains("elicitation/create") {
            break event;
        }
    };
    let filter = r#""notifications":{"toolsListChanged":true},"#;
    let listening = modern("\"l\"", "subscriptions/listen", None, filter, "{}", "").bearer(&short);
    let listening = listening.send(proxy.address).await.events();
    let (pipe, endpoint) = pipe(&proxy, &short).await;

    let ((_, _), (told, _)) = tokio::join!(
        async { tokio::join!(ends("the standing stream", stream), ends("the answer", held)) },
        async { tokio::join!(ends("the subscription", listening), ends("the SSE stream", pipe)) },
    );
    let last = told.last().unwrap();
    assert_eq!(path(last, &["result", "resultType"]).as_deref(), Some("\"complete\""), "{last}");
    let late = in_session(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).bearer(&short);
    let late = late.send(proxy.address).await;
    assert_eq!(late.status, 401);
    assert!(challenge(&late).contains("the token has expired"));

    // The call goes on, and whoever asked comes back for its answer.
    let newer = issuer.token(&claims());
    let asked = member(&question.data, "id").unwrap();
    let answer = format!(r#"{{"jsonrpc":"2.0","id":{asked},"result":{{"action":"accept"}}}}"#);
    assert_eq!(in_session(&answer).bearer(&newer).send(proxy.address).await.status, 202);
    let back = standing().header("Last-Event-ID", &question.id.unwrap()).bearer(&newer);
    let mut back = back.send(proxy.address).await.events();
    let response = loop {
        let message = back.message().await;
        if member(&message, "method").is_none() {
            break message;
        }
    };
    assert_eq!(member(&response, "id").as_deref(), Some("\"h\""), "{response}");
    assert!(member(&response, "result").is_some(), "{response}");
    // On HTTP+SSE the stream was the session.
    let gone = post(&endpoint, &initialize("1", "2024-11-05")).bearer(&newer);
    assert_eq!(gone.send(proxy.address).await.status, 404);
}

#[tokio::test]
async fn the_claims_of_the_token_that_came_with_a_message_count() {
    let issuer = Issuer::start().await;
    let rules =
        "rules:\n  - {name: admins, when: {tool: echo, not: {claims: {$.role: admin}}}, do: [block: no]}\n";
    let proxy = trusting(before_command(&[child()]), &issuer.url(), "").config(rules).start().await;
    let guest = issuer.token(&with("role", json!("guest")));
    let admin = issuer.token(&with("role", json!("admin")));
    is_let_in(&proxy, &guest).await;
    let id = session(&proxy, &guest, "2025-11-25").await;
    for (token, is_admin) in [(&guest, false), (&admin, true), (&guest, false)] {
        let legacy = post("/mcp", &call("1", "echo", "{}", "")).header("Mcp-Session-Id", &id);
        for asked in [legacy, call_of("1", "echo", "{}", "{}")] {
            let answer = asked.bearer(token).send(proxy.address).await.message().await;
            assert_eq!(member(&answer, "result").is_some(), is_admin, "{answer}");
        }
    }
    let (mut events, endpoint) = pipe(&proxy, &guest).await;
    for (token, message) in [
        (&guest, initialize("0", "2024-11-05")),
        (&guest, INITIALIZED.to_owned()),
        (&guest, call("1", "echo", "{}", "")),
        (&admin, call("2", "echo", "{}", "")),
    ] {
        assert_eq!(post(&endpoint, &message).bearer(token).send(proxy.address).await.status, 202);
        if let Some(id) = member(&message, "id") {
            let answer = events.message().await;
            assert_eq!(member(&answer, "id"), Some(id.clone()));
            assert_eq!(answer.contains("policy_denied"), id == "1", "{answer}");
        }
    }
}

/// T17 where rules show a tool only to some: the list that the proxy looks at is that of the caller.
#[tokio::test]
async fn mirrored_arguments_are_checked_by_the_list_that_the_caller_is_shown() {
    let issuer = Issuer::start().await;
    let rules = "rules:\n  - name: hidden\n    when: {on: answer, method: tools/list, not: {claims: {$.role: admin}}}\n    \
                 do: [{remove: \"$.tools[?@.name == 'where']\"}]\n";
    let proxy = trusting(before_command(&[child()]), &issuer.url(), "").config(rules).start().await;
    let asked = call_of("1", "where", r#"{"loc":{"region":"eu"}}"#, "{}").header("Mcp-Param-Region", "us");
    for (role, status) in [("guest", 200), ("admin", 400), ("guest", 200)] {
        let token = issuer.token(&with("role", json!(role)));
        assert_eq!(asked.clone().bearer(&token).send(proxy.address).await.status, status, "{role}");
    }
}

#[tokio::test]
async fn t78_official_clients_find_their_way_to_a_token_by_themselves() {
    let issuer = Issuer::start().await;
    // Their issuer is told apart from the proxy, whose address is all that they know.
    let config = format!("auth:\n  scopes: [mcp]\n  issuers:\n    - issuer: {}\n", issuer.url());
    let demo = program().display().to_string();
    let proxy = before_command(&[demo.as_str(), "demo-server"]).config(&config).start().await;
    for (generation, transport, path) in
        [("v1", "http", "/mcp"), ("v1", "sse", "/sse"), ("v2", "http", "/mcp"), ("v2", "sse", "/sse")]
    {
        let mut client = tokio::process::Command::new(node());
        client.args([&source("typescript/authorized.mjs"), generation, transport]);
        client.args([&proxy.url(path), &issuer.url()]).kill_on_drop(true);
        let ended =
            within(PATIENCE, format!("{generation} {transport} ends"), client.output()).await.unwrap();
        let (told, log) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        assert!(ended.status.success() && told.contains("\"echo\""), "{generation} {transport}: {told}{log}");
    }
    let asked = issuer.upstream.seen().into_iter().filter(|seen| seen.path == "/token");
    let resources: Vec<String> = asked.map(|seen| seen.body).collect();
    assert_eq!(resources.len(), 4, "{resources:?}");
    assert!(
        resources.iter().all(|form| form.contains("scope=mcp") && form.contains("resource=http")),
        "{resources:?}"
    );
}
