//! The program as a person or a supervisor sees it: signals, exit codes, standard streams, precedence, tapes.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use shadowcat_tests::client::{Client, INITIALIZED, call, initialize};
use shadowcat_tests::process::{Process, gone};
use shadowcat_tests::proxy::{before_command, configured, program};
use shadowcat_tests::raw::{get, post};
use shadowcat_tests::server::{HttpServer, HttpSettings, member, path};
use shadowcat_tests::wait::{found, until};

use crate::edge::session;
use crate::harness::child;
use crate::modern::tool;

const NEWEST: &str = "2025-11-25";

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// All that is left in a pipe whose writer has ended.
fn rest(pipe: Option<std::process::ChildStdout>) -> String {
    let mut all = String::new();
    std::io::Read::read_to_string(&mut pipe.unwrap(), &mut all).unwrap();
    all
}

fn reverse(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(["reverse", "--listen", "127.0.0.1:0"]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

#[tokio::test]
async fn either_signal_ends_reverse_in_order_and_nothing_was_on_standard_output() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut process = Process::start(reverse(&["--log-level", "trace", "--", &child()]));
        let url = process.says("shadowcat: ready on ").await;
        let address = url.strip_prefix("http://").and_then(|url| url.strip_suffix("/mcp"));
        let address = address.unwrap_or_else(|| panic!("{url:?}")).parse().unwrap();
        assert_eq!(get("/ready").send(address).await.status, 200, "ready is who serves");
        process.signal(signal);
        assert_eq!(process.ended().await.code(), Some(0), "{signal:?}");
        assert_eq!(rest(process.stdout.take()), "", "{signal:?}");
        assert_eq!(process.stderr().matches("shadowcat: ready on ").count(), 1);
    }
}

#[tokio::test]
async fn either_signal_ends_forward_and_its_child_although_the_client_stays() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut command = Command::new(program());
        command.args(["forward", "--log-level", "trace", "--", &child()]);
        let mut client = Client::stdio(command);
        client.handshake(NEWEST).await;
        let who = client.request(&call("1", "who", "{}", "")).await;
        client.process().signal(signal);
        assert_eq!(client.process().ended().await.code(), Some(0), "{signal:?}");
        assert_eq!(client.left(), Vec::<String>::new(), "nothing but messages on standard output");
        gone(&[path(&who, &["result", "pid"]).unwrap().parse().unwrap()]).await;
    }
}

