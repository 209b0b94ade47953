//! P3, P4: a tape in the place of its server. What is recorded here was said by the servers of the tests.

use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};
use shadowcat_tests::client::{Client, call};
use shadowcat_tests::mock::{Mock, mock};
use shadowcat_tests::operator::Operator;
use shadowcat_tests::proxy::{before_command, program};
use shadowcat_tests::raw::{get, post};
use shadowcat_tests::server::{member, path};
use shadowcat_tests::wait::soon;
use tempfile::TempDir;

use crate::harness::child;
use crate::modern::{body, envelope};
use crate::tapes::{recorded, tape};

const NEWEST: &str = "2025-11-25";

/// What a client of one recording does.
async fn record(talk: impl AsyncFnOnce(&mut Client)) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let proxy = recorded(before_command(&[child()]), directory.path()).start().await;
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    talk(&mut client).await;
    drop(client);
    drop(proxy);
    let tape = tape(directory.path()).unwrap();
    (directory, tape)
}

async fn counts(client: &mut Client, id: &str) -> Option<String> {
    path(&client.request(&call(id, "count", "{}", "")).await, &["result", "count"])
}

/// A tape on which a server counts to three.
async fn counted() -> (TempDir, PathBuf) {
    record(async |client| {
        for (id, count) in [("1", "1"), ("2", "2"), ("3", "3")] {
            assert_eq!(counts(client, id).await.as_deref(), Some(count));
        }
    })
    .await
}

#[tokio::test]
async fn equal_calls_of_twenty_clients_at_once_are_answered_in_order_for_each() {
    let (_directory, tape) = counted().await;
    let mock = Mock::start(&tape, &[]).await;
    let address = mock.address;
    let clients = (0..20).map(|number| async move {
        let mut client = if number % 2 == 0 { Client::http(address) } else { Client::sse(address).await };
        client.handshake(NEWEST).await;
        // The fourth is beyond the tape: the last answer is given again.
        for count in ["1", "2", "3", "3"] {
            assert_eq!(counts(&mut client, &format!("\"{number}-{count}\"")).await.as_deref(), Some(count));
        }
    });
    futures_util::future::join_all(clients).await;
    for page in ["/health", "/ready", "/metrics"] {
        assert_eq!(get(page).send(address).await.status, 200, "{page}");
    }
}

#[tokio::test]
async fn calls_of_a_mock_are_held_and_let_go_like_those_of_a_proxy() {
    let (_directory, tape) = counted().await;
    let data = tempfile::tempdir().unwrap();
    let named = data.path().to_str().unwrap();
    let mock = Mock::start(&tape, &["--admin", "127.0.0.1:0", "--data", named]).await;
    let operator = Operator::of(data.path()).await;
    let (status, set) = operator.post("/v1/breakpoints", &json!({"filter": "~t count & ~q"})).await;
    assert_eq!(status, 201, "{set}");
    let mut client = Client::http(mock.address);
    client.handshake(NEWEST).await;
    client.send(&call("1", "count", "{}", "")).await;
    let held = operator.holding(1).await;
    let verdict = format!("/v1/held/{}/verdict", held[0]["id"].as_str().unwrap());
    assert_eq!(operator.post(&verdict, &json!({"verdict": "resume"})).await.0, 200);
    assert_eq!(path(&client.response("1").await, &["result", "count"]).as_deref(), Some("1"));
    mock.process.signal(Signal::TERM);
    assert_eq!(mock.process.ended().await.code(), Some(0));
    let left = std::fs::read_dir(data.path()).unwrap().count();
    assert_eq!(left, 0, "neither where it was nor its sessions");
}

