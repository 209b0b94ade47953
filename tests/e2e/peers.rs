//! Programs nobody here wrote: the official servers and SDKs, behind and before the proxy.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use shadowcat_tests::process::Process;
use shadowcat_tests::proxy::{Proxy, before_command, before_url, program};
use shadowcat_tests::wait::within;

/// How long an interpreter may take to start on a busy machine.
pub(crate) const START: Duration = Duration::from_mins(1);

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A file of the installed peers.
pub(crate) fn peer(path: &str) -> String {
    let file = here(".peers").join(path);
    assert!(file.exists(), "{} is missing: `cargo xtask peers` installs the peers", file.display());
    file.to_str().unwrap().to_owned()
}

pub(crate) fn node() -> String {
    peer("node/node_modules/.bin/node")
}

pub(crate) fn package(name: &str) -> String {
    peer(&format!("node/node_modules/.bin/{name}"))
}

pub(crate) fn python() -> String {
    peer("python-mcp2/bin/python")
}

pub(crate) fn source(path: &str) -> String {
    here("peers").join(path).to_str().unwrap().to_owned()
}

/// Runs the tests of a file or directory.
pub(crate) fn pytest(path: &Path) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(python());
    command.args(["-B", "-m", "pytest", "-q", "-p", "no:cacheprovider"]).arg(path);
    command
}

/// Runs the tests of a directory, which is made a place where the packages are found.
pub(crate) fn vitest(directory: &Path) -> tokio::process::Command {
    let packages = directory.join("node_modules");
    if !packages.exists() {
        std::os::unix::fs::symlink(peer("node/node_modules"), packages).unwrap();
    }
    let mut command = tokio::process::Command::new(node());
    command
        .arg(peer("node/node_modules/vitest/vitest.mjs"))
        .args(["run", "--no-cache", "--root"])
        .arg(directory);
    command
}

