//! A webhook that is asked whether held calls may go on: its word, what it is told, and that nobody waits for it.

use std::process::Command;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use shadowcat_tests::client::{Client, call};
use shadowcat_tests::operator::Operator;
use shadowcat_tests::proxy::{Proxy, before_command, before_url, program};
use shadowcat_tests::server::{HttpServer, HttpSettings, path};
use shadowcat_tests::upstream::{Reply, Seen, Upstream};
use shadowcat_tests::wait::within;

use crate::bridged::code;
use crate::harness::{child, tape_with};
use crate::modern::{body, envelope, tool};
use crate::pause::paused;

const PATIENCE: Duration = Duration::from_mins(2);
const DENIED: i64 = -31_015;
const SECRET: &str = "a secret that both sides know";

/// Decides by the first word of the argument `says`.
async fn decide(seen: Seen) -> Reply {
    let said = path(&seen.body, &["message", "params", "arguments", "says"]).unwrap_or_default();
    match said.trim_matches('"') {
        "yes" => Reply::json(200, r#"{"verdict":"approve","reason":"within the budget"}"#),
        "no" => Reply::json(200, r#"{"verdict":"deny","reason":"over the budget"}"#),
        "later" => Reply::json(200, r#"{"verdict":"wait"}"#),
        "empty" => Reply::empty(204),
        "continue" => Reply::json(200, r#"{"verdict":"continue"}"#),
        "nonsense" => Reply::json(200, "yes"),
        "status" => Reply::json(500, r#"{"verdict":"approve"}"#),
        "hangs" => std::future::pending().await,
        other => panic!("{other}"),
    }
}

async fn approver() -> Upstream {
    Upstream::start(decide).await
}

/// Calls of `plain` need an approval, about which this webhook is asked; `more` are keys of the approval and of the approver.
fn asks(hook: &Upstream, approval: &str, approver: &str) -> String {
    let url = hook.url("/approve");
    format!(
        "record: {{}}\napprovals:\n  - name: budget\n    when: {{tool: plain}}\n    deadline: 1h\n{approval}    \
         approver: {{webhook: {{url: '{url}', secret: '${{HOOK}}'}}, timeout: 30s, breaker: {{failures: 1000}}{approver}}}\n"
    )
}

fn says(word: &str) -> String {
    format!(r#"{{"says":"{word}"}}"#)
}

async fn modern_call(proxy: &Proxy, word: &str) -> String {
    let members = format!(r#""name":"plain","arguments":{},"#, says(word));
    let asked = envelope("tools/call", Some("plain"), &body("1", "tools/call", &members));
    let answer = async { asked.send_patiently(proxy.address).await.text_patiently().await };
    within(PATIENCE, "an answer", answer).await
}

async fn start(hook: &Upstream, approval: &str, approver: &str) -> (Proxy, Operator) {
    let reverse = before_command(&[child()]).variable("HOOK", SECRET);
    paused(reverse, &asks(hook, approval, approver)).await
}

fn is_approved(answer: &str) {
    assert_eq!(code(answer), None, "{answer}");
    assert!(path(answer, &["result", "request", "params", "arguments"]).is_some(), "{answer}");
}

fn is_denied(answer: &str) {
    assert_eq!(code(answer), Some(DENIED), "{answer}");
    assert_eq!(path(answer, &["error", "message"]).as_deref(), Some("\"over the budget\""), "{answer}");
}

async fn decided(mut client: Client) {
    client.handshake("2025-11-25").await;
    is_approved(&client.request(&call("1", "plain", &says("yes"), "")).await);
    is_denied(&client.request(&call("2", "plain", &says("no"), "")).await);
    is_approved(&client.request(&call("3", "plain", &says("yes"), "")).await);
}

#[tokio::test]
async fn a_webhook_approves_and_denies_calls_on_each_transport_and_in_both_eras() {
    let hook = approver().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sc.yaml");
    std::fs::write(&file, asks(&hook, "", "")).unwrap();
    let mut forward = Command::new(program());
    forward.args(["forward", "--data"]).arg(directory.path()).arg("--config").arg(file);
    forward.arg("--").arg(child()).env("HOOK", SECRET);
    decided(Client::stdio(forward)).await;
    let server = HttpServer::start(HttpSettings::default()).await;
    for reverse in [before_command(&[child()]), before_url(&server.url())] {
        let reverse = reverse.variable("HOOK", SECRET);
        let (proxy, operator) = paused(reverse, &asks(&hook, "", "")).await;
        decided(Client::http(proxy.address)).await;
        decided(Client::sse(proxy.address).await).await;
        assert!(modern_call(&proxy, "yes").await.contains(r#""says":"yes""#));
        assert!(modern_call(&proxy, "no").await.contains("over the budget"));
        assert!(operator.held().await.is_empty());
        assert_eq!(code(&tool("9", "other").send(proxy.address).await.message().await), None);
    }
    let seen = hook.seen();
    assert_eq!(seen.len(), 19, "one question for each call that needs an approval");
    assert!(hook.accepted() < seen.len() / 2, "connections are used again");
    assert!(seen.iter().all(|seen| seen.header("webhook-signature").is_some()));
}

#[tokio::test]
async fn what_is_asked_and_who_decided_is_on_record() {
    let hook = approver().await;
    let (proxy, operator) = start(&hook, "", "").await;
    let mut feed = operator.feed().await;
    assert!(modern_call(&proxy, "yes").await.contains(r#""says":"yes""#));
    let asked: Value = serde_json::from_str(&hook.seen()[0].body).unwrap();
    assert_eq!((&asked["form"], &asked["phase"]), (&json!(1), &json!("approval")));
    assert_eq!((&asked["approval"], &asked["method"]), (&json!("budget"), &json!("tools/call")));
    assert_eq!((&asked["held"]["id"], &asked["held"]["then"]), (&json!("h-1"), &json!("block")));
    assert_eq!((&asked["server"], &asked["era"]), (&json!("fake-stdio"), &json!("modern")));
    assert_eq!(asked["message"]["params"]["arguments"], json!({"says": "yes"}));

    let by = format!("webhook {}", hook.address);
    let released = loop {
        let event = feed.next_patiently().await.expect("another event");
        if event.kind == "released" {
            break event.data;
        }
    };
    let released: Value = serde_json::from_str(&released).unwrap();
    assert_eq!((&released["id"], &released["verdict"]), (&json!("h-1"), &json!("resume")));
    assert_eq!((&released["by"], &released["reason"]), (&json!(by), &json!("within the budget")));
    let deed = format!("approval budget (h-1): resume by {by}: within the budget");
    tape_with(&proxy, "plain").await.has(&[&deed, r#""hop":"wire""#]);
    proxy.process.says_somewhere(&format!("by={by}")).await;
    let figures = [
        r#"shadowcat_approvals_total{outcome="granted"} 1"#,
        r#"shadowcat_external_verdicts_total{interceptor="approval budget",verdict="approve"} 1"#,
    ];
    let (_, page) = proxy.page("/metrics").await;
    assert!(figures.iter().all(|figure| page.contains(figure)), "{page}");
}

/// What is counted of what it said, and of what it failed to say.
const SAID: [(&str, &str); 6] = [
    ("later", r#"verdicts_total{interceptor="approval budget",verdict="wait"} "#),
    ("empty", r#"verdicts_total{interceptor="approval budget",verdict="wait"} "#),
    ("continue", r#"failures_total{interceptor="approval budget",reason="nonsense"} "#),
    ("nonsense", r#"failures_total{interceptor="approval budget",reason="nonsense"} "#),
    ("status", r#"failures_total{interceptor="approval budget",reason="error"} "#),
    ("hangs", r#"failures_total{interceptor="approval budget",reason="timeout"} "#),
];

#[tokio::test]
async fn a_webhook_that_says_nothing_of_use_is_counted_and_leaves_the_call_to_a_person() {
    let hook = approver().await;
    for (word, figure) in SAID {
        let config = asks(&hook, "", "");
        // What answers has time to, however busy the machine is.
        let config = if word == "hangs" { config.replace("30s", "50ms") } else { config };
        let reverse = before_command(&[child()]).variable("HOOK", SECRET);
        let (proxy, operator) = paused(reverse, &config).await;
        for (yes, count) in [(true, 1), (false, 2)] {
            let (answer, ()) = tokio::join!(modern_call(&proxy, word), async {
                let held = operator.holding(1).await;
                let figure = format!("shadowcat_external_{figure}{count}\n");
                let counted = async { while !proxy.page("/metrics").await.1.contains(&figure) {} };
                within(PATIENCE, &figure, counted).await;
                let path = format!("/v1/approvals/{}", held[0]["id"].as_str().unwrap());
                let (status, value) = operator.post(&path, &json!({ "approve": yes })).await;
                assert_eq!(status, 200, "{value}");
            });
            assert_eq!(answer.contains("policy_denied"), !yes, "{word}: {answer}");
        }
        if figure.starts_with("failures") {
            proxy.process.says_somewhere("the webhook did not decide").await;
        }
        assert_eq!(proxy.page("/health").await.0, 200);
    }
}

#[tokio::test]
async fn without_a_yes_the_deadline_has_its_verdict() {
    let hook = approver().await;
    for verdict in ["block", "continue"] {
        let config = asks(&hook, &format!("    verdict: {verdict}\n"), "").replace("1h", "300ms");
        let (proxy, _operator) = paused(before_command(&[child()]).variable("HOOK", SECRET), &config).await;
        for answer in join_all(SAID.map(|(word, _)| modern_call(&proxy, word))).await {
            assert_eq!(answer.contains("policy_denied"), verdict == "block", "{answer}");
        }
    }
}

#[tokio::test]
async fn a_yes_for_a_caller_who_left_is_good_once_for_the_same_call() {
    let (opened, open) = tokio::sync::watch::channel(false);
    let hook = Upstream::start(move |seen| {
        let mut open = open.clone();
        async move {
            drop(open.wait_for(|open| *open).await);
            decide(seen).await
        }
    })
    .await;
    let (proxy, operator) = start(&hook, "", "").await;
    let members = format!(r#""name":"plain","arguments":{},"#, says("yes"));
    let asked = envelope("tools/call", Some("plain"), &body("1", "tools/call", &members));
    let answer = asked.send(proxy.address).await;
    operator.holding(1).await;
    drop(answer);
    let is_abandoned = async { while operator.holding(1).await[0]["abandoned"] != json!(true) {} };
    within(PATIENCE, "the caller is gone", is_abandoned).await;
    opened.send_replace(true);
    operator.holding(0).await;
    let questions = hook.seen().len();
    assert!(modern_call(&proxy, "yes").await.contains(r#""says":"yes""#));
    assert_eq!(hook.seen().len(), questions, "the approval that was kept was used");
    assert!(modern_call(&proxy, "no").await.contains("over the budget"), "another call is asked about");
    assert!(modern_call(&proxy, "yes").await.contains(r#""says":"yes""#));
    assert_eq!(hook.seen().len(), questions + 2, "it was good once");
    assert!((proxy.metric("shadowcat_approvals_total{outcome=\"used\"}").await - 1.0).abs() < 0.1);
}

#[tokio::test]
async fn a_webhook_that_hangs_holds_up_nobody_and_ends_with_the_proxy() {
    let hook = approver().await;
    let (proxy, operator) = start(&hook, "", ", concurrency: 10").await;
    let mut client = Client::http(proxy.address);
    client.handshake("2025-11-25").await;
    for id in 0..100 {
        client.send(&call(&id.to_string(), "plain", &says("hangs"), "")).await;
    }
    operator.holding(100).await;
    assert_eq!(code(&client.request(&call("\"free\"", "other", "{}", "")).await), None);
    assert!(hook.seen().len() <= 10, "no more than its turns");
    proxy.process.signal(rustix::process::Signal::TERM);
    for id in 0..100 {
        assert!(code(&client.response(&id.to_string()).await).is_some());
    }
    assert!(proxy.process.ended().await.success());
}

#[tokio::test]
async fn what_is_wrong_with_an_approver_is_told_by_check() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sc.yaml");
    for (approver, told) in [
        ("{webhook: {url: 'ftp://h'}}", "sc.yaml:5: approvals[0].approver.webhook.url: "),
        ("{webhook: {url: 'http://h', secret: '${NONE}'}}", "the variable NONE is not set"),
        ("{webhook: {url: 'http://h', secret: in clear}}", "is written in clear"),
        (
            "{webhook: {url: 'http://h'}, concurrency: 0}",
            "approvals[0].approver.concurrency: expected 1 or more",
        ),
        ("{webhook: {url: 'http://h'}, timout: 1s}", "did you mean `timeout`?"),
        ("{timeout: 1s}", "webhook"),
    ] {
        let upstream = "upstream: {url: 'http://h/mcp'}\n";
        let text =
            format!("{upstream}approvals:\n  - name: a\n    when: {{tool: rm}}\n    approver: {approver}\n");
        std::fs::write(&file, text).unwrap();
        let mut check = tokio::process::Command::new(program());
        let output = check.arg("check").arg(&file).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{approver}: {said}");
        assert!(said.contains(told), "{approver}: {said}");
    }
}
