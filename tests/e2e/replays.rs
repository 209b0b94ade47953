//! P1, P2, P5: a tape played to a server as its clients, and the answers compared.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use shadowcat_tests::client::{Client, call};
use shadowcat_tests::proxy::{before_command, before_url, program};
use shadowcat_tests::server::{HttpServer, HttpSettings, member};
use shadowcat_tests::wait::{until, within};
use tokio::io::AsyncWriteExt as _;

use crate::harness::child;
use crate::modern;

const NEWEST: &str = "2025-11-25";
/// How long one replay may take on a busy machine, interpreters and all.
const REPLAY: Duration = Duration::from_mins(2);

fn altered(change: &str) -> Vec<String> {
    let words = [env!("CARGO_BIN_EXE_altered-stdio"), change];
    words.into_iter().filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// A client before a proxy that records, before this command.
fn recorded(dir: &Path, server: &[String]) -> Client {
    let mut command = Command::new(program());
    command.arg("forward").arg("--record").arg(dir).arg("--").args(server);
    Client::stdio(command)
}

/// The one tape in a directory, when it is whole.
async fn tape(dir: &Path) -> PathBuf {
    let is_whole = || {
        let file = std::fs::read_dir(dir).ok()?.next()?.ok()?.path();
        let text = std::fs::read_to_string(&file).ok()?;
        text.contains("\"record\":\"end\"").then_some(file)
    };
    until("the tape is closed", || is_whole().is_some()).await;
    is_whole().unwrap()
}

/// Runs `shadowcat` with these arguments; gives the exit code and what it printed.
async fn shadowcat(arguments: &[&str]) -> (i32, String) {
    let mut command = tokio::process::Command::new(program());
    command.args(arguments).stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = within(REPLAY, format!("the end of {command:?}"), command.output()).await.unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned() + &told)
}

/// Verifies tapes as fast as possible; the target is `--to URL` or `-- COMMAND`.
pub(crate) async fn verified(tapes: &[impl AsRef<Path>], more: &[&str], target: &[&str]) -> (i32, Value) {
    let tapes: Vec<&str> = tapes.iter().map(|tape| tape.as_ref().to_str().unwrap()).collect();
    let how = ["--speed", "max", "--verify", "--report", "json"];
    let (code, said) = shadowcat(&[&["replay"], &tapes[..], &how, more, target].concat()).await;
    let report = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    (code, report)
}

