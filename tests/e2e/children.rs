//! T2, F08-F17, T80, Q5, X10: children that die, lie, do not read or do not end.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use shadowcat_tests::client::{Client, call, initialize};
use shadowcat_tests::process::{gone, is_running};
use shadowcat_tests::proxy::{before_command, configured};
use shadowcat_tests::raw::{Answer, ask, post};
use shadowcat_tests::server::{member, path};
use shadowcat_tests::wait::{found, soon, within};

use crate::edge::session;
use crate::harness::child;
use crate::modern::tool;

const NEWEST: &str = "2025-11-25";

pub(crate) fn reason(answer: &str) -> Option<String> {
    path(answer, &["error", "data", "reason"])
}

#[tokio::test]
async fn t2_one_child_answers_all_of_a_session_and_one_all_modern_requests_and_none_is_started_for_a_request()
{
    let directory = tempfile::tempdir().unwrap();
    let starts = directory.path().join("starts");
    let proxy = before_command(&[&child(), "--starts", starts.to_str().unwrap()]).start().await;
    let started = || std::fs::read_to_string(&starts).unwrap_or_default().lines().count();
    assert_eq!(started(), 0, "nobody has asked yet");
    let pid = |answer: &str| path(answer, &["result", "pid"]).unwrap_or_else(|| panic!("{answer}"));

    let mut clients = [Client::http(proxy.address), Client::http(proxy.address)];
    let mut pids = BTreeSet::new();
    for client in &mut clients {
        client.handshake(NEWEST).await;
        for number in 1..=100 {
            pids.insert(pid(&client.request(&call(&number.to_string(), "who", "{}", "")).await));
        }
    }
    assert_eq!((pids.len(), started()), (2, 2), "a child for each session");

    let asked = (0..100).map(|number| tool(&number.to_string(), "who").send(proxy.address));
    let answers = stream::iter(asked).buffer_unordered(10).then(Answer::message);
    let modern: BTreeSet<_> = answers.map(|answer| pid(&answer)).collect().await;
    assert_eq!((modern.len(), started()), (1, 3), "one more for everybody in the modern era");
    assert!(modern.is_disjoint(&pids));
}

#[tokio::test]
async fn f09_a_child_that_dies_at_each_start_is_left_alone_after_a_few_times() {
    let directory = tempfile::tempdir().unwrap();
    let starts = directory.path().join("starts");
    let proxy =
        before_command(&[&child(), "--exit", "1", "--starts", starts.to_str().unwrap()]).start().await;
    let refused = soon("the breaker opens", async {
        loop {
            let answer = post("/mcp", &initialize("1", NEWEST)).send(proxy.address).await;
            let (status, wait) = (answer.status, answer.header("retry-after").map(str::to_owned));
            let text = answer.text().await;
            assert_eq!(member(&text, "id").as_deref(), Some("1"), "{text}");
            match reason(&text).as_deref() {
                Some("\"breaker_open\"") => return (status, wait, text),
                Some("\"upstream_exited\"") => {}
                other => panic!("{other:?}: {text}"),
            }
        }
    })
    .await;
    assert_eq!(refused.0, 503);
    assert!(refused.1.is_some(), "it says when to come back");
    assert!(refused.2.contains("cannot open the database"), "the last word on stderr: {}", refused.2);
    let started = std::fs::read_to_string(&starts).unwrap().lines().count();
    assert!(started <= 6, "{started} starts");
    let (_, health) = proxy.page("/health").await;
    assert_eq!(member(&health, "status").as_deref(), Some("\"degraded\""), "{health}");
    assert_eq!(proxy.page("/ready").await.0, 503);
}

#[tokio::test]
async fn f10_a_child_that_ends_during_initialize_says_why() {
    let proxy = before_command(&[&child(), "--exit-on", "initialize"]).start().await;
    let answer = post("/mcp", &initialize("\"i\"", NEWEST)).send(proxy.address).await.text().await;
    assert_eq!(member(&answer, "id").as_deref(), Some("\"i\""));
    assert_eq!(reason(&answer).as_deref(), Some("\"upstream_exited\""), "{answer}");
    assert!(answer.contains("status 3") || answer.contains("status: 3"), "{answer}");
    for number in 1..=10 {
        assert!(
            answer.contains(&format!("reason {number}: ")),
            "line {number} of stderr is missing: {answer}"
        );
    }
}

