//! Messages that wait, as people see them and let them go: by the admin API and by `shadowcat pause`.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use shadowcat_tests::client::{Client, call};
use shadowcat_tests::proxy::{Proxy, program};
use shadowcat_tests::server::path;
use shadowcat_tests::wait::{soon, within};

use crate::admin::{Desk, served};
use crate::bridged::code;

const NEWEST: &str = "2025-11-25";
/// A person's editor starts two processes for each look, on a machine that does much else.
const PATIENCE: std::time::Duration = std::time::Duration::from_mins(1);

/// A proxy that holds calls of `echo`, and a client of it.
async fn holding() -> (Proxy, Desk, Client) {
    let proxy = served().start().await;
    let desk = Desk::of(&proxy);
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    let (status, added) =
        desk.post("/v1/breakpoints", &json!({"filter": "~m tools/call & ~t echo & ~q & !~s"})).await;
    assert_eq!((status, &added["id"]), (201, &json!("b-1")), "{added}");
    (proxy, desk, client)
}

/// The one message that waits.
async fn held(desk: &Desk) -> Value {
    soon("a held message", async {
        loop {
            let list = desk.get("/v1/held").await;
            if let Some(held) = list["held"].get(0) {
                return held.clone();
            }
        }
    })
    .await
}

/// `shadowcat pause` with these arguments, on the proxy's data.
async fn pause(proxy: &Proxy, arguments: &[&str]) -> (Option<i32>, String, String) {
    paused(proxy.data(), arguments, &[], "").await
}

