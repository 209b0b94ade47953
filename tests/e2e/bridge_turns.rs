//! Servers that become of another era while clients use them, what only looks like it, and what is left of a session
//! that the server has lost.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use shadowcat_tests::client::{Client, call, initialize};
use shadowcat_tests::process::Process;
use shadowcat_tests::proxy::{Proxy, before_command, before_url};
use shadowcat_tests::server::{Speaks, member, path};
use shadowcat_tests::upstream::{Reply, Seen, Upstream};
use shadowcat_tests::wait::{soon, within};

use crate::bridge_tasks::taking;
use crate::bridged::{
    ALL, Bridged, FORMS, LEGACY, MODERN, On, Round, before_legacy, bridged, call_of, code, kind, modern,
};
use crate::harness::child;

const NEWEST: &str = "2025-11-25";
const COMPLETE: Option<&str> = Some("\"complete\"");
const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const PACE: Duration = Duration::from_millis(50);
/// How long a child may take that is waited for longer than for any other.
const START: Duration = Duration::from_mins(2);

/// How a legacy client comes to its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Http,
    Sse,
    Pipe,
}

const WAYS: [Way; 3] = [Way::Http, Way::Sse, Way::Pipe];

/// A legacy client before a server, its handshake done.
struct Joined {
    bridged: Bridged,
    client: Client,
    way: Way,
}

impl Joined {
    async fn start(on: On, speaks: Speaks, way: Way) -> Self {
        let bridged = bridged(on, speaks, "").await;
        let mut client = match way {
            Way::Http => Client::http(bridged.proxy.address),
            Way::Sse => Client::sse(bridged.proxy.address).await,
            Way::Pipe => bridged.server.forwarded(),
        };
        client.handshake(NEWEST).await;
        Self { bridged, client, way }
    }

    /// The shadowcat between the two.
    fn shadowcat(&self) -> &Process {
        if self.way == Way::Pipe { self.client.process() } else { &self.bridged.proxy.process }
    }

    async fn becomes(&self, speaks: Speaks) {
        self.bridged.server.becomes(speaks, self.shadowcat()).await;
    }

    /// Calls until the answer is one of a server of this era; gives it, and the refusals before it. One call may be on its
    /// way when a child ends: it goes to the next one in the form of the era before.
    async fn calls_until(&mut self, era: Speaks) -> (String, Vec<String>) {
        let (mut astray, mut refused) = (Vec::new(), Vec::new());
        let answered = soon("an answer of the server's new era", async {
            for id in 100.. {
                let answer = self.client.request(&call(&id.to_string(), "echo", "{}", "")).await;
                match (answer.contains("\"request\""), answer.contains(VERSION) == (era == Speaks::Modern)) {
                    (true, true) => return answer,
                    (true, false) => astray.push(answer),
                    (false, _) => refused.push(answer),
                }
                assert!(astray.len() <= 1, "still in the form of the other era: {astray:?}");
                tokio::time::sleep(PACE).await;
            }
            unreachable!("the deadline comes first")
        });
        (answered.await, refused)
    }

