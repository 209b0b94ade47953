//! P3, P4 with programs nobody here wrote: official servers are recorded once, and official clients are answered from the
//! tape when the servers are gone, on other transports and in the other era too.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use shadowcat_tests::mock::Mock;
use shadowcat_tests::proxy::{Reverse, before_command, program};
use tempfile::TempDir;

use crate::peers::{clients, node, package, passes, progress, pytest, python, serve, source, talk, vitest};
use crate::tapes::{recorded, tape};

/// Records what the Python client does, in this era, over Streamable HTTP.
async fn record(server: Reverse, mode: &str, options: &[&str]) -> (TempDir, PathBuf, Value) {
    let directory = tempfile::tempdir().unwrap();
    let proxy = recorded(server, directory.path()).start().await;
    let client = [python(), source("python/client.py")];
    let options: Vec<&str> = ["--mode", mode].into_iter().chain(options.iter().copied()).collect();
    let said = talk(&client, &options, &["--http", &proxy.url("/mcp")]).await;
    drop(proxy);
    let tape = tape(directory.path()).unwrap();
    (directory, tape, said)
}

/// What a client heard, but for the revision it heard it in, and progress.
fn heard(said: &Value) -> Value {
    let calls = said["calls"].as_array().unwrap().iter();
    let calls = calls.map(|call| json!({"text": call["text"], "isError": call["isError"]}));
    json!({"tools": said["tools"], "asked": said["asked"], "calls": calls.collect::<Vec<_>>()})
}

/// Every client of every era hears over every transport what the recorded one did.
async fn all_hear_the_same(tape: &Path, options: &[&str], recorded: &Value) {
    let mock = Mock::start(tape, &[]).await;
    let shadowcat = program().to_str().unwrap().to_owned();
    let (http, sse) = (mock.url("/mcp"), mock.url("/sse"));
    let targets = [
        vec!["--stdio", &shadowcat, "mock", tape.to_str().unwrap()],
        vec!["--http", &http],
        vec!["--sse", &sse],
    ];
    for (name, client) in clients() {
        for mode in ["legacy", "2026-07-28"] {
            for target in &targets {
                if mode != "legacy" && (name == "Python 1" || target[0] == "--sse") {
                    continue;
                }
                let all: Vec<&str> = ["--mode", mode].into_iter().chain(options.iter().copied()).collect();
                let said = talk(&client, &all, target).await;
                let case = format!("{name} {mode} {}: {said}", target[0]);
                assert_eq!(heard(&said), heard(recorded), "{case}");
                assert_eq!(said["version"] == "2026-07-28", mode != "legacy", "{case}");
                // The TypeScript client drops progress that is read together with the result.
                if name.starts_with("Python") {
                    let steps = progress(&recorded["calls"][0]);
                    let steps = &steps[..steps.len().saturating_sub(1)];
                    assert!(progress(&said["calls"][0]).starts_with(steps), "{case}");
                }
            }
        }
    }
    assert!(!mock.process.stderr().contains("not on the tape"), "{}", mock.process.stderr());
}

fn everything() -> Reverse {
    before_command(&[node(), package("mcp-server-everything"), "stdio".into()])
}

const EVERYTHING: [&str; 9] = [
    "--call",
    "trigger-long-running-operation",
    r#"{"duration":0.2,"steps":4}"#,
    "--call",
    "echo",
    r#"{"message":"Grüße"}"#,
    "--call",
    "get-sum",
    r#"{"a":40,"b":2}"#,
];

#[tokio::test]
async fn server_everything_recorded_by_a_legacy_client_answers_all_clients_when_it_is_gone() {
    let (_directory, tape, said) = record(everything(), "legacy", &EVERYTHING).await;
    assert_eq!(progress(&said["calls"][0]).len(), 4, "{said}");
    all_hear_the_same(&tape, &EVERYTHING, &said).await;
}

const ASKING: [&str; 11] = [
    "--call",
    "progress",
    r#"{"steps":3}"#,
    "--answer",
    r#"{"answer":"blue"}"#,
    "--call",
    "ask",
    r#"{"question":"Which?"}"#,
    "--call",
    "echo",
    r#"{"text":"done"}"#,
];

#[tokio::test]
async fn questions_recorded_in_either_era_are_asked_of_clients_of_both() {
    for mode in ["legacy", "2026-07-28"] {
        let server = before_command(&[python(), source("python/server.py"), "--stdio".into()]);
        let (_directory, tape, said) = record(server, mode, &ASKING).await;
        assert_eq!(said["asked"], json!(["Which?"]), "{said}");
        all_hear_the_same(&tape, &ASKING, &said).await;
    }
}

