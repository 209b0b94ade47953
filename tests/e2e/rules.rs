//! Rules carried out on live traffic: a table of cases on each way that a message can take, both directions, reload, bounds.

use std::process::Command;

use shadowcat_tests::client::{Client, call};
use shadowcat_tests::proxy::{Proxy, Reverse, before_command, before_url, program};
use shadowcat_tests::server::{Answers, HttpServer, HttpSettings, Speaks, SseServer, member, path};
use shadowcat_tests::wait::{SOON, within};

use crate::bridged::code;
use crate::harness::{Table, child, tape_with};
use crate::modern::envelope;

/// One rule for each tool of the table.
const RULES: &str = r#"
rules:
  - {name: refuse, when: {tool: refuse}, do: [{block: "not {{ request.params.name }}"}]}
  - {name: mock, when: {tool: mock}, do: [{mock: {result: {content: [], said: "{{ request.params.arguments.text }}"}}}]}
  - {name: fail, when: {tool: fail}, do: [{mock: {error: {code: 42, message: failed}}}]}
  - {name: rename, when: {tool: was}, do: [{set: {"$.name": is}}]}
  - {name: remove, when: {tool: secret}, do: [{remove: ["$.arguments.token"]}]}
  - {name: more, when: {tool: more, on: answer}, do: [{set: {"$.more": true}}]}
  - {name: hide, when: {tool: hide, on: answer}, do: [{block: hidden}]}
  - {name: swap, when: {tool: swap, on: answer}, do: [{mock: {error: {code: 43, message: swapped}}}]}
  - {name: slow, when: {tool: slow}, do: [{delay: 20ms}, {tag: waited}]}
  - {name: slower, when: {tool: slow, on: answer}, do: [{delay: {from: 1ms, to: 20ms}}, {log: "it was slow"}]}
  - {name: broken, when: {tool: broken}, do: [{log: "{{ request.params.arguments.none.deeper }}"}]}
  - {name: lax, fail: open, when: {tool: lax}, do: [{log: "{{ request.params.arguments.none.deeper }}"}]}
"#;

const DENIED: i64 = -31_015;
const ARGUMENTS: &str = r#"{"text":"hi","token":"t","n":9007199254740993}"#;

/// What comes of a call of each tool.
fn expect(tool: &str, answer: &str) {
    let result = |names: &[&str]| path(answer, &[&["result"], names].concat());
    let arrived = |names: &[&str]| path(answer, &[&["result", "request", "params"], names].concat());
    let is_so = match tool {
        "refuse" => {
            let told = path(answer, &["error", "message"]);
            code(answer) == Some(DENIED) && told.as_deref() == Some("\"not refuse\"")
        }
        "hide" | "broken" => code(answer) == Some(DENIED),
        "mock" => result(&["said"]).as_deref() == Some("\"hi\""),
        "fail" => code(answer) == Some(42),
        "swap" => code(answer) == Some(43),
        "was" => arrived(&["name"]).as_deref() == Some("\"is\""),
        "secret" => {
            arrived(&["arguments", "token"]).is_none()
                && arrived(&["arguments", "n"]).as_deref() == Some("9007199254740993")
        }
        "more" => result(&["more"]).as_deref() == Some("true") && arrived(&["name"]).is_some(),
        "slow" | "lax" | "plain" => arrived(&["name"]) == Some(format!("\"{tool}\"")),
        other => panic!("{other}"),
    };
    assert!(is_so, "{tool}: {answer}");
}

const TOOLS: [&str; 12] =
    ["refuse", "hide", "broken", "mock", "fail", "swap", "was", "secret", "more", "slow", "lax", "plain"];

const TABLE: Table = Table { tools: &TOOLS, arguments: ARGUMENTS, expect };

async fn ruled(reverse: Reverse) -> Proxy {
    reverse.config(RULES).start().await
}

