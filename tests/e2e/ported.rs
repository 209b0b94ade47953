//! R6: what was recorded before real servers leaves the tape in other formats, runs as a test, and comes back.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use shadowcat_tests::proxy::program;

use crate::peers::{ASKING, node, package, passes, pytest, python, source, talk, tested, vitest};

const SECRET: &str = "hunter2-canary-value";
const MODES: [&str; 3] = ["everything", "legacy", "2026-07-28"];
/// Between two messages an archive has the time of day, which may be set while it passes, and a tape has a clock.
const CLOCKS_US: u64 = 10_000;

/// What the real client said to a real server, on tape.
async fn recorded(directory: &Path, options: &[&str], server: &str) -> PathBuf {
    let program = program().to_str().unwrap().to_owned();
    let line = format!("exec '{program}' forward --record '{}' -- {server}", directory.display());
    talk(&[python(), source("python/client.py")], options, &["--stdio", "sh", "-c", &line]).await;
    let mut tapes = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    tapes.find(|path| path.to_string_lossy().ends_with(".tape.jsonl")).unwrap()
}

async fn everything(directory: &Path) -> PathBuf {
    let server = format!("'{}' '{}' stdio", node(), package("mcp-server-everything"));
    let secret = format!(r#"{{"message":"Grüße ``` '''","password":"{SECRET}"}}"#);
    let options =
        ["--call", "echo", &secret, "--call", "get-sum", r#"{"a":40,"b":2}"#, "--call", "none", "{}"];
    recorded(directory, &options, &server).await
}

async fn conversation(directory: &Path, mode: &str) -> PathBuf {
    match mode {
        "everything" => everything(directory).await,
        mode => asking(directory, mode).await,
    }
}

async fn asking(directory: &Path, mode: &str) -> PathBuf {
    let server = format!("'{}' '{}' --stdio", python(), source("python/server.py"));
    let options = [&["--mode", mode][..], &ASKING].concat();
    recorded(directory, &options, &server).await
}

fn shadowcat(arguments: &[&str]) -> String {
    let output = Command::new(program()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn exported(format: &str, tape: &Path) -> String {
    shadowcat(&["tape", "export", format, tape.to_str().unwrap()])
}

fn imported(format: &str, recording: &str, directory: &Path) -> PathBuf {
    let (file, tape) = (directory.join("recording"), directory.join(format!("{format}.tape.jsonl")));
    std::fs::write(&file, recording).unwrap();
    shadowcat(&["tape", "import", format, file.to_str().unwrap(), "-o", tape.to_str().unwrap()]);
    tape
}

fn lines(tape: &Path) -> Vec<Value> {
    exported("jsonl", tape).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// These members of each message.
fn messages(tape: &Path, members: &[&str]) -> Vec<String> {
    lines(tape).iter().map(|line| members.iter().map(|name| line[name].to_string()).collect()).collect()
}

/// What an archive keeps of each message, and how long after the first it passed.
fn kept(tape: &Path) -> Vec<([String; 3], i64)> {
    let known = ["direction", "session", "message"];
    let lines = lines(tape);
    let at = |line: &Value| line["at_us"].as_i64().unwrap();
    let begun = lines.iter().map(at).min().unwrap();
    let kept = lines.iter().map(|line| (known.map(|name| line[name].to_string()), at(line) - begun));
    let mut kept: Vec<_> = kept.collect();
    kept.sort();
    kept
}

fn is_same(one: &[([String; 3], i64)], other: &[([String; 3], i64)]) -> bool {
    let mut pairs = one.iter().zip(other);
    one.len() == other.len() && pairs.all(|(a, b)| a.0 == b.0 && a.1.abs_diff(b.1) <= CLOCKS_US)
}

#[tokio::test]
async fn r6_what_is_exported_comes_back_as_the_same_conversation_without_its_secrets() {
    for mode in MODES {
        let directory = tempfile::tempdir().unwrap();
        let tape = conversation(directory.path(), mode).await;
        let all = ["time", "at_us", "direction", "exchange", "session", "took_us", "message"];
        let before = messages(&tape, &all);
        assert!(before.len() >= 4, "{before:?}");
        let again = imported("jsonl", &exported("jsonl", &tape), directory.path());
        assert_eq!(messages(&again, &all), before, "{mode}");
        let archive = imported("har", &exported("har", &tape), directory.path());
        let (before, after) = (kept(&tape), kept(&archive));
        assert!(is_same(&before, &after), "{mode}\n{before:#?}\n{after:#?}");
        for format in ["har", "jsonl", "markdown"] {
            assert!(!exported(format, &tape).contains(SECRET), "{format}");
        }
    }
}

#[tokio::test]
async fn r6_what_comes_back_from_an_archive_answers_a_client_in_the_servers_place() {
    let directory = tempfile::tempdir().unwrap();
    let tape = asking(directory.path(), "legacy").await;
    let archive = imported("har", &exported("har", &tape), directory.path());
    let (program, archive) = (program().to_str().unwrap().to_owned(), archive.to_str().unwrap().to_owned());
    let said =
        talk(&[python(), source("python/client.py")], &ASKING, &["--stdio", &program, "mock", &archive])
            .await;
    assert_eq!((&said["calls"][0]["text"], &said["asked"][0]), (&"blue".into(), &"Which?".into()), "{said}");
}

fn test_of(tape: &Path, language: &str, name: &str) -> PathBuf {
    let file = tape.with_file_name(name);
    let arguments = ["tape", "export", "test", "--lang", language];
    shadowcat(&[&arguments[..], &[tape.to_str().unwrap(), "-o", file.to_str().unwrap()]].concat());
    file
}

/// It is a target of the example's package: compiled and run with all other tests.
#[test]
fn r6_the_exported_test_of_the_example_is_what_is_written_today() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/testing/cargo");
    let arguments = ["tape", "export", "test", "../memory.tape.jsonl", "--lang", "rust"];
    let output = Command::new(program()).args(arguments).current_dir(&package).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let kept = std::fs::read_to_string(package.join("tests/recorded/mod.rs")).unwrap();
    assert!(
        String::from_utf8(output.stdout).unwrap() == kept,
        "tests/from_tape.rs says how to write it anew"
    );
}

#[tokio::test]
async fn r6_an_exported_test_passes_against_the_mock_and_names_what_has_changed() {
    let directory = tempfile::tempdir().unwrap();
    let mut recorded = PathBuf::new();
    for mode in MODES.iter().rev() {
        let directory = directory.path().join(mode);
        recorded = conversation(&directory, mode).await;
        let tape = &recorded;
        assert!(!std::fs::read_to_string(test_of(tape, "rust", "recorded.rs")).unwrap().contains(SECRET));
        test_of(tape, "vitest", "recorded.test.mjs");
        test_of(tape, "pytest", &format!("test_{}.py", mode.replace('-', "_")));
    }
    passes(vitest(directory.path())).await;
    passes(pytest(directory.path())).await;

    let file = test_of(&recorded, "pytest", "test_changed.py");
    let changed = std::fs::read_to_string(&file).unwrap().replace("40 and 2 is 42", "40 and 2 is 43");
    std::fs::write(&file, changed).unwrap();
    let (passed, said) = tested(pytest(&file)).await;
    assert!(!passed && said.contains("$.result.content[0].text"), "{said}");
}