#[tokio::test]
async fn the_memory_the_files_and_the_time_of_a_recording_are_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    std::fs::write(root.join("note.txt"), "höchst geheim").unwrap();
    let note = json!({ "path": root.join("note.txt") }).to_string();
    let ada = r#"{"entities":[{"name":"Ada","entityType":"person","observations":[]}]}"#;
    let graph = root.join("graph.jsonl");
    let memory = format!("MEMORY_FILE_PATH={}", graph.display());
    let servers: [(Reverse, &[&str]); 3] = [
        (
            before_command(&[node(), package("mcp-server-filesystem"), root.to_str().unwrap().into()]),
            &["--call", "read_text_file", &note],
        ),
        (
            before_command(&["env".into(), memory, node(), package("mcp-server-memory")]),
            &["--call", "read_graph", "{}", "--call", "create_entities", ada, "--call", "read_graph", "{}"],
        ),
        (
            before_command(&[python(), "-m".into(), "mcp_server_time".into()]),
            &["--call", "get_current_time", r#"{"timezone":"Europe/Berlin"}"#],
        ),
    ];
    for (server, options) in servers {
        let (_kept, tape, said) = record(server, "legacy", options).await;
        assert_eq!(said["calls"][0]["isError"], false, "{said}");
        // The first server's answers are about what is gone now.
        std::fs::remove_file(root.join("note.txt")).ok();
        let shadowcat = program().to_str().unwrap().to_owned();
        let mock = ["--stdio", &shadowcat, "mock", tape.to_str().unwrap()];
        for (name, client) in clients() {
            assert_eq!(heard(&talk(&client, options, &mock).await), heard(&said), "{name}");
        }
    }
}

#[tokio::test]
async fn what_a_legacy_tape_lacks_is_asked_of_a_modern_server_for_clients_of_both_eras() {
    let server = before_command(&[python(), source("python/server.py"), "--stdio".into()]);
    let (directory, tape, _) = record(server, "legacy", &["--call", "progress", r#"{"steps":1}"#]).await;
    let (beyond, port) = serve(&[python(), source("python/server.py"), "--modern".into()], "--http").await;
    let url = format!("http://127.0.0.1:{port}/mcp");
    let shadowcat = program().to_str().unwrap().to_owned();
    let client = [python(), source("python/client.py")];
    let asking = ["--answer", r#"{"answer":"blue"}"#, "--call", "ask", r#"{"question":"Which?"}"#];
    let new = directory.path().join("new");
    for mode in ["legacy", "2026-07-28"] {
        let options: Vec<&str> = ["--mode", mode].into_iter().chain(asking).collect();
        let (old, new) = (tape.to_str().unwrap(), new.to_str().unwrap());
        let target = ["--stdio", &shadowcat, "mock", old, "--record", new, "--fallback", &url];
        let said = talk(&client, &options, &target).await;
        assert_eq!(
            (&said["calls"][0]["text"], &said["asked"]),
            (&json!("blue"), &json!(["Which?"])),
            "{said}"
        );
    }
    drop(beyond);
    let mut newer: Vec<PathBuf> =
        std::fs::read_dir(&new).unwrap().map(|entry| entry.unwrap().path()).collect();
    newer.sort();
    let tapes: Vec<&str> = std::iter::once(&tape).chain(&newer).map(|path| path.to_str().unwrap()).collect();
    for mode in ["legacy", "2026-07-28"] {
        let options: Vec<&str> = ["--mode", mode].into_iter().chain(asking).collect();
        let target: Vec<&str> =
            ["--stdio", &shadowcat, "mock"].into_iter().chain(tapes.iter().copied()).collect();
        let said = talk(&client, &options, &target).await;
        assert_eq!(said["calls"][0]["text"], "blue", "{mode}: {said}");
    }
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/testing").canonicalize().unwrap()
}

#[tokio::test]
async fn the_example_for_pytest_passes() {
    passes(pytest(&examples().join("pytest"))).await;
}

#[tokio::test]
async fn the_example_for_vitest_passes() {
    // Node looks for packages beside a file and above it.
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("vitest")).unwrap();
    for file in ["memory.tape.jsonl", "vitest/agent.test.mjs"] {
        std::fs::copy(examples().join(file), directory.path().join(file)).unwrap();
    }
    passes(vitest(&directory.path().join("vitest"))).await;
}
