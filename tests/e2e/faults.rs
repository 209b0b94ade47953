//! F01-F07, F31: upstreams that are cut, hang, talk for ever; clients that are slow or leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;
use shadowcat_tests::client::{Client, call};
use shadowcat_tests::proxy::{Proxy, before_command, before_url};
use shadowcat_tests::raw::post;
use shadowcat_tests::server::{Answers, HttpServer, HttpSettings, SseServer, member, path};
use shadowcat_tests::upstream::{Reply, Seen, Upstream};
use shadowcat_tests::wait::{soon, until};

use crate::edge::session;
use crate::harness::child;
use crate::modern::tool;

const NEWEST: &str = "2025-11-25";

fn reason(answer: &str) -> Option<String> {
    path(answer, &["error", "data", "reason"])
}

/// The answers every legacy server gives; `None` for what a test answers itself.
pub(crate) fn courtesy(seen: &Seen) -> Option<Reply> {
    let id = seen.member("id");
    match (seen.rpc().as_deref(), id) {
        (Some("initialize"), Some(id)) => {
            let result = r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"x","version":"1"}}"#;
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
            Some(Reply::json(200, text).header("mcp-session-id", "u"))
        }
        (Some(_), None) => Some(Reply::empty(202)),
        (None, None) if seen.method == http::Method::GET && seen.header("last-event-id").is_none() => {
            Some(Reply::empty(405))
        }
        (None, None) if seen.method == http::Method::DELETE => Some(Reply::empty(204)),
        _ => None,
    }
}

fn cut_at(seen: &Seen) -> usize {
    path(&seen.body, &["params", "arguments", "cut"]).and_then(|raw| raw.parse().ok()).unwrap_or(0)
}

async fn upstream<F>(answer: F) -> (Upstream, Proxy)
where
    F: Fn(Seen) -> Reply + Send + Sync + 'static,
{
    let upstream = Upstream::start(move |seen| {
        let reply = courtesy(&seen).unwrap_or_else(|| answer(seen));
        async move { reply }
    })
    .await;
    let proxy = before_url(&upstream.url("/mcp")).start().await;
    (upstream, proxy)
}

