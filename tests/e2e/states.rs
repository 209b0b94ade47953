//! S1, S3, S4, S6: where sessions stand, as `shadowcat sessions` tells it while a proxy runs and after its end.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use http::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use shadowcat_tests::client::{INITIALIZED, call, initialize};
use shadowcat_tests::proxy::{Proxy, Reverse, before_command, before_url, configured};
use shadowcat_tests::raw::{Ask, ask, get, post};
use shadowcat_tests::server::{HttpServer, HttpSettings, path};
use shadowcat_tests::upstream::{Reply, Seen, Upstream};
use shadowcat_tests::wait::{soon, until};
use tokio::sync::Semaphore;

use crate::edge::session;
use crate::faults::courtesy;
use crate::harness::child;
use crate::sessions::{goes_on, list, written};

const NEWEST: &str = "2025-11-25";

/// The sessions in the proxy's data, by tag.
async fn listed(proxy: &Proxy) -> BTreeMap<String, Value> {
    let told = proxy.sessions(&["list", "-o", "json"]).await;
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let sessions: Vec<Value> = serde_json::from_slice(&told.stdout).unwrap();
    sessions.into_iter().map(|it| (it["session"].as_str().unwrap().to_owned(), it)).collect()
}

/// Waits until the session is listed with this state.
async fn stands(proxy: &Proxy, tag: &str, state: &str) {
    let what = format!("session {tag} is {state}");
    soon(what, async { while listed(proxy).await.get(tag).is_none_or(|it| it["state"] != state) {} }).await;
}

/// Waits until a session is listed that was not before; its tag.
async fn newcomer(proxy: &Proxy, before: &[&str]) -> String {
    soon("a new session is listed", async {
        loop {
            let mut tags = listed(proxy).await.into_keys();
            if let Some(tag) = tags.find(|tag| !before.contains(&tag.as_str())) {
                return tag;
            }
        }
    })
    .await
}

fn end(id: &str) -> Ask {
    ask(Method::DELETE, "/mcp").header("Mcp-Session-Id", id)
}

async fn is_unknown(proxy: &Proxy, id: &str) {
    assert_eq!(list(id).send(proxy.address).await.status, 404);
}

/// A proxy whose only child reads nothing while its gate is shut, and the file with the ids of the children.
async fn before_a_gate(gate: &Path, starts: &Path) -> Proxy {
    let command =
        format!(r#"["{}", "--gate", "{}", "--starts", "{}"]"#, child(), gate.display(), starts.display());
    configured(&format!("upstream:\n  command: {command}\n  children_max: 1\n")).start().await
}

#[tokio::test]
async fn s1_a_session_before_a_child_shows_where_it_stands_from_its_beginning_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let (gate, starts) = (directory.path().join("gate"), directory.path().join("starts"));
    let (open, shut) = (|| std::fs::write(&gate, "").unwrap(), || std::fs::remove_file(&gate).unwrap());
    open();
    let proxy = before_a_gate(&gate, &starts).await;
    let first = session(&proxy, NEWEST).await;
    let first_tag = newcomer(&proxy, &[]).await;
    shut();

    // The first session has the only child; the second waits for one, and then for the gate.
    let opening = post("/mcp", &initialize("0", NEWEST)).send_patiently(proxy.address);
    let script = async {
        let tag = newcomer(&proxy, &[&first_tag]).await;
        stands(&proxy, &tag, "new").await;
        assert!(end(&first).send(proxy.address).await.status < 300);
        stands(&proxy, &tag, "initializing").await;
        open();
        tag
    };
    let (opened, tag) = tokio::join!(opening, script);
    let id = opened.header("mcp-session-id").unwrap().to_owned();
    opened.message().await;
    let done = post("/mcp", INITIALIZED).header("Mcp-Session-Id", &id);
    assert_eq!(done.send(proxy.address).await.status, 202);
    stands(&proxy, &tag, "active").await;
    stands(&proxy, &first_tag, "closed").await;

    shut();
    let pids = std::fs::read_to_string(&starts).unwrap();
    let pid = Pid::from_raw(pids.lines().last().unwrap().parse().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    stands(&proxy, &tag, "error").await;
    let script = async {
        stands(&proxy, &tag, "initializing").await;
        open();
    };
    tokio::join!(goes_on(&proxy, &id), script);
    stands(&proxy, &tag, "active").await;

    proxy.process.signal(Signal::TERM);
    assert!(proxy.process.ended().await.success());
    stands(&proxy, &tag, "paused").await;
    let proxy = proxy.end_and_restart().await;
    goes_on(&proxy, &id).await;
    stands(&proxy, &tag, "active").await;
    assert!(end(&id).send(proxy.address).await.status < 300);
    stands(&proxy, &tag, "closed").await;
}

/// A server whose sessions end only when they may, and which refuses everything while it is told to.
struct Moody {
    upstream: Upstream,
    ends: Arc<Semaphore>,
    refuses: Arc<AtomicBool>,
}

impl Moody {
    async fn start() -> Self {
        let (ends, refuses) = (Arc::new(Semaphore::new(0)), Arc::<AtomicBool>::default());
        let upstream = {
            let (ends, refuses) = (Arc::clone(&ends), Arc::clone(&refuses));
            Upstream::start(move |seen| {
                let (ends, refuses) = (Arc::clone(&ends), Arc::clone(&refuses));
                async move {
                    if seen.method == Method::DELETE {
                        ends.acquire().await.unwrap().forget();
                        return Reply::empty(204);
                    }
                    if refuses.load(Ordering::Acquire) { Reply::empty(404) } else { Self::answer(&seen) }
                }
            })
            .await
        };
        Self { upstream, ends, refuses }
    }

    fn answer(seen: &Seen) -> Reply {
        let Some(id) = seen.member("id") else { return Reply::empty(202) };
        let result = match seen.rpc().as_deref() {
            Some("initialize") => {
                r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"moody","version":"1"}}"#
            }
            _ => r#"{"tools":[]}"#,
        };
        Reply::json(200, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
            .header("mcp-session-id", "of-the-server")
    }
}