/// What a runner of tests prints, and whether they passed.
pub(crate) async fn tested(mut command: tokio::process::Command) -> (bool, String) {
    command.env("SHADOWCAT_BIN", program()).kill_on_drop(true);
    let output = within(START, format!("the end of {command:?}"), command.output()).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

pub(crate) async fn passes(command: tokio::process::Command) {
    let (passed, said) = tested(command).await;
    assert!(passed, "{said}");
}

/// The clients, as the start of a command line.
pub(crate) fn clients() -> [(&'static str, Vec<String>); 3] {
    [
        ("Python 2", vec![python(), source("python/client.py")]),
        ("Python 1", vec![peer("python-mcp1/bin/python"), source("python/client_v1.py")]),
        ("TypeScript", vec![node(), source("typescript/client.mjs")]),
    ]
}

/// Runs a client to its end; gives what it prints.
pub(crate) async fn talk(client: &[String], options: &[&str], target: &[&str]) -> Value {
    let mut command = tokio::process::Command::new(&client[0]);
    command.args(&client[1..]).args(options).args(target).stdin(Stdio::null()).kill_on_drop(true);
    let output = within(START * 2, format!("the end of {command:?}"), command.output()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|error| {
        panic!("{command:?}: {error} in {text:?}\n{}", String::from_utf8_lossy(&output.stderr))
    })
}

pub(crate) fn progress(call: &Value) -> Vec<f64> {
    call["progress"].as_array().unwrap().iter().filter_map(Value::as_f64).collect()
}

/// A server-everything on HTTP, and its port.
pub(crate) async fn everything(transport: &str) -> (Process, u16) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(node());
    command.args([&package("mcp-server-everything"), transport]).env("PORT", port.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let process = Process::start(command);
    within(START, "server-everything is ready", process.says_somewhere(&format!("port {port}"))).await;
    (process, port)
}

fn urls(proxy: &Proxy) -> [(&'static str, String); 2] {
    [("--http", proxy.url("/mcp")), ("--sse", proxy.url("/sse"))]
}

const EVERYTHING: [&str; 8] = [
    "--call",
    "echo",
    r#"{"message":"Grüße"}"#,
    "--call",
    "get-sum",
    r#"{"a":40,"b":2}"#,
    "--call",
    "trigger-long-running-operation",
];

async fn everything_is_there(proxy: &Proxy, kind: &str) {
    let options: Vec<&str> = EVERYTHING.into_iter().chain([r#"{"duration":0.4,"steps":4}"#]).collect();
    for (name, client) in clients() {
        for (flag, url) in urls(proxy) {
            let said = talk(&client, &options, &[flag, &url]).await;
            let case = format!("{name} {flag} to {kind}: {said}");
            assert!(said["tools"].as_array().unwrap().contains(&json!("get-tiny-image")), "{case}");
            assert_eq!(said["calls"][0]["text"], "Echo: Grüße", "{case}");
            assert!(said["calls"][1]["text"].as_str().unwrap().contains("42"), "{case}");
            // The last step comes together with the result, and some clients drop it then.
            assert!(progress(&said["calls"][2]).starts_with(&[1.0, 2.0, 3.0]), "{case}");
        }
    }
}

#[tokio::test]
async fn server_everything_on_stdio_serves_every_official_client() {
    let proxy = before_command(&[node(), package("mcp-server-everything"), "stdio".into()]).start().await;
    everything_is_there(&proxy, "stdio").await;
}

#[tokio::test]
async fn server_everything_on_streamable_http_serves_every_official_client() {
    let (_server, port) = everything("streamableHttp").await;
    let proxy = before_url(&format!("http://127.0.0.1:{port}/mcp")).start().await;
    everything_is_there(&proxy, "Streamable HTTP").await;
}

#[tokio::test]
async fn server_everything_on_http_sse_serves_every_official_client() {
    let (_server, port) = everything("sse").await;
    let proxy = before_url(&format!("sse+http://127.0.0.1:{port}/sse")).start().await;
    everything_is_there(&proxy, "HTTP+SSE").await;
}

#[tokio::test]
async fn forward_puts_a_stdio_client_before_server_everything_and_server_filesystem() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("note.txt"), "höchst geheim").unwrap();
    let shadowcat = program().to_str().unwrap().to_owned();
    let (_server, port) = everything("streamableHttp").await;
    let url = format!("http://127.0.0.1:{port}/mcp");
    let root = directory.path().canonicalize().unwrap();
    let note = json!({ "path": root.join("note.txt") }).to_string();
    for (name, client) in clients() {
        let said = talk(&client, &EVERYTHING[..3], &["--stdio", &shadowcat, "forward", &url]).await;
        assert_eq!(said["calls"][0]["text"], "Echo: Grüße", "{name}: {said}");
        // In a shell, because Python takes a `--` among the words for its own.
        let (runtime, files) = (node(), package("mcp-server-filesystem"));
        let line = format!("exec '{shadowcat}' forward -- '{runtime}' '{files}' '{}'", root.display());
        let target = ["--stdio", "sh", "-c", &line];
        let said = talk(&client, &["--call", "read_text_file", &note], &target).await;
        assert_eq!(said["calls"][0]["text"], "höchst geheim", "{name}: {said}");
    }
}

/// How the client is asked something back, and how far something is.
pub(crate) const ASKING: [&str; 8] = [
    "--answer",
    r#"{"answer":"blue"}"#,
    "--call",
    "ask",
    r#"{"question":"Which?"}"#,
    "--call",
    "progress",
    r#"{"steps":3}"#,
];

/// The Python server in the era of the client, with a question to the user in the middle.
async fn python_answers(proxy: &Proxy, kind: &str, flags: &[&str]) {
    for (name, client) in clients() {
        let modes: &[&str] = if name == "Python 1" || flags == ["--sse"] {
            &["legacy"]
        } else {
            &["legacy", "auto", "2026-07-28"]
        };
        for mode in modes {
            if *mode != "legacy" && kind == "HTTP+SSE" {
                continue;
            }
            for flag in flags {
                let path = if *flag == "--sse" { "/sse" } else { "/mcp" };
                let all: Vec<&str> = ["--mode", mode].into_iter().chain(ASKING).collect();
                let said = talk(&client, &all, &[flag, &proxy.url(path)]).await;
                let case = format!("{name} {mode} {flag} to {kind}: {said}");
                assert_eq!(said["calls"][0]["text"], "blue", "{case}");
                assert_eq!(said["asked"], json!(["Which?"]), "{case}");
                assert_eq!(progress(&said["calls"][1]), [1.0, 2.0, 3.0], "{case}");
                let modern = said["version"] == "2026-07-28";
                assert_eq!(modern, *mode != "legacy", "{case}");
            }
        }
    }
}

/// A server of ours on a port that it chooses: `flag` says how it is to be reached.
pub(crate) async fn serve(words: &[String], flag: &str) -> (tokio::process::Child, u16) {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    let mut command = tokio::process::Command::new(&words[0]);
    command.args(&words[1..]).args([flag, "0"]).kill_on_drop(true);
    let mut server = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let line = within(START, format!("{words:?} is ready"), lines.next_line()).await.unwrap().unwrap();
    (server, line.strip_prefix("ready ").unwrap().parse().unwrap())
}

async fn python_server(flag: &str) -> (tokio::process::Child, u16) {
    serve(&[python(), source("python/server.py")], flag).await
}

#[tokio::test]
async fn the_python_server_on_stdio_asks_and_reports_to_every_official_client() {
    let proxy = before_command(&[python(), source("python/server.py"), "--stdio".into()]).start().await;
    python_answers(&proxy, "stdio", &["--http"]).await;
    python_answers(&proxy, "stdio", &["--sse"]).await;
}

#[tokio::test]
async fn the_python_server_on_streamable_http_asks_and_reports_to_every_official_client() {
    let (_server, port) = python_server("--http").await;
    let proxy = before_url(&format!("http://127.0.0.1:{port}/mcp")).start().await;
    python_answers(&proxy, "Streamable HTTP", &["--http"]).await;
    python_answers(&proxy, "Streamable HTTP", &["--sse"]).await;
}

#[tokio::test]
async fn the_python_server_on_http_sse_asks_and_reports_to_every_official_client() {
    let (_server, port) = python_server("--sse").await;
    let proxy = before_url(&format!("sse+http://127.0.0.1:{port}/sse")).start().await;
    python_answers(&proxy, "HTTP+SSE", &["--http"]).await;
}
