//! T1, T2-T4, T13, T14: what one side writes is what the other reads, on every pair of transports.

use std::process::Command;

use shadowcat_tests::client::{Client, call};
use shadowcat_tests::proxy::{Proxy, Reverse, before_command, before_url, program};
use shadowcat_tests::server::{Answers, HttpServer, HttpSettings, SseServer, member, path};

use crate::harness::child;

/// What a server is reached by.
enum Server {
    Http(HttpServer),
    Sse(SseServer),
    Child,
}

impl Server {
    async fn all() -> Vec<Self> {
        let stream = HttpSettings { answers: Answers::Stream, ..HttpSettings::default() };
        vec![
            Self::Http(HttpServer::start(HttpSettings::default()).await),
            Self::Http(HttpServer::start(stream).await),
            Self::Sse(SseServer::start().await),
            Self::Child,
        ]
    }

    fn reverse(&self) -> Reverse {
        match self {
            Self::Http(server) => before_url(&server.url()),
            Self::Sse(server) => before_url(&server.url()),
            Self::Child => before_command(&[child()]),
        }
    }

    fn forward(&self) -> Command {
        let mut command = Command::new(program());
        command.arg("forward");
        match self {
            Self::Http(server) => command.arg(server.url()),
            Self::Sse(server) => command.arg(server.url()),
            Self::Child => command.args(["--", &child()]),
        };
        command
    }
}

/// Runs `check` with a client of each transport before a server of each transport.
async fn everywhere<F: AsyncFn(Client, &str)>(check: F) {
    for server in Server::all().await {
        let upstream = match &server {
            Server::Http(_) => "Streamable HTTP",
            Server::Sse(_) => "HTTP+SSE",
            Server::Child => "stdio",
        };
        let proxy: Proxy = server.reverse().start().await;
        check(Client::http(proxy.address), &format!("Streamable HTTP to {upstream}")).await;
        check(Client::sse(proxy.address).await, &format!("HTTP+SSE to {upstream}")).await;
        check(Client::stdio(server.forward()), &format!("stdio to {upstream}")).await;
    }
}

/// Members, digits and escapes that a parser in between would change.
const ODD: &str = r#"{"int":9007199254740993,"one":1.0,"huge":1e400,"minus":-0,"small":1E-7,"text":"\u00e9\/\ud83d\ude00 ü","z":1,"a":2,"nested":{"null":null,"empty":{},"list":[1,2.50,"3"]}}"#;

