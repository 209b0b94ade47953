//! The admin API: who may ask, what every route answers, and what passes as it passes.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use shadowcat_tests::client::{Client, call};
use shadowcat_tests::proxy::{Proxy, Reverse, before_command};
use shadowcat_tests::raw::{Answer, Ask, Event, Events, ask};
use shadowcat_tests::server::path;
use shadowcat_tests::wait::{soon, until, within};

use crate::harness::child;

const NEWEST: &str = "2025-11-25";
/// Megabytes through a narrow connection, on a machine that does much else.
const PATIENCE: Duration = Duration::from_mins(2);
const PACE: Duration = Duration::from_millis(50);

/// The API of a proxy.
pub(crate) struct Desk {
    address: SocketAddr,
    token: String,
}

impl Desk {
    /// Found as people find it.
    pub(crate) fn of(proxy: &Proxy) -> Self {
        let text = std::fs::read_to_string(proxy.data().join("admin.json")).expect("admin.json");
        let notice: Value = serde_json::from_str(&text).expect("JSON");
        let address = notice["url"].as_str().and_then(|url| url.strip_prefix("http://"));
        let token = notice["token"].as_str().expect("a token").to_owned();
        Self { address: address.expect("a URL").parse().expect("an address"), token }
    }

    fn asking(&self, method: Method, path: &str) -> Ask {
        ask(method, path).header("Authorization", &format!("Bearer {}", self.token))
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.asking(Method::GET, path).send(self.address).await;
        assert_eq!(answer.status, 200, "{path}");
        parsed(answer).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let asking = self.asking(Method::POST, path).header("Content-Type", "application/json");
        let answer = asking.body(&body.to_string()).send(self.address).await;
        (answer.status, parsed(answer).await)
    }

    pub(crate) async fn feed(&self, query: &str) -> Events {
        self.asking(Method::GET, &format!("/v1/messages{query}")).send(self.address).await.events()
    }
}

