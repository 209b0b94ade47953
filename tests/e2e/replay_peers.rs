//! P1, P2, P4 with servers nobody here wrote: a session of each is recorded, by clients of both eras over stdio and HTTP, and
//! played to the same server again and to one in which four things are other ones.

use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};
use shadowcat_tests::proxy::{before_command, before_url, program};

use crate::peers::{everything, node, package, peer, python, serve, source, talk};
use crate::replays::{command, findings, verified};
use crate::tapes::recorded;

/// The tapes of programs that have ended. One that its client killed, because it took long, has no last record.
fn tapes(directory: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(directory).unwrap();
    let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The Python client of the legacy era on HTTP.
async fn over_http(server: &[String], directory: &Path, calls: &[&str]) -> Value {
    let proxy = recorded(before_command(server), directory).start().await;
    let client = [python(), source("python/client.py")];
    let said = talk(&client, calls, &["--http", &proxy.url("/mcp")]).await;
    proxy.process.signal(Signal::TERM);
    proxy.process.ended().await;
    said
}

/// The TypeScript client of the modern era on stdio, which starts its server twice: once to look which era it speaks.
async fn over_stdio(server: &[String], directory: &Path, calls: &[&str]) -> Value {
    let shadowcat = program();
    let words = [shadowcat.to_str().unwrap(), "forward", "--record", directory.to_str().unwrap(), "--"];
    let words = words.into_iter().chain(server.iter().map(String::as_str));
    let client = [node(), source("typescript/client.mjs")];
    let calls: Vec<&str> = ["--mode", "2026-07-28"].into_iter().chain(calls.iter().copied()).collect();
    let target: Vec<&str> = std::iter::once("--stdio").chain(words).collect();
    talk(&client, &calls, &target).await
}

/// What another version of a server does otherwise: with which tools, in the order of the command line.
struct Changes {
    described: &'static str,
    answered: &'static str,
    /// It is called three times, and no other tool is.
    slowed: &'static str,
    demanding: &'static str,
}

/// Both recordings of a server are the same at that server, and at a changed one exactly the changes are named.
async fn is_verified(server: &[String], more: &[&str], calls: &[&str], changes: &Changes) {
    let Changes { described, answered, slowed, demanding } = changes;
    let words = [env!("CARGO_BIN_EXE_changing-stdio"), described, answered, slowed, demanding];
    let other: Vec<String> = words.map(str::to_owned).into_iter().chain(server.iter().cloned()).collect();
    for is_modern in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let said = if is_modern {
            over_stdio(server, directory.path(), calls).await
        } else {
            over_http(server, directory.path(), calls).await
        };
        assert_eq!(said["version"] == "2026-07-28", is_modern, "{said}");
        let tapes = tapes(directory.path());
        assert_eq!(tapes.len(), if is_modern { 2 } else { 1 });
        // How long it takes is the machine's business.
        let (code, report) = verified(&tapes, more, &command(server)).await;
        assert_eq!((code, findings(&report)), (0, vec![]), "{server:?}: {said}\n{report:#}");
        let options = [&["--max-slowdown", "5"], more].concat();
        let (code, report) = verified(&tapes, &options, &command(&other)).await;
        let mut named = findings(&report);
        named.sort();
        let mut expected = vec![
            format!("`description` of tool `{described}` is another one"),
            format!("the answer of `{answered}` is another one"),
            format!("tool `{demanding}` has a new required argument `currency`"),
        ];
        expected.sort();
        assert_eq!((code, named), (1, expected), "{server:?}: {report:#}");
        let latencies = report["latencies"].as_array().unwrap().iter();
        let slower: Vec<&Value> =
            latencies.filter(|kind| kind["slower"] == true).map(|kind| &kind["kind"]).collect();
        assert_eq!(slower, [&json!(format!("tools/call {slowed}"))], "{report:#}");
    }
}

// Without roots: the server asks for them by itself after a while, and a call that needs them may come before or behind that.
const EVERYTHING: [&str; 22] = [
    "--answer",
    r#"{"name":"Ann"}"#,
    "--sample",
    "yes",
    "--call",
    "echo",
    r#"{"message":"hi"}"#,
    "--call",
    "trigger-elicitation-request",
    "{}",
    "--call",
    "trigger-sampling-request",
    r#"{"prompt":"well?","maxTokens":10}"#,
    "--call",
    "get-sum",
    r#"{"a":1,"b":2}"#,
    "--call",
    "get-sum",
    r#"{"a":2,"b":2}"#,
    "--call",
    "get-sum",
    r#"{"a":3,"b":2}"#,
];

#[tokio::test]
async fn server_everything_is_the_same_when_played_again_and_its_changes_are_named() {
    let server = [node(), package("mcp-server-everything"), "stdio".to_owned()];
    let changes = Changes {
        described: "get-tiny-image",
        answered: "echo",
        slowed: "get-sum",
        demanding: "get-annotated-message",
    };
    let long = ["--call", "trigger-long-running-operation", r#"{"duration":0.4,"steps":4}"#];
    is_verified(&server, &[], &[&EVERYTHING[..], &long].concat(), &changes).await;
}

#[tokio::test]
async fn server_filesystem_is_the_same_when_played_again_and_its_changes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let (root, note) = (root.to_str().unwrap(), root.join("a.txt"));
    std::fs::write(&note, "text").unwrap();
    let read = json!({ "path": note }).to_string();
    let listed = json!({ "path": root }).to_string();
    let outside = r#"{"path":"/etc/passwd"}"#;
    let calls = ["--call", "list_directory", &listed, "--call", "get_file_info", &read].into_iter();
    let reads = ["--call", "read_text_file", &read, "--call", "read_text_file", &read];
    let calls: Vec<&str> = calls.chain(reads).chain(["--call", "read_text_file", outside]).collect();
    let server = [node(), package("mcp-server-filesystem"), root.to_owned()];
    let changes = Changes {
        described: "move_file",
        answered: "list_directory",
        slowed: "read_text_file",
        demanding: "write_file",
    };
    is_verified(&server, &[], &calls, &changes).await;
}

