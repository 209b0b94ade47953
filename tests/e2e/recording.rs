//! R4: what is recorded of the traffic and how it is kept, as the file says, by the program itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use shadowcat_tests::client::{Client, call};
use shadowcat_tests::process::Process;
use shadowcat_tests::proxy::{Proxy, before_command, program};
use shadowcat_tests::server::member;
use shadowcat_tests::wait::found;

use crate::harness::child;

const NEWEST: &str = "2025-11-25";
const KEY: &str = "0011223344556677889900112233445566778899aabbccddeeff001122334455";

fn tapes(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

pub(crate) fn shadowcat(arguments: &[&str], tape: &Path, key_file: Option<&Path>) -> Output {
    let mut command = Command::new(program());
    command.args(arguments).arg(tape).stdin(Stdio::null());
    if let Some(file) = key_file {
        command.env("SHADOWCAT_KEY_FILE", file);
    }
    command.output().unwrap()
}

/// The messages of all tapes of a directory, as records.
fn frames(directory: &Path) -> Vec<String> {
    let mut frames = Vec::new();
    for tape in tapes(directory) {
        let shown = shadowcat(&["tape", "show", "-o", "json"], &tape, None);
        assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
        let text = String::from_utf8(shown.stdout).unwrap();
        let is_frame = |line: &&str| member(line, "record").as_deref() == Some("\"frame\"");
        frames.extend(text.lines().filter(is_frame).map(str::to_owned));
    }
    frames
}

/// The methods of what was asked, in order.
fn methods(directory: &Path) -> Vec<String> {
    let frames = frames(directory);
    frames.iter().filter_map(|frame| Some(member(frame, "method")?.trim_matches('"').to_owned())).collect()
}

/// A proxy that records as this says.
async fn recording(policy: &str) -> Proxy {
    before_command(&[child()]).config(&format!("record:\n{policy}")).start().await
}

async fn ended(proxy: &mut Proxy) -> PathBuf {
    proxy.process.signal(Signal::TERM);
    proxy.process.ended().await;
    proxy.data().join("tapes")
}

/// A handshake, a list, one call that succeeds and two that fail.
async fn talk(proxy: &Proxy) {
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    client.request(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).await;
    client.request(&call("2", "echo", r#"{"a":1}"#, "")).await;
    for id in ["3", "4"] {
        client.request(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"no/such"}}"#)).await;
    }
}

#[tokio::test]
async fn r4_only_what_fits_the_filter_or_fails_is_recorded_and_always_the_handshake() {
    let handshake = ["initialize", "notifications/initialized"];
    for (policy, kept) in [
        ("  only: ~t echo\n", vec!["tools/call"]),
        ("  only: ~m no/* | ~m tools/list\n", vec!["tools/list", "no/such", "no/such"]),
        ("  only: ~to client\n", vec![]),
        ("  sample: {share: 0}\n", vec![]),
        ("  sample: {share: 0, always: {errors: true}}\n", vec!["no/such", "no/such"]),
        ("  only: ~m tools/*\n  sample: {share: 0, always: {slower_than: 1h}}\n", vec![]),
    ] {
        let mut proxy = recording(policy).await;
        talk(&proxy).await;
        let directory = ended(&mut proxy).await;
        let mut found = methods(&directory);
        let begin: Vec<_> = found.drain(..2).collect();
        assert_eq!(
            (begin, found),
            (handshake.map(str::to_owned).into(), kept.iter().map(ToString::to_string).collect()),
            "{policy}"
        );
    }
}

#[tokio::test]
async fn r4_tapes_rotate_are_compressed_encrypted_and_removed_and_are_read_with_the_key() {
    let keys = tempfile::tempdir().unwrap();
    let key_file = keys.path().join("tape.key");
    std::fs::write(&key_file, KEY).unwrap();
    let encrypt = format!("  encrypt: {{key_file: {}}}\n", key_file.display());
    let policy = format!("  rotate: {{bytes: 2kB}}\n  keep: {{tapes: 3}}\n  compress: true\n{encrypt}");
    let mut proxy = recording(&policy).await;
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    for id in 1..=20 {
        let text = format!(r#"{{"word":"canary-in-the-call","fill":"{}"}}"#, "x".repeat(900));
        client.request(&call(&id.to_string(), "echo", &text, "")).await;
    }
    let directory = ended(&mut proxy).await;
    let files = tapes(&directory);
    assert!((1..=3).contains(&files.len()), "{files:?}");
    for file in &files {
        assert!(file.to_string_lossy().ends_with(".tape.jsonl.zst.enc"), "{files:?}");
        let bytes = std::fs::read(file).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("canary-in-the-call"));
        let refused = shadowcat(&["tape", "show"], file, None);
        let told = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && told.contains("key"), "{told}");
    }
    let read = |file: &PathBuf| {
        let exported = shadowcat(&["tape", "export", "jsonl"], file, Some(&key_file));
        assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
        String::from_utf8(exported.stdout).unwrap()
    };
    let text: String = files.iter().map(read).collect();
    assert!(text.matches("canary-in-the-call").count() >= 2, "{text}");
}

#[tokio::test]
async fn r4_what_an_operator_names_as_secret_is_not_on_the_tape() {
    let mut proxy =
        recording("  secrets: {names: [ssn], paths: [$..card], patterns: ['ACME-[0-9]+']}\n").await;
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    let arguments =
        r#"{"ssn":"first-canary","card":{"n":"second-canary"},"text":"ACME-77001 and first-canary? no"}"#;
    let answer = client.request(&call("1", "echo", arguments, "")).await;
    assert!(answer.contains("ACME-77001"), "the client gets what the server said");
    let directory = ended(&mut proxy).await;
    let frames = frames(&directory).concat();
    for secret in ["second-canary", "ACME-77001", r#""ssn":"first-canary""#] {
        assert!(!frames.contains(secret), "{frames}");
    }
}

#[tokio::test]
async fn r1_record_and_demo_write_tapes_where_they_are_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(program());
    command.args(["record", "--record"]).arg(directory.path()).args(["--", &child()]);
    let mut client = Client::stdio(command);
    client.handshake(NEWEST).await;
    client.request(&call("1", "echo", "{}", "")).await;
    drop(client);
    found("the whole tape of `record`", || {
        let text = std::fs::read_to_string(tapes(directory.path()).first()?).ok()?;
        (text.matches(r#""record":"frame""#).count() == 5 && text.contains(r#""record":"end""#)).then_some(())
    })
    .await;

    let (directory, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut command = Command::new(program());
    command.args(["demo", "--listen", "127.0.0.1:0", "--record"]).arg(directory.path());
    command.arg("--data").arg(data.path()).stdin(Stdio::null()).stdout(Stdio::null());
    let process = Process::start(command);
    process.says("shadowcat: ready on http://").await;
    assert_eq!(tapes(directory.path()).len(), 1, "a tape from the start");
}