#[tokio::test]
async fn a_second_signal_of_either_kind_ends_a_proxy_whose_calls_and_children_do_not_end() {
    for (first, second) in [(Signal::INT, Signal::TERM), (Signal::TERM, Signal::INT)] {
        let proxy = before_command(&[&child(), "--stubborn"]).config("timeouts:\n  shutdown: 10m\n").start();
        let proxy = proxy.await;
        let mut client = Client::http(proxy.address);
        client.handshake(NEWEST).await;
        let who = client.request(&call("0", "who", "{}", "")).await;
        client.send(&call("1", "hold", "{}", "")).await;
        client.request(&call("2", "echo", r#"{"after":1}"#, "")).await;
        proxy.process.signal(first);
        proxy.process.says_somewhere("a second signal ends it at once").await;
        proxy.process.signal(second);
        let ended = client.response("1").await;
        let reason = path(&ended, &["error", "data", "reason"]);
        assert_eq!(reason.as_deref(), Some("\"shutting_down\""), "{ended}");
        assert_eq!(proxy.process.ended().await.code(), Some(0), "{}", proxy.process.stderr());
        gone(&[path(&who, &["result", "pid"]).unwrap().parse().unwrap()]).await;
    }
}

#[tokio::test]
async fn an_address_that_is_taken_ends_with_code_1_and_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = Command::new(program());
    command.args(["reverse", "--listen", &address, "--upstream", "http://127.0.0.1:9/mcp"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.starts_with("shadowcat: cannot start\n") && told.contains(&address), "{told}");
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(HttpServer::start(HttpSettings::default()).await);
    }
    let yaml = format!("upstream:\n  url: \"{}\"\n", servers[0].url());
    let file = configured(&yaml);
    let environment = file.clone().variable("SHADOWCAT_UPSTREAM", &servers[1].url());
    let flag = environment.clone().argument("--upstream").argument(&servers[2].url());
    for (server, reverse) in servers.iter().zip([file, environment, flag]) {
        let proxy = reverse.start().await;
        session(&proxy, NEWEST).await;
        assert_eq!(server.sessions().len(), 1);
    }
    assert!(servers.iter().all(|server| server.upstream.calls("initialize").len() == 1));
}

#[tokio::test]
async fn demo_greets_shows_each_message_to_the_last_and_ends_at_a_signal() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(program());
    command.args(["demo", "--listen", "127.0.0.1:0", "--data"]).arg(directory.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut process = Process::start(command);
    let url = process.says("shadowcat: ready on http://").await;
    let address = url.strip_suffix("/mcp").unwrap().parse().unwrap();
    for number in 1..=20 {
        let answer = tool(&number.to_string(), "echo").send(address).await;
        assert_eq!(answer.status, 200);
        answer.text().await;
    }
    process.signal(Signal::INT);
    assert_eq!(process.ended().await.code(), Some(0), "{}", process.stderr());
    let shown = rest(process.stdout.take());
    assert!(shown.contains(&format!("http://{url}")), "{shown}");
    let traffic: Vec<_> =
        shown.lines().skip_while(|line| !line.ends_with("(Ctrl-C ends it):")).skip(1).collect();
    assert_eq!(traffic.len(), 40, "a line for each request and each answer: {shown}");
    assert!(traffic.last().is_some_and(|last| last.ends_with("#20")), "{shown}");
}

fn tape(arguments: &[&str], directory: &Path) -> Output {
    let mut command = Command::new(program());
    command.arg("tape").args(arguments).arg("--record").arg(directory);
    command.output().unwrap()
}

/// What `tape list` tells of the only tape: its name, how many messages, and its state.
fn listed(directory: &Path) -> Option<(String, u64, String)> {
    let output = tape(&["list", "-o", "json"], directory);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let tapes: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let only = tapes.as_array()?.first()?;
    let name = Path::new(only["path"].as_str()?).file_name()?.to_str()?.to_owned();
    Some((name, only["messages"].as_u64()?, only["state"].as_str()?.to_owned()))
}

#[tokio::test]
async fn a_tape_is_listed_and_shown_while_it_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let proxy = before_command(&[child()]).argument("--record").argument(dir.to_str().unwrap()).start().await;
    let address = proxy.address;
    let answer = post("/mcp", &initialize("1", NEWEST)).send(address).await;
    let id = answer.header("mcp-session-id").unwrap().to_owned();
    answer.text().await;
    let done = post("/mcp", INITIALIZED).header("Mcp-Session-Id", &id);
    assert_eq!(done.send(address).await.status, 202);
    let echo = post("/mcp", &call("\"echo-1\"", "echo", "{}", "")).header("Mcp-Session-Id", &id);
    echo.send(address).await.message().await;
    let name = found("five messages on the tape", || {
        listed(dir).filter(|(_, messages, state)| *messages >= 5 && state == "open").map(|(name, ..)| name)
    })
    .await;
    let table = tape(&["show", &name, "--messages"], dir);
    assert!(table.status.success(), "{}", text(&table.stderr));
    let shown = text(&table.stdout);
    assert!(shown.lines().count() >= 5 && shown.contains("tools/call"), "{shown}");
    let calls = text(&tape(&["show", &name, "--filter", "~t echo"], dir).stdout);
    assert!(calls.lines().count() == 2 && calls.contains("-> tools/call echo  #echo-1 "), "{calls}");
    let found = tape(&["search", "~t echo & ~id echo-1 & !~e"], dir);
    assert!(found.status.success() && text(&found.stdout).starts_with(&name), "{}", text(&found.stdout));
    let none = tape(&["search", "~t echo & ~e"], dir);
    assert_eq!(
        (none.status.code(), text(&none.stdout), text(&none.stderr)),
        (Some(1), String::new(), String::new())
    );
    let records = tape(&["show", &name, "-o", "json"], dir);
    assert!(records.status.success(), "{}", text(&records.stderr));
    let records = text(&records.stdout);
    assert!(records.lines().all(|line| member(line, "record").is_some()), "{records}");
    assert!(records.contains(r#""id":"echo-1""#), "{records}");
    proxy.process.signal(Signal::TERM);
    assert!(proxy.process.ended().await.success());
    until("the tape is whole", || listed(dir).is_some_and(|(.., state)| state == "complete")).await;
}

#[tokio::test]
async fn a_tape_that_is_not_there_ends_with_code_1_and_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let output = tape(&["show", "nothing.jsonl"], directory.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("shadowcat: nothing.jsonl: there is no such tape"));
    assert!(output.stdout.is_empty());
}
