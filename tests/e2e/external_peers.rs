//! A server of MCP's interceptors extension, on the official SDK, that is asked about live traffic.

use std::path::Path;

use shadowcat_tests::client::{Client, call};
use shadowcat_tests::proxy::{Proxy, before_command, before_url};
use shadowcat_tests::server::{Answers, HttpServer, HttpSettings, SseServer, member, path};
use shadowcat_tests::wait::{found, until, within};

use crate::bridged::code;
use crate::harness::child;
use crate::modern::{META, body, envelope};
use crate::peers::{START, node, serve, source};

const DENIED: i64 = -31_015;
const SERVER: &str = "typescript/interceptor-server.mjs";

/// The configuration of a server that is a child, with more keys of the entry.
fn stdio(log: &Path, era: &str, more: &str) -> String {
    let (node, server, log) = (node(), source(SERVER), log.display());
    format!(
        "interceptors:\n  - name: guards\n    timeout: 30s\n    mcp:\n      command: ['{node}', '{server}'{era}, --log, '{log}', --stdio]\n      \
         config: {{second: {{stamp: 7}}}}\n{more}"
    )
}

fn talk(tool: &str) -> String {
    format!(r#""name":"{tool}","arguments":{{"text":"hi","n":1.50}},"#)
}

/// What comes of a call of each tool.
fn expect(tool: &str, answer: &str) {
    let arrived = |names: &[&str]| path(answer, &[&["result", "request", "params"], names].concat());
    match tool {
        "echo" => {
            assert_eq!(arrived(&["arguments", "text"]).as_deref(), Some("\"HI\""), "{answer}");
            assert_eq!(arrived(&["arguments", "seen"]).as_deref(), Some("\"HI\""), "by priority: {answer}");
            assert_eq!(
                arrived(&["arguments", "stamp"]).as_deref(),
                Some("7"),
                "by its configuration: {answer}"
            );
            assert_eq!(path(answer, &["result", "marked"]).as_deref(), Some("true"), "{answer}");
        }
        "rm" => {
            assert_eq!(code(answer), Some(DENIED), "{answer}");
            let told = path(answer, &["error", "message"]);
            assert_eq!(told.as_deref(), Some("\"no-rm: rm is not for you\""));
        }
        _ => assert_eq!(code(answer), Some(DENIED), "{tool}: {answer}"),
    }
}

const TOOLS: [&str; 5] = ["echo", "rm", "nonsense", "throw", "echo"];

async fn legacy(mut client: Client) {
    client.handshake("2025-11-25").await;
    for (id, tool) in TOOLS.iter().enumerate() {
        let answer = client.request(&call(&id.to_string(), tool, r#"{"text":"hi","n":1.50}"#, "")).await;
        expect(tool, &answer);
    }
    client.send(&call("9", "chatter", "{}", "")).await;
    let ask = client.message("elicitation/create").await;
    assert!(path(&ask, &["params", "message"]).unwrap().starts_with("\"Please: "), "{ask}");
    let id = member(&ask, "id").unwrap();
    client.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"decline"}}}}"#)).await;
    let answer = client.response("9").await;
    assert_eq!(path(&answer, &["result", "answer", "result", "action"]).as_deref(), Some("\"decline\""));
}

