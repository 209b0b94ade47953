//! Clients that take nothing of what is written to them, on each of the ways it can be written.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shadowcat_tests::client::{INITIALIZED, call, initialize};
use shadowcat_tests::process::Process;
use shadowcat_tests::proxy::{before_url, program};
use shadowcat_tests::raw::{get, post};
use shadowcat_tests::server::{HttpServer, HttpSettings};
use shadowcat_tests::upstream::{Reply, Upstream};
use shadowcat_tests::wait::{soon, until};

use crate::edge::session;
use crate::faults::courtesy;

const NEWEST: &str = "2025-11-25";
const STALL: &str = "timeouts:\n  write_stall: 500ms\n  shutdown: 1s\n";
/// What the proxy may take with one slow client.
const RESIDENT_MAX: u64 = 80 << 20;

/// An upstream whose calls are answered with messages of 10 kB as long as somebody reads; how many of them ended.
async fn talker() -> (Upstream, Arc<AtomicUsize>) {
    let ended = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&ended);
    let upstream = Upstream::start(move |seen| {
        let counter = Arc::clone(&counter);
        let reply = courtesy(&seen).unwrap_or_else(|| {
            let (pieces, reply) = Reply::events();
            #[expect(clippy::disallowed_methods, reason = "ends with the answer it writes")]
            tokio::spawn(async move {
                let params = format!(r#"{{"level":"info","data":"{}"}}"#, "x".repeat(10_000));
                let note =
                    format!(r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{params}}}"#);
                while pieces.event(&note).await {}
                counter.fetch_add(1, Ordering::SeqCst);
            });
            reply
        });
        async move { reply }
    })
    .await;
    (upstream, ended)
}

#[tokio::test]
async fn f05_a_client_on_http_sse_that_reads_nothing_is_given_up() {
    let (upstream, ended) = talker().await;
    let proxy = before_url(&upstream.url("/mcp")).config(STALL).start().await;
    let answer = get("/sse").header("Accept", "text/event-stream").narrow().send(proxy.address).await;
    let mut events = answer.events();
    let endpoint = events.next().await.unwrap().data;
    for text in [&initialize("0", NEWEST), INITIALIZED, &call("1", "big", "{}", "")] {
        assert_eq!(post(&endpoint, text).send(proxy.address).await.status, 202);
        if text.contains("initialize\"") {
            events.message().await;
        }
    }
    until("the upstream's stream is let go", || ended.load(Ordering::SeqCst) == 1).await;
    soon("the session ends", async { while proxy.metric("shadowcat_sessions_active").await > 0.0 {} }).await;
    let peak = proxy.process.resident_bytes_peak();
    assert!(peak <= RESIDENT_MAX, "{peak} bytes for a client that reads nothing");
}

#[tokio::test]
async fn f05_a_client_on_stdio_that_reads_nothing_is_given_up() {
    let (upstream, ended) = talker().await;
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("shadowcat.yaml");
    std::fs::write(&config, STALL).unwrap();
    let mut command = Command::new(program());
    command.args(["forward", "--config"]).arg(&config).arg(upstream.url("/mcp"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = Process::start(command);
    let mut stdin = process.stdin.take().unwrap();
    for text in [&initialize("0", NEWEST), INITIALIZED, &call("1", "big", "{}", "")] {
        stdin.write_all(format!("{text}\n").as_bytes()).unwrap();
    }
    until("the upstream's stream is let go", || ended.load(Ordering::SeqCst) == 1).await;
    let peak = process.resident_bytes_peak();
    assert!(peak <= RESIDENT_MAX, "{peak} bytes for a client that reads nothing");
    drop(stdin);
    process.ended().await;
}

#[tokio::test]
async fn f05_a_client_that_takes_nothing_of_a_whole_answer_is_given_up() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let proxy =
        before_url(&server.url()).config(STALL).argument("--log-level").argument("debug").start().await;
    let id = session(&proxy, NEWEST).await;
    let big = call("1", "big", r#"{"bytes":8000000}"#, "");
    let answer = post("/mcp", &big).header("Mcp-Session-Id", &id).narrow().send(proxy.address).await;
    assert_eq!((answer.status, answer.is_stream()), (200, false));
    proxy.process.says_somewhere("a connection ended early").await;
    let taken = answer.text().await.len();
    assert!(taken < 8_000_000, "{taken} bytes");
}
