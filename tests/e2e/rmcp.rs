//! The official Rust SDK as a peer: its server behind the proxy, its client before it, and both at once.

use rmcp::model::{
    CallToolRequestParams, CallToolResult, JsonObject, ProgressNotificationParam, ProtocolVersion,
};
use rmcp::service::{NotificationContext, RunningService};
use rmcp::transport::TokioChildProcess;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt as _, RoleClient};
use serde_json::{Value, json};
use shadowcat_tests::client::{Client, call};
use shadowcat_tests::process::gone;
use shadowcat_tests::proxy::{Proxy, before_command, program};
use shadowcat_tests::server::{member, path};
use shadowcat_tests::wait::soon;
use tokio::sync::mpsc;

use crate::modern::{body, envelope};

const REPORTS_MAX: usize = 16;
const GREETING: &str = "Grüße, 🦀";

/// The command of the SDK's server.
fn server() -> String {
    env!("CARGO_BIN_EXE_rmcp-server").to_owned()
}

async fn proxy() -> Proxy {
    before_command(&[server()]).start().await
}

fn forward() -> std::process::Command {
    let mut command = std::process::Command::new(program());
    command.args(["forward", "--", &server()]);
    command
}

fn text(result: &str) -> Option<String> {
    let result: Value = serde_json::from_str(result).unwrap();
    result["result"]["content"][0]["text"].as_str().map(str::to_owned)
}

/// The SDK's server, used by the client of the tests.
async fn serves(mut client: Client, revision: &str) {
    let answer = client.handshake(revision).await;
    let agreed = path(&answer, &["result", "protocolVersion"]);
    assert_eq!(agreed, Some(format!("\"{revision}\"")), "{answer}");
    let tools = client.request(r#"{"jsonrpc":"2.0","id":"t","method":"tools/list"}"#).await;
    for name in ["echo", "count"] {
        assert!(tools.contains(&format!(r#""name":"{name}""#)), "{tools}");
    }
    let arguments = json!({ "text": GREETING }).to_string();
    let echoed = client.request(&call("\"7\"", "echo", &arguments, "")).await;
    assert_eq!(text(&echoed).as_deref(), Some(GREETING), "{echoed}");
    client.send(&call("8", "count", r#"{"to":3}"#, r#""_meta":{"progressToken":"p"}"#)).await;
    for step in 1..=3 {
        let report = client.message("notifications/progress").await;
        assert_eq!(path(&report, &["params", "progressToken"]).as_deref(), Some("\"p\""), "{report}");
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["params"]["progress"].as_f64(), Some(f64::from(step)), "{report}");
    }
    let counted = client.response("8").await;
    assert_eq!(text(&counted).as_deref(), Some("3"), "{counted}");
    let refused = client.request(&call("9", "nonsense", "{}", "")).await;
    assert_eq!(path(&refused, &["error", "code"]).as_deref(), Some("-32602"), "{refused}");
}

#[tokio::test]
async fn reverse_puts_the_rust_sdks_server_on_http() {
    let proxy = proxy().await;
    for revision in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        serves(Client::http(proxy.address), revision).await;
    }
    serves(Client::sse(proxy.address).await, "2024-11-05").await;
}

#[tokio::test]
async fn reverse_puts_the_rust_sdks_server_before_a_modern_client() {
    let proxy = proxy().await;
    let arguments = format!(r#""name":"echo","arguments":{},"#, json!({ "text": GREETING }));
    let asked = envelope("tools/call", Some("echo"), &body("1", "tools/call", &arguments));
    let answer = asked.send(proxy.address).await.message().await;
    assert_eq!(text(&answer).as_deref(), Some(GREETING), "{answer}");
    assert_eq!(member(&answer, "id").as_deref(), Some("1"), "{answer}");
}

#[tokio::test]
async fn forward_starts_the_rust_sdks_server() {
    serves(Client::stdio(forward()), "2025-11-25").await;
}

/// The SDK's client, which hands on the progress it hears of.
struct Listener(mpsc::Sender<f64>);

impl ClientHandler for Listener {
    async fn on_progress(&self, report: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.0.send(report.progress).await.ok();
    }
}

async fn called(
    client: &RunningService<RoleClient, Listener>,
    tool: &'static str,
    arguments: Value,
) -> CallToolResult {
    let arguments: JsonObject = serde_json::from_value(arguments).unwrap();
    let call = CallToolRequestParams::new(tool).with_arguments(arguments);
    soon(format!("the answer of {tool}"), client.call_tool(call)).await.unwrap()
}

fn first(result: &CallToolResult) -> &str {
    &result.content[0].as_text().unwrap().text
}

/// Runs the SDK's client on this command, which starts the SDK's server in the end.
async fn uses(command: std::process::Command, mode: ClientLifecycleMode, revision: ProtocolVersion) {
    let case = format!("{command:?} with {mode:?}");
    let process = TokioChildProcess::new(tokio::process::Command::from(command)).unwrap();
    let pid = process.id().unwrap();
    let (sender, mut reports) = mpsc::channel(REPORTS_MAX);
    let started = Box::pin(Listener(sender).serve_with_lifecycle(process, mode));
    let client = soon(format!("the handshake of {case}"), started).await.unwrap();
    assert_eq!(client.peer_info().unwrap().protocol_version, revision, "{case}");
    let tools = soon("the tools", client.list_all_tools()).await.unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_ref()).collect();
    assert_eq!(names, ["echo", "count"], "{case}");
    let echoed = called(&client, "echo", json!({ "text": GREETING })).await;
    assert_eq!(first(&echoed), GREETING, "{case}");
    let counted = called(&client, "count", json!({ "to": 3 })).await;
    assert_eq!(first(&counted), "3", "{case}");
    let mut steps = Vec::new();
    for _ in 0..3 {
        steps.push(soon("a report of progress", reports.recv()).await.unwrap());
    }
    // The SDK gives each notification a task of its own, so that the order here is not that of the wire.
    steps.sort_by(f64::total_cmp);
    assert_eq!(steps, [1.0, 2.0, 3.0], "{case}");
    soon("the end of the client", client.cancel()).await.unwrap();
    gone(&[pid]).await;
}

fn discover() -> ClientLifecycleMode {
    ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }
}

#[tokio::test]
async fn the_rust_sdks_client_reaches_its_server_through_forward_in_both_eras() {
    uses(forward(), ClientLifecycleMode::Initialize, ProtocolVersion::V_2025_11_25).await;
    uses(forward(), discover(), ProtocolVersion::V_2026_07_28).await;
}

#[tokio::test]
async fn the_rust_sdks_client_reaches_its_server_through_forward_and_reverse_in_both_eras() {
    let proxy = proxy().await;
    for (mode, revision) in [
        (ClientLifecycleMode::Initialize, ProtocolVersion::V_2025_11_25),
        (discover(), ProtocolVersion::V_2026_07_28),
    ] {
        let mut command = std::process::Command::new(program());
        command.args(["forward", &proxy.url("/mcp")]);
        uses(command, mode, revision).await;
    }
}