async fn modern(proxy: &Proxy) {
    for tool in TOOLS {
        let asked = envelope("tools/call", Some(tool), &body("1", "tools/call", &talk(tool)));
        expect(tool, &asked.send(proxy.address).await.message().await);
    }
    let capable =
        META.replace(r#"clientCapabilities":{}"#, r#"clientCapabilities":{"elicitation":{"form":{}}}"#);
    let text = body("1", "tools/call", r#""name":"input","arguments":{},"#).replace(META, &capable);
    let answer = envelope("tools/call", Some("input"), &text).send(proxy.address).await.message().await;
    assert!(answer.contains(r#""message":"Please: "#), "what is asked inside of a result: {answer}");
}

#[tokio::test]
async fn interceptors_of_a_child_decide_on_every_transport_and_end_with_the_proxy() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let config = stdio(&log, "", "");
    for answers in [Answers::Fitting, Answers::Stream] {
        let server = HttpServer::start(HttpSettings { answers, ..HttpSettings::default() }).await;
        let proxy = before_url(&server.url()).config(&config).start().await;
        legacy(Client::http(proxy.address)).await;
        modern(&proxy).await;
    }
    let server = SseServer::start().await;
    legacy(Client::sse(before_url(&server.url()).config(&config).start().await.address).await).await;
    let proxy = before_command(&[child()]).config(&config).start().await;
    legacy(Client::http(proxy.address)).await;
    found("the log of the one in audit", || {
        let log = std::fs::read_to_string(&log).ok()?;
        ["journal tools/call request", "journal tools/call response", "journal elicitation/create response"]
            .iter()
            .all(|line| log.contains(line))
            .then_some(())
    })
    .await;
    let children = proxy.process.children();
    assert!(children.len() >= 2, "{children:?}");
    proxy.process.signal(rustix::process::Signal::TERM);
    within(START, "the end of the proxy", proxy.process.ended()).await;
    until("the end of its children", || {
        !children.iter().any(|child| Path::new(&format!("/proc/{child}/cmdline")).exists())
    })
    .await;
}

#[tokio::test]
async fn interceptors_are_reached_by_http_and_in_the_modern_era() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let proxy = before_command(&[child()]).config(&stdio(&log, ", --modern", "")).start().await;
    legacy(Client::http(proxy.address)).await;
    for era in [None, Some("--modern")] {
        let words: Vec<String> = [node(), source(SERVER)].into_iter().chain(era.map(str::to_owned)).collect();
        let (_server, port) = serve(&words, "--http").await;
        let config = format!(
            "interceptors:\n  - {{name: guards, timeout: 30s, mcp: {{url: 'http://127.0.0.1:{port}/mcp', config: {{second: {{stamp: 7}}}}}}}}\n"
        );
        let proxy = before_command(&[child()]).config(&config).start().await;
        legacy(Client::http(proxy.address)).await;
        modern(&proxy).await;
    }
}

#[tokio::test]
async fn a_server_of_interceptors_that_hangs_or_ends_costs_what_the_policy_says_and_is_started_again() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    for (fail, passes) in [("", false), ("    fail: open\n", true)] {
        let more = format!("{fail}    breaker: {{failures: 1000}}\n");
        let proxy =
            before_command(&[child()]).config(&stdio(&log, "", &more).replace("30s", "2s")).start().await;
        let mut client = Client::http(proxy.address);
        client.handshake("2025-11-25").await;
        // `hang` at the server would hang as well, so that it is asked for something else.
        for (id, tool) in [("1", "throw"), ("2", "exit")] {
            let answer = client.request(&call(id, tool, "{}", "")).await;
            assert_eq!(code(&answer).is_none(), passes, "{fail} {tool}: {answer}");
        }
        within(START * 2, "another child, which decides", async {
            loop {
                let answer = client.request(&call("3", "echo", r#"{"text":"hi"}"#, "")).await;
                if path(&answer, &["result", "marked"]).is_some() {
                    return;
                }
            }
        })
        .await;
        let (_, page) = proxy.page("/metrics").await;
        assert!(page.contains(r#"shadowcat_external_failures_total{interceptor="guards""#), "{page}");
    }
    let config = stdio(&log, "", "    when: {tool: hang}\n    fail: closed\n").replace("30s", "300ms");
    let proxy = before_command(&[child()]).config(&config).start().await;
    let asked = envelope("tools/call", Some("hang"), &body("1", "tools/call", &talk("hang")));
    assert_eq!(code(&asked.send(proxy.address).await.message().await), Some(DENIED));
    assert!(proxy.metric("shadowcat_external_failures_total").await >= 1.0);
}

#[tokio::test]
async fn a_server_without_interceptors_costs_what_the_policy_says_and_not_the_proxy() {
    for (fail, passes) in [("closed", false), ("open", true)] {
        let config = format!(
            "interceptors:\n  - {{name: none, fail: {fail}, timeout: 2s, when: {{method: tools/call}}, mcp: {{command: ['{}']}}}}\n",
            child()
        );
        let proxy = before_command(&[child()]).config(&config).start().await;
        let asked = envelope("tools/call", Some("echo"), &body("1", "tools/call", &talk("echo")));
        let answer = asked.send(proxy.address).await.message().await;
        assert_eq!(code(&answer).is_none(), passes, "{answer}");
        proxy.process.says_somewhere("no list of interceptors yet").await;
    }
}