async fn http(answers: Answers, speaks: Speaks) -> (HttpServer, Proxy) {
    let server = HttpServer::start(HttpSettings { answers, speaks, ..HttpSettings::default() }).await;
    let proxy = ruled(before_url(&server.url())).await;
    (server, proxy)
}

fn forward(directory: &tempfile::TempDir, rules: &str) -> Command {
    let file = directory.path().join("rules.yaml");
    std::fs::write(&file, rules).unwrap();
    let mut command = Command::new(program());
    command.arg("forward").arg("--rules").arg(file).arg("--").arg(child());
    command
}

#[tokio::test]
async fn rules_hold_on_stdio() {
    let directory = tempfile::tempdir().unwrap();
    TABLE.legacy(Client::stdio(forward(&directory, RULES))).await;
}

#[tokio::test]
async fn rules_hold_on_http_with_whole_answers_and_with_streams() {
    for answers in [Answers::Fitting, Answers::Stream] {
        let (server, proxy) = http(answers, Speaks::Both).await;
        TABLE.legacy(Client::http(proxy.address)).await;
        TABLE.modern(&proxy).await;
        Table::mirrored(&server);
    }
}

#[tokio::test]
async fn rules_hold_on_http_sse_and_before_a_child() {
    let server = SseServer::start().await;
    let proxy = ruled(before_url(&server.url())).await;
    TABLE.legacy(Client::sse(proxy.address).await).await;
    let proxy = ruled(before_command(&[child()])).await;
    TABLE.legacy(Client::sse(proxy.address).await).await;
    TABLE.legacy(Client::http(proxy.address)).await;
    TABLE.modern(&proxy).await;
}

#[tokio::test]
async fn rules_hold_across_a_bridge() {
    let (_legacy, proxy) = http(Answers::Fitting, Speaks::Legacy).await;
    TABLE.modern(&proxy).await;
    let proxy = ruled(before_command(&[&child(), "--speaks", "legacy"])).await;
    TABLE.modern(&proxy).await;
    let (_modern, proxy) = http(Answers::Fitting, Speaks::Modern).await;
    TABLE.legacy(Client::http(proxy.address)).await;
    TABLE.legacy(Client::sse(proxy.address).await).await;
}

/// What a server says in the middle of a call, and what its client answers.
const CHATTER: &str = r#"
rules:
  - {name: quiet, when: {on: notification, method: notifications/progress, every: 2}, do: [{drop: true}]}
  - {name: louder, when: {on: notification, method: notifications/message}, do: [{set: {"$.level": error}}]}
  - {name: other, when: {direction: to-client, method: elicitation/create}, do: [{set: {"$.message": "Really?"}}]}
  - {name: yes, when: {on: answer, direction: to-server, method: elicitation/create}, do: [{set: {"$.content": {sure: true}}}]}
"#;

async fn chats(mut client: Client) {
    client.handshake("2025-11-25").await;
    client.send(&call("7", "chatter", "{}", r#""_meta":{"progressToken":"p"}"#)).await;
    let ask = client.message("elicitation/create").await;
    assert_eq!(path(&ask, &["params", "message"]).as_deref(), Some("\"Really?\""), "{ask}");
    assert_eq!(path(&ask, &["params", "x-unknown"]).as_deref(), Some("1.0"), "{ask}");
    let id = member(&ask, "id").unwrap();
    client.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"accept"}}}}"#)).await;
    let answer = client.response("7").await;
    let sure = path(&answer, &["result", "answer", "result", "content", "sure"]);
    assert_eq!(sure.as_deref(), Some("true"), "{answer}");
    let progress = client.message("notifications/progress").await;
    assert_eq!(path(&progress, &["params", "progress"]).as_deref(), Some("1.0"), "{progress}");
    let log = client.message("notifications/message").await;
    assert_eq!(path(&log, &["params", "level"]).as_deref(), Some("\"error\""), "{log}");
    assert!(
        !client.left().iter().any(|left| left.contains("notifications/progress")),
        "the second is dropped"
    );
}