#[tokio::test]
async fn f01_an_answer_cut_anywhere_becomes_an_error_and_never_half_an_answer() {
    let whole = |id: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[],"fill":"{}"}}}}"#, "x".repeat(240))
    };
    let length = whole("1").len();
    let (_upstream, proxy) = upstream(move |seen| {
        let text = whole(&seen.member("id").unwrap());
        let cut = cut_at(&seen).min(text.len() - 1);
        Reply::cut("application/json", text[..cut].to_owned())
    })
    .await;
    let id = session(&proxy, NEWEST).await;
    for cut in (0..length).step_by(7) {
        let asked = post("/mcp", &call("\"c\"", "x", &format!(r#"{{"cut":{cut}}}"#), ""))
            .header("Mcp-Session-Id", &id);
        let answer = asked.send(proxy.address).await;
        assert_eq!(answer.status, 200, "cut at {cut}");
        let text = answer.message().await;
        assert_eq!(member(&text, "id").as_deref(), Some("\"c\""), "cut at {cut}: {text}");
        assert_eq!(reason(&text).as_deref(), Some("\"upstream_protocol\""), "cut at {cut}: {text}");
        assert!(!text.contains("xxx"), "cut at {cut}: {text}");
    }
}

/// Five events with ids, the last one the response.
fn five(own: &str) -> Vec<String> {
    let mut events: Vec<_> = (1..=4)
        .map(|number| {
            let params = format!(r#"{{"level":"info","data":{number}}}"#);
            format!("id: e{number}\nretry: 10\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{params}}}\n\n")
        })
        .collect();
    events
        .push(format!("id: e5\ndata: {{\"jsonrpc\":\"2.0\",\"id\":{own},\"result\":{{\"done\":true}}}}\n\n"));
    events
}

#[tokio::test]
async fn f02_t7_a_stream_cut_anywhere_is_taken_up_without_loss_or_repetition() {
    let length: usize = five("1000").iter().map(String::len).sum();
    let (_upstream, proxy) = upstream(move |seen| {
        if let Some(place) = seen.header("last-event-id") {
            // An id names the call and the event: `call-e3`.
            let (own, last) = place.split_once('-').unwrap();
            let number: usize = last[1..].parse().unwrap();
            let rest: String = five(own)[number..].concat().replace("id: e", &format!("id: {own}-e"));
            return Reply::stream(rest);
        }
        let own = seen.member("id").unwrap();
        let text = five(&own).concat().replace("id: e", &format!("id: {own}-e"));
        Reply::cut("text/event-stream", text[..cut_at(&seen).min(text.len() - 1)].to_owned())
    })
    .await;
    let ends = stream::iter((0..length).step_by(7)).map(|cut| {
        let address = proxy.address;
        async move {
            let mut client = Client::http(address);
            client.handshake("2025-06-18").await;
            let answer = client.request(&call("\"c\"", "x", &format!(r#"{{"cut":{cut}}}"#), "")).await;
            let told: Vec<_> =
                client.left().iter().filter_map(|text| path(text, &["params", "data"])).collect();
            (cut, answer, told)
        }
    });
    let ends: Vec<_> = soon("every call ends", ends.buffer_unordered(20).collect::<Vec<_>>()).await;
    let mut resumed = 0;
    for (cut, answer, told) in ends {
        if answer.contains(r#""done":true"#) {
            assert_eq!(told, ["1", "2", "3", "4"], "cut at {cut}");
            resumed += 1;
        } else {
            // Nothing had an id yet, so there was no place to come back to.
            assert_eq!(reason(&answer).as_deref(), Some("\"upstream_protocol\""), "cut at {cut}: {answer}");
            assert_eq!(told, Vec::<String>::new(), "cut at {cut}");
            assert!(cut < 120, "cut at {cut}: {answer}");
        }
    }
    assert!(resumed > 50);
}

#[tokio::test]
async fn f03_t15_an_upstream_that_hangs_is_given_up_at_the_limit_and_told() {
    let http = HttpServer::start(HttpSettings::default()).await;
    let sse = SseServer::start().await;
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let child = [child(), "--log".into(), log.to_str().unwrap().to_owned()];
    for (kind, reverse) in [
        ("http", before_url(&http.url())),
        ("sse", before_url(&sse.url())),
        ("child", before_command(&child)),
    ] {
        let proxy = reverse.argument("--request-timeout").argument("400ms").start().await;
        let mut client = Client::http(proxy.address);
        client.handshake(NEWEST).await;
        let begun = Instant::now();
        for number in 1..=10 {
            client.send(&call(&number.to_string(), "hang", "{}", "")).await;
        }
        for number in 1..=10 {
            let ended = client.response(&number.to_string()).await;
            assert_eq!(reason(&ended).as_deref(), Some("\"upstream_timeout\""), "{kind}: {ended}");
        }
        assert!(begun.elapsed() >= Duration::from_millis(400), "{kind}: not before the limit");
        until(format!("{kind}: the upstream is told"), || {
            let told = match kind {
                "http" => http.upstream.calls("notifications/cancelled").len(),
                "sse" => sse.upstream.calls("notifications/cancelled").len(),
                _ => std::fs::read_to_string(&log).unwrap().matches("notifications/cancelled").count(),
            };
            told == 10
        })
        .await;
        let answer = client.request(&call("11", "echo", "{}", "")).await;
        assert!(member(&answer, "result").is_some(), "{kind}: {answer}");
    }
}

#[tokio::test]
async fn f03_a_modern_call_that_hangs_closes_its_stream_upstream() {
    let closed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&closed);
    let upstream = Upstream::start(move |_| {
        let counter = Arc::clone(&counter);
        async move {
            let (pieces, reply) = Reply::events();
            #[expect(clippy::disallowed_methods, reason = "ends with the answer it watches")]
            tokio::spawn(async move {
                pieces.closed().await;
                counter.fetch_add(1, Ordering::SeqCst);
            });
            reply
        }
    })
    .await;
    let proxy =
        before_url(&upstream.url("/mcp")).argument("--request-timeout").argument("300ms").start().await;
    let text = tool("1", "hang").send(proxy.address).await.message().await;
    assert_eq!(reason(&text).as_deref(), Some("\"upstream_timeout\""), "{text}");
    until("the upstream's stream is closed", || closed.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn f04_progress_keeps_a_call_alive_up_to_its_maximum() {
    let config = "timeouts:\n  request: 500ms\n  request_max: 2s\n";
    let http = HttpServer::start(HttpSettings { answers: Answers::Stream, ..HttpSettings::default() }).await;
    for reverse in [before_url(&http.url()), before_command(&[child()])] {
        let proxy = reverse.config(config).start().await;
        let mut client = Client::http(proxy.address);
        client.handshake(NEWEST).await;
        let begun = Instant::now();
        let ended = client.request(&call("1", "endless", "{}", r#""_meta":{"progressToken":1}"#)).await;
        assert_eq!(reason(&ended).as_deref(), Some("\"upstream_timeout\""), "{ended}");
        assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
        assert!(client.left().len() >= 10, "progress went through all the time");
    }
}

/// An upstream that answers `echo` at once and everything else with messages of 10 kB as long as somebody reads.
async fn talkative(config: &str) -> (Upstream, Proxy, Arc<AtomicUsize>) {
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    let upstream = Upstream::start(move |seen| {
        let counter = Arc::clone(&counter);
        let reply = courtesy(&seen).unwrap_or_else(|| {
            let id = seen.member("id").unwrap();
            if seen.body.contains("\"echo\"") {
                return Reply::json(200, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
            }
            let (pieces, reply) = Reply::events();
            #[expect(clippy::disallowed_methods, reason = "ends with the answer it writes")]
            tokio::spawn(async move {
                let fill = "x".repeat(10_000);
                let params = format!(r#"{{"level":"info","data":"{fill}"}}"#);
                let note =
                    format!(r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{params}}}"#);
                while pieces.event(&note).await {
                    counter.fetch_add(note.len(), Ordering::SeqCst);
                }
            });
            reply
        });
        async move { reply }
    })
    .await;
    let proxy = before_url(&upstream.url("/mcp")).config(config).start().await;
    (upstream, proxy, written)
}

/// Waits until the upstream cannot write any more.
async fn stuck(written: &AtomicUsize) {
    let mut last = (0, Instant::now());
    until("the upstream has to wait", || {
        let now = written.load(Ordering::SeqCst);
        if now != last.0 {
            last = (now, Instant::now());
        }
        now > 0 && last.1.elapsed() > Duration::from_millis(500)
    })
    .await;
}

#[tokio::test]
async fn f05_slow_clients_cost_little_and_hold_up_nobody_else() {
    let (_upstream, proxy, written) = talkative("limits:\n  resume_bytes: 256KiB\n").await;
    let ask = |id: &str, tool: &str| post("/mcp", &call("1", tool, "{}", "")).header("Mcp-Session-Id", id);
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(session(&proxy, NEWEST).await);
    }
    let before = proxy.process.resident_bytes();
    let mut slow = Vec::new();
    for id in &ids {
        // Its head is read and nothing of its body.
        slow.push(ask(id, "big").narrow().send(proxy.address).await);
    }
    stuck(&written).await;
    let grown = proxy.process.resident_bytes().saturating_sub(before);
    assert!(grown <= 20 << 20, "{grown} bytes for 20 slow clients");
    for id in &ids {
        assert_eq!(ask(id, "echo").send(proxy.address).await.status, 200);
    }
}

#[tokio::test]
async fn s4_what_one_session_keeps_for_its_client_is_capped_however_many_streams_it_has() {
    let (_upstream, proxy, written) = talkative("limits:\n  stream_buffer: 16KiB\n").await;
    let id = session(&proxy, NEWEST).await;
    let mut slow = Vec::new();
    for number in 0..20 {
        let asked = post("/mcp", &call(&number.to_string(), "big", "{}", "")).header("Mcp-Session-Id", &id);
        slow.push(asked.narrow().send(proxy.address).await);
    }
    stuck(&written).await;
    let kept = proxy.metric("shadowcat_sessions_kept_bytes").await;
    assert!(
        kept <= f64::from((1 << 20) + 20 * (16 << 10) + 20 * 10_100),
        "{kept} bytes kept for one session"
    );
}

#[tokio::test]
async fn f06_an_event_that_comes_byte_by_byte_is_passed_on_when_it_is_whole() {
    let (sender, mut streams) = tokio::sync::mpsc::channel(1);
    let upstream = Upstream::start(move |seen| {
        let sender = sender.clone();
        async move {
            if let Some(reply) = courtesy(&seen) {
                return reply;
            }
            let (pieces, reply) = Reply::events();
            sender.send((seen, pieces)).await.unwrap();
            reply
        }
    })
    .await;
    let proxy = before_url(&upstream.url("/mcp")).start().await;
    let id = session(&proxy, NEWEST).await;
    let asked = post("/mcp", &call("1", "x", "{}", "")).header("Mcp-Session-Id", &id).send(proxy.address);
    let (answer, (seen, pieces)) = tokio::join!(asked, async { streams.recv().await.unwrap() });
    let mut events = answer.events();
    for number in 0..3 {
        let note =
            format!(r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"data":{number}}}}}"#);
        for byte in format!("data: {note}\r\n\r\n").bytes() {
            pieces.write(vec![byte]).await;
        }
        assert_eq!(events.message().await, note);
    }
    pieces.event(&format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, seen.member("id").unwrap())).await;
    events.message().await;
}

#[tokio::test]
async fn f31_a_legacy_client_that_leaves_has_cancelled_nothing() {
    let http = HttpServer::start(HttpSettings::default()).await;
    for reverse in [before_url(&http.url()), before_command(&[child()])] {
        let proxy = reverse.start().await;
        let id = session(&proxy, NEWEST).await;
        let in_session = |text: &str| post("/mcp", text).header("Mcp-Session-Id", &id);
        for number in 0..10 {
            let leaves =
                in_session(&call(&number.to_string(), "hold", "{}", "")).send_patiently(proxy.address);
            let arrives =
                in_session(&call("\"sure\"", "echo", &format!(r#"{{"after":{}}}"#, number + 1), ""))
                    .send(proxy.address);
            tokio::select! {
                _ = leaves => panic!("a held call has no answer"),
                answer = arrives => drop(answer.message().await),
            }
        }
        let released = in_session(&call("\"r\"", "release", "{}", "")).send(proxy.address).await;
        assert_eq!(released.status, 200);
        released.message().await;
        assert!(http.upstream.calls("notifications/cancelled").is_empty());
        soon("nothing stays in flight", async {
            while proxy.metric("shadowcat_calls_in_flight").await > 0.0 {}
        })
        .await;
        crate::sessions::goes_on(&proxy, &id).await;
    }
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_an_error_at_once_and_readiness_says_so() {
    let gone = Upstream::start(|_| async { Reply::empty(200) }).await;
    let url = gone.url("/mcp");
    drop(gone);
    let proxy = before_url(&url).start().await;
    let answer = post("/mcp", &shadowcat_tests::client::initialize("1", NEWEST)).send(proxy.address).await;
    assert_eq!(answer.status, 502);
    assert_eq!(reason(&answer.text().await).as_deref(), Some("\"upstream_unreachable\""));
    assert_eq!(proxy.page("/ready").await.0, 503);
    let (status, health) = proxy.page("/health").await;
    assert_eq!((status, member(&health, "status").as_deref()), (200, Some("\"degraded\"")), "{health}");
}