async fn paused(
    data: &Path,
    arguments: &[&str],
    variables: &[(&str, &str)],
    input: &str,
) -> (Option<i32>, String, String) {
    use tokio::io::AsyncWriteExt as _;
    let mut command = tokio::process::Command::new(program());
    command.arg("pause").args(arguments).arg("--data").arg(data).envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let Output { status, stdout, stderr } =
        within(PATIENCE, "an end of `shadowcat pause`", child.wait_with_output()).await.unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[tokio::test]
async fn a_held_message_is_inspected_edited_answered_dropped_and_refused_by_the_api() {
    let (_proxy, desk, mut client) = holding().await;
    let mut events = desk.feed("").await;

    client.send(&call("1", "echo", r#"{"n":9007199254740993}"#, "")).await;
    let waiting = held(&desk).await;
    assert_eq!(
        (&waiting["kind"], &waiting["method"], &waiting["name"]),
        (&json!("request"), &json!("tools/call"), &json!("echo"))
    );
    assert_eq!((&waiting["cause"]["name"], &waiting["then"]), (&json!("b-1"), &json!("block")));
    assert!(waiting["message"].is_null() && waiting["left_ms"].as_u64() > Some(0), "{waiting}");
    let id = waiting["id"].as_str().unwrap().to_owned();
    let whole = desk.get(&format!("/v1/held/{id}")).await;
    assert_eq!(whole["message"]["params"]["arguments"]["n"].to_string(), "9007199254740993");

    let verdict = |id: &str| format!("/v1/held/{id}/verdict");
    let bad = json!({"verdict": "edit", "message": {"jsonrpc": "2.0", "id": 7, "method": "tools/call"}});
    let (status, told) = desk.post(&verdict(&id), &bad).await;
    assert_eq!((status, &told["reason"]), (422, &json!("bad_message")), "{told}");
    let mut edited = whole["message"].clone();
    edited["params"]["arguments"] = json!({"by": "hand"});
    let (status, done) =
        desk.post(&verdict(&id), &json!({"verdict": "edit", "message": edited, "reason": "a test"})).await;
    assert_eq!((status, &done), (200, &json!({"id": id, "verdict": "edit"})));
    let answer = client.response("1").await;
    assert_eq!(
        path(&answer, &["result", "request", "params", "arguments", "by"]).as_deref(),
        Some("\"hand\"")
    );
    assert_eq!(desk.post(&verdict(&id), &json!({"verdict": "resume"})).await.0, 404);

    for (call_id, said) in [
        ("2", json!({"verdict": "answer", "result": {"content": [], "said": "instead"}})),
        ("3", json!({"verdict": "answer", "error": {"code": 42, "message": "no"}})),
        ("4", json!({"verdict": "block", "reason": "not today"})),
        ("5", json!({"verdict": "resume"})),
    ] {
        client.send(&call(call_id, "echo", "{}", "")).await;
        let waiting = held(&desk).await;
        let (status, told) = desk.post(&verdict(waiting["id"].as_str().unwrap()), &said).await;
        assert_eq!(status, 200, "{told}");
        let answer = client.response(call_id).await;
        match call_id {
            "2" => assert_eq!(path(&answer, &["result", "said"]).as_deref(), Some("\"instead\"")),
            "3" => assert_eq!(code(&answer), Some(42)),
            "4" => assert!(answer.contains("not today"), "{answer}"),
            _ => assert!(path(&answer, &["result", "request"]).is_some(), "{answer}"),
        }
    }
    client.send(&call("6", "echo", "{}", "")).await;
    let waiting = held(&desk).await;
    assert_eq!(
        desk.post(&verdict(waiting["id"].as_str().unwrap()), &json!({"verdict": "drop"})).await.0,
        200
    );

    let mut released = Vec::new();
    while released.len() < 6 {
        let event = events.next().await.expect("another event");
        if event.kind == "released" {
            let said: Value = serde_json::from_str(&event.data).unwrap();
            assert_eq!(said["by"], "api");
            released.push(said["verdict"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(released, ["edit", "answer", "answer", "block", "resume", "drop"]);
}

#[tokio::test]
async fn a_held_message_is_seen_and_let_go_on_the_command_line() {
    let (proxy, desk, mut client) = holding().await;
    assert_eq!(pause(&proxy, &["list"]).await, (Some(0), "nothing waits\n".to_owned(), String::new()));

    client.send(&call("1", "echo", r#"{"text":"hi"}"#, "")).await;
    let id = held(&desk).await["id"].as_str().unwrap().to_owned();
    let (code_of, list, _) = pause(&proxy, &["list"]).await;
    assert_eq!(code_of, Some(0));
    assert!(
        list.starts_with("ID ") && list.contains("-> tools/call echo") && list.contains("breakpoint b-1"),
        "{list}"
    );
    let (_, json, _) = pause(&proxy, &["list", "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()[0]["id"], json!(id));
    let (_, shown, _) = pause(&proxy, &["show", &id]).await;
    assert!(shown.contains("\"text\": \"hi\"") && shown.contains("then: block"), "{shown}");
    assert_eq!(pause(&proxy, &["resume", &id]).await.1, format!("{id} goes on\n"));
    client.response("1").await;

    let result = ["--result", r#"{"content":[],"said":"by hand"}"#];
    for (call_id, words) in [
        ("2", ["answer"].iter().chain(&result).copied().collect::<Vec<_>>()),
        ("3", vec!["answer", "--error", "no", "--code", "-7"]),
        ("4", vec!["block", "--reason", "not today"]),
    ] {
        client.send(&call(call_id, "echo", "{}", "")).await;
        let id = held(&desk).await["id"].as_str().unwrap().to_owned();
        let (status, _, told) = pause(&proxy, &[&words[..1], &[id.as_str()], &words[1..]].concat()).await;
        assert_eq!(status, Some(0), "{told}");
        let answer = client.response(call_id).await;
        match call_id {
            "2" => assert_eq!(path(&answer, &["result", "said"]).as_deref(), Some("\"by hand\"")),
            "3" => assert_eq!(code(&answer), Some(-7)),
            _ => assert!(answer.contains("not today"), "{answer}"),
        }
    }
    let (status, _, told) = pause(&proxy, &["drop", "h-99"]).await;
    assert!(status == Some(1) && told.contains("h-99 is not held"), "{told}");
    let (status, _, told) = pause(&proxy, &["drop", "../status"]).await;
    assert!(status == Some(2) && told.contains("is no number"), "{told}");
}

#[tokio::test]
async fn breakpoints_are_set_and_taken_away_on_the_command_line() {
    let (proxy, _desk, mut client) = holding().await;
    let (status, told, _) =
        pause(&proxy, &["break", "add", "~m tools/list", "--for", "90s", "--then", "continue"]).await;
    assert!(status == Some(0) && told.starts_with("b-2 holds "), "{told}");
    let (_, list, _) = pause(&proxy, &["break", "list"]).await;
    assert!(list.contains("b-1") && list.contains("1m 30s") && list.contains("continue"), "{list}");
    let (status, _, told) = pause(&proxy, &["break", "add", "~m tools/list & ~zz"]).await;
    assert!(status == Some(2) && told.contains("column 17"), "{told}");
    assert_eq!(pause(&proxy, &["break", "remove", "b-1"]).await.1, "b-1 is removed\n");
    // It is held no more.
    client.request(&call("1", "echo", "{}", "")).await;
    let (status, _, told) = pause(&proxy, &["break", "remove", "b-1"]).await;
    assert!(status == Some(1) && told.contains("no breakpoint b-1"), "{told}");
}

/// An editor that puts the next of some texts in the file with each call.
fn editor(directory: &Path, scripts: &[&str]) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    for (number, script) in scripts.iter().enumerate() {
        std::fs::write(directory.join(format!("{number}.sh")), script).unwrap();
    }
    let program = directory.join("an editor");
    let turns = directory.join("turns").display().to_string();
    let text = format!(
        "#!/bin/sh\nn=$(cat '{turns}' 2>/dev/null || echo 0)\necho $((n + 1)) > '{turns}'\nstat -c %a \"$2\" > '{0}/mode'\n[ \"$1\" = --wait ] && . '{0}/'$n.sh \"$2\"\n",
        directory.display()
    );
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    format!("'{}' --wait", program.display())
}

#[tokio::test]
async fn a_message_is_edited_in_an_editor_until_it_can_go() {
    let (proxy, desk, mut client) = holding().await;
    let directory = tempfile::tempdir().unwrap();
    client.send(&call("1", "echo", r#"{"n":9007199254740993,"text":"hi"}"#, "")).await;
    let id = held(&desk).await["id"].as_str().unwrap().to_owned();

    // Nothing is changed: it waits on.
    let idle = editor(directory.path(), &["true"]);
    let (status, _, told) =
        paused(proxy.data(), &["edit", &id], &[("VISUAL", ""), ("EDITOR", &idle)], "").await;
    assert!(status == Some(1) && told.contains("nothing was changed"), "{told}");

    std::fs::remove_file(directory.path().join("turns")).unwrap();
    let scripts = [
        "sed -i 's/\"hi\"/\"hi\",/' \"$2\"",
        "sed -i -e 's/\"hi\",/\"ho\"/' -e 's/\"id\": 1/\"id\": 2/' \"$2\"",
        "sed -i 's/\"id\": 2/\"id\": 1/' \"$2\"",
    ];
    let own = editor(directory.path(), &scripts);
    let (status, done, told) =
        paused(proxy.data(), &["edit", &id], &[("EDITOR", "false"), ("VISUAL", &own)], "\n\n").await;
    assert_eq!((status, done), (Some(0), format!("{id} goes on as edited\n")), "{told}");
    assert!(told.contains("line ") && told.contains("column "), "{told}");
    assert!(told.contains("must stay a request with the id 1"), "{told}");
    assert_eq!(std::fs::read_to_string(directory.path().join("mode")).unwrap(), "600\n");
    let answer = client.response("1").await;
    let arrived = path(&answer, &["result", "request", "params", "arguments"]);
    assert_eq!(arrived.as_deref(), Some(r#"{"n":9007199254740993,"text":"ho"}"#));
}

#[tokio::test]
async fn who_gives_up_editing_leaves_the_message_as_it_was() {
    let (proxy, desk, mut client) = holding().await;
    let directory = tempfile::tempdir().unwrap();
    client.send(&call("1", "echo", "{}", "")).await;
    let id = held(&desk).await["id"].as_str().unwrap().to_owned();
    let own = editor(directory.path(), &["echo '{' > \"$2\""]);
    let (status, _, told) = paused(proxy.data(), &["edit", &id], &[("VISUAL", &own)], "q\n").await;
    assert!(status == Some(1) && told.contains("still held"), "{told}");
    let (status, _, told) = paused(proxy.data(), &["edit", &id], &[("VISUAL", "/nowhere/editor")], "").await;
    assert!(status == Some(1) && told.contains("cannot start the editor `/nowhere/editor`"), "{told}");
    assert_eq!(held(&desk).await["id"], json!(id));
}

#[tokio::test]
async fn what_is_edited_ends_with_its_message_and_not_with_a_proxy_that_cannot_be_asked() {
    let (proxy, desk, mut client) = holding().await;
    let directory = tempfile::tempdir().unwrap();
    client.send(&call("1", "echo", r#"{"text":"hi"}"#, "")).await;
    let id = held(&desk).await["id"].as_str().unwrap().to_owned();
    let edit = "sed -i 's/\"hi\"/\"ho\"/' \"$2\"";
    let data = proxy.data().display();
    let resume = format!("{edit}; {} pause resume {id} --data {data}", program().display());
    let own = editor(directory.path(), &[&resume]);
    let (status, _, told) = paused(proxy.data(), &["edit", &id], &[("VISUAL", &own)], "\n").await;
    assert!(status == Some(1) && told.contains("it was let go before"), "{told}");
    client.response("1").await;

    std::fs::remove_file(directory.path().join("turns")).unwrap();
    client.send(&call("2", "echo", r#"{"text":"hi"}"#, "")).await;
    let id = held(&desk).await["id"].as_str().unwrap().to_owned();
    // Its call waits on without it.
    drop(client);
    let kill = format!("{edit}; kill -9 {}", proxy.process.pid());
    let again = directory.path().join("again");
    let own = editor(directory.path(), &[&kill, &format!("cp \"$2\" {}", again.display())]);
    let (status, _, told) = paused(proxy.data(), &["edit", &id], &[("VISUAL", &own)], "\nq\n").await;
    proxy.process.ended().await;
    assert!(status == Some(1) && told.contains("no proxy answers at http://127.0.0.1:"), "{told}");
    assert!(told.contains(&format!("{id} is not edited")), "{told}");
    assert!(std::fs::read_to_string(again).unwrap().contains("\"ho\""), "it is there to be sent again");
}

#[tokio::test]
async fn a_proxy_that_is_gone_is_told_as_such() {
    let data = tempfile::tempdir().unwrap();
    let (status, _, told) = paused(data.path(), &["list"], &[], "").await;
    assert!(status == Some(1) && told.contains("there is no such file"), "{told}");

    let proxy = served().start().await;
    let notice = proxy.data().join("admin.json");
    let kept = std::fs::read(&notice).unwrap();
    proxy.process.signal(rustix::process::Signal::KILL);
    proxy.process.ended().await;
    assert!(notice.exists(), "nobody was there to remove it");
    let (status, _, told) = pause(&proxy, &["list"]).await;
    assert!(status == Some(1) && told.contains("does not run any more; start it again"), "{told}");

    // Another process has the number by now.
    let mut other: Value = serde_json::from_slice(&kept).unwrap();
    other["pid"] = json!(std::process::id());
    std::fs::write(&notice, other.to_string()).unwrap();
    let (status, _, told) = pause(&proxy, &["list"]).await;
    assert!(status == Some(1) && told.contains("no proxy answers at http://127.0.0.1:"), "{told}");
}
