//! F08, F09, F12, F15-F17 at their full counts: kills under load, sessions and failing starts by the thousand.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use shadowcat_tests::client::{Client, call, initialize};
use shadowcat_tests::process::{gone, is_running};
use shadowcat_tests::proxy::{Proxy, before_command};
use shadowcat_tests::raw::{ask, post};
use shadowcat_tests::server::{member, path};
use shadowcat_tests::wait::{found, soon, until, within};

use crate::children::reason;
use crate::edge::session;
use crate::harness::child;
use crate::modern::{body, envelope, tool};

const NEWEST: &str = "2025-11-25";
const KILLS: u32 = 50;
/// Calls in flight at each kill that their child has and does not answer, and calls that race with the kill.
const HANGING: usize = 10;
const RACING: usize = 10;
const THOUSAND: usize = 1_000;
const AT_A_TIME: usize = 8;

/// The command of the smallest child.
fn light() -> String {
    env!("CARGO_BIN_EXE_light-stdio").to_owned()
}

fn pids(starts: &Path) -> Vec<u32> {
    std::fs::read_to_string(starts).unwrap().lines().map(|line| line.parse().unwrap()).collect()
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
}

fn pid(who: &str) -> u32 {
    path(who, &["result", "pid"]).unwrap_or_else(|| panic!("not served: {who}")).parse().unwrap()
}

/// The descriptors of a proxy whose connections are gone: two looks in a row see as many.
async fn settled_descriptors(proxy: &Proxy) -> usize {
    let mut last = usize::MAX;
    found("a number of descriptors that stays", || {
        let now = proxy.process.descriptors();
        (std::mem::replace(&mut last, now) == now).then_some(now)
    })
    .await
}

/// The end of a call whose child was killed under it.
fn assert_exited(answer: &str) {
    assert_eq!(reason(answer).as_deref(), Some("\"upstream_exited\""), "{answer}");
    assert!(answer.contains("signal: 9"), "how it ended: {answer}");
}

/// The end of a call that was sent while its child was killed.
fn assert_ended(answer: &str) {
    if member(answer, "result").is_none() {
        assert_eq!(reason(answer).as_deref(), Some("\"upstream_exited\""), "{answer}");
    }
}

async fn assert_well(proxy: &Proxy, crashes: u32) {
    let counted = proxy.metric("shadowcat_children_crashes_total").await;
    assert!((counted - f64::from(crashes)).abs() < 0.5, "{counted} crashes");
    let (_, health) = proxy.page("/health").await;
    assert_eq!(member(&health, "status").as_deref(), Some("\"ok\""), "{health}");
    assert_eq!(proxy.page("/ready").await.0, 200);
    soon("nothing stays in flight", async { while proxy.metric("shadowcat_calls_in_flight").await > 0.0 {} })
        .await;
}