    /// What the session has said is known to the server it has now: the handshake, the level of the log, a resource.
    async fn is_the_same_session(&mut self, case: &str) {
        let last = |method| self.bridged.server.calls(method).pop().and_then(|text| member(&text, "params"));
        let asked = member(&initialize("0", NEWEST), "params");
        assert_eq!(last("initialize"), asked, "{case}: the client's own handshake");
        assert_eq!(last("logging/setLevel").as_deref(), Some(r#"{"level":"error"}"#), "{case}");
        assert_eq!(last("resources/subscribe").as_deref(), Some(r#"{"uri":"test://thing"}"#), "{case}");
        self.is_told(case).await;
    }

    /// Its client is told of a change.
    async fn is_told(&mut self, case: &str) {
        let told = soon(format!("{case}: news of the resource"), async {
            // What the server says before it has the stream, nobody hears.
            loop {
                self.client.send(&call("\"update\"", "updated", "{}", "")).await;
                self.client.response("\"update\"").await;
                let news = self.client.message("notifications/resources/updated");
                if let Ok(news) = tokio::time::timeout(PACE, news).await {
                    return news;
                }
            }
        });
        assert!(told.await.contains("test://thing"), "{case}");
    }
}

/// A log level and a resource that a session follows.
async fn settle(client: &mut Client) {
    for (method, params) in
        [("logging/setLevel", r#"{"level":"error"}"#), ("resources/subscribe", r#"{"uri":"test://thing"}"#)]
    {
        let text = format!(r#"{{"jsonrpc":"2.0","id":"{method}","method":"{method}","params":{params}}}"#);
        let answer = client.request(&text).await;
        assert!(path(&answer, &["result"]).is_some(), "{method}: {answer}");
    }
}

#[tokio::test]
async fn b7_the_legacy_clients_of_a_server_that_is_set_back_go_on_in_their_sessions() {
    for (on, way) in MODERN.into_iter().flat_map(|on| WAYS.map(|way| (on, way))) {
        let case = format!("{on:?}, {way:?}");
        let mut joined = Joined::start(on, Speaks::Modern, way).await;
        settle(&mut joined.client).await;
        joined.calls_until(Speaks::Modern).await;
        joined.becomes(Speaks::Legacy).await;
        let (_, refused) = joined.calls_until(Speaks::Legacy).await;
        assert!(refused.iter().all(|answer| !answer.contains("session_unknown")), "{case}: {refused:?}");
        joined.is_the_same_session(&case).await;
    }
}

#[tokio::test]
async fn b7_the_legacy_clients_of_a_server_that_becomes_a_modern_one_go_on_in_their_sessions() {
    for (on, way) in MODERN.into_iter().flat_map(|on| WAYS.map(|way| (on, way))) {
        let case = format!("{on:?}, {way:?}");
        let mut joined = Joined::start(on, Speaks::Both, way).await;
        settle(&mut joined.client).await;
        joined.calls_until(Speaks::Legacy).await;
        joined.becomes(Speaks::Modern).await;
        let (answer, refused) = joined.calls_until(Speaks::Modern).await;
        assert!(refused.iter().all(|answer| !answer.contains("session_")), "{case}: {refused:?}");
        let stamped = path(&answer, &["result", "request", "params", "_meta"]).unwrap();
        assert_eq!(
            member(&stamped, "io.modelcontextprotocol/logLevel").as_deref(),
            Some("\"error\""),
            "{case}: {answer}"
        );
        joined.is_told(&case).await;
    }
}

#[tokio::test]
async fn b7_a_legacy_client_begins_again_where_its_session_does_not_hold_after_an_upgrade() {
    for on in MODERN {
        // It has offered tasks of 2025-11-25, which no modern server does.
        let Joined { bridged, mut client, .. } = Joined::start(on, Speaks::Legacy, Way::Http).await;
        client.request(&call("1", "echo", "{}", "")).await;
        bridged.server.becomes(Speaks::Modern, &bridged.proxy.process).await;
        let id = client.session();
        let refused = soon("the session is not known any more", async {
            loop {
                let asked = shadowcat_tests::raw::post("/mcp", &call("2", "echo", "{}", ""));
                let answer = asked.header("Mcp-Session-Id", &id).send(bridged.proxy.address).await;
                if answer.status == 404 {
                    return answer.message().await;
                }
                tokio::time::sleep(PACE).await;
            }
        });
        assert!(refused.await.contains("initialize again"), "{on:?}");
        let mut again = Client::http(bridged.proxy.address);
        again.handshake(NEWEST).await;
        let answer = again.request(&call("3", "echo", "{}", "")).await;
        assert!(answer.contains(VERSION), "{on:?}: behind the bridge: {answer}");
    }
}

/// Calls as a modern client until an answer has this part.
async fn calls_until(proxy: &Proxy, part: &str) {
    soon(format!("an answer with {part}"), async {
        loop {
            let answer = call_of("1", "echo", "{}", "{}").send_patiently(proxy.address).await;
            let (status, text) = (answer.status, answer.message().await);
            if text.contains(part) {
                return;
            }
            // By these statuses a client knows a legacy server, unless the error is one of a modern server.
            let is_legacy = [400, 404, 405].contains(&status) && code(&text) != Some(-32020);
            assert!(!is_legacy, "its client would begin a handshake: {text}");
            tokio::time::sleep(PACE).await;
        }
    })
    .await;
}

#[tokio::test]
async fn b7_modern_clients_are_bridged_no_longer_than_their_server_needs_it() {
    for (on, upgraded) in MODERN.into_iter().flat_map(|on| [(on, Speaks::Modern), (on, Speaks::Both)]) {
        let bridged = before_legacy(on, "").await;
        let answer = bridged.ask(call_of("1", "echo", "{}", "{}")).await;
        assert!(answer.contains("\"request\"") && !answer.contains(VERSION), "{on:?}: bridged: {answer}");
        bridged.server.becomes(upgraded, &bridged.proxy.process).await;
        calls_until(&bridged.proxy, VERSION).await;
        let figure = "shadowcat_bridge_to_legacy_total";
        let before = bridged.proxy.metric(figure).await;
        calls_until(&bridged.proxy, VERSION).await;
        assert!((bridged.proxy.metric(figure).await - before).abs() < 0.1, "{on:?}, {upgraded:?}");
    }
}

#[tokio::test]
async fn b7_the_modern_clients_of_a_server_that_is_set_back_are_bridged() {
    for on in MODERN {
        let bridged = bridged(on, Speaks::Modern, "").await;
        let answer = bridged.ask(call_of("1", "echo", "{}", "{}")).await;
        assert!(answer.contains(VERSION), "{on:?}: native: {answer}");
        bridged.server.becomes(Speaks::Legacy, &bridged.proxy.process).await;
        let mut astray = 0;
        soon(format!("{on:?}: a bridged call"), async {
            loop {
                let answer = bridged.ask(call_of("1", "echo", "{}", "{}")).await;
                if answer.contains("\"request\"") {
                    if !answer.contains(VERSION) {
                        return;
                    }
                    // It was on its way when the child ended.
                    astray += 1;
                    assert!(astray <= 1, "{on:?}: {answer}");
                }
                tokio::time::sleep(PACE).await;
            }
        })
        .await;
    }
}

/// A modern server behind something that answers the next `pages` requests with a page of its own.
async fn hidden(pages: Arc<AtomicUsize>, status: u16) -> Upstream {
    Upstream::start(move |seen: Seen| {
        let id = seen.member("id");
        let left = pages.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        let reply = match (id, seen.rpc().as_deref()) {
            _ if left.is_ok() => Reply::page(status),
            (None, _) => Reply::empty(if seen.method == http::Method::POST { 202 } else { 405 }),
            (Some(id), _) if seen.header("mcp-method").is_none() => {
                let error = r#"{"code":-32022,"message":"no","data":{"supported":["2026-07-28"]}}"#;
                Reply::json(400, format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#))
            }
            (Some(id), _) => {
                let supported = r#""supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0"#;
                let result = format!(r#"{{"resultType":"complete","content":["native"],"tools":[],{supported},"cacheScope":"private"}}"#);
                Reply::json(200, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
            }
        };
        async move { reply }
    })
    .await
}

#[tokio::test]
async fn b7_a_page_of_somebody_else_makes_no_legacy_server_of_a_modern_one() {
    for status in [400, 404, 405, 502, 503] {
        let pages = Arc::new(AtomicUsize::new(1));
        let upstream = hidden(Arc::clone(&pages), status).await;
        let proxy = before_url(&upstream.url("/mcp")).start().await;
        // The first thing the server is ever asked is answered by a page.
        calls_until(&proxy, "native").await;
        // Later on a call, and a call with the question behind it.
        for count in [1, 2] {
            pages.store(count, Ordering::SeqCst);
            soon("the pages are shown", async {
                while pages.load(Ordering::SeqCst) > 0 {
                    call_of("1", "echo", "{}", "{}").send(proxy.address).await.message().await;
                }
            })
            .await;
            calls_until(&proxy, "native").await;
        }
        let before = proxy.metric("shadowcat_bridge_to_legacy_total").await;
        calls_until(&proxy, "native").await;
        assert!((proxy.metric("shadowcat_bridge_to_legacy_total").await - before).abs() < 0.1, "{status}");
    }
}

#[tokio::test]
async fn b7_the_legacy_clients_of_a_modern_server_outlive_pages_of_somebody_else() {
    for (status, count) in [(404, 1), (404, 2), (404, 3), (400, 2), (405, 2), (502, 2), (503, 3)] {
        let pages = Arc::<AtomicUsize>::default();
        let upstream = hidden(Arc::clone(&pages), status).await;
        let proxy = before_url(&upstream.url("/mcp")).start().await;
        let mut client = Client::sse(proxy.address).await;
        client.handshake(NEWEST).await;
        let answer = client.request(&call("1", "echo", "{}", "")).await;
        assert!(answer.contains("native"), "{answer}");
        pages.store(count, Ordering::SeqCst);
        soon(format!("{count} pages with {status}, and the session goes on"), async {
            for id in 2.. {
                let answer = client.request(&call(&id.to_string(), "echo", "{}", "")).await;
                if pages.load(Ordering::SeqCst) == 0 && answer.contains("native") {
                    return;
                }
                assert!(!answer.contains("session_unknown"), "it is the same session: {answer}");
                tokio::time::sleep(PACE).await;
            }
        })
        .await;
    }
}

/// A legacy server with sessions and tasks that goes on serving them when it learns the modern era.
#[derive(Default)]
struct Learning {
    is_dual: AtomicBool,
    sessions: AtomicUsize,
    forgotten: Mutex<BTreeSet<String>>,
}

impl Learning {
    fn answer(&self, seen: &Seen) -> Reply {
        let Some(id) = seen.member("id") else {
            return Reply::empty(if seen.method == http::Method::POST { 202 } else { 405 });
        };
        let method = seen.rpc().unwrap_or_default();
        let session = seen.header("mcp-session-id").map(str::to_owned);
        if seen.header("mcp-method").is_some() {
            return self.modern(&id, &method);
        }
        let result =
            |result: &str| Reply::json(200, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#));
        if session.is_some_and(|session| self.forgotten.lock().unwrap().contains(&session)) {
            return Reply::empty(404);
        }
        let task = r#""taskId":"t","status":"completed","createdAt":"2026-11-21T10:00:00Z","lastUpdatedAt":"2026-11-21T10:00:00Z","ttl":60000,"pollInterval":100"#;
        match method.as_str() {
            "initialize" => {
                let number = self.sessions.fetch_add(1, Ordering::SeqCst) + 1;
                let capabilities = r#"{"tools":{},"tasks":{"requests":{"tools":{"call":{}}}}}"#;
                let info = r#""serverInfo":{"name":"x","version":"1"}"#;
                let agreed =
                    format!(r#"{{"protocolVersion":"2025-11-25","capabilities":{capabilities},{info}}}"#);
                result(&agreed).header("mcp-session-id", &format!("session-{number}"))
            }
            "tools/list" => result(
                r#"{"tools":[{"name":"long","inputSchema":{"type":"object"},"execution":{"taskSupport":"required"}}]}"#,
            ),
            "tools/call" if seen.body.contains("\"task\"") => {
                result(&format!(r#"{{"task":{{{}}}}}"#, task.replace("completed", "working")))
            }
            "tasks/get" => result(&format!("{{{task}}}")),
            "tasks/result" => result(r#"{"content":["outcome"]}"#),
            _ => result(r#"{"content":["bridged"]}"#),
        }
    }

    fn modern(&self, id: &str, method: &str) -> Reply {
        if !self.is_dual.load(Ordering::SeqCst) {
            let error =
                r#"{"code":-32000,"message":"Bad Request: Unsupported protocol version: 2026-07-28"}"#;
            return Reply::json(400, format!(r#"{{"jsonrpc":"2.0","id":null,"error":{error}}}"#));
        }
        let result = match method {
            "server/discover" => {
                r#"{"resultType":"complete","supportedVersions":["2025-11-25","2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private"}"#
            }
            "tools/call" => r#"{"resultType":"complete","content":["native"]}"#,
            _ => {
                let error = r#"{"code":-32601,"message":"Method not found"}"#;
                return Reply::json(404, format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#));
            }
        };
        Reply::json(200, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
    }
}

#[tokio::test]
async fn b5_a_task_is_found_where_it_runs_although_its_server_has_learnt_the_modern_era() {
    let server = Arc::<Learning>::default();
    let answering = Arc::clone(&server);
    let upstream = Upstream::start(move |seen: Seen| {
        let reply = answering.answer(&seen);
        async move { reply }
    })
    .await;
    let proxy = before_url(&upstream.url("/mcp")).start().await;
    let ask = async |asked: shadowcat_tests::raw::Ask| asked.send(proxy.address).await.message().await;
    let created = ask(call_of("1", "long", "{}", &taking())).await;
    assert_eq!(kind(&created).as_deref(), Some("\"task\""), "{created}");
    let task: String = serde_json::from_str(&path(&created, &["result", "taskId"]).unwrap()).unwrap();
    let other = ask(call_of("2", "echo", "{}", "{}")).await;
    assert!(other.contains("bridged"), "{other}");
    server.is_dual.store(true, Ordering::SeqCst);
    // A part of it was started again and knows the other client no more; that shows the rest.
    server.forgotten.lock().unwrap().insert("session-2".into());
    calls_until(&proxy, "native").await;
    let members = format!(r#""taskId":"{task}","#);
    let done = ask(modern("3", "tasks/get", Some(&task), &members, &taking(), "")).await;
    assert_eq!(path(&done, &["result", "status"]).as_deref(), Some("\"completed\""), "{done}");
    assert!(done.contains("outcome"), "{done}");
    let asked = upstream.calls("tasks/get");
    assert!(asked.iter().all(|seen| seen.header("mcp-session-id") == Some("session-1")), "{asked:?}");
}

fn page(cursor: Option<&str>) -> shadowcat_tests::raw::Ask {
    let cursor = cursor.map(|cursor| format!(r#""cursor":{cursor},"#)).unwrap_or_default();
    modern("1", "resources/list", None, &cursor, "{}", "")
}

#[tokio::test]
async fn b6_what_is_sealed_for_a_session_means_nothing_when_its_server_has_lost_it() {
    for on in LEGACY {
        let bridged = before_legacy(on, "").await;
        let first = bridged.ask(page(None)).await;
        let cursor = path(&first, &["result", "nextCursor"]).unwrap();
        let second = bridged.ask(page(Some(&cursor))).await;
        assert_eq!(path(&second, &["result", "cursor"]).as_deref(), Some("\"2\""), "{on:?}: {second}");
        let parked = Round::of(&bridged.ask(call_of("2", "ask", r#"{"id":9}"#, FORMS)).await);
        bridged.server.restarts(&bridged.proxy.process).await;
        // By this one at the latest it is known.
        bridged.ask(call_of("3", "count", "{}", "{}")).await;
        let before = bridged.server.calls("resources/list").len();
        let refused = bridged.ask(page(Some(&cursor))).await;
        assert_eq!(code(&refused), Some(-32602), "{on:?}: {refused}");
        assert_eq!(bridged.server.calls("resources/list").len(), before, "{on:?}: the server never sees it");
        let fresh = bridged.ask(page(None)).await;
        let cursor = path(&fresh, &["result", "nextCursor"]).unwrap();
        let second = bridged.ask(page(Some(&cursor))).await;
        assert_eq!(path(&second, &["result", "cursor"]).as_deref(), Some("\"2\""), "{on:?}: {second}");
        if on != On::Http {
            // There the session is one thing, and the call another, whose stream goes on.
            let retry = parked.retry("4", "ask", r#"{"id":9}"#, FORMS, r#"{"action":"accept"}"#);
            let calls = bridged.server.calls("tools/call").len();
            let ended = bridged.ask(retry).await;
            assert!(path(&ended, &["error"]).is_some(), "{on:?}: {ended}");
            assert_eq!(bridged.server.calls("tools/call").len(), calls, "{on:?}: no second run of the tool");
            assert!(bridged.server.responses().is_empty(), "{on:?}: no answer to a question nobody asked");
        }
    }
}

#[tokio::test]
async fn t58_what_another_process_has_sealed_is_refused_and_no_tool_runs_again() {
    for on in LEGACY {
        let before = before_legacy(on, "").await;
        let first = before.ask(page(None)).await;
        let cursor = path(&first, &["result", "nextCursor"]).unwrap();
        let parked = Round::of(&before.ask(call_of("1", "ask", "{}", FORMS)).await);
        let visit = Round::of(&before.ask(call_of("2", "url", "{}", ALL)).await);
        let Bridged { proxy, server } = before;
        let after = Bridged { proxy: proxy.crash_and_restart().await, server };
        let calls = after.server.calls("tools/call").len();
        for asked in [
            page(Some(&cursor)),
            parked.retry("3", "ask", "{}", FORMS, r#"{"action":"accept"}"#),
            visit.retry("4", "url", "{}", ALL, r#"{"action":"accept"}"#),
        ] {
            let refused = after.ask(asked).await;
            assert_eq!(code(&refused), Some(-32602), "{on:?}: {refused}");
        }
        assert_eq!(after.server.calls("tools/call").len(), calls, "{on:?}");
        assert_eq!(after.server.calls("resources/list").len(), 1, "{on:?}");
    }
}

#[tokio::test]
async fn t61_of_many_uses_of_one_state_at_once_one_makes_the_call() {
    for on in LEGACY {
        let bridged = before_legacy(on, "").await;
        let first = Round::of(&bridged.ask(call_of("1", "url", "{}", ALL)).await);
        let uses = (2..12).map(|id: u32| {
            let retry = first.retry(&id.to_string(), "url", "{}", ALL, r#"{"action":"accept"}"#);
            bridged.ask(retry)
        });
        let answers = join_all(uses).await;
        let done = answers.iter().filter(|answer| kind(answer).as_deref() == COMPLETE).count();
        let refused = answers.iter().filter(|answer| code(answer) == Some(-32602)).count();
        assert_eq!((done, refused), (1, 9), "{on:?}: {answers:?}");
        assert_eq!(bridged.server.calls("tools/call").len(), 2, "{on:?}");
    }
}

#[tokio::test]
async fn t73_a_modern_child_that_starts_slowly_is_waited_for_and_not_taken_for_a_legacy_one() {
    let directory = tempfile::tempdir().unwrap();
    let [log, starts, gate] = ["log", "starts", "gate"].map(|name| directory.path().join(name));
    let words = ["--speaks", "modern", "--log", log.to_str().unwrap(), "--starts", starts.to_str().unwrap()];
    let slow = ["--dumb-until", gate.to_str().unwrap()];
    let proxy = before_command(&[&[&*child()], &words[..], &slow[..]].concat()).start().await;
    let called = call_of("1", "count", "{}", "{}").send_patiently(proxy.address);
    let opened = within(START, "the handshake behind the question", async {
        while !std::fs::read_to_string(&log).unwrap_or_default().contains("\"initialize\"") {
            tokio::time::sleep(PACE).await;
        }
        std::fs::write(&gate, "").unwrap();
    });
    let (answer, ()) = within(START, "an answer", futures_util::future::join(called, opened)).await;
    let answer = answer.message().await;
    assert_eq!(kind(&answer).as_deref(), COMPLETE, "{answer}");
    let again = call_of("2", "count", "{}", "{}").send(proxy.address).await.message().await;
    assert_eq!(path(&again, &["result", "count"]).as_deref(), Some("2"), "one child serves: {again}");
    assert_eq!(std::fs::read_to_string(&starts).unwrap().lines().count(), 1);
    assert!(proxy.metric("shadowcat_bridge_to_legacy_total").await < 0.1);
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    let answer = client.request(&call("3", "count", "{}", "")).await;
    assert_eq!(
        path(&answer, &["result", "count"]).as_deref(),
        Some("3"),
        "legacy clients are bridged: {answer}"
    );
}