#[tokio::test]
async fn rules_hold_for_what_a_server_says_and_asks_and_for_the_answers_of_clients() {
    let directory = tempfile::tempdir().unwrap();
    chats(Client::stdio(forward(&directory, CHATTER))).await;
    let server = HttpServer::start(HttpSettings::default()).await;
    for reverse in [before_command(&[child()]), before_url(&server.url())] {
        let proxy = reverse.config(CHATTER).start().await;
        chats(Client::http(proxy.address)).await;
        chats(Client::sse(proxy.address).await).await;
    }
}

#[tokio::test]
async fn a_question_can_be_answered_or_refused_in_the_place_of_the_client() {
    for (action, member, wanted) in [
        ("mock: {result: {action: decline}}", "result", "{\"action\":\"decline\"}"),
        ("block: no questions", "error", ""),
    ] {
        let rule = format!(
            "rules:\n  - name: ask\n    when: {{direction: to-client, method: elicitation/create}}\n    do: [{{{action}}}]\n"
        );
        let proxy = before_command(&[child()]).config(&rule).start().await;
        let mut client = Client::http(proxy.address);
        client.handshake("2025-11-25").await;
        let answer = client.request(&call("7", "chatter", "{}", "")).await;
        let told = path(&answer, &["result", "answer", member]);
        assert!(told.is_some_and(|told| told.contains(wanted)), "{answer}");
    }
}