#[tokio::test]
async fn s1_a_session_whose_server_forgot_it_is_in_error_until_it_is_set_up_again_and_closing_while_it_ends()
{
    let server = Moody::start().await;
    let proxy = before_url(&server.upstream.url("/mcp")).start().await;
    let id = session(&proxy, NEWEST).await;
    let tag = newcomer(&proxy, &[]).await;
    server.refuses.store(true, Ordering::Release);
    let refused = list(&id).send(proxy.address).await;
    assert_ne!(refused.status, 404, "the client keeps its session");
    assert!(path(&refused.message().await, &["error", "data", "reason"]).is_some());
    stands(&proxy, &tag, "error").await;
    server.refuses.store(false, Ordering::Release);
    goes_on(&proxy, &id).await;
    stands(&proxy, &tag, "active").await;

    assert!(end(&id).send(proxy.address).await.status < 300);
    stands(&proxy, &tag, "closing").await;
    is_unknown(&proxy, &id).await;
    server.ends.add_permits(1);
    stands(&proxy, &tag, "closed").await;
    let told = proxy.sessions(&["kill", &tag]).await;
    assert!(!told.status.success(), "nothing leads back from the end");
    assert!(String::from_utf8_lossy(&told.stderr).contains("it is closed"));
}

#[tokio::test]
async fn s4_the_session_that_gives_way_to_another_is_paused_and_wakes() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let proxy = before_url(&server.url()).config("sessions:\n  max: 1\n").start().await;
    let first = session(&proxy, NEWEST).await;
    let first_tag = newcomer(&proxy, &[]).await;
    let second = session(&proxy, NEWEST).await;
    let second_tag = newcomer(&proxy, &[&first_tag]).await;
    stands(&proxy, &first_tag, "paused").await;
    goes_on(&proxy, &first).await;
    stands(&proxy, &first_tag, "active").await;
    stands(&proxy, &second_tag, "paused").await;

    let told = proxy.sessions(&["kill", &second_tag]).await;
    assert!(told.status.success());
    stands(&proxy, &second_tag, "closed").await;
    is_unknown(&proxy, &second).await;
    goes_on(&proxy, &first).await;
}

#[tokio::test]
async fn kill_ends_a_session_that_a_running_proxy_uses_and_no_other() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let proxy = before_url(&server.url()).start().await;
    let victim = session(&proxy, NEWEST).await;
    let victim_tag = newcomer(&proxy, &[]).await;
    let other = session(&proxy, NEWEST).await;
    newcomer(&proxy, &[&victim_tag]).await;
    let accept = ("Accept", "text/event-stream");
    let standing = get("/mcp").headers(&[accept, ("Mcp-Session-Id", &victim)]).send(proxy.address).await;
    // In use all the while: what the proxy writes of it must not undo its end.
    goes_on(&proxy, &victim).await;
    let told = proxy.sessions(&["kill", &victim_tag]).await;
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    assert_ne!(listed(&proxy).await[&victim_tag]["state"], "active");
    stands(&proxy, &victim_tag, "closed").await;
    is_unknown(&proxy, &victim).await;
    standing.text().await;
    until("the upstream is told", || server.sessions() == ["upstream-session-2"]).await;
    goes_on(&proxy, &other).await;
    let shown = proxy.sessions(&["show", &victim_tag]).await;
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!((&shown["state"], &shown["requests"]), (&"closed".into(), &1.into()));
}

/// Notes that nobody waits for an answer any more.
struct Awaited(Arc<AtomicUsize>);