#[tokio::test]
async fn t1_every_member_digit_and_id_arrives_as_it_was_written() {
    everywhere(async |mut client, pair| {
        let answer = client.handshake("2025-06-18").await;
        let unknown = path(&answer, &["result", "x-unknown"]);
        assert_eq!(unknown.as_deref(), Some("[9007199254740993,1.0,1e400]"), "{pair}");
        let listed =
            client.request(r#"{"jsonrpc":"2.0","id":"list","method":"tools/list","params":{}}"#).await;
        let list = include_str!("../src/server/tools.json");
        for name in ["tools", "x-unknown"] {
            assert_eq!(path(&listed, &["result", name]), member(list, name), "{pair}");
        }
        for id in ["0", "\"0\"", "9007199254740991", "9007199254740993", "\"a \\u00e9 \\\"quoted\\\"\"", "-1"]
        {
            let more = format!(r#""x-unknown":{ODD},"_meta":{{"vendor/key":{ODD}}}"#);
            let asked = call(id, "echo", ODD, &more);
            let answer = client.request(&asked).await;
            let arrived = path(&answer, &["result", "request", "params"]);
            assert_eq!(arrived, member(&asked, "params"), "{pair}, id {id}");
            let own = path(&answer, &["result", "request", "id"]).unwrap();
            assert!(own.bytes().all(|byte| byte.is_ascii_digit()), "{pair}: the upstream sees {own}");
        }
        let unknown = client.request(r#"{"jsonrpc":"2.0","id":"e","method":"x/unknown"}"#).await;
        assert_eq!(
            member(&unknown, "error").as_deref(),
            Some(r#"{"code":-32601,"message":"no such method"}"#),
            "{pair}"
        );
    })
    .await;
}

#[tokio::test]
async fn t13_t14_progress_logs_questions_and_updates_cross_every_pair() {
    everywhere(async |mut client, pair| {
        client.handshake("2025-11-25").await;
        for token in ["\"p\"", "7"] {
            client
                .send(&call("7", "chatter", "{}", &format!(r#""_meta":{{"progressToken":{token}}}"#)))
                .await;
            let progress = client.message("notifications/progress").await;
            let params = format!(r#"{{"progressToken":{token},"progress":1.0,"x-unknown":1e400}}"#);
            assert_eq!(member(&progress, "params"), Some(params), "{pair}");
            let log = client.message("notifications/message").await;
            let params = r#"{"level":"info","data":{"n":9007199254740993}}"#;
            assert_eq!(member(&log, "params").as_deref(), Some(params), "{pair}");
            let question = client.message("elicitation/create").await;
            let params =
                r#"{"message":"Which?","requestedSchema":{"type":"object","properties":{}},"x-unknown":1.0}"#;
            assert_eq!(member(&question, "params").as_deref(), Some(params), "{pair}");
            let id = member(&question, "id").unwrap();
            let result = format!(r#"{{"action":"accept","content":{ODD}}}"#);
            client.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)).await;
            let progress = client.message("notifications/progress").await;
            assert!(progress.contains("\"progress\":2.0"), "{pair}: {progress}");
            let answer = client.response("7").await;
            assert_eq!(path(&answer, &["result", "answer", "result"]), Some(result), "{pair}");
        }
        let refused = call("8", "chatter", "{}", "");
        client.send(&refused).await;
        let question = client.message("elicitation/create").await;
        let id = member(&question, "id").unwrap();
        let error = r#"{"code":-1,"message":"no","data":[1.0]}"#;
        client.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)).await;
        let answer = client.response("8").await;
        assert_eq!(path(&answer, &["result", "answer", "error"]).as_deref(), Some(error), "{pair}");
        client.send(&call("9", "updated", "{}", "")).await;
        let updated = client.message("notifications/resources/updated").await;
        let params = r#"{"uri":"test://thing","x-unknown":9007199254740993}"#;
        assert_eq!(member(&updated, "params").as_deref(), Some(params), "{pair}");
        client.message("notifications/tools/list_changed").await;
        client.response("9").await;
    })
    .await;
}

#[tokio::test]
async fn t14_a_cancel_reaches_exactly_the_right_request_and_the_late_answer_nobody() {
    everywhere(async |mut client, pair| {
        client.handshake("2025-11-25").await;
        for id in ["1", "\"1\"", "2"] {
            client.send(&call(id, "late", "{}", "")).await;
        }
        client.request(&call("3", "echo", r#"{"after":3}"#, "")).await;
        let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"1","reason":"enough"}}"#;
        client.send(cancel).await;
        let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}"#;
        client.send(cancel).await;
        client.request(&call("5", "echo", "{}", "")).await;
        client.request(&call("6", "echo", "{}", "")).await;
        for text in client.left() {
            let id = member(&text, "id").unwrap_or_default();
            assert!(member(&text, "result").is_none(), "{pair}: {text} is for a cancelled request");
            assert_ne!(id, "1", "{pair}: this one was not cancelled");
        }
    })
    .await;
}

#[tokio::test]
async fn t2_one_child_serves_all_requests_of_a_session() {
    let directory = tempfile::tempdir().unwrap();
    let starts = directory.path().join("starts");
    let proxy = before_command(&[&child(), "--starts", starts.to_str().unwrap()]).start().await;
    let mut client = Client::http(proxy.address);
    client.handshake("2025-11-25").await;
    let mut pids = std::collections::BTreeSet::new();
    for number in 1..=20 {
        let answer = client.request(&call(&number.to_string(), "who", "{}", "")).await;
        pids.insert(path(&answer, &["result", "pid"]).unwrap());
    }
    assert_eq!(pids.len(), 1);
    let started = std::fs::read_to_string(&starts).unwrap().lines().count();
    assert!(started <= 2, "one for the session and one kept warm, not {started}");
}

#[tokio::test]
async fn t3_forward_writes_nothing_but_messages_to_stdout() {
    let mut command = Command::new(program());
    command.args(["forward", "--", &child(), "--flood"]);
    let mut client = Client::stdio(command);
    client.handshake("2025-11-25").await;
    let answer = client.request(&call("1", "garbage", "{}", "")).await;
    assert!(member(&answer, "result").is_some(), "{answer}");
    for text in client.left() {
        assert!(member(&text, "jsonrpc").is_some(), "{text:?} is no message");
    }
}

#[tokio::test]
async fn content_that_the_clients_revision_does_not_have_is_told_as_text() {
    everywhere(async |mut client, pair| {
        client.handshake("2024-11-05").await;
        let answer = client.request(&call("1", "media", "{}", "")).await;
        let content = path(&answer, &["result", "content"]).unwrap_or_default();
        assert!(!content.contains("resource_link") && !content.contains(r#""audio""#), "{pair}: {answer}");
        assert!(content.contains("[audio audio/wav, about 3 bytes"), "{pair}: {answer}");
        assert!(content.contains(r#"{"type":"text","text":"[n](a:b)"}"#), "{pair}: {answer}");
    })
    .await;
}