#[tokio::test]
async fn server_memory_is_the_same_when_played_again_and_its_changes_are_named() {
    // A memory of its own for each process.
    let line = format!("MEMORY_FILE_PATH=$(mktemp -u) exec '{}' '{}'", node(), package("mcp-server-memory"));
    let server = ["sh".to_owned(), "-c".to_owned(), line];
    let ada = r#"{"entities":[{"name":"Ada","entityType":"person","observations":[]}]}"#;
    let read = ["--call", "read_graph", "{}"];
    let calls = [&read[..], &["--call", "create_entities", ada], &read, &read].concat();
    let calls = [&calls[..], &["--call", "search_nodes", r#"{"query":"Ada"}"#]].concat();
    let changes = Changes {
        described: "delete_entities",
        answered: "search_nodes",
        slowed: "read_graph",
        demanding: "open_nodes",
    };
    is_verified(&server, &[], &calls, &changes).await;
}

#[tokio::test]
async fn server_time_is_the_same_when_played_again_and_its_changes_are_named() {
    let now = ["--call", "get_current_time", r#"{"timezone":"Europe/Berlin"}"#];
    let unknown = ["--call", "get_current_time", r#"{"timezone":"Nowhere/At-All"}"#];
    let convert = [
        "--call",
        "convert_time",
        r#"{"source_timezone":"UTC","time":"12:00","target_timezone":"Asia/Tokyo"}"#,
    ];
    let calls = [&now[..], &now, &unknown, &convert].concat();
    let changes = Changes {
        described: "get_current_time",
        answered: "convert_time",
        slowed: "get_current_time",
        demanding: "convert_time",
    };
    let server = [peer("python-mcp2/bin/python"), "-m".to_owned(), "mcp_server_time".to_owned()];
    is_verified(&server, &["--ignore", "$..day_of_week"], &calls, &changes).await;
}

#[tokio::test]
async fn a_session_with_server_everything_on_http_is_played_to_it_there_and_on_stdio() {
    for (transport, scheme, path) in [("streamableHttp", "http", "mcp"), ("sse", "sse+http", "sse")] {
        let (_server, port) = everything(transport).await;
        let url = format!("{scheme}://127.0.0.1:{port}/{path}");
        let directory = tempfile::tempdir().unwrap();
        let proxy = recorded(before_url(&url), directory.path()).start().await;
        for mode in ["legacy", "2026-07-28"] {
            let options: Vec<&str> = ["--mode", mode].into_iter().chain(EVERYTHING).collect();
            let client = [python(), source("python/client.py")];
            talk(&client, &options, &["--http", &proxy.url("/mcp")]).await;
        }
        proxy.process.signal(Signal::TERM);
        proxy.process.ended().await;
        let tapes = tapes(directory.path());
        let stdio = [node(), package("mcp-server-everything"), "stdio".to_owned()];
        let targets = [vec!["--to", &url], command(&stdio)];
        for target in &targets[if transport == "sse" { 0..1 } else { 0..2 }] {
            let (code, report) = verified(&tapes, &[], target).await;
            assert_eq!((code, findings(&report)), (0, vec![]), "{transport}, {target:?}: {report:#}");
            assert_eq!(report["calls"].as_array().unwrap().len(), 15, "{report:#}");
        }
    }
}

#[tokio::test]
async fn a_server_of_the_other_era_gets_the_answers_to_what_it_asks_in_its_own_way() {
    let directory = tempfile::tempdir().unwrap();
    let server = [python(), source("python/server.py"), "--stdio".to_owned()];
    let asking = ["--answer", r#"{"answer":"blue"}"#, "--sample", "yes", "--root", "file:///tmp"];
    let calls = ["--call", "ask", r#"{"question":"Which?"}"#, "--call", "sample", r#"{"prompt":"p"}"#];
    let calls = [&asking[..], &calls, &["--call", "roots", "{}"]].concat();
    over_http(&server, directory.path(), &calls).await;
    let tapes = tapes(directory.path());
    let modern = [python(), source("python/server.py"), "--modern".to_owned()];
    let (_server, port) = serve(&modern, "--http").await;
    let url = format!("http://127.0.0.1:{port}/mcp");
    // What a server can do in one era and not in the other stays a difference, and so does how it words a question.
    let ignored = ["--ignore", "$.result.capabilities", "--ignore", "$.params.requestedSchema.title"];
    let (code, report) = verified(&tapes, &ignored, &["--to", &url]).await;
    assert_eq!((code, findings(&report)), (0, vec![]), "{report:#}");
    let (code, report) = verified(&tapes, &ignored[..2], &["--to", &url]).await;
    let named = findings(&report);
    assert!(
        code == 1 && named.len() == 1 && named[0].contains("the server asks otherwise than in frame"),
        "{named:?}"
    );
}