impl Drop for Awaited {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A server whose calls are never answered, half of them after a first event, and how many were given up.
async fn hanging() -> (Upstream, Arc<AtomicUsize>) {
    let given_up = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&given_up);
    let upstream = Upstream::start(move |seen| {
        let counter = Arc::clone(&counter);
        async move {
            if let Some(reply) = courtesy(&seen) {
                return reply;
            }
            let awaited = Awaited(counter);
            if seen.body.contains("speaks first") {
                let (pieces, reply) = Reply::events();
                #[expect(clippy::disallowed_methods, reason = "ends with the answer it writes")]
                tokio::spawn(async move {
                    pieces.event(NOTE).await;
                    pieces.closed().await;
                    drop(awaited);
                });
                return reply;
            }
            let _awaited = awaited;
            std::future::pending().await
        }
    });
    (upstream.await, given_up)
}

const NOTE: &str = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#;

#[tokio::test]
async fn r1_calls_of_a_session_that_is_ended_are_told_and_withdrawn() {
    let (upstream, given_up) = hanging().await;
    let proxy = before_url(&upstream.url("/mcp")).start().await;
    let (mut calls, mut before) = (0, Vec::new());
    for is_killed in [false, true] {
        let id = session(&proxy, NEWEST).await;
        let known: Vec<&str> = before.iter().map(String::as_str).collect();
        let tag = newcomer(&proxy, &known).await;
        let asked = |tool: &str| {
            let text = call("1", tool, "{}", "");
            post("/mcp", &text).header("Mcp-Session-Id", &id).send_patiently(proxy.address)
        };
        let mut speaking = soon("an event", asked("speaks first")).await.events();
        assert_eq!(speaking.message().await, NOTE);
        calls += 2;
        let ending = async {
            until("both calls are there", || upstream.calls("tools/call").len() == calls).await;
            if is_killed {
                assert!(proxy.sessions(&["kill", &tag]).await.status.success());
            } else {
                assert!(end(&id).send(proxy.address).await.status < 300);
            }
        };
        let called = Box::pin(async { tokio::join!(asked("silent"), ending) });
        let (silent, ()) = soon("the end of a call", called).await;
        for text in [silent.message().await, speaking.message().await] {
            let reason = path(&text, &["error", "data", "reason"]);
            assert_eq!(reason.as_deref(), Some("\"session_lost\""), "{text}");
        }
        assert_eq!(speaking.next().await, None);
        until("the server is told", || given_up.load(Ordering::SeqCst) == calls).await;
        before.push(tag);
    }
}

#[tokio::test]
async fn kill_ends_a_session_while_no_proxy_runs() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let proxy = before_url(&server.url()).start().await;
    let id = session(&proxy, NEWEST).await;
    let tag = newcomer(&proxy, &[]).await;
    proxy.process.signal(Signal::TERM);
    proxy.process.ended().await;
    assert!(proxy.sessions(&["kill", &tag]).await.status.success());
    stands(&proxy, &tag, "closing").await;
    let proxy = proxy.end_and_restart().await;
    is_unknown(&proxy, &id).await;
    stands(&proxy, &tag, "closed").await;
}

#[tokio::test]
async fn s3_proxies_before_other_servers_do_not_see_each_others_sessions_in_one_store() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let named = |name: &str| -> Reverse {
        configured(&format!("upstream:\n  name: {name}\n  url: {}\n", server.url()))
    };
    let proxy = named("one").start().await;
    let id = session(&proxy, NEWEST).await;
    written(&proxy).await;
    let proxy = proxy.end_and_start(named("other")).await;
    is_unknown(&proxy, &id).await;
    let proxy = proxy.end_and_start(named("one")).await;
    goes_on(&proxy, &id).await;
}

#[tokio::test]
async fn s6_a_thousand_calls_at_once_are_counted_one_by_one() {
    let proxy = before_command(&[child()]).config("limits:\n  in_flight_per_session: 1000\n").start().await;
    let id = session(&proxy, NEWEST).await;
    let tag = newcomer(&proxy, &[]).await;
    let calls = (0..1_000).map(|number| {
        let asked = post("/mcp", &call(&number.to_string(), "echo", "{}", "")).header("Mcp-Session-Id", &id);
        async {
            let answer = asked.send_patiently(proxy.address).await;
            assert_eq!(answer.status, 200);
            answer.text_patiently().await
        }
    });
    let answers = soon("all answers", join_all(calls)).await;
    assert_eq!(answers.len(), 1_000);
    let counted = async || {
        let shown = proxy.sessions(&["show", &tag]).await;
        let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
        (shown["requests"].as_u64().unwrap(), shown["errors"].as_u64().unwrap())
    };
    soon("the count is written", async { while counted().await.0 < 1_000 {} }).await;
    proxy.process.signal(Signal::TERM);
    proxy.process.ended().await;
    assert_eq!(counted().await, (1_000, 0));
}