#[tokio::test]
async fn t80_f11_lines_that_are_no_messages_are_passed_over() {
    let proxy = before_command(&[child()]).start().await;
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    let answer = client.request(&call("1", "garbage", "{}", "")).await;
    assert!(member(&answer, "result").is_some(), "{answer}");
    assert!(proxy.metric("shadowcat_upstream_garbage_total").await >= 4.0);
    proxy.process.says_somewhere("npm WARN").await;
    assert_eq!(client.left(), Vec::<String>::new());
}

#[tokio::test]
async fn f12_a_line_over_the_limit_costs_no_memory_and_the_call_ends() {
    let proxy = before_command(&[child()]).config("limits:\n  message: 1MiB\n").start().await;
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    client.request(&call("0", "echo", "{}", "")).await;
    let before = proxy.process.resident_bytes_peak();
    let answer = client.request(&call("1", "longline", "{}", "")).await;
    assert_eq!(reason(&answer).as_deref(), Some("\"upstream_protocol\""), "{answer}");
    let grown = proxy.process.resident_bytes_peak() - before;
    assert!(grown <= 9 << 20, "{grown} bytes for a line of 20 MiB and a limit of 1 MiB");
    let answer = client.request(&call("2", "echo", "{}", "")).await;
    assert!(member(&answer, "result").is_some(), "{answer}");
}

#[tokio::test]
async fn f13_a_flood_on_stderr_holds_nothing_up_and_is_not_kept() {
    let proxy = before_command(&[&child(), "--flood"]).start().await;
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    let before = proxy.process.resident_bytes();
    for number in 1..=20 {
        client.request(&call(&number.to_string(), "echo", "{}", "")).await;
    }
    assert!(proxy.process.resident_bytes() < before + (8 << 20));
    assert!(proxy.process.stderr().len() < 1 << 20, "the log is limited");
}

#[tokio::test]
async fn f14_a_child_that_does_not_read_ends_its_own_calls_only() {
    let directory = tempfile::tempdir().unwrap();
    let deaf = directory.path().join("deaf");
    // The first child does not read; the next ones do.
    let script = format!(
        "if mkdir '{}' 2>/dev/null; then exec '{child}' --deaf; else exec '{child}'; fi",
        deaf.display(),
        child = child()
    );
    let proxy =
        before_command(&["sh", "-c", &script]).argument("--request-timeout").argument("2s").start().await;
    let fill = "x".repeat(1 << 20);
    let stuck = initialize("1", NEWEST).replacen("\"test\"", &format!("\"{fill}\""), 1);
    let (stuck, served) = tokio::join!(post("/mcp", &stuck).send(proxy.address), async {
        found("the deaf child", || deaf.exists().then_some(())).await;
        let mut client = Client::http(proxy.address);
        client.handshake(NEWEST).await;
        client.request(&call("1", "echo", "{}", "")).await
    });
    assert!(member(&served, "result").is_some(), "others are served: {served}");
    let text = stuck.text().await;
    let why = reason(&text).unwrap_or_default();
    assert!(["\"upstream_timeout\"", "\"limit_queue\""].contains(&why.as_str()), "{text}");
}

/// A server in a few lines; the first of its children closes its input at its first call, says so, and lives on.
fn first_turns_deaf(marks: &std::path::Path) -> String {
    let handshake =
        r#""protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"x","version":"1"}"#;
    let marks = marks.display();
    format!(
        r#"$| = 1; my $deaf = mkdir q({marks}/started);
        while (<STDIN>) {{
            my ($id) = /"id":(\d+)/ or next;
            if ($deaf && /tools\/call/) {{ close STDIN; mkdir q({marks}/closed); sleep 1000 }}
            my $result = /"initialize"/ ? q({{{handshake}}}) : q({{"content":[]}});
            print qq({{"jsonrpc":"2.0","id":$id,"result":$result}}\n);
        }}"#
    )
}

