//! One trace for each request: its client's span, ours, and what its server does, on every transport and across a bridge.

use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use shadowcat_tests::client::{Client, call};
use shadowcat_tests::collector::{Collector, Span};
use shadowcat_tests::proxy::{Proxy, before_command, before_url, program};
use shadowcat_tests::raw::Ask;
use shadowcat_tests::server::{HttpServer, HttpSettings, Speaks, path};
use shadowcat_tests::upstream::{Reply, Upstream};
use shadowcat_tests::wait::{found, soon};

use crate::bridged::{Bridged, LEGACY, On, Server, bridged, modern};
use crate::harness::child;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";
/// What the client says of its trace, in `_meta`.
const SAID: &str =
    r#""traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","tracestate":"a=1""#;
const HEADER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const HEADER_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A `traceparent`, taken apart: the trace and the span.
fn taken_apart(traceparent: &str) -> (String, String) {
    let parts: Vec<&str> = traceparent.trim_matches('"').split('-').collect();
    assert_eq!((parts[0], parts.len()), ("00", 4), "{traceparent}");
    (parts[1].to_owned(), parts[2].to_owned())
}

/// What the server was told in `_meta` of the call.
async fn told(server: &Server) -> (String, String) {
    let call = server.call("tools/call").await;
    taken_apart(&path(&call, &["params", "_meta", "traceparent"]).expect(&call))
}

/// The headers of the call that the server on HTTP got.
async fn heard(server: &Server) -> Option<(String, String)> {
    let Server::Http(server) = server else { return None };
    server.upstream.call("tools/call").await.header("traceparent").map(taken_apart)
}

/// The client's span, ours and the server's are one trace.
async fn is_one_trace(collector: &Collector, server: &Server) -> Span {
    let span = collector.span("tools/call echo").await;
    assert_eq!((span.trace.as_str(), span.parent.as_str()), (TRACE, SPAN));
    assert_eq!(told(server).await, (span.trace.clone(), span.id.clone()));
    if let Some(heard) = heard(server).await {
        assert_eq!(heard, (span.trace.clone(), span.id.clone()), "a header says the same as the message");
    }
    let call = server.call("tools/call").await;
    assert_eq!(path(&call, &["params", "_meta", "tracestate"]).as_deref(), Some("\"a=1\""));
    span
}