/// What differs, as sentences.
pub(crate) fn findings(report: &Value) -> Vec<String> {
    let calls =
        report["calls"].as_array().unwrap().iter().flat_map(|call| call["findings"].as_array().unwrap());
    let all = calls.chain(report["remarks"].as_array().unwrap());
    all.map(|finding| finding["says"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn command(words: &[String]) -> Vec<&str> {
    std::iter::once("--").chain(words.iter().map(String::as_str)).collect()
}

/// A tape of a conversation with the small server as it was.
async fn old_tape(dir: &Path) -> PathBuf {
    let mut client = recorded(dir, &altered(""));
    client.handshake(NEWEST).await;
    client.request(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).await;
    client.request(&call("2", "greet", r#"{"name":"Ann"}"#, "")).await;
    client.request(&call("3", "transfer", r#"{"to":"Bob"}"#, "")).await;
    for id in ["4", "5", "6"] {
        client.request(&call(id, "count", r#"{"text":"four"}"#, "")).await;
    }
    client.close();
    tape(dir).await
}

#[tokio::test]
async fn p2_against_the_same_server_nothing_differs_and_each_change_is_named_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let tape = old_tape(dir.path()).await;
    let (code, report) = verified(&[&tape], &["--max-slowdown", "20"], &command(&altered(""))).await;
    assert_eq!((code, findings(&report), &report["same"]), (0, vec![], &json!(true)), "{report:#}");

    let (code, report) = verified(&[&tape], &[], &command(&altered("description"))).await;
    assert_eq!(
        (code, findings(&report)),
        (1, vec!["`description` of tool `greet` is another one".to_owned()])
    );
    assert_eq!(report["calls"][1]["findings"][0]["path"], "$.result.tools[?@.name=='greet'].description");

    let (code, report) = verified(&[&tape], &[], &command(&altered("answer"))).await;
    assert_eq!((code, findings(&report)), (1, vec!["the answer of `count` is another one".to_owned(); 3]));
    let path = "$.result.content[0].text as JSON $.letters";
    assert_eq!(report["calls"][4]["findings"][0]["path"], path);
    let ignore = ["--ignore", "$.result.content[*].text"];
    assert_eq!(verified(&[&tape], &ignore, &command(&altered("answer"))).await.0, 0);
    assert_eq!(verified(&[&tape], &["--tolerance", "1"], &command(&altered("answer"))).await.0, 0);
    assert_eq!(verified(&[&tape], &["--match", "structural"], &command(&altered("answer"))).await.0, 0);

    let (code, report) = verified(&[&tape], &[], &command(&altered("required"))).await;
    let told =
        ["tool `transfer` has a new required argument `currency`", "it fails now: currency is missing"];
    assert_eq!((code, findings(&report)), (1, told.map(str::to_owned).to_vec()));

    let (code, report) = verified(&[&tape], &["--max-slowdown", "20"], &command(&altered("slow"))).await;
    assert_eq!((code, findings(&report)), (1, vec![]), "{report:#}");
    let slower = report["latencies"].as_array().unwrap().iter().filter(|latency| latency["slower"] == true);
    assert_eq!(slower.map(|latency| latency["kind"].clone()).collect::<Vec<_>>(), ["tools/call count"]);
}

#[tokio::test]
async fn p5_two_servers_are_compared_with_each_other_or_one_with_the_tape() {
    let dir = tempfile::tempdir().unwrap();
    let tape = old_tape(dir.path()).await;
    let tape = tape.to_str().unwrap();
    let server = |change: &str| altered(change).join(" ");
    let (old, new) = (server("answer"), server("description"));
    let (code, said) = shadowcat(&["diff-servers", tape, &old, &new]).await;
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("`description` of tool `greet`") && said.contains("- 5") && said.contains("+ 4"),
        "{said}"
    );
    let (code, said) = shadowcat(&["diff-servers", tape, &old, &old]).await;
    assert!(code == 0 && said.contains("7 calls: 7 same, 0 differ"), "{code}: {said}");
    let (code, said) = shadowcat(&["diff-servers", tape, &new, "--report", "junit"]).await;
    assert!(code == 1 && said.contains("<testsuite ") && said.contains("failures=\"1\""), "{code}: {said}");
    let (code, said) = shadowcat(&["diff-servers", tape, "/no/such/program", &new]).await;
    assert!(code == 2 && said.contains("/no/such/program gave no answer"), "{code}: {said}");
}

#[tokio::test]
async fn p1_the_times_on_the_tape_are_kept_and_scaled() {
    let dir = tempfile::tempdir().unwrap();
    let mut client = recorded(dir.path(), &[child()]);
    client.handshake(NEWEST).await;
    client.request(&call("1", "echo", "{}", "")).await;
    // The time on tape is what this test is about.
    tokio::time::sleep(Duration::from_secs(2)).await;
    client.request(&call("2", "echo", "{}", "")).await;
    client.close();
    let tape = tape(dir.path()).await;
    let tape = tape.to_str().unwrap();
    for (speed, most) in [("original", 1.0), ("2", 2.0), ("max", f64::INFINITY)] {
        let start = ["replay", tape, "--speed", speed, "--verify", "--report", "json", "--", &child()];
        let (code, said) = shadowcat(&start).await;
        assert_eq!(code, 0, "{said}");
        let report: Value = serde_json::from_str(&said).unwrap();
        let times = report["tape_ms"].as_f64().unwrap() / report["elapsed_ms"].as_f64().unwrap();
        // Slower is the machine's business.
        assert!(times <= most * 1.05, "{speed}: {times} times as fast");
    }
}

#[tokio::test]
async fn p1_what_the_server_asks_is_answered_from_the_tape_on_any_transport() {
    let dir = tempfile::tempdir().unwrap();
    let mut client = recorded(dir.path(), &[child()]);
    client.handshake(NEWEST).await;
    client.send(&call("1", "chatter", "{}", r#""_meta":{"progressToken":"p"}"#)).await;
    let question = client.message("elicitation/create").await;
    let answer = json!({"jsonrpc": "2.0", "id": serde_json::from_str::<Value>(&member(&question, "id").unwrap()).unwrap(),
        "result": {"action": "accept", "content": {"name": "Ann"}}});
    client.send(&answer.to_string()).await;
    client.response("1").await;
    client.close();
    let tape = tape(dir.path()).await;
    let (code, report) = verified(&[&tape], &[], &command(&[child()])).await;
    assert_eq!((code, findings(&report)), (0, vec![]), "{report:#}");
    let server = HttpServer::start(HttpSettings::default()).await;
    let (code, report) = verified(&[&tape], &[], &["--to", &server.url()]).await;
    assert_eq!((code, findings(&report)), (0, vec![]), "{report:#}");
    // The small server asks nothing, and has no such tool.
    let (code, report) = verified(&[&tape], &[], &command(&altered(""))).await;
    let told = findings(&report);
    assert!(
        code == 1 && told.iter().any(|says| says.starts_with("elicitation/create: the server does not ask")),
        "{told:?}"
    );
}

#[tokio::test]
async fn p1_a_modern_tape_is_played_to_a_server_of_either_era() {
    let dir = tempfile::tempdir().unwrap();
    let demo = vec![program().to_str().unwrap().to_owned(), "demo-server".to_owned()];
    let mut client = recorded(dir.path(), &demo);
    for id in ["1", "2"] {
        let body = modern::body(id, "tools/call", r#""name":"echo","arguments":{"text":"hi"},"#);
        client.request(&body).await;
    }
    client.close();
    let tape = tape(dir.path()).await;
    let (code, report) = verified(&[&tape], &[], &command(&demo)).await;
    assert_eq!((code, findings(&report)), (0, vec![]), "{report:#}");
    let proxy = before_command(&demo).start().await;
    let (code, report) = verified(&[&tape], &[], &["--to", &proxy.url("/mcp")]).await;
    assert_eq!((code, findings(&report)), (0, vec![]), "{report:#}");
}

#[tokio::test]
async fn a_server_that_is_away_is_exit_code_2_and_a_client_on_a_pipe_is_told_why() {
    let dir = tempfile::tempdir().unwrap();
    let tape = old_tape(dir.path()).await;
    let away = "http://127.0.0.1:9/mcp";
    let (code, said) =
        shadowcat(&["replay", tape.to_str().unwrap(), "--speed", "max", "--verify", "--to", away]).await;
    assert!(
        code == 2 && said.contains("gave no answer at all: the server refused the connection"),
        "{code}: {said}"
    );
    let (code, _) = shadowcat(&["replay", "/no/such/tape", "--verify", "--to", away]).await;
    assert_ne!(code, 0);
    let mut command = Command::new(program());
    command.args(["forward", away]);
    let mut client = Client::stdio(command);
    let answer = client.request(&shadowcat_tests::client::initialize("0", NEWEST)).await;
    assert!(answer.contains("upstream_unreachable"), "{answer}");
}

#[tokio::test]
async fn a_session_on_http_is_played_to_a_server_on_http() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let proxy = before_url(&server.url()).argument("--record").argument(dir.path().to_str().unwrap());
    let proxy = proxy.start().await;
    for _ in 0..2 {
        let mut client = Client::http(proxy.address);
        client.handshake(NEWEST).await;
        client.request(&call("1", "echo", r#"{"n":1}"#, "")).await;
    }
    proxy.process.signal(rustix::process::Signal::TERM);
    proxy.process.ended().await;
    let tape = tape(dir.path()).await;
    let (code, report) = verified(&[&tape], &["--match", "exact"], &["--to", &server.url()]).await;
    assert_eq!((code, findings(&report)), (0, vec![]), "{report:#}");
    let sessions = report["calls"].as_array().unwrap().iter().map(|call| call["session"].to_string());
    assert_eq!(sessions.collect::<std::collections::BTreeSet<_>>().len(), 2);
}

#[tokio::test]
async fn p1_each_thing_is_asked_for_on_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let tape = old_tape(dir.path()).await;
    let server = altered("").join(" ");
    let line = format!("'{}' replay '{}' --step -- {server}", program().display(), tape.display());
    // A terminal, as util-linux makes one: what is written to it is typed.
    let mut command = tokio::process::Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).kill_on_drop(true);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut running = command.spawn().unwrap();
    // The handshake is two, the list is left out, and all behind `greet` is said without a question.
    let mut typed = running.stdin.take().unwrap();
    typed.write_all(b"\n\ns\n\na\n").await.unwrap();
    let output = within(REPLAY, "the end of the replay", running.wait_with_output()).await.unwrap();
    drop(typed);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains(r#"frame 6: tools/call greet {"name":"Ann"}  [Enter] say it"#), "{said}");
    assert!(said.contains("-  tools/list") && said.contains("6 calls of 1 client in"), "{said}");
    assert_eq!(said.matches("[Enter]").count(), 5, "{said}");
}
