//! The parts the tests are made of, put together without the proxy.

use std::process::Command;

use shadowcat_tests::client::{Client, call};
use shadowcat_tests::proxy::Proxy;
use shadowcat_tests::server::{Answers, HttpServer, HttpSettings, SseServer, member, path};
use shadowcat_tests::wait::found;

use crate::modern::{body, envelope};

/// The command of the child server.
pub(crate) fn child() -> String {
    env!("CARGO_BIN_EXE_fake-stdio").to_owned()
}

/// The text of a tape.
pub(crate) struct TapeText(pub(crate) String);

impl TapeText {
    /// One of its lines has all these parts.
    pub(crate) fn has(&self, parts: &[&str]) {
        let found = self.0.lines().find(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found.is_some(), "{parts:?} in {}", self.0);
    }
}

/// The tape of a proxy, once this tool was called on both sides of it.
pub(crate) async fn tape_with(proxy: &Proxy, tool: &str) -> TapeText {
    let called = format!(r#""name":"{tool}""#);
    found("a tape with every call", || {
        let entries = std::fs::read_dir(proxy.data().join("tapes")).ok()?;
        let text: String =
            entries.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok()).collect();
        text.lines().any(|line| line.contains(&called) && line.contains("wire")).then_some(TapeText(text))
    })
    .await
}

async fn talks(mut client: Client) {
    client.handshake("2025-11-25").await;
    client.send(&call("7", "chatter", "{}", r#""_meta":{"progressToken":"p"}"#)).await;
    let ask = client.message("elicitation/create").await;
    let id = member(&ask, "id").unwrap();
    client.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"accept"}}}}"#)).await;
    let answer = client.response("7").await;
    assert_eq!(path(&answer, &["result", "answer", "result", "action"]).as_deref(), Some("\"accept\""));
    client.send(&call("8", "updated", "{}", "")).await;
    client.message("notifications/resources/updated").await;
    client.response("8").await;
}

#[tokio::test]
async fn the_server_and_the_client_of_each_transport_understand_each_other() {
    for answers in [Answers::Fitting, Answers::Stream] {
        let http = HttpServer::start(HttpSettings { answers, ..HttpSettings::default() }).await;
        talks(Client::http(http.upstream.address)).await;
    }
    let sse = SseServer::start().await;
    talks(Client::sse(sse.upstream.address).await).await;
    talks(Client::stdio(Command::new(child()))).await;
}

/// Calls that somebody on the way meddles with, the same in each era and on each transport.
pub(crate) struct Table {
    pub(crate) tools: &'static [&'static str],
    pub(crate) arguments: &'static str,
    /// Looks at what came of a call of a tool.
    pub(crate) expect: fn(&str, &str),
}

impl Table {
    pub(crate) async fn legacy(&self, mut client: Client) {
        client.handshake("2025-11-25").await;
        for (id, tool) in self.tools.iter().enumerate() {
            let answer = client.request(&call(&format!("\"{id}\""), tool, self.arguments, "")).await;
            assert_eq!(member(&answer, "id"), Some(format!("\"{id}\"")));
            (self.expect)(tool, &answer);
        }
    }

    pub(crate) async fn modern(&self, proxy: &Proxy) {
        for tool in self.tools {
            let members = format!(r#""name":"{tool}","arguments":{},"#, self.arguments);
            let asked = envelope("tools/call", Some(tool), &body("1", "tools/call", &members));
            (self.expect)(tool, &asked.send(proxy.address).await.message().await);
        }
    }

    /// The call of `was` was made one of `is`: what mirrors a message says so, too.
    pub(crate) fn mirrored(server: &HttpServer) {
        let seen = server.upstream.seen();
        let named = |name| seen.iter().any(|seen| seen.header("mcp-name") == Some(name));
        assert!(named("is") && !named("was"), "what mirrors a message says what was made of it");
    }
}