#[tokio::test]
async fn a_question_of_the_server_and_its_progress_come_from_the_tape_on_every_transport() {
    let chatter =
        |id: &str, token: &str| call(id, "chatter", "{}", &format!(r#""_meta":{{"progressToken":{token}}}"#));
    let (_directory, tape) = record(async |client| {
        client.send(&chatter("1", "\"recorded\"")).await;
        let question = member(&client.message("elicitation/create").await, "id").unwrap();
        let answer = r#"{"action":"accept","content":{"name":"recorded"}}"#;
        client.send(&format!(r#"{{"jsonrpc":"2.0","id":{question},"result":{answer}}}"#)).await;
        client.response("1").await;
    })
    .await;
    let http = Mock::start(&tape, &[]).await;
    for mut client in
        [Client::http(http.address), Client::sse(http.address).await, Client::stdio(mock(&tape, &[]))]
    {
        client.handshake(NEWEST).await;
        client.send(&chatter("\"live\"", "7")).await;
        let progress = client.message("notifications/progress").await;
        assert_eq!(path(&progress, &["params", "progressToken"]).as_deref(), Some("7"), "{progress}");
        let question = member(&client.message("elicitation/create").await, "id").unwrap();
        let answer = r#"{"action":"accept","content":{"name":"another"}}"#;
        client.send(&format!(r#"{{"jsonrpc":"2.0","id":{question},"result":{answer}}}"#)).await;
        let answer = client.response("\"live\"").await;
        assert!(answer.contains("recorded"), "{answer}");
    }
    http.process.says_somewhere("the client answers otherwise than on the tape").await;
}

#[tokio::test]
async fn what_is_not_on_the_tape_is_an_error_that_names_the_nearest_call() {
    let (_directory, tape) = record(async |client| {
        client.request(&call("1", "echo", r#"{"text":"hi","n":1}"#, "")).await;
    })
    .await;
    let mut client = Client::stdio(mock(&tape, &["--ignore", "$.params.arguments.now"]));
    client.handshake(NEWEST).await;
    for same in [r#"{"n":1.0,"text":"\u0068i"}"#, r#"{"text":"hi","n":1,"now":"12:00"}"#] {
        let answer = client.request(&call("1", "echo", same, "")).await;
        assert!(member(&answer, "result").is_some(), "{answer}");
    }
    let answer = client.request(&call("2", "echo", r#"{"text":"ho","n":1}"#, "")).await;
    let error: Value = serde_json::from_str(&member(&answer, "error").unwrap()).unwrap();
    assert_eq!((&error["code"], &error["data"]["reason"]), (&(-31017).into(), &"not_recorded".into()));
    let told = error["message"].as_str().unwrap();
    let name = tape.file_name().unwrap().to_str().unwrap();
    assert!(told.contains(&format!("({name}, frame ")), "{told}");
    assert!(told.contains(r#"$.params.arguments.text: recorded "hi", asked "ho""#), "{told}");
    client.process().says_somewhere("not on the tape").await;
}

/// Ends the client's side and waits for the mock's exit code and last words.
async fn ended(mut client: Client) -> (Option<i32>, String) {
    client.close();
    let status = client.process().ended().await;
    (status.code(), client.process().stderr())
}

#[tokio::test]
async fn a_strict_mock_fails_unless_exactly_what_is_on_the_tape_was_asked() {
    let (_directory, tape) = counted().await;
    for (asked, expected) in [(3, None), (2, Some("not asked for")), (4, Some("once more than on the tape"))]
    {
        let mut client = Client::stdio(mock(&tape, &["--strict"]));
        client.handshake(NEWEST).await;
        for number in 0..asked {
            client.request(&call(&number.to_string(), "count", "{}", "")).await;
        }
        let (code, stderr) = ended(client).await;
        assert_eq!(code, Some(i32::from(expected.is_some())), "{asked}: {stderr}");
        assert!(expected.is_none_or(|expected| stderr.contains(expected)), "{asked}: {stderr}");
    }
}

#[tokio::test]
async fn what_is_missing_is_asked_of_the_real_server_and_is_on_a_tape_afterwards() {
    let (directory, tape) = record(async |client| {
        client.request(&call("1", "echo", r#"{"text":"old"}"#, "")).await;
    })
    .await;
    let echo = |text: &str| call("1", "echo", &format!(r#"{{"text":"{text}"}}"#), "");
    let chatter = call("2", "chatter", "{}", "");
    let mut client = Client::stdio(mock(&tape, &["--", &child()]));
    client.handshake(NEWEST).await;
    let old = client.request(&echo("old")).await;
    let new = client.request(&echo("new")).await;
    assert!(member(&new, "result").is_some(), "{new}");
    client.send(&chatter).await;
    let question = member(&client.message("elicitation/create").await, "id").unwrap();
    client.send(&format!(r#"{{"jsonrpc":"2.0","id":{question},"result":{{"action":"accept"}}}}"#)).await;
    let asked = client.response("2").await;
    let (code, stderr) = ended(client).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("2 asked of the real server"), "{stderr}");

    let mut tapes: Vec<PathBuf> =
        std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    tapes.sort();
    assert_eq!(tapes.len(), 2);
    let newer = tapes.iter().find(|path| **path != tape).unwrap();
    let mut client = Client::stdio(mock(&tape, &[newer.to_str().unwrap()]));
    client.handshake(NEWEST).await;
    assert_eq!(client.request(&echo("old")).await, old);
    assert_eq!(client.request(&echo("new")).await, new);
    client.send(&chatter).await;
    let question = member(&client.message("elicitation/create").await, "id").unwrap();
    client.send(&format!(r#"{{"jsonrpc":"2.0","id":{question},"result":{{"action":"accept"}}}}"#)).await;
    assert_eq!(client.response("2").await, asked);
    let (_, stderr) = ended(client).await;
    assert!(!stderr.contains("not on the tape"), "{stderr}");
}

#[tokio::test]
async fn a_modern_client_meets_the_bridge_before_a_legacy_tape() {
    let (_directory, tape) = record(async |client| {
        client.request(r#"{"jsonrpc":"2.0","id":"l","method":"tools/list"}"#).await;
        client.request(&call("1", "echo", r#"{"text":"hi"}"#, "")).await;
    })
    .await;
    let mock = Mock::start(&tape, &[]).await;
    let echo = |text: &str| {
        let members = format!(r#""name":"echo","arguments":{{"text":"{text}"}},"#);
        envelope("tools/call", Some("echo"), &body("1", "tools/call", &members))
    };
    let answer = echo("hi").send(mock.address).await;
    assert_eq!(answer.status, 200);
    let text = answer.text().await;
    assert_eq!(path(&text, &["result", "resultType"]).as_deref(), Some("\"complete\""), "{text}");
    let missing = echo("ho").send(mock.address).await;
    let text = missing.text().await;
    assert_eq!(path(&text, &["error", "code"]).as_deref(), Some("-31017"), "{text}");
}

#[tokio::test]
async fn a_call_that_was_cancelled_is_silent_until_it_is_cancelled_again() {
    let cancel = |id: &str| {
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#)
    };
    let (_directory, tape) = record(async |client| {
        client.send(&call("1", "hang", "{}", "")).await;
        // Answered only when the call has left.
        client.request(&call("2", "count", "{}", "")).await;
        client.send(&cancel("1")).await;
        client.request(&call("3", "count", "{}", "")).await;
    })
    .await;
    let mut client = Client::stdio(mock(&tape, &[]));
    client.handshake(NEWEST).await;
    client.send(&call("\"h\"", "hang", "{}", "")).await;
    assert_eq!(counts(&mut client, "5").await.as_deref(), Some("1"));
    client.send(&cancel("\"h\"")).await;
    assert_eq!(counts(&mut client, "6").await.as_deref(), Some("2"));
    let (_, stderr) = ended(client).await;
    assert!(stderr.contains("3 answered from the tape"), "{stderr}");
}

async fn run(arguments: &[&str], tape: Option<&Path>) -> (Option<i32>, String) {
    let mut command = tokio::process::Command::new(program());
    command.arg("mock").args(tape).args(arguments).stdin(std::process::Stdio::null());
    let output = soon("the end of `shadowcat mock`", command.output()).await.unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn a_wrong_command_line_or_tape_is_told_with_the_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let (other, (_kept, tape)) = (directory.path().join("other.json"), counted().await);
    std::fs::write(&other, "{}\n").unwrap();
    for (arguments, tape, code, told) in [
        (&["--speed", "fast"][..], Some(tape.as_path()), 2, "`original`, `max`"),
        (&["--ignore", "params"], Some(&tape), 2, "is no JSONPath"),
        (&["--listen", "here"], Some(&tape), 2, "--listen"),
        (&["--fallback", "ftp://h"], Some(&tape), 2, "http"),
        (&[], None, 2, "which tape"),
        (&[], Some(Path::new("/nowhere.jsonl")), 1, "there is no such file"),
        (&[], Some(&other), 1, "does not begin with the header of a tape"),
    ] {
        let (status, stderr) = run(arguments, tape).await;
        assert_eq!(status, Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(told), "{arguments:?}: {stderr}");
    }
}

#[tokio::test]
async fn a_mock_behind_a_port_ends_in_order() {
    let (_directory, tape) = counted().await;
    let mock = Mock::start(&tape, &[]).await;
    let ping = post("/mcp", r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).send(mock.address).await;
    assert_eq!(ping.status, 400, "as before any server, without a session");
    mock.process.signal(Signal::TERM);
    assert_eq!(mock.process.ended().await.code(), Some(0), "{}", mock.process.stderr());
    assert!(mock.process.stderr().contains("3 on the tape and not asked for"), "{}", mock.process.stderr());
}

#[tokio::test]
async fn an_encrypted_tape_is_played_by_who_has_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let (key, tapes) = (directory.path().join("key"), directory.path().join("tapes"));
    std::fs::write(&key, "ab".repeat(32)).unwrap();
    let encrypt = format!("record:\n  encrypt:\n    key_file: '{}'\n", key.display());
    let proxy = recorded(before_command(&[child()]), &tapes).config(&encrypt).start().await;
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    assert_eq!(counts(&mut client, "1").await.as_deref(), Some("1"));
    drop((client, proxy));
    let tape = tape(&tapes).unwrap();
    let mut client = Client::stdio(mock(&tape, &["--key-file", key.to_str().unwrap()]));
    client.handshake(NEWEST).await;
    assert_eq!(counts(&mut client, "1").await.as_deref(), Some("1"));
    let (code, told) = run(&[], Some(&tape)).await;
    assert!(code == Some(1) && told.contains("the tape is encrypted"), "{code:?}: {told}");
}
