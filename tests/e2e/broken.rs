//! A thousand calls past interceptors that hang, fail or die: each has the verdict of the configuration, and nothing is left of
//! them in the proxy. Those that panic are a program's own: `examples/embedding/tests/interceptors.rs`.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use shadowcat_tests::client::{Client, call};
use shadowcat_tests::proxy::{Proxy, before_command};
use shadowcat_tests::upstream::{Reply, Upstream};
use shadowcat_tests::wait::within;

use crate::bridged::code;
use crate::harness::child;
use crate::modern::tool;
use crate::peers::START;

const DENIED: i64 = -31_015;
const CALLS: usize = 1_000;
const AT_ONCE: usize = 50;
/// What all of them together may leave in memory: a tenth of what a thousand exchanges take that are not let go.
const GROWTH_MAX: u64 = 24 << 20;

/// Calls on HTTP, half of them of each era, each with what the policy says; then nothing is in flight and the proxy is well.
async fn each_has_its_verdict(proxy: &Proxy, fail: &str) {
    let is_so = |answer: &str| match fail {
        "closed" => code(answer) == Some(DENIED),
        _ => code(answer).is_none() && answer.contains(r#""result""#),
    };
    let mut client = Client::http(proxy.address);
    client.handshake("2025-11-25").await;
    let mut before = None;
    for _ in 0..CALLS / AT_ONCE {
        let ids: Vec<String> = (0..AT_ONCE / 2).map(|id| id.to_string()).collect();
        for id in &ids {
            client.send(&call(id, "plain", "{}", "")).await;
        }
        let modern = join_all(ids.iter().map(|id| async move {
            tool(id, "plain").send_patiently(proxy.address).await.text_patiently().await
        }));
        for answer in within(START, "the answers of a round", modern).await {
            assert!(is_so(&answer), "{fail}: {answer}");
        }
        for id in &ids {
            let answer = within(START, "the answer of a call", client.response(id)).await;
            assert!(is_so(&answer), "{fail}: {answer}");
        }
        before.get_or_insert_with(|| proxy.process.resident_bytes());
    }
    let is_over = async { while proxy.metric("shadowcat_calls_in_flight").await > 0.5 {} };
    within(START, "the end of every call", is_over).await;
    let grown = proxy.process.resident_bytes().saturating_sub(before.unwrap_or_default());
    assert!(grown < GROWTH_MAX, "{grown} bytes");
    let others = client.request(r#"{"jsonrpc":"2.0","id":"others","method":"tools/list"}"#).await;
    assert_eq!(code(&others), None, "what nobody is asked about goes on: {others}");
}

const KEYS: &str = "when: {method: tools/call, on: request}, breaker: {failures: 100000}, concurrency: 100";

#[tokio::test]
async fn a_webhook_that_hangs_or_fails_costs_each_call_the_verdict_of_its_policy() {
    let hangs = Upstream::start(|_| std::future::pending::<Reply>()).await;
    let fails = Upstream::start(|_| async { Reply::json(500, "{}") }).await;
    for (hook, time, reason) in [(&hangs, "20ms", "timeout"), (&fails, "30s", "error")] {
        for fail in ["closed", "open"] {
            let url = hook.url("/hook");
            let config = format!(
                "interceptors:\n  - {{name: hook, webhook: {{url: '{url}'}}, timeout: {time}, fail: {fail}, {KEYS}}}\n"
            );
            let proxy = before_command(&[child()]).config(&config).start().await;
            each_has_its_verdict(&proxy, fail).await;
            let (_, page) = proxy.page("/metrics").await;
            let of_hook = page.lines().filter_map(|line| {
                line.strip_prefix(r#"shadowcat_external_failures_total{interceptor="hook",reason=""#)?
                    .split_once("\"} ")
            });
            let failures: BTreeMap<&str, usize> =
                of_hook.map(|(reason, count)| (reason, count.parse().unwrap())).collect();
            assert_eq!(failures.values().sum::<usize>(), CALLS, "{fail}: {failures:?}");
            // On a busy machine questions that have timed out may still be counted among those under way when the next one comes.
            let others = failures.iter().filter(|(name, _)| ![reason, "busy"].contains(name));
            assert_eq!(others.map(|(_, count)| count).sum::<usize>(), 0, "{fail}: {failures:?}");
            assert!(failures[reason] > 0, "{fail}: {failures:?}");
            let (status, health) = proxy.page("/health").await;
            assert!(status == 200 && health.contains(r#""status":"ok""#), "{health}");
        }
    }
}

/// A server of interceptors that dies whenever it is asked for a verdict.
const DIES: &str = r#"
while read -r line; do
  id=${line#*\"id\":}; id=${id%%,*}
  case $line in
    *'"initialize"'*) echo '{"jsonrpc":"2.0","id":'$id',"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"dies","version":"1"}}}' ;;
    *'"interceptors/list"'*) echo '{"jsonrpc":"2.0","id":'$id',"result":{"interceptors":[{"name":"guard","type":"validation","hooks":[{"events":["tools/call"],"phase":"request"}]}]}}' ;;
    *'"interceptor/invoke"'*) exit 1 ;;
  esac
done
"#;

#[tokio::test]
async fn a_server_of_interceptors_that_dies_costs_each_call_the_verdict_of_its_policy() {
    for fail in ["closed", "open"] {
        let script = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(script.path(), DIES).unwrap();
        let config = format!(
            "interceptors:\n  - {{name: guards, mcp: {{command: [sh, '{}']}}, timeout: 50ms, fail: {fail}, {KEYS}}}\n",
            script.path().display()
        );
        let proxy = before_command(&[child()]).config(&config).start().await;
        proxy.process.says_somewhere("the list of interceptors is read").await;
        each_has_its_verdict(&proxy, fail).await;
        let failures = proxy.metric("shadowcat_external_failures_total").await;
        assert_eq!(failures.to_string(), CALLS.to_string());
        assert_eq!(proxy.page("/health").await.0, 200);
    }
}