#[tokio::test]
async fn an_answer_is_broken_as_a_faulty_server_would_break_it() {
    let rules = "rules:\n  - {name: cut, when: {tool: cut}, do: [{fault: cut}]}\n  \
                 - {name: cut-answer, when: {tool: half, on: answer}, do: [{fault: cut}]}\n  \
                 - {name: malformed, when: {tool: malformed, on: answer}, do: [{fault: malformed}]}\n  \
                 - {name: silent, when: {tool: silent}, do: [{drop: true}]}\n  \
                 - {name: late, when: {tool: late, on: answer}, do: [{fault: timeout}]}\n\
                 timeouts: {request: 500ms}\n";
    let proxy = before_command(&[child()]).config(rules).start().await;
    for tool in ["cut", "half"] {
        // The connection may end before its head has left.
        let Ok(mut answer) = crate::modern::tool("1", tool).attempt(proxy.address).await else { continue };
        let mut text = Vec::new();
        while let Some(chunk) = within(SOON, "the end of the answer", answer.chunk()).await {
            text.extend_from_slice(&chunk);
        }
        assert!(serde_json::from_slice::<serde_json::Value>(&text).is_err(), "{tool}");
    }
    let text = crate::modern::tool("1", "malformed").send(proxy.address).await.text().await;
    assert!(
        text.contains(r#""id":1"#) && serde_json::from_str::<serde_json::Value>(&text).is_err(),
        "{text}"
    );
    for tool in ["silent", "late"] {
        let answer = crate::modern::tool("1", tool).send(proxy.address).await.message().await;
        assert_eq!(code(&answer), Some(-31_002), "{tool}: {answer}");
    }
    assert_eq!(code(&crate::modern::tool("1", "plain").send(proxy.address).await.message().await), None);
}

#[tokio::test]
async fn a_client_that_withdraws_a_call_ends_its_wait() {
    let rules = "rules:\n  - {name: wait, when: {tool: wait}, do: [{delay: 1h}]}\n";
    let directory = tempfile::tempdir().unwrap();
    let mut client = Client::stdio(forward(&directory, rules));
    client.handshake("2025-11-25").await;
    client.send(&call("1", "wait", "{}", "")).await;
    client.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#).await;
    let answer = client.request(&call("2", "plain", "{}", "")).await;
    assert_eq!(path(&answer, &["result", "request", "params", "name"]).as_deref(), Some("\"plain\""));
    client.close();
    within(SOON, "the end of the proxy, which waits for no call", client.process().ended()).await;
}

const FIRST: &str =
    "rules:\n  - {name: first, when: {tool: x}, do: [{mock: {error: {code: 1, message: m}}}]}\n";

#[tokio::test]
async fn a_changed_file_is_in_force_and_a_bad_one_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rules.yaml");
    std::fs::write(&file, FIRST).unwrap();
    let proxy = before_command(&[child()]).argument("--rules").argument(file.to_str().unwrap()).start().await;
    let answered = async || code(&crate::modern::tool("1", "x").send(proxy.address).await.message().await);
    assert_eq!(answered().await, Some(1));

    std::fs::write(&file, FIRST.replace("code: 1", "code: 2")).unwrap();
    within(SOON, "the changed rules are in force", async { while answered().await != Some(2) {} }).await;

    std::fs::write(&file, FIRST.replace("tool: x", "tool: x, nothing: y")).unwrap();
    let place = format!("{}:2:", file.display());
    proxy.process.says_somewhere(&place).await;
    assert_eq!(answered().await, Some(2));
    assert!(proxy.metric("shadowcat_rule_reload_failures_total").await >= 1.0);
    let (_, health) = proxy.page("/health").await;
    assert!(health.contains("changed rules are not in force") && health.contains(":2:"), "{health}");

    let renamed = directory.path().join("new.yaml");
    std::fs::write(&renamed, FIRST.replace("code: 1", "code: 3")).unwrap();
    std::fs::rename(&renamed, &file).unwrap();
    within(SOON, "the renamed file is in force", async { while answered().await != Some(3) {} }).await;
    let (_, health) = proxy.page("/health").await;
    assert!(health.contains(r#""status":"ok""#), "{health}");
    assert!(proxy.metric("shadowcat_rule_fired_total").await >= 3.0);
}

#[tokio::test]
async fn of_a_changed_configuration_the_rules_are_in_force_and_the_rest_is_told_to_wait() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sc.yaml");
    let written = |number: u32, more: &str| {
        let rules = FIRST.replace("code: 1", &format!("code: {number}"));
        std::fs::write(&file, format!("{more}{rules}")).unwrap();
    };
    std::fs::write(&file, "rules: []\n").unwrap();
    let named = before_command(&[child()]).argument("--config").argument(file.to_str().unwrap());
    let proxy = named.start().await;
    let answered = async || code(&crate::modern::tool("1", "x").send(proxy.address).await.message().await);
    assert_eq!(answered().await, None);
    written(1, "");
    within(SOON, "the rules are in force", async { while answered().await != Some(1) {} }).await;

    written(2, "timeouts: {request: 9s}\nlog: {level: debug}\n");
    within(SOON, "the changed rules are in force", async { while answered().await != Some(2) {} }).await;
    proxy.process.says_somewhere("log, timeouts: changed as well, which takes a restart").await;

    written(3, "timeouts: {request: nine}\n");
    proxy.process.says_somewhere(&format!("{}:1:", file.display())).await;
    assert_eq!(answered().await, Some(2));
}

#[tokio::test]
async fn a_file_that_cannot_be_used_keeps_the_proxy_from_starting() {
    let directory = tempfile::tempdir().unwrap();
    let bad = "rules:\n  - name: x\n    when: {tool: /(/}\n    do:\n      - drop: true\n";
    let mut command = forward(&directory, bad);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && told.contains("rules.yaml:3: rules[0].when.tool: "), "{told}");
}