fn modern_call(meta: &str) -> Ask {
    modern("1", "tools/call", Some("echo"), r#""name":"echo","arguments":{"n":1.50},"#, "{}", meta)
}

async fn legacy_call(proxy: &Proxy, meta: &str) -> String {
    let mut client = Client::http(proxy.address);
    client.handshake("2025-11-25").await;
    client.request(&call("1", "echo", r#"{"n":1.50}"#, &format!(r#""_meta":{{{meta}}}"#))).await
}

async fn before(on: On, speaks: Speaks, more: &str) -> (Collector, Bridged) {
    let collector = Collector::start().await;
    let bridged = bridged(on, speaks, &format!("{}{more}", collector.config())).await;
    (collector, bridged)
}

#[tokio::test]
async fn t54_client_proxy_and_server_are_in_one_trace() {
    for on in [On::Http, On::Stdio] {
        let (collector, bridged) = before(on, Speaks::Both, "").await;
        legacy_call(&bridged.proxy, SAID).await;
        let span = is_one_trace(&collector, &bridged.server).await;
        assert_eq!((span.service.as_str(), span.kind, span.status), ("shadowcat", 2, 0));
        assert!(span.took > 0);
        let known = |name: &str| span.attributes.get(name).map(String::as_str);
        assert_eq!((known("mcp.method.name"), known("gen_ai.tool.name")), (Some("tools/call"), Some("echo")));
        assert_eq!(
            (known("mcp.protocol.version"), known("jsonrpc.request.id")),
            (Some("2025-11-25"), Some("1"))
        );
        assert_eq!((known("network.transport"), known("error.type")), (Some("tcp"), None));
        assert!(known("mcp.session.id").is_some_and(|tag| tag.len() < 16), "a tag, and not the id: {span:?}");

        let (collector, bridged) = before(on, Speaks::Both, "").await;
        bridged.ask(modern_call(&format!("{SAID},"))).await;
        let span = is_one_trace(&collector, &bridged.server).await;
        assert_eq!(span.attributes.get("mcp.protocol.version").unwrap(), "2026-07-28");
    }
}

#[tokio::test]
async fn t54_a_trace_crosses_a_bridge_in_both_directions() {
    for on in LEGACY {
        let (collector, bridged) = before(on, Speaks::Legacy, "").await;
        bridged.ask(modern_call(&format!("{SAID},"))).await;
        is_one_trace(&collector, &bridged.server).await;
    }
    for on in [On::Http, On::Stdio] {
        let (collector, bridged) = before(on, Speaks::Modern, "").await;
        legacy_call(&bridged.proxy, SAID).await;
        is_one_trace(&collector, &bridged.server).await;
        // A client that knows of no trace: the modern server behind the bridge is told of ours.
        let (collector, bridged) = before(on, Speaks::Modern, "").await;
        legacy_call(&bridged.proxy, "").await;
        let span = collector.span("tools/call echo").await;
        assert_eq!(told(&bridged.server).await, (span.trace, span.id));
    }
}

#[tokio::test]
async fn t54_a_client_on_stdio_is_in_one_trace_with_its_server() {
    let (collector, server) = (Collector::start().await, tempfile::tempdir().unwrap());
    let config = server.path().join("shadowcat.yaml");
    std::fs::write(&config, collector.config()).unwrap();
    let mut command = Command::new(program());
    command.arg("forward").arg("--config").arg(config).arg("--").arg(child());
    command.arg("--log").arg(server.path().join("log"));
    let mut client = Client::stdio(command);
    client.handshake("2025-11-25").await;
    client.request(&call("1", "echo", "{}", &format!(r#""_meta":{{{SAID}}}"#))).await;
    let span = is_one_trace(&collector, &Server::Child(server)).await;
    assert_eq!(span.attributes.get("network.transport").unwrap(), "pipe");
    client.close();
    assert!(client.process().ended().await.success());
}

#[tokio::test]
async fn t54_a_header_names_the_trace_where_the_message_does_not() {
    let (collector, bridged) = before(On::Http, Speaks::Both, "").await;
    bridged.ask(modern_call("").header("traceparent", HEADER)).await;
    let span = collector.span("tools/call echo").await;
    assert_eq!((span.trace.as_str(), span.parent.as_str()), (HEADER_TRACE, "b7ad6b7169203331"));
    assert_eq!(told(&bridged.server).await, (span.trace.clone(), span.id.clone()));
    assert_eq!(heard(&bridged.server).await, Some((span.trace, span.id)));

    let (collector, bridged) = before(On::Stdio, Speaks::Both, "").await;
    bridged.ask(modern_call(&format!("{SAID},")).header("traceparent", HEADER)).await;
    let span = is_one_trace(&collector, &bridged.server).await;
    assert_eq!(span.links, [HEADER_TRACE], "the other is not lost");
}

#[tokio::test]
async fn t54_a_legacy_server_gets_what_its_client_wrote_where_nobody_told_of_a_trace() {
    let (collector, bridged) = before(On::Http, Speaks::Legacy, "").await;
    let text = call("1", "echo", r#"{"n":1.50}"#, "");
    let mut client = Client::http(bridged.proxy.address);
    client.handshake("2025-11-25").await;
    client.request(&text).await;
    let call = bridged.server.call("tools/call").await;
    assert_eq!(path(&call, &["params"]), path(&text, &["params"]));
    let span = collector.span("tools/call echo").await;
    assert_eq!((span.parent.as_str(), heard(&bridged.server).await), ("", Some((span.trace, span.id))));
    let handshake = collector.span("initialize").await;
    assert_eq!(handshake.attributes.get("mcp.method.name").unwrap(), "initialize");
}

#[tokio::test]
async fn t54_a_state_that_no_header_has_to_hold_is_in_the_message_alone() {
    let (_collector, bridged) = before(On::Http, Speaks::Both, "").await;
    let state = "a=1,".repeat(80_000);
    let (traceparent, _) = SAID.split_once(',').unwrap();
    legacy_call(&bridged.proxy, &format!(r#"{traceparent},"tracestate":"{state}""#)).await;
    let call = bridged.server.call("tools/call").await;
    assert_eq!(path(&call, &["params", "_meta", "tracestate"]), Some(format!("\"{state}\"")));
    let Server::Http(server) = &bridged.server else { unreachable!() };
    let seen = server.upstream.call("tools/call").await;
    assert!(seen.header("traceparent").is_some() && seen.header("tracestate").is_none());
}

#[tokio::test]
async fn t54_a_rule_that_takes_a_trace_out_keeps_it_from_the_server_altogether() {
    let rules =
        "rules:\n  - {name: untold, when: {method: tools/call}, do: [{remove: $._meta.traceparent}]}\n";
    for speaks in [Speaks::Both, Speaks::Legacy, Speaks::Modern] {
        for is_modern in [true, false] {
            let (collector, bridged) = before(On::Http, speaks, rules).await;
            if is_modern {
                bridged.ask(modern_call(&format!("{SAID},"))).await;
            } else {
                legacy_call(&bridged.proxy, SAID).await;
            }
            let call = bridged.server.call("tools/call").await;
            assert_eq!(path(&call, &["params", "_meta", "traceparent"]), None, "{speaks:?}: {call}");
            let Server::Http(server) = &bridged.server else { unreachable!() };
            let seen = server.upstream.call("tools/call").await;
            let headers = ["traceparent", "tracestate"].map(|name| seen.header(name));
            assert_eq!(headers, [None, None], "{speaks:?}: {seen:?}");
            collector.span("tools/call echo").await;
        }
    }
}

#[tokio::test]
async fn without_telemetry_a_trace_passes_as_it_came() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let proxy = before_url(&server.url()).start().await;
    legacy_call(&proxy, SAID).await;
    let seen = server.upstream.call("tools/call").await;
    assert!(seen.body.contains(SAID) && seen.header("traceparent").is_none(), "{seen:?}");
}

#[tokio::test]
async fn a_span_tells_how_its_call_ended() {
    let rules = "rules:\n  - {name: refuse, when: {tool: refused}, do: [{block: no}]}\n  \
                 - {name: fail, when: {tool: fails}, do: [{mock: {error: {code: 42, message: hunter2}}}]}\n";
    let (collector, bridged) = before(On::Stdio, Speaks::Both, rules).await;
    let mut client = Client::http(bridged.proxy.address);
    client.handshake("2025-11-25").await;
    for (tool, kind) in [("refused", "policy_denied"), ("fails", "42")] {
        client.request(&call("1", tool, "{}", "")).await;
        let span = collector.span(&format!("tools/call {tool}")).await;
        let told = span.attributes.get("error.type").map(String::as_str);
        assert_eq!((told, span.status), (Some(kind), 2), "{span:?}");
        assert!(!format!("{span:?}").contains("hunter2"), "{span:?}");
    }
}

#[tokio::test]
async fn a_servers_question_is_traced_too() {
    let (collector, bridged) = before(On::Stdio, Speaks::Legacy, "").await;
    let mut client = Client::http(bridged.proxy.address);
    client.handshake("2025-11-25").await;
    client.send(&call("7", "chatter", "{}", "")).await;
    let ask = client.message("elicitation/create").await;
    assert_eq!(path(&ask, &["params", "_meta", "traceparent"]), None);
    let id = path(&ask, &["id"]).unwrap();
    client.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"accept"}}}}"#)).await;
    client.response("7").await;
    collector.span("elicitation/create").await;
    collector.span("tools/call chatter").await;
}

#[tokio::test]
async fn a_collector_that_is_away_costs_no_call_anything_and_is_told_of_in_two_lines() {
    let away = Upstream::start(|_| async { Reply::empty(503) }).await;
    let config = format!("telemetry:\n  otlp: '{}'\n  service: cat\n", away.url(""));
    let proxy = before_command(&[child()]).config(&config).start().await;
    for _ in 0..2 {
        let answer = legacy_call(&proxy, "").await;
        assert!(path(&answer, &["result"]).is_some(), "{answer}");
        let lost = proxy.metric(r#"shadowcat_trace_spans_total{outcome="not_taken"}"#).await;
        soon("spans that nobody takes are counted", async {
            while proxy.metric(r#"shadowcat_trace_spans_total{outcome="not_taken"}"#).await <= lost {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }
    proxy.process.signal(Signal::TERM);
    assert!(proxy.process.ended().await.success());
    let told = proxy.process.stderr();
    assert_eq!(told.matches("spans are dropped").count(), 2, "at the first, and at the end: {told}");
    assert!(told.contains("it answered with HTTP status 503"), "{told}");
}

#[tokio::test]
async fn what_is_left_at_the_end_is_sent() {
    let more = "  headers: {X-Key: hunter2}\nlog: {level: debug}\n";
    let (collector, bridged) = before(On::Stdio, Speaks::Both, more).await;
    legacy_call(&bridged.proxy, SAID).await;
    bridged.proxy.process.signal(Signal::TERM);
    bridged.proxy.process.ended().await;
    let span = collector.spans().into_iter().find(|span| span.name == "tools/call echo").expect("its span");
    let line = found("a line of the log with the trace", || {
        let log = bridged.proxy.process.stderr();
        log.lines().find(|line| line.contains("tools/call") && line.contains(&span.trace)).map(str::to_owned)
    });
    assert!(line.await.contains("exchange="));
    assert_eq!(collector.upstream.seen().pop().unwrap().header("x-key"), Some("hunter2"));
    assert!(!bridged.proxy.process.stderr().contains("hunter2"));
}
