//! Tasks across the eras, with official servers that offer them: the TypeScript SDK 1.x for those of 2025-11-25, the
//! Rust SDK for the extension of 2026-07-28.

use futures_util::future::join_all;
use shadowcat_tests::client::{Client, call};
use shadowcat_tests::proxy::{Proxy, Reverse, before_command, before_url};
use shadowcat_tests::raw::post;
use shadowcat_tests::server::{member, path};
use shadowcat_tests::wait::{found, within};
use tempfile::TempDir;
use tokio::process::Child;

use crate::bridged::{FORMS, Round, call_of, code, kill_servers, kind, modern, subscription};
use crate::edge::session;
use crate::peers::{START, node, serve, source};

const TASKS: &str = "io.modelcontextprotocol/tasks";
const ACCEPT: &str = r#"{"action":"accept","content":{"answer":"blue"}}"#;
const NEWEST: &str = "2025-11-25";

/// The capabilities of a modern client that takes tasks and can be asked for a form.
pub(crate) fn taking() -> String {
    format!(r#"{{"elicitation":{{"form":{{}}}},"extensions":{{"{TASKS}":{{}}}}}}"#)
}

/// A proxy before an official server of one era, with what has to live as long.
pub(crate) struct Before {
    pub(crate) proxy: Proxy,
    flag: &'static str,
    _server: Option<Child>,
    log: TempDir,
}

pub(crate) async fn before(
    words: &[String],
    flag: &'static str,
    change: impl Fn(Reverse) -> Reverse,
) -> Before {
    let log = tempfile::tempdir().unwrap();
    let file = log.path().join("log").display().to_string();
    let words: Vec<String> = words.iter().cloned().chain(["--log".into(), file]).collect();
    let (reverse, server) = if flag == "--stdio" {
        (before_command(&[&words[..], &[flag.to_owned()]].concat()), None)
    } else {
        let (server, port) = serve(&words, flag).await;
        let url = match flag {
            "--sse" => format!("sse+http://127.0.0.1:{port}/sse"),
            _ => format!("http://127.0.0.1:{port}/mcp"),
        };
        (before_url(&url), Some(server))
    };
    Before { proxy: change(reverse).start().await, flag, _server: server, log }
}

async fn before_legacy(flag: &'static str) -> Before {
    before(&legacy_server(), flag, |reverse| reverse).await
}

pub(crate) fn legacy_server() -> [String; 2] {
    [node(), source("typescript/task-server-v1.mjs")]
}

async fn before_modern(flag: &'static str) -> Before {
    before(&[env!("CARGO_BIN_EXE_rmcp-tasks").to_owned()], flag, |reverse| reverse).await
}

impl Before {
    async fn ask(&self, asked: shadowcat_tests::raw::Ask) -> String {
        asked.send_patiently(self.proxy.address).await.message().await
    }

    /// The name under which a modern client gets the task that a call becomes.
    async fn task(&self, tool: &str, arguments: &str) -> String {
        let created = self.ask(call_of("1", tool, arguments, &taking())).await;
        assert_eq!(kind(&created).as_deref(), Some("\"task\""), "{}: {created}", self.flag);
        assert_eq!(path(&created, &["result", "status"]).as_deref(), Some("\"working\""), "{created}");
        let handle = path(&created, &["result", "taskId"]).unwrap();
        serde_json::from_str(&handle).unwrap()
    }

    /// A request about a task.
    async fn about(&self, method: &str, task: &str, members: &str) -> String {
        let members = format!(r#""taskId":"{task}",{members}"#);
        self.ask(modern("2", method, Some(task), &members, &taking(), "")).await
    }

    /// Looks at a task until it has this status; gives the task.
    async fn has_become(&self, task: &str, status: &str) -> String {
        let quoted = format!("\"{status}\"");
        within(START, format!("{}: a task that is {status}", self.flag), async {
            loop {
                let looked = self.about("tasks/get", task, "").await;
                assert_eq!(kind(&looked).as_deref(), Some("\"complete\""), "{}: {looked}", self.flag);
                let found = path(&looked, &["result"]).unwrap();
                if member(&found, "status").as_ref() == Some(&quoted) {
                    return found;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        })
        .await
    }

    /// Waits until the server has written this word down.
    async fn says(&self, word: &str) {
        let file = self.log.path().join("log");
        found(format!("{}: {word} at the server", self.flag), || {
            std::fs::read_to_string(&file).unwrap_or_default().contains(word).then_some(())
        })
        .await;
    }
}

fn text(result: &str) -> String {
    let result: serde_json::Value = serde_json::from_str(result).unwrap();
    result["content"][0]["text"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn b5_a_modern_client_follows_a_legacy_task_to_its_end() {
    for flag in ["--http", "--sse", "--stdio"] {
        let before = before_legacy(flag).await;
        let task = before.task("wait", r#"{"ms":300}"#).await;
        for _ in 0..2 {
            let done = before.has_become(&task, "completed").await;
            assert_eq!(text(&member(&done, "result").unwrap()), "waited 300", "{flag}: {done}");
            let named = member(&done, "taskId");
            assert_eq!(named, Some(format!("\"{task}\"")), "{flag}: one name from first to last");
        }
        let failed = before.task("fail", "{}").await;
        let failed = before.has_become(&failed, "completed").await;
        assert_eq!(path(&failed, &["result", "isError"]).as_deref(), Some("true"), "{flag}: {failed}");
        let broken = before.task("break", "{}").await;
        let broken = before.has_become(&broken, "failed").await;
        assert!(path(&broken, &["error", "code"]).is_some(), "{flag}: {broken}");
        let plain = before.ask(call_of("3", "at_once", "{}", &taking())).await;
        assert_eq!(kind(&plain).as_deref(), Some("\"complete\""), "{flag}: {plain}");
    }
}

#[tokio::test]
async fn b5_a_modern_client_answers_and_cancels_legacy_tasks() {
    for flag in ["--http", "--sse", "--stdio"] {
        let before = before_legacy(flag).await;
        let task = before.task("ask", r#"{"question":"Which?"}"#).await;
        let asking = before.has_become(&task, "input_required").await;
        let requests = member(&asking, "inputRequests").unwrap();
        assert!(requests.contains("\"Which?\"") && !requests.contains("related-task"), "{flag}: {requests}");
        let answers = format!(r#""inputResponses":{{"q1":{ACCEPT}}},"#);
        let acked = before.about("tasks/update", &task, &answers).await;
        assert_eq!(kind(&acked).as_deref(), Some("\"complete\""), "{flag}: {acked}");
        let done = before.has_become(&task, "completed").await;
        assert_eq!(text(&member(&done, "result").unwrap()), ACCEPT, "{flag}: {done}");

        let task = before.task("forever", "{}").await;
        let acked = before.about("tasks/cancel", &task, "").await;
        assert_eq!(kind(&acked).as_deref(), Some("\"complete\""), "{flag}: {acked}");
        before.has_become(&task, "cancelled").await;
        let unknown = before.about("tasks/get", "nobodys", "").await;
        assert_eq!(code(&unknown), Some(-32602), "{flag}: {unknown}");
    }
}

#[tokio::test]
async fn b5_a_listener_is_told_how_far_legacy_tasks_are() {
    for flag in ["--http", "--sse", "--stdio"] {
        let before = before_legacy(flag).await;
        let task = before.task("ask", r#"{"question":"Which?"}"#).await;
        let filter = format!(r#""notifications":{{"taskIds":["{task}","nobodys"]}},"#);
        let listen = modern("\"l\"", "subscriptions/listen", None, &filter, &taking(), "");
        let mut events = listen.send_patiently(before.proxy.address).await.events();
        let ack = events.message().await;
        let granted = path(&ack, &["params", "notifications"]);
        assert_eq!(granted, Some(format!(r#"{{"taskIds":["{task}"]}}"#)), "{flag}: {ack}");
        let mut seen = Vec::new();
        loop {
            let told = events.message().await;
            assert_eq!(member(&told, "method").as_deref(), Some("\"notifications/tasks\""), "{flag}: {told}");
            assert_eq!(subscription(&told).as_deref(), Some("\"l\""), "{flag}: {told}");
            let params = member(&told, "params").unwrap();
            assert_eq!(member(&params, "taskId"), Some(format!("\"{task}\"")), "{flag}: {told}");
            let status = member(&params, "status").unwrap();
            if status == "\"input_required\"" && !seen.contains(&status) {
                let answers = format!(r#""inputResponses":{{"q1":{ACCEPT}}},"#);
                before.about("tasks/update", &task, &answers).await;
            }
            seen.push(status);
            if let Some(result) = member(&params, "result") {
                assert_eq!(text(&result), ACCEPT, "{flag}: {told}");
                break;
            }
        }
        assert_eq!(seen.last().unwrap(), "\"completed\"", "{flag}");
        assert!(seen.contains(&"\"input_required\"".to_owned()), "{flag}: {seen:?}");
    }
}

#[tokio::test]
async fn b5_a_modern_client_without_tasks_waits_for_a_legacy_one_longer_than_for_a_silent_server() {
    let both = ["--http", "--stdio"].map(async |flag| {
        let patience = |reverse: Reverse| reverse.argument("--request-timeout").argument("3s");
        let before = before(&legacy_server(), flag, patience).await;
        within(START, format!("{flag}: the server is there"), async {
            while code(&before.ask(call_of("0", "at_once", "{}", FORMS)).await).is_some() {}
        })
        .await;
        let done = before.ask(call_of("1", "wait", r#"{"ms":7000}"#, FORMS)).await;
        assert_eq!(text(&path(&done, &["result"]).unwrap()), "waited 7000", "{flag}: {done}");

        let question = r#"{"question":"Which?"}"#;
        let first = Round::of(&before.ask(call_of("2", "ask", question, FORMS)).await);
        assert!(first.request().contains("\"Which?\""), "{flag}: {first:?}");
        let done = before.ask(first.retry("3", "ask", question, FORMS, ACCEPT)).await;
        assert_eq!(text(&path(&done, &["result"]).unwrap()), ACCEPT, "{flag}: {done}");
        before.says("tools/call ask").await;
    });
    join_all(both).await;
}

#[tokio::test]
async fn b5_a_legacy_client_gets_the_outcome_of_modern_tasks() {
    for flag in ["--http", "--stdio"] {
        let before = before_modern(flag).await;
        let mut client = Client::http(before.proxy.address);
        let welcome = client.handshake(NEWEST).await;
        assert_eq!(path(&welcome, &["result", "capabilities", "tasks"]), None, "{flag}: {welcome}");
        let done = client.request(&call("1", "wait", r#"{"ms":300}"#, "")).await;
        assert_eq!(text(&path(&done, &["result"]).unwrap()), "waited 300", "{flag}: {done}");
        assert_eq!(path(&done, &["result", "resultType"]), None, "{flag}: {done}");

        client.send(&call("2", "ask", r#"{"question":"Which?"}"#, "")).await;
        let question = client.message("elicitation/create").await;
        assert_eq!(path(&question, &["params", "message"]).as_deref(), Some("\"Which?\""), "{flag}");
        let asked = member(&question, "id").unwrap();
        client.send(&format!(r#"{{"jsonrpc":"2.0","id":{asked},"result":{ACCEPT}}}"#)).await;
        let done = client.response("2").await;
        assert!(text(&path(&done, &["result"]).unwrap()).contains("blue"), "{flag}: {done}");

        let failed = client.request(&call("3", "fail", "{}", "")).await;
        assert_eq!(path(&failed, &["result", "isError"]).as_deref(), Some("true"), "{flag}: {failed}");
        let broken = client.request(&call("4", "break", "{}", "")).await;
        assert_eq!(code(&broken), Some(-32603), "{flag}: {broken}");
        // Its server keeps it for a second only.
        let expired = client.request(&call("5", "brief", "{}", "")).await;
        assert_eq!(path(&expired, &["result", "isError"]).as_deref(), Some("true"), "{flag}: {expired}");
    }
}

#[tokio::test]
async fn b5_a_modern_task_is_cancelled_with_the_call_of_its_legacy_client() {
    for flag in ["--http", "--stdio"] {
        let before = before_modern(flag).await;
        let mut client = Client::http(before.proxy.address);
        client.handshake(NEWEST).await;
        client.send(&call("1", "forever", "{}", "")).await;
        before.says("begins forever").await;
        client.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#).await;
        before.says("cancelled forever").await;
    }
}

#[tokio::test]
async fn b5_a_legacy_client_waits_for_a_modern_task_on_a_stream_that_lives() {
    let both = ["--http", "--stdio"].map(async |flag| {
        let patience = |reverse: Reverse| reverse.argument("--request-timeout").argument("3s");
        let before = before(&[env!("CARGO_BIN_EXE_rmcp-tasks").to_owned()], flag, patience).await;
        for revision in ["2025-03-26", NEWEST] {
            let id = session(&before.proxy, revision).await;
            let asked = post("/mcp", &call("1", "wait", r#"{"ms":5000}"#, "")).header("Mcp-Session-Id", &id);
            let answer = asked.send_patiently(before.proxy.address).await;
            assert!(answer.is_stream(), "{flag}: {revision}");
            let done = answer.message().await;
            assert_eq!(text(&path(&done, &["result"]).unwrap()), "waited 5000", "{flag}: {done}");
        }
    });
    join_all(both).await;
}

#[tokio::test]
async fn b5_a_task_whose_server_is_gone_is_unknown_and_names_no_other_servers_task() {
    let before = before_legacy("--stdio").await;
    let task = before.task("forever", "{}").await;
    kill_servers(&before.proxy.process, &node()).await;
    // This one may still meet its end.
    before.ask(call_of("3", "at_once", "{}", &taking())).await;
    let other = before.task("forever", "{}").await;
    assert_ne!(task, other);
    let lost = before.about("tasks/get", &task, "").await;
    assert_eq!(code(&lost), Some(-32602), "{lost}");
    let cancelled = before.about("tasks/cancel", &task, "").await;
    assert_eq!(code(&cancelled), Some(-32602), "{cancelled}");
    before.has_become(&other, "working").await;
}