#[tokio::test]
async fn f08_a_session_whose_child_is_killed_again_and_again_is_served_by_the_next_one() {
    let proxy = before_command(&[child()]).start().await;
    let (mut client, mut other) = (Client::http(proxy.address), Client::http(proxy.address));
    client.handshake(NEWEST).await;
    other.handshake(NEWEST).await;
    let neighbour = pid(&other.request(&call("0", "who", "{}", "")).await);
    let mut killed = BTreeSet::new();
    for _ in 0..KILLS {
        let doomed = pid(&client.request(&call("\"who\"", "who", "{}", "")).await);
        assert!(killed.insert(doomed), "a new child");
        for number in 0..HANGING {
            client.send(&call(&number.to_string(), "hang", "{}", "")).await;
        }
        client.request(&call("\"all\"", "echo", &format!(r#"{{"after":{HANGING}}}"#), "")).await;
        for number in HANGING..HANGING + RACING {
            client.send(&call(&number.to_string(), "echo", "{}", "")).await;
        }
        kill(doomed);
        for number in 0..HANGING {
            assert_exited(&client.response(&number.to_string()).await);
        }
        for number in HANGING..HANGING + RACING {
            assert_ended(&client.response(&number.to_string()).await);
        }
    }
    let still = other.request(&call("1", "who", "{}", "")).await;
    assert_eq!(pid(&still), neighbour, "another session notices nothing");
    assert_well(&proxy, KILLS).await;
}

#[tokio::test]
async fn f08_a_shared_child_that_is_killed_again_and_again_is_followed_by_the_next_one() {
    let proxy = before_command(&[child()]).start().await;
    let answer = |asked: shadowcat_tests::raw::Ask| async { asked.send(proxy.address).await.message().await };
    let mut killed = BTreeSet::new();
    for _ in 0..KILLS {
        let doomed = pid(&answer(tool("\"who\"", "who")).await);
        assert!(killed.insert(doomed), "a new child");
        let hanging = join_all((0..HANGING).map(|number| answer(tool(&number.to_string(), "hang"))));
        let racing = async {
            let after = format!(r#""name":"echo","arguments":{{"after":{HANGING}}},"#);
            answer(envelope("tools/call", Some("echo"), &body("\"all\"", "tools/call", &after))).await;
            let racing = join_all((0..RACING).map(|number| answer(tool(&number.to_string(), "echo"))));
            tokio::join!(racing, async { kill(doomed) }).0
        };
        let both = Box::pin(async { tokio::join!(hanging, racing) });
        let (hung, raced) = soon("every call ends", both).await;
        for answer in &hung {
            assert_exited(answer);
        }
        for answer in &raced {
            assert_ended(answer);
        }
    }
    assert_well(&proxy, KILLS).await;
}

#[tokio::test]
async fn f09_a_child_that_gets_no_further_than_the_handshake_is_in_a_crash_loop_too() {
    let directory = tempfile::tempdir().unwrap();
    let starts = directory.path().join("starts");
    let words = [&child(), "--exit-on", "tools/call", "--starts", starts.to_str().unwrap()];
    let proxy = before_command(&words).start().await;
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    soon("the breaker opens", async {
        loop {
            let answer = client.request(&call("1", "echo", "{}", "")).await;
            match reason(&answer).as_deref() {
                Some("\"breaker_open\"") => return assert!(answer.contains("licence"), "{answer}"),
                Some("\"upstream_exited\"") => {}
                other => panic!("{other:?}: {answer}"),
            }
        }
    })
    .await;
    let started = std::fs::read_to_string(&starts).unwrap().lines().count();
    assert!(started <= 6, "{started} starts");
    let (_, health) = proxy.page("/health").await;
    assert_eq!(member(&health, "status").as_deref(), Some("\"degraded\""), "{health}");
    assert_eq!(proxy.page("/ready").await.0, 503);
}

#[tokio::test]
async fn f12_a_line_of_256_mib_is_cut_at_the_limit_and_fails_its_call_only() {
    let proxy = before_command(&[light()]).start().await;
    let id = session(&proxy, NEWEST).await;
    let ask = async |tool: &str, bytes: usize| {
        let text = call("1", tool, &format!(r#"{{"bytes":{bytes}}}"#), "");
        let asked = post("/mcp", &text).header("Mcp-Session-Id", &id).send_patiently(proxy.address);
        within(Duration::from_mins(1), "the end of the call", asked).await.message().await
    };
    assert!(member(&ask("longline", 1 << 16).await, "result").is_some(), "a line within the limit");
    let before = proxy.process.resident_bytes();
    let answer = ask("longline", 256 << 20).await;
    assert_eq!(reason(&answer).as_deref(), Some("\"upstream_protocol\""), "{answer}");
    assert!(answer.contains("over the limit of 16777216 bytes"), "{answer}");
    let grown = proxy.process.resident_bytes_peak() - before;
    assert!(grown <= (16 << 20) + 8_000_000, "{grown} bytes more than before, at the peak");
    assert!(member(&ask("echo", 1 << 16).await, "result").is_some(), "the child still serves");
}

#[tokio::test]
async fn f15_a_thousand_sessions_opened_and_closed_leave_no_child_and_no_zombie() {
    let directory = tempfile::tempdir().unwrap();
    let starts = directory.path().join("starts");
    let proxy = before_command(&[&light(), starts.to_str().unwrap()]).start().await;
    let one = async || {
        let id = session(&proxy, NEWEST).await;
        let end = ask(http::Method::DELETE, "/mcp").header("Mcp-Session-Id", &id).send(proxy.address).await;
        assert!((200..300).contains(&end.status));
    };
    stream::iter(0..THOUSAND).for_each_concurrent(AT_A_TIME, |_| one()).await;
    let pids = pids(&starts);
    assert_eq!(pids.len(), THOUSAND);
    gone(&pids).await;
    // The guard stays; a zombie would still be among them.
    until("no child is left but the guard", || proxy.process.children().len() == 1).await;
    assert!(proxy.metric("shadowcat_children").await < 1.0);
    assert_well(&proxy, 0).await;
}

#[tokio::test]
async fn f15_f16_a_thousand_sessions_at_once_stop_at_the_cap_and_none_survives_kill_9_of_the_proxy() {
    let directory = tempfile::tempdir().unwrap();
    let starts = directory.path().join("starts");
    let proxy = before_command(&[&light(), starts.to_str().unwrap()]).start().await;
    let served = AtomicUsize::new(0);
    let one = async |number: usize| {
        let asked = post("/mcp", &initialize(&number.to_string(), NEWEST)).send_patiently(proxy.address);
        let answer = within(Duration::from_mins(1), "an answer to everybody", asked).await;
        let (status, wait) = (answer.status, answer.header("retry-after").is_some());
        let text = answer.message().await;
        assert_eq!(member(&text, "id"), Some(number.to_string()), "{text}");
        if status == 200 {
            served.fetch_add(1, Ordering::Relaxed);
            return;
        }
        assert_eq!((status, wait), (503, true), "{text}");
        assert_eq!(reason(&text).as_deref(), Some("\"overloaded\""), "{text}");
        assert!(text.contains("all 32 places for children are taken"), "{text}");
    };
    // All but 256 of those that find no place are told at once, so that the others must be in flight together.
    stream::iter(0..THOUSAND).for_each_concurrent(300, one).await;
    assert_eq!(served.load(Ordering::Relaxed), 32);
    let pids = pids(&starts);
    assert_eq!(pids.len(), 32, "no more children than places");
    assert!(pids.iter().all(|pid| is_running(*pid)));
    proxy.process.signal(Signal::KILL);
    proxy.process.ended().await;
    gone(&pids).await;
}

#[tokio::test]
async fn f17_a_thousand_starts_that_fail_cost_no_descriptor() {
    let proxy = before_command(&["/nonexistent/server"]).start().await;
    let one = async |_| {
        let text = post("/mcp", &initialize("1", NEWEST)).send(proxy.address).await.text().await;
        assert_eq!(reason(&text).as_deref(), Some("\"upstream_unreachable\""), "{text}");
        assert!(text.contains("No such file"), "{text}");
    };
    one(0).await;
    let before = settled_descriptors(&proxy).await;
    stream::iter(0..THOUSAND).for_each_concurrent(AT_A_TIME, one).await;
    until("as many descriptors as before", || proxy.process.descriptors() <= before).await;
    assert!(proxy.process.children().is_empty(), "no child, and no zombie");
}

#[tokio::test]
async fn f17_starts_that_fail_for_want_of_descriptors_are_told_and_leave_the_proxy_whole() {
    let proxy = before_command(&[light()]).start().await;
    session(&proxy, NEWEST).await;
    let before = settled_descriptors(&proxy).await;
    let pid = Pid::from_raw(proxy.process.pid().try_into().unwrap());
    let usual = getrlimit(Resource::Nofile);
    let limit = |descriptors: usize| {
        let limit = Rlimit { current: Some(descriptors.try_into().unwrap()), ..usual };
        prlimit(pid, Resource::Nofile, limit).unwrap();
    };
    // Enough for the client's connection, and not for the pipes of a child.
    limit(before + 3);
    for _ in 0..100 {
        let text = post("/mcp", &initialize("1", NEWEST)).send(proxy.address).await.text().await;
        assert_eq!(reason(&text).as_deref(), Some("\"upstream_unreachable\""), "{text}");
        assert!(text.contains("Too many open files"), "{text}");
    }
    until("as many descriptors as before", || proxy.process.descriptors() <= before).await;
    limit(before + 100);
    session(&proxy, NEWEST).await;
    assert_well(&proxy, 0).await;
}

#[tokio::test]
async fn f16_a_thousand_modern_clients_share_one_child() {
    let proxy = before_command(&[light()]).start().await;
    let answer = async |number: usize| {
        let id = number.to_string();
        let asked = envelope("server/discover", None, &body(&id, "server/discover", ""));
        let text = asked.send(proxy.address).await.message().await;
        assert_eq!(member(&text, "id"), Some(id), "{text}");
        path(&text, &["result", "pid"]).unwrap_or_else(|| panic!("{text}"))
    };
    let pids: BTreeSet<_> = stream::iter(0..THOUSAND).map(answer).buffer_unordered(100).collect().await;
    assert_eq!(pids.len(), 1, "one child answers all");
    assert_well(&proxy, 0).await;
}