async fn parsed(answer: Answer) -> Value {
    let text = answer.text().await;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A proxy with the API.
pub(crate) fn served() -> Reverse {
    before_command(&[child()]).argument("--admin").argument("127.0.0.1:0")
}

/// Each described operation, with its path as it can be asked for.
async fn described(desk: &Desk) -> Vec<(Method, String)> {
    let answer = ask(Method::GET, "/v1/openapi.json").send(desk.address).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let document = parsed(answer).await;
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().expect("paths");
    let each = paths.iter().flat_map(|(path, operations)| {
        let path = path.replace("{id}", if path.contains("breakpoints") { "b-99" } else { "h-99" });
        operations
            .as_object()
            .expect("operations")
            .keys()
            .map(move |method| (method.to_uppercase().parse::<Method>().expect("a method"), path.clone()))
    });
    each.collect()
}

async fn problem(answer: Answer, status: u16, reason: &str) {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let told = answer.status;
    let problem = parsed(answer).await;
    assert_eq!(
        (told, problem["status"].as_u64(), problem["reason"].as_str()),
        (status, Some(status.into()), Some(reason)),
        "{problem}"
    );
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{problem}");
}

#[tokio::test]
async fn without_the_token_nothing_is_told() {
    let proxy = served().start().await;
    let desk = Desk::of(&proxy);
    let routes = described(&desk).await;
    assert_eq!(routes.len(), 13);
    let others = [(Method::GET, "/"), (Method::GET, "/v1/nothing"), (Method::PUT, "/v1/held")];
    let others = others.map(|(method, path)| (method, path.to_owned()));
    for (method, path) in routes.into_iter().chain(others).filter(|(_, path)| path != "/v1/openapi.json") {
        let asking = |token: &str| ask(method.clone(), &path).header("Authorization", token);
        let wrong = format!("Bearer {}0", &desk.token[1..]);
        for request in [
            ask(method.clone(), &path),
            asking(&wrong),
            asking(&desk.token),
            asking(&format!("Basic {}", desk.token)),
            asking("Bearer "),
            asking(&wrong).header("Authorization", &format!("Bearer {}", desk.token)),
            ask(method.clone(), &format!("{path}?token={0}&access_token={0}", desk.token)),
        ] {
            let answer = request.send(desk.address).await;
            assert_eq!(
                answer.header("www-authenticate"),
                Some("Bearer realm=\"shadowcat\""),
                "{method} {path}"
            );
            problem(answer, 401, "unauthorized").await;
        }
    }
    let log = proxy.process.stderr();
    assert!(!log.contains(&desk.token), "{log}");
}

#[tokio::test]
async fn every_described_route_answers() {
    let proxy = served().start().await;
    let desk = Desk::of(&proxy);
    for (method, path) in described(&desk).await {
        let answer = desk.asking(method.clone(), &path).send(desk.address).await;
        let expected = match (&method, path.as_str()) {
            (&Method::GET, path) if !path.contains("-99") => 200,
            (&Method::POST, _) => 415,
            _ => 404,
        };
        assert_eq!(answer.status, expected, "{method} {path}");
        assert!(answer.header("cache-control").is_some_and(|value| value.contains("no-")), "{path}");
    }
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_turned_away() {
    let proxy = served().start().await;
    let desk = Desk::of(&proxy);
    for path in ["/v1/status", "/v1/openapi.json", "/nothing"] {
        for (name, value) in [
            ("Host", "evil.example"),
            ("Host", "127.0.0.1.evil.example"),
            ("Origin", "https://evil.example"),
            ("Origin", "null"),
        ] {
            let answer = desk.asking(Method::GET, path).header(name, value).send(desk.address).await;
            problem(answer, 403, "turned_away").await;
        }
    }
    let own = desk.asking(Method::GET, "/v1/status").header("Origin", "http://localhost:3000");
    assert_eq!(own.send(desk.address).await.status, 200);
}

#[tokio::test]
async fn what_is_wrong_is_told_as_a_problem() {
    let proxy = served().start().await;
    let desk = Desk::of(&proxy);
    let post = |path: &str, body: &str| {
        desk.asking(Method::POST, path).header("Content-Type", "application/json").body(body)
    };
    let get = |path: &str| desk.asking(Method::GET, path);
    for (asking, status, reason) in [
        (get("/v1/nothing"), 404, "not_found"),
        (get("/v1/held/h-1"), 404, "not_held"),
        (get("/v1/held/evil"), 404, "not_held"),
        (get("/v1/messages?filter=~zz"), 400, "bad_filter"),
        (get("/v1/messages?fitler=~e"), 400, "bad_request"),
        (get("/v1/messages?filter=~e&filter=~q"), 400, "bad_request"),
        (desk.asking(Method::DELETE, "/v1/breakpoints/b-1"), 404, "not_found"),
        (desk.asking(Method::PATCH, "/v1/breakpoints"), 405, "method_not_allowed"),
        (post("/v1/breakpoints", "{"), 400, "bad_request"),
        (post("/v1/breakpoints", r#"{"filter":"~q","until":"1s"}"#), 400, "bad_request"),
        (post("/v1/breakpoints", r#"{"filter":"~q","for":"soon"}"#), 400, "bad_request"),
        (post("/v1/breakpoints", r#"{"filter":"~q &"}"#), 400, "bad_filter"),
        (post("/v1/breakpoints", "{}").without("Content-Type"), 415, "not_json"),
        (post("/v1/held/h-1/verdict", r#"{"verdict":"resume"}"#), 404, "not_held"),
        (post("/v1/held/h-1/verdict", r#"{"verdict":"edit"}"#), 400, "bad_request"),
        (
            post(
                "/v1/held/h-1/verdict",
                r#"{"verdict":"answer","result":1,"error":{"code":1,"message":""}}"#,
            ),
            400,
            "bad_request",
        ),
        (post("/v1/approvals/h-1", r#"{"approve":true}"#), 404, "not_held"),
    ] {
        problem(asking.send(desk.address).await, status, reason).await;
    }
    let asking = desk.asking(Method::POST, "/v1/breakpoints").header("Content-Type", "application/json");
    let long = asking.header("Content-Length", "99999999999").send(desk.address).await;
    problem(long, 413, "too_large").await;
}

#[tokio::test]
async fn the_proxy_tells_how_it_is() {
    let rules = "rules:\n  - {name: first, when: {tool: echo}, do: [{tag: seen}]}\n";
    let proxy = served().config(rules).start().await;
    let desk = Desk::of(&proxy);
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    client.request(&call("1", "echo", "{}", "")).await;

    let status = desk.get("/v1/status").await;
    assert_eq!((&status["status"], &status["sessions"]), (&json!("ok"), &json!(1)), "{status}");
    assert_eq!(status["listen"], json!(proxy.url("/mcp")));
    let sessions = desk.get("/v1/sessions").await;
    assert_eq!((&sessions["total"], &sessions["sessions"][0]["revision"]), (&json!(1), &json!(NEWEST)));
    assert!(!sessions.to_string().contains(&client.session()), "a session's id is a credential");
    let rules = desk.get("/v1/rules").await;
    assert_eq!(rules["rules"], json!([{"name": "first", "fired": 1, "failed": 0}]));
}

#[tokio::test]
async fn breakpoints_are_set_listed_and_taken_away() {
    let proxy = served().start().await;
    let desk = Desk::of(&proxy);
    let (status, added) = desk
        .post("/v1/breakpoints", &json!({"filter": "~m tools/call", "for": "90s", "then": "continue"}))
        .await;
    let expected =
        json!({"id": "b-1", "filter": "~m tools/call", "for": "1m 30s", "then": "continue", "hits": 0});
    assert_eq!((status, &added), (201, &expected));
    assert_eq!(desk.get("/v1/breakpoints").await, json!({ "breakpoints": [expected] }));
    let remove = || desk.asking(Method::DELETE, "/v1/breakpoints/b-1").send(desk.address);
    assert_eq!((remove().await.status, remove().await.status), (204, 404));
    assert_eq!(desk.get("/v1/breakpoints").await, json!({"breakpoints": []}));
}

/// A member of the frame that an event is: servers write numbers that not every parser takes.
fn frame(event: &Event, names: &[&str]) -> Option<String> {
    assert_eq!(event.kind, "message", "{event:?}");
    assert_eq!(path(&event.data, &["record"]).as_deref(), Some("\"frame\""));
    path(&event.data, names)
}

/// The next message as its client knows it.
async fn at_edge(feed: &mut Events) -> Event {
    loop {
        let event = feed.next().await.expect("another event");
        if frame(&event, &["hop"]).as_deref() == Some("\"edge\"") {
            return event;
        }
    }
}

#[tokio::test]
async fn what_passes_is_shown_as_it_passes_and_without_secrets() {
    // Neither recorded nor blanked on tapes: what is shown is blanked in any case.
    let proxy = served().config("record: {redact: false}\n").start().await;
    let desk = Desk::of(&proxy);
    let mut feed = desk.feed("?filter=%7Em+tools%2Fcall").await;
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    client.request(&call("1", "echo", r#"{"password":"correct horse"}"#, "")).await;

    let (asked, answer) = (at_edge(&mut feed).await, at_edge(&mut feed).await);
    assert_eq!(frame(&asked, &["kind"]).as_deref(), Some("\"request\""));
    assert_eq!(frame(&asked, &["method"]).as_deref(), Some("\"tools/call\""));
    assert_eq!(frame(&answer, &["kind"]).as_deref(), Some("\"response\""));
    assert_eq!(frame(&answer, &["exchange"]), frame(&asked, &["exchange"]));
    assert_eq!((frame(&asked, &["crc"]), frame(&asked, &["redactions"]).as_deref()), (None, Some("1")));
    let told = format!("{}{}", asked.data, answer.data);
    assert!(!told.contains("horse") && told.contains("[redacted:"), "{told}");
    assert_eq!(desk.get("/v1/status").await["watching"], json!(1));
    drop(feed);
    let left = async { while desk.get("/v1/status").await["watching"] != json!(0) {} };
    soon("nobody watches any more", left).await;
}

#[tokio::test]
async fn a_slow_reader_loses_messages_and_is_told_how_many_while_calls_go_on() {
    let proxy = served().start().await;
    let desk = Desk::of(&proxy);
    let mut slow = desk.asking(Method::GET, "/v1/messages").narrow().send(desk.address).await.events();
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    // More than the sockets and the place of one who watches take together.
    let text = "x".repeat(256 * 1024);
    let arguments = format!(r#"{{"text":"{text}"}}"#);
    for id in 0..48 {
        client.request(&call(&id.to_string(), "echo", &arguments, "")).await;
    }
    let (mut lost, mut shown, mut seq) = (0, 0, 0);
    let until_shown = async {
        loop {
            let event = slow.next_patiently().await.expect("another event");
            if event.kind == "lost" {
                let said: Value = serde_json::from_str(&event.data).expect("JSON");
                assert_eq!(said["of"], "messages");
                lost += said["count"].as_u64().expect("a count");
                continue;
            }
            shown += 1;
            seq = frame(&event, &["seq"]).and_then(|seq| seq.parse().ok()).expect("a number");
            if frame(&event, &["message", "id"]).is_some_and(|id| id.starts_with("90")) {
                return;
            }
        }
    };
    // The last of many may be among the lost. Those that come when there is room again are not.
    let later = async {
        for id in 9_000.. {
            client.request(&call(&id.to_string(), "echo", "{}", "")).await;
            tokio::time::sleep(PACE).await;
        }
    };
    let reading = within(PATIENCE, "a message that is shown again", until_shown);
    tokio::select! {
        () = reading => {}
        () = later => {}
    }
    assert!(lost > 0 && shown > 0, "{lost} lost, {shown} shown");
    assert_eq!(lost + shown, seq, "what is missing is counted");
}

#[tokio::test]
async fn where_it_is_stands_in_a_file_of_its_owner_until_it_ends() {
    let proxy = served().start().await;
    let path = proxy.data().join("admin.json");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut feed = Desk::of(&proxy).feed("").await;
    proxy.process.signal(rustix::process::Signal::TERM);
    assert_eq!(feed.next().await, None);
    proxy.process.ended().await;
    until("the file is gone", || !path.exists()).await;
}

#[tokio::test]
async fn an_address_beyond_the_loopback_needs_a_token_file_and_a_word() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "0123456789abcdef\n").unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    let check = |admin: &str| {
        let file = directory.path().join("shadowcat.yaml");
        let text = format!("data: d\nupstream: {{url: 'http://127.0.0.1:1/mcp'}}\nadmin: {{{admin}}}\n");
        std::fs::write(&file, text).unwrap();
        let mut command = std::process::Command::new(shadowcat_tests::proxy::program());
        let output = command.arg("check").arg(&file).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let file = format!("token_file: {}", token.display());
    let word = "i_accept_plain_http_from_other_machines: true";
    for admin in [
        "listen: '0.0.0.0:9'".to_owned(),
        format!("listen: '0.0.0.0:9', {file}"),
        format!("listen: '[::]:9', {word}"),
    ] {
        let (code, told) = check(&admin);
        assert!(code == Some(2) && told.contains("shadowcat.yaml:3: admin.listen: "), "{told}");
        assert!(told.contains("token_file") && told.contains(word), "{told}");
    }
    assert_eq!(check(&format!("listen: '0.0.0.0:9', {file}, {word}")).0, Some(0));
    assert_eq!(check("listen: '127.0.0.1:0'").0, Some(0));
}