#[tokio::test]
async fn f14_a_child_that_closes_its_input_and_lives_is_replaced_and_its_calls_are_told() {
    let marks = tempfile::tempdir().unwrap();
    let proxy = before_command(&["perl", "-e", &first_turns_deaf(marks.path())]).start().await;
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    client.send(&call("1", "x", "{}", "")).await;
    found("the closed input", || marks.path().join("closed").exists().then_some(())).await;
    client.send(&call("2", "x", "{}", "")).await;
    for id in ["1", "2"] {
        let ended = client.response(id).await;
        assert_eq!(reason(&ended).as_deref(), Some("\"upstream_exited\""), "{ended}");
        assert!(ended.contains("closed its input"), "{ended}");
    }
    let again = client.request(&call("3", "x", "{}", "")).await;
    assert!(member(&again, "result").is_some(), "{again}");
}

#[tokio::test]
async fn f15_children_and_their_children_are_gone_soon_after_kill_9_of_the_proxy() {
    let directory = tempfile::tempdir().unwrap();
    let (starts, grand) = (directory.path().join("starts"), directory.path().join("grand"));
    let words =
        [&child(), "--stubborn", "--starts", starts.to_str().unwrap(), "--child", grand.to_str().unwrap()];
    let proxy = before_command(&words).start().await;
    for _ in 0..3 {
        session(&proxy, NEWEST).await;
    }
    let read = |file: &std::path::Path| -> Vec<u32> {
        std::fs::read_to_string(file).unwrap().lines().filter_map(|line| line.parse().ok()).collect()
    };
    let pids: Vec<u32> = [read(&starts), read(&grand)].concat();
    assert!(pids.len() >= 6 && pids.iter().all(|pid| is_running(*pid)), "{pids:?}");
    proxy.process.signal(rustix::process::Signal::KILL);
    proxy.process.ended().await;
    within(Duration::from_secs(5), "the end of all children", gone(&pids)).await;
}

#[tokio::test]
async fn f15_children_that_do_not_want_to_end_are_ended_with_their_session() {
    let directory = tempfile::tempdir().unwrap();
    let (starts, grand) = (directory.path().join("starts"), directory.path().join("grand"));
    let words =
        [&child(), "--stubborn", "--starts", starts.to_str().unwrap(), "--child", grand.to_str().unwrap()];
    let proxy = before_command(&words).start().await;
    let id = session(&proxy, NEWEST).await;
    let pid = |file: &std::path::Path| -> u32 {
        std::fs::read_to_string(file).unwrap().lines().next().unwrap().parse().unwrap()
    };
    let pids = [pid(&starts), pid(&grand)];
    let end = ask(http::Method::DELETE, "/mcp").header("Mcp-Session-Id", &id).send(proxy.address).await;
    assert!((200..300).contains(&end.status));
    gone(&pids).await;
}

#[tokio::test]
async fn f16_children_have_a_cap_and_who_waits_too_long_is_told() {
    let command = format!(r#"["{}"]"#, child());
    let yaml = format!(
        "upstream:\n  command: {command}\n  children_max: 2\n  warm: 0\nlimits:\n  children_queue: 1\n"
    );
    let proxy = configured(&yaml).argument("--request-timeout").argument("20s").start().await;
    let first = session(&proxy, NEWEST).await;
    session(&proxy, NEWEST).await;
    let asked = || post("/mcp", &initialize("9", NEWEST)).send(proxy.address);
    let (mut waiting, mut refused) = (Box::pin(asked()), Box::pin(asked()));
    // One of the two waits for a place, the other is told at once.
    let (answer, waiting) = tokio::select! {
        answer = &mut waiting => (answer, refused),
        answer = &mut refused => (answer, waiting),
    };
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());
    assert_eq!(reason(&answer.text().await).as_deref(), Some("\"overloaded\""));
    let end = ask(http::Method::DELETE, "/mcp").header("Mcp-Session-Id", &first).send(proxy.address).await;
    assert!((200..300).contains(&end.status));
    assert_eq!(waiting.await.status, 200, "the place that came free");
}

