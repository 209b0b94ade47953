//! Webhooks that are asked about live traffic: their verdicts on each way that a message can take, signatures, failures.

use std::process::{Command, Stdio};

use futures_util::future::join_all;
use shadowcat_tests::client::{Client, call};
use shadowcat_tests::proxy::{Proxy, Reverse, before_command, before_url, program};
use shadowcat_tests::server::{Answers, HttpServer, HttpSettings, Speaks, SseServer, member, path};
use shadowcat_tests::tls::{Authority, Identity};
use shadowcat_tests::upstream::{Reply, Seen, Upstream};
use shadowcat_tests::wait::{found, within};

use crate::bridged::code;
use crate::harness::{Table, child, tape_with};
use crate::modern::tool;
use crate::peers::{START, python};

const DENIED: i64 = -31_015;
const SECRET: &str = "a secret that both sides know";
const ARGUMENTS: &str = r#"{"n":9007199254740993}"#;

/// The verdict on a question, by the tool that it is about.
fn verdict(seen: &Seen) -> Reply {
    let question = &seen.body;
    let said = |text: &str| Reply::json(200, text);
    let message = member(question, "message").unwrap();
    let asked = if member(question, "phase").as_deref() == Some(r#""request""#) {
        message.clone()
    } else {
        member(question, "request").unwrap_or_default()
    };
    let tool = path(&asked, &["params", "name"]).unwrap_or_default();
    let edited = |from: &str, to: &str| {
        said(&format!(r#"{{"verdict":"modify","message":{}}}"#, message.replacen(from, to, 1)))
    };
    match (member(question, "phase").as_deref(), tool.trim_matches('"')) {
        (Some(r#""request""#), "block") => said(r#"{"verdict":"block","reason":"not this one"}"#),
        (Some(r#""request""#), "mock") => said(r#"{"verdict":"mock","result":{"content":[],"mocked":1.0}}"#),
        (Some(r#""request""#), "fail") => {
            said(r#"{"verdict":"mock","error":{"code":42,"message":"failed"}}"#)
        }
        (Some(r#""request""#), "was") => edited(r#""name":"was""#, r#""name":"is""#),
        (Some(r#""request""#), "other") => edited(r#""method":"tools/call""#, r#""method":"tools/list""#),
        (Some(r#""request""#), "status") => Reply::json(500, "{}"),
        (Some(r#""request""#), "accepted") => Reply::json(202, r#"{"verdict":"continue"}"#),
        (Some(r#""request""#), "nonsense") => said("perhaps"),
        (Some(r#""answer""#), "more") => edited(r#""result":{"#, r#""result":{"more":true,"#),
        (Some(r#""answer""#), "swap") => {
            said(r#"{"verdict":"mock","error":{"code":43,"message":"swapped"}}"#)
        }
        (Some(r#""answer""#), "hide") => said(r#"{"verdict":"block"}"#),
        (Some(r#""answer""#), "plain") => said(r#"{"verdict":"continue"}"#),
        _ => Reply::empty(204),
    }
}

const TOOLS: [&str; 12] = [
    "block", "mock", "fail", "was", "other", "status", "accepted", "nonsense", "more", "swap", "hide",
    "plain",
];

/// What comes of a call of each tool.
fn expect(tool: &str, answer: &str) {
    let result = |names: &[&str]| path(answer, &[&["result"], names].concat());
    let arrived = |names: &[&str]| path(answer, &[&["result", "request", "params"], names].concat());
    let is_so = match tool {
        "block" => {
            let told = path(answer, &["error", "message"]);
            code(answer) == Some(DENIED) && told.as_deref() == Some("\"not this one\"")
        }
        "other" | "status" | "accepted" | "nonsense" | "hide" => code(answer) == Some(DENIED),
        "mock" => result(&["mocked"]).as_deref() == Some("1.0"),
        "fail" => code(answer) == Some(42),
        "was" => {
            arrived(&["name"]).as_deref() == Some("\"is\"")
                && arrived(&["arguments", "n"]).as_deref() == Some("9007199254740993")
        }
        "more" => result(&["more"]).as_deref() == Some("true") && arrived(&["name"]).is_some(),
        "swap" => code(answer) == Some(43),
        "plain" => arrived(&["name"]).as_deref() == Some("\"plain\""),
        other => panic!("{other}"),
    };
    assert!(is_so, "{tool}: {answer}");
}

const TABLE: Table = Table { tools: &TOOLS, arguments: ARGUMENTS, expect };

async fn endpoint() -> Upstream {
    Upstream::start(|seen| async move { verdict(&seen) }).await
}

/// An interceptor of this endpoint; `more` are keys of it, each behind a comma.
fn asks(hook: &Upstream, more: &str) -> String {
    let url = hook.url("/hook");
    format!("interceptors:\n  - {{name: hook, webhook: {{url: '{url}'}}, timeout: 30s{more}}}\n")
}

const CALLS: &str = ", when: {method: tools/call, on: [request, answer]}, breaker: {failures: 1000}";

async fn asked(reverse: Reverse, hook: &Upstream) -> Proxy {
    reverse.config(&asks(hook, CALLS)).start().await
}

fn forward(directory: &tempfile::TempDir, config: &str) -> Command {
    let file = directory.path().join("sc.yaml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(program());
    command.arg("forward").arg("--config").arg(file).arg("--").arg(child());
    command
}

#[tokio::test]
async fn verdicts_hold_on_stdio() {
    let (directory, hook) = (tempfile::tempdir().unwrap(), endpoint().await);
    TABLE.legacy(Client::stdio(forward(&directory, &asks(&hook, CALLS)))).await;
}

#[tokio::test]
async fn verdicts_hold_on_http_with_whole_answers_and_with_streams() {
    let hook = endpoint().await;
    for answers in [Answers::Fitting, Answers::Stream] {
        let server = HttpServer::start(HttpSettings { answers, ..HttpSettings::default() }).await;
        let proxy = asked(before_url(&server.url()), &hook).await;
        TABLE.legacy(Client::http(proxy.address)).await;
        TABLE.modern(&proxy).await;
        Table::mirrored(&server);
    }
    assert!(hook.accepted() < hook.seen().len() / 2, "connections are used again");
}

#[tokio::test]
async fn verdicts_hold_on_http_sse_before_a_child_and_across_a_bridge() {
    let (server, hook) = (SseServer::start().await, endpoint().await);
    TABLE.legacy(Client::sse(asked(before_url(&server.url()), &hook).await.address).await).await;
    let proxy = asked(before_command(&[child()]), &hook).await;
    TABLE.legacy(Client::sse(proxy.address).await).await;
    TABLE.modern(&proxy).await;
    TABLE.modern(&asked(before_command(&[&child(), "--speaks", "legacy"]), &hook).await).await;
    let settings = HttpSettings { speaks: Speaks::Modern, ..HttpSettings::default() };
    let server = HttpServer::start(settings).await;
    TABLE.legacy(Client::http(asked(before_url(&server.url()), &hook).await.address)).await;
}

/// Changes what a server says in the middle of a call, and what its client answers.
fn chatter(seen: &Seen) -> Reply {
    let message = member(&seen.body, "message").unwrap();
    let direction = member(&seen.body, "direction").unwrap();
    let edited = match (member(&seen.body, "method").unwrap().as_str(), direction.as_str()) {
        (r#""notifications/message""#, r#""to-client""#) => {
            message.replace(r#""level":"info""#, r#""level":"error""#)
        }
        (r#""notifications/progress""#, r#""to-client""#) => {
            return Reply::json(200, r#"{"verdict":"drop"}"#);
        }
        (r#""elicitation/create""#, r#""to-client""#) => {
            message.replacen(r#""message":""#, r#""message":"Really? "#, 1)
        }
        (r#""elicitation/create""#, r#""to-server""#) => {
            message.replace(r#""action":"accept""#, r#""action":"accept","content":{"sure":true}"#)
        }
        _ => return Reply::empty(204),
    };
    Reply::json(200, format!(r#"{{"verdict":"modify","message":{edited}}}"#))
}

async fn chats(mut client: Client) {
    client.handshake("2025-11-25").await;
    client.send(&call("7", "chatter", "{}", r#""_meta":{"progressToken":"p"}"#)).await;
    let ask = client.message("elicitation/create").await;
    assert!(path(&ask, &["params", "message"]).unwrap().starts_with("\"Really? "), "{ask}");
    let id = member(&ask, "id").unwrap();
    client.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"accept"}}}}"#)).await;
    let answer = client.response("7").await;
    let sure = path(&answer, &["result", "answer", "result", "content", "sure"]);
    assert_eq!(sure.as_deref(), Some("true"), "{answer}");
    let log = client.message("notifications/message").await;
    assert_eq!(path(&log, &["params", "level"]).as_deref(), Some("\"error\""), "{log}");
    assert!(!client.left().iter().any(|left| left.contains("notifications/progress")));
}

#[tokio::test]
async fn what_a_server_says_and_asks_and_what_clients_answer_is_asked_about() {
    let hook = Upstream::start(|seen| async move { chatter(&seen) }).await;
    let config = asks(&hook, ", when: {on: [request, answer, notification]}");
    let directory = tempfile::tempdir().unwrap();
    chats(Client::stdio(forward(&directory, &config))).await;
    let server = HttpServer::start(HttpSettings::default()).await;
    for reverse in [before_command(&[child()]), before_url(&server.url())] {
        let proxy = reverse.config(&config).start().await;
        chats(Client::http(proxy.address)).await;
        chats(Client::sse(proxy.address).await).await;
    }
}

/// The code that the guide gives to those who write endpoints.
fn recipe() -> String {
    let guide = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/interceptors.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let code = guide.split_once("```python\n").unwrap().1.split_once("```").unwrap().0;
    format!(
        "{code}\nimport json, sys\nseen = json.load(sys.stdin)\nsecret = sys.argv[1].encode()\n\
         for headers, body in seen:\n    print(is_genuine(secret, headers, body.encode()), is_genuine(secret, headers, b'x' + body.encode()))\n"
    )
}

#[tokio::test]
async fn questions_are_signed_over_tls_and_the_recipe_of_the_guide_verifies_them() {
    let (authority, server) = (Authority::default(), HttpServer::start(HttpSettings::default()).await);
    let identity = Identity::localhost(&["h2", "http/1.1"]);
    let hook = Upstream::start_secure(&authority, &identity, |seen| async move { verdict(&seen) }).await;
    let (url, trusted) = (hook.url("/hook?x=1"), authority.file().display().to_string());
    let config = |trust: &str| {
        format!(
            "interceptors:\n  - {{name: hook, webhook: {{url: '{url}', secret: '${{HOOK_SECRET}}', \
             headers: {{x-key: k}}{trust}}}, when: {{method: tools/call}}, timeout: 30s}}\n"
        )
    };
    let start = async |trust: &str| {
        before_url(&server.url()).config(&config(trust)).variable("HOOK_SECRET", SECRET).start().await
    };
    let proxy = start(&format!(", ca_file: '{trusted}'")).await;
    for name in ["plain", "was", "plain"] {
        assert_eq!(code(&tool("1", name).send(proxy.address).await.message().await), None);
    }
    let seen = hook.seen();
    assert_eq!((seen.len(), hook.accepted()), (3, 1));
    assert!(seen.iter().all(|seen| seen.path == "/hook?x=1" && seen.header("x-key") == Some("k")));

    let header =
        |seen: &Seen, name: &str| (name.to_owned(), seen.header(name).unwrap_or_default().to_owned());
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let sent: Vec<_> = seen
        .iter()
        .map(|seen| {
            let headers: std::collections::BTreeMap<_, _> =
                names.iter().map(|name| header(seen, name)).collect();
            (headers, seen.body.clone())
        })
        .collect();
    let mut verify = Command::new(python());
    verify.args(["-c", &recipe(), SECRET]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let sent = serde_json::to_vec(&sent).unwrap();
    let verified = tokio::task::spawn_blocking(move || {
        let mut process = verify.spawn().unwrap();
        std::io::Write::write_all(&mut process.stdin.take().unwrap(), &sent).unwrap();
        String::from_utf8(process.wait_with_output().unwrap().stdout).unwrap()
    });
    let verified = within(START, "the recipe's verdict", verified).await.unwrap();
    assert_eq!(verified, "True False\n".repeat(3));

    let distrusted = start("").await;
    assert_eq!(code(&tool("1", "plain").send(distrusted.address).await.message().await), Some(DENIED));
    assert_eq!(hook.seen().len(), 3, "who is not trusted gets no message");
    assert!(!proxy.process.stderr().contains(SECRET) && !distrusted.process.stderr().contains(SECRET));
}

/// Many calls at a time, each with what `is_so` demands of its answer.
async fn many(proxy: &Proxy, calls: usize, is_so: impl Fn(&str) -> bool) {
    for _ in 0..calls / 50 {
        let answers = join_all((0..50).map(|id| async move {
            tool(&id.to_string(), "plain").send_patiently(proxy.address).await.text_patiently().await
        }));
        for answer in answers.await {
            assert!(is_so(&answer), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_webhook_that_fails_in_a_row_is_left_alone_and_tried_again() {
    let (works, is_up) =
        (std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)), std::sync::atomic::Ordering::SeqCst);
    let shared = std::sync::Arc::clone(&works);
    let hook = Upstream::start(move |_| {
        let status = if shared.load(is_up) { 204 } else { 503 };
        async move { Reply::empty(status) }
    })
    .await;
    let rest = ", when: {method: tools/call}, breaker: {failures: 3, pause: 1h}";
    let proxy = before_command(&[child()]).config(&asks(&hook, rest)).start().await;
    many(&proxy, 50, |answer| code(answer) == Some(DENIED)).await;
    many(&proxy, 50, |answer| code(answer) == Some(DENIED)).await;
    assert!((3..=50).contains(&hook.seen().len()), "{}", hook.seen().len());
    assert!((proxy.metric("shadowcat_external_breaker").await - 2.0).abs() < 0.5);
    let (_, health) = proxy.page("/health").await;
    assert!(health.contains("interceptor hook failed repeatedly"), "{health}");

    let proxy = before_command(&[child()]).config(&asks(&hook, &rest.replace("1h", "50ms"))).start().await;
    many(&proxy, 50, |answer| code(answer) == Some(DENIED)).await;
    works.store(true, is_up);
    within(START, "a trial that succeeds", async {
        while code(&tool("1", "plain").send(proxy.address).await.message().await).is_some() {}
    })
    .await;
    many(&proxy, 50, |answer| code(answer).is_none()).await;
}

#[tokio::test]
async fn whoever_is_only_told_holds_nothing_up_and_is_told_to_the_end() {
    let (gate, opened) = tokio::sync::watch::channel(false);
    let hook = Upstream::start(move |_| {
        let mut opened = opened.clone();
        async move {
            drop(opened.wait_for(|open| *open).await);
            Reply::json(200, r#"{"verdict":"block"}"#)
        }
    })
    .await;
    let more = ", audit: true, when: {method: tools/call, on: [request, answer]}";
    let proxy = before_command(&[child()]).config(&asks(&hook, more)).start().await;
    many(&proxy, 100, |answer| code(answer).is_none()).await;
    found("questions that hang", || (hook.seen().len() == 32).then_some(())).await;
    gate.send_replace(true);
    proxy.process.signal(rustix::process::Signal::TERM);
    assert!(proxy.process.ended().await.success());
    let seen = hook.seen();
    assert_eq!(seen.len(), 200);
    assert!(seen.iter().all(|seen| member(&seen.body, "audit").as_deref() == Some("true")));
}

#[tokio::test]
async fn the_tape_has_both_what_was_said_and_what_the_interceptor_made_of_it() {
    let hook = endpoint().await;
    let proxy = asked(before_command(&[child()]).config("record: {}\n"), &hook).await;
    TABLE.legacy(Client::http(proxy.address)).await;
    let tape = tape_with(&proxy, "plain").await;
    let line = |parts: &[&str]| tape.has(parts);
    line(&[r#""hop":"edge""#, r#""direction":"to_server""#, r#""name":"was""#]);
    line(&[r#""hop":"wire""#, r#""direction":"to_server""#, r#""name":"is""#, r#""rules":["hook: modify"]"#]);
    line(&[r#""hop":"edge""#, r#""reason":"policy_denied""#, r#""rules":["hook: block"]"#]);
    line(&[r#""hop":"edge""#, r#""reason":"policy_denied""#, r#""rules":["hook: failed"]"#]);
}