#[tokio::test]
async fn a_check_tells_of_files_of_rules_what_a_start_would_tell() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let rule = "rules:\n  - name: one\n    do:\n      - drop: true\n";
    let told = |files: &str, arguments: &[&str]| {
        file(
            "sc.yaml",
            &format!("upstream: {{url: 'http://127.0.0.1:9/mcp'}}\nrule_files: [{files}]\n{rule}"),
        );
        let mut command = Command::new(program());
        let output = command.args(arguments).current_dir(directory.path()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    file("bad.yaml", "rules:\n  - name: two\n    when: {tool: /(/}\n    do:\n      - drop: true\n");
    file("twice.yaml", &format!("# The name of another file's.\n{rule}"));
    for (files, reason) in [
        ("missing.yaml", "shadowcat: missing.yaml: cannot be read: No such file"),
        ("bad.yaml", "shadowcat: bad.yaml:3: rules[0].when.tool: this pattern is wrong"),
        ("twice.yaml", "shadowcat: twice.yaml:3: rules[0].name: another rule has the name \"one\" already\n"),
    ] {
        let (code, checked) = told(files, &["check", "sc.yaml"]);
        assert!(code == Some(2) && checked.starts_with(reason), "{code:?} {checked}");
        let reverse = ["reverse", "--config", "sc.yaml", "--listen", "127.0.0.1:0"];
        assert_eq!(told(files, &reverse), (code, checked));
    }
    file("right.yaml", &rule.replace("one", "two"));
    assert_eq!(told("right.yaml", &["check", "sc.yaml"]), (Some(0), String::new()));
}

#[tokio::test]
async fn the_tape_has_both_what_clients_said_and_what_rules_made_of_it() {
    let proxy = ruled(before_command(&[child()]).config("record: {}\n")).await;
    TABLE.legacy(Client::http(proxy.address)).await;
    let tape = tape_with(&proxy, "plain").await;
    let line = |parts: &[&str]| tape.has(parts);
    line(&[r#""hop":"edge""#, r#""direction":"to_server""#, r#""name":"was""#]);
    line(&[r#""hop":"wire""#, r#""direction":"to_server""#, r#""name":"is""#, r#""rules":["rename: edit"]"#]);
    line(&[r#""hop":"edge""#, r#""reason":"policy_denied""#, r#""rules":["refuse: block"]"#]);
    line(&[r#""hop":"edge""#, r#""more":true"#, r#""rules":["more: edit"]"#]);
    assert!(!tape.0.lines().any(|line| line.contains("wire") && line.contains(r#""name":"refuse""#)));
}

#[tokio::test]
async fn a_slow_rule_on_a_stream_of_10_000_events_keeps_their_order_and_no_more_than_its_bound() {
    let rules = "rules:\n  - name: slow\n    when: {on: notification, method: notifications/progress}\n    \
                 do: [{delay: 1ms}]\n";
    let server = HttpServer::start(HttpSettings::default()).await;
    let proxy = before_url(&server.url()).config(rules).start().await;
    let before = proxy.process.resident_bytes_peak();
    let members = r#""name":"burst","arguments":{"events":10000,"bytes":4000},"#;
    let meta = format!(r#""_meta":{{"progressToken":1,{}}}"#, crate::modern::META);
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{members}{meta}}}}}"#);
    let mut events = envelope("tools/call", Some("burst"), &text).send(proxy.address).await.events();
    for number in 0..10_000 {
        let event = events.message().await;
        let progress = path(&event, &["params", "progress"]);
        assert_eq!(progress, Some(format!("{number}")), "{event:.200}");
    }
    assert_eq!(code(&events.message().await), None);
    let grown = proxy.process.resident_bytes_peak().saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} bytes of 40 MB were kept");
}

#[tokio::test]
async fn a_thousand_rules_that_fail_cost_their_calls_and_nothing_else() {
    let proxy = ruled(before_command(&[child()])).await;
    let mut client = Client::http(proxy.address);
    client.handshake("2025-11-25").await;
    for id in 0..1_000 {
        let answer = client.request(&call(&id.to_string(), "broken", ARGUMENTS, "")).await;
        expect("broken", &answer);
    }
    expect("plain", &client.request(&call("\"last\"", "plain", ARGUMENTS, "")).await);
    assert!((proxy.metric("shadowcat_rule_failures_total").await - 1_000.0).abs() < 0.1);
}