#[tokio::test]
async fn f17_a_command_that_cannot_be_started_is_told_with_the_systems_word_and_leaks_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let plain = directory.path().join("plain");
    std::fs::write(&plain, "no program").unwrap();
    for (command, word) in
        [("/nonexistent/server", "No such file"), (plain.to_str().unwrap(), "ermission denied")]
    {
        let proxy = before_command(&[command]).start().await;
        let mut descriptors = 0;
        for number in 0..30 {
            let answer = post("/mcp", &initialize("1", NEWEST)).send(proxy.address).await;
            let text = answer.text().await;
            let why = reason(&text).unwrap_or_default();
            assert!(["\"upstream_unreachable\"", "\"breaker_open\""].contains(&why.as_str()), "{text}");
            assert!(text.contains(word), "{text}");
            if number == 5 {
                descriptors = proxy.process.descriptors();
            }
        }
        found("no descriptor leaks", || (proxy.process.descriptors() <= descriptors + 5).then_some(())).await;
        assert_eq!(proxy.page("/ready").await.0, 503);
    }
}

#[tokio::test]
async fn q5_m7_many_sessions_leave_no_child_no_descriptor_and_no_task() {
    let proxy = before_command(&[child()]).start().await;
    let mut pids = Vec::new();
    let mut descriptors = 0;
    for round in 0..40 {
        let mut client = Client::http(proxy.address);
        client.handshake(NEWEST).await;
        let who = client.request(&call("1", "who", "{}", "")).await;
        pids.push(path(&who, &["result", "pid"]).unwrap().parse().unwrap());
        let end = ask(http::Method::DELETE, "/mcp").header("Mcp-Session-Id", &client.session());
        assert!((200..300).contains(&end.send(proxy.address).await.status));
        if round == 5 {
            gone(&pids).await;
            descriptors = proxy.process.descriptors();
        }
    }
    gone(&pids).await;
    found("no descriptor leaks", || (proxy.process.descriptors() <= descriptors + 5).then_some(())).await;
    soon("the tasks end", async {
        while proxy.metric("shadowcat_tasks").await > 5.0
            || proxy.metric("shadowcat_sessions_active").await > 0.0
        {}
    })
    .await;
}

#[tokio::test]
async fn x10_a_child_gets_the_environment_it_was_given_and_nothing_else() {
    let yaml = format!(
        "upstream:\n  command: [\"{}\"]\n  cwd: /\n  env:\n    inherit: [PATH, LC_*]\n    set:\n      TOKEN: ${{THE_TOKEN}}\n",
        child()
    );
    let proxy = configured(&yaml)
        .variable("THE_TOKEN", "for this child")
        .variable("LC_ALL", "C")
        .variable("AWS_SECRET_ACCESS_KEY", "not for children")
        .start()
        .await;
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    let who = client.request(&call("1", "who", "{}", "")).await;
    let environment: std::collections::BTreeMap<String, String> =
        serde_json::from_str(&path(&who, &["result", "environment"]).unwrap()).unwrap();
    let names: Vec<_> = environment.keys().map(String::as_str).collect();
    assert_eq!(names, ["LC_ALL", "PATH", "TOKEN"]);
    assert_eq!(environment["TOKEN"], "for this child");
    assert_eq!(path(&who, &["result", "directory"]).as_deref(), Some("\"/\""));
    let descriptors: usize = path(&who, &["result", "descriptors"]).unwrap().parse().unwrap();
    // Its three pipes, those of its own runtime and the directory it looks through: none of the proxy's sockets.
    assert!(descriptors <= 12, "{descriptors}");
}

#[tokio::test]
async fn x10_by_default_a_child_inherits_no_secrets() {
    let proxy = before_command(&[child()])
        .variable("AWS_SECRET_ACCESS_KEY", "canary-1")
        .variable("GITHUB_TOKEN", "canary-2")
        .variable("SHADOWCAT_SOMETHING", "canary-3")
        .start()
        .await;
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    let who = client.request(&call("1", "who", "{}", "")).await;
    assert!(!who.contains("canary"), "{who}");
    assert!(who.contains("PATH"), "{who}");
}
