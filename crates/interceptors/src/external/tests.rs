use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::future::join_all;
use prometheus_client::registry::Registry;
use shadowcat_pipeline::{Chain, Direction, Origin, PeerId, RefusalKind, Service, Transport};
use shadowcat_protocol::{Id, Limits, Message, Notification, Request, Response, Revision, method};
use shadowcat_rules::written::{Fail, Rule};
use shadowcat_rules::{Kind, Outcome, Rules};
use tokio::time::Instant;

use super::mcp::{self, Link, Mcp};
use super::webhook::{Post, Secret, Webhook};
use super::*;

/// Says one notification, then answers; notes what has reached it.
#[derive(Default)]
struct Server(Mutex<Vec<Envelope>>);

#[async_trait]
impl Service for Server {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        self.0.lock().unwrap().push(envelope.clone());
        let Some(id) = envelope.request_id() else { return Ok(Replies::none()) };
        let note = Notification::new(method::PROGRESS, Some(r#"{"progressToken":1,"progress":1}"#));
        let answer = Response::result(id, r#"{"n":1.0}"#);
        let all = [Ok(Message::Notification(note)), Ok(Message::Response(answer))];
        Ok(Replies::stream(futures_util::stream::iter(all)))
    }
}

/// Says what it is told to.
type Say = Box<dyn Fn(&Matter) -> Result<Verdict, Failure> + Send + Sync>;

struct Fake {
    say: Say,
    asked: AtomicUsize,
}

#[async_trait]
impl External for Fake {
    async fn ask(&self, matter: &Matter, _: Duration) -> Result<Opinion, Failure> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        (self.say)(matter).map(Opinion::from)
    }
}

fn fake(say: impl Fn(&Matter) -> Result<Verdict, Failure> + Send + Sync + 'static) -> Arc<Fake> {
    Arc::new(Fake { say: Box::new(say), asked: AtomicUsize::new(0) })
}

fn failing() -> Failure {
    Failure::new(Reason::Error, "it fails")
}

fn settings(name: &str, when: &serde_json::Value, fail: Fail) -> Settings {
    let rule = serde_json::json!({"name": name, "when": when, "stop": true});
    let rule: Rule = serde_json::from_value(rule).unwrap();
    Settings {
        name: name.into(),
        when: Arc::new(Rules::compile(&[rule]).unwrap()),
        fail,
        is_audit: false,
        limits: super::Limits {
            timeout: Duration::from_secs(1),
            concurrency_max: 64,
            breaker: BreakerPolicy { failures_max: u32::MAX, ..BreakerPolicy::default() },
        },
    }
}

struct Case {
    chain: Chain,
    server: Arc<Server>,
    registry: Registry,
}

impl Case {
    fn new(externals: Vec<(Settings, Arc<dyn External>)>) -> Self {
        Self::with(externals, &Telling::start())
    }

    fn with(externals: Vec<(Settings, Arc<dyn External>)>, telling: &Telling) -> Self {
        let mut registry = Registry::default();
        let metrics = ExternalMetrics::register(&mut registry);
        let step = Externals::new(externals, "up".into(), telling, &metrics);
        Self { chain: Chain::new(vec![Arc::new(step)]), server: Arc::default(), registry }
    }

    /// The sum of a figure, over all its labels that hold `label`.
    fn figure(&self, name: &str, label: &str) -> u64 {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &self.registry).unwrap();
        let lines = page.lines().filter(|line| line.starts_with(name) && line.contains(label));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    async fn call(&self, tool: &str) -> (Vec<Message>, Option<Refusal>) {
        let params = format!(r#"{{"name":"{tool}","arguments":{{"n":9007199254740993}}}}"#);
        self.send(Message::Request(Request::new(&Id::from_u64(7), method::TOOLS_CALL, Some(&params)))).await
    }

    async fn send(&self, message: Message) -> (Vec<Message>, Option<Refusal>) {
        let origin = Origin::new(PeerId::next(), Transport::Stdio, Revision::V2025_11_25);
        let envelope = Envelope::to_server(message, Arc::new(origin));
        let mut replies = match self.chain.run(envelope, Arc::clone(&self.server) as _).await {
            Ok(replies) => replies,
            Err(refusal) => return (Vec::new(), Some(refusal)),
        };
        let mut all = Vec::new();
        while let Some(reply) = replies.next().await {
            match reply {
                Ok(message) => all.push(message),
                Err(refusal) => return (all, Some(refusal)),
            }
        }
        (all, None)
    }

    fn seen(&self) -> Vec<String> {
        let seen = self.server.0.lock().unwrap();
        seen.iter().map(|envelope| text(&envelope.message)).collect()
    }
}

fn text(message: &Message) -> String {
    String::from_utf8_lossy(message.text()).into_owned()
}

fn modified(matter: &Matter, from: &str, to: &str) -> Result<Verdict, Failure> {
    let edited = text(&matter.message).replace(from, to);
    verdict::edited(&matter.message, &edited, &Limits::default()).map(Verdict::Modify)
}

#[tokio::test]
async fn each_verdict_does_what_it_says_to_a_request() {
    for (verdict, reached, answer) in [
        (Verdict::Continue, 1, None),
        (Verdict::Block(Some("not this".to_owned())), 0, None),
        (Verdict::Mock(Outcome::Result(r#"{"mocked":true}"#.to_owned())), 0, Some("mocked")),
    ] {
        let word = verdict.word();
        let said = verdict.clone();
        let case = Case::new(vec![(
            settings("a", &serde_json::json!({"tool": "t"}), Fail::Closed),
            fake(move |_| Ok(said.clone())),
        )]);
        let (replies, refusal) = case.call("t").await;
        assert_eq!(case.seen().len(), reached, "{word}");
        if let Some(refusal) = refusal {
            assert_eq!(
                (refusal.kind.clone(), refusal.detail.as_deref()),
                (RefusalKind::PolicyDenied, Some("not this"))
            );
        }
        let last = replies.last().map(text).unwrap_or_default();
        assert!(answer.is_none_or(|part| last.contains(part)), "{last}");
        assert_eq!(case.figure("external_verdicts_total", word), 1);
        let (replies, _) = case.call("other").await;
        assert_eq!(replies.len(), 2, "what does not fit is not asked about");
        assert_eq!(case.figure("external_calls_total", ""), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_gets_no_answer() {
    let case =
        Case::new(vec![(settings("a", &serde_json::json!({}), Fail::Closed), fake(|_| Ok(Verdict::Drop)))]);
    assert!(tokio::time::timeout(Duration::from_mins(1), case.call("t")).await.is_err());
    assert!(case.seen().is_empty());
}

#[tokio::test]
async fn edits_reach_the_next_one_and_the_server_with_every_other_byte() {
    let first = fake(|matter| modified(matter, "first", "second"));
    let second = fake(|matter| modified(matter, "second", "third"));
    let of = |name| settings(name, &serde_json::json!({"tool": [name, "second"]}), Fail::Closed);
    let case = Case::new(vec![(of("first"), first as _), (of("x"), second as _)]);
    case.call("first").await;
    assert!(
        case.seen()[0].contains(r#"{"name":"third","arguments":{"n":9007199254740993}}"#),
        "{:?}",
        case.seen()
    );
    assert!(case.server.0.lock().unwrap()[0].is_changed);
}

#[tokio::test]
async fn answers_and_notifications_are_asked_about_with_their_request() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&asked);
    let external = fake(move |matter| {
        let about = matter.asked.as_ref().map(|asked| asked.request().method().to_owned());
        notes.lock().unwrap().push((matter.kind(), matter.direction, matter.method().to_owned(), about));
        modified(matter, r#""n":1.0"#, r#""n":2.0"#)
    });
    let on = serde_json::json!({"on": ["request", "answer", "notification"]});
    let case = Case::new(vec![(settings("a", &on, Fail::Closed), external)]);
    let (replies, _) = case.call("t").await;
    assert!(text(&replies[1]).contains(r#""n":2.0"#));
    let call = method::TOOLS_CALL.to_owned();
    let expected = [
        (Kind::Request, Direction::ToServer, call.clone(), None),
        (Kind::Notification, Direction::ToClient, method::PROGRESS.to_owned(), Some(call.clone())),
        (Kind::Answer, Direction::ToClient, call.clone(), Some(call)),
    ];
    assert_eq!(*asked.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_that_panic_hang_or_fail_cost_what_their_policy_says() {
    struct Broken(usize);

    #[async_trait]
    impl Post for Broken {
        async fn post(&self, _: &[(&'static str, String)], _: Bytes) -> Result<Bytes, Failure> {
            match self.0 {
                0 => panic!("on purpose"),
                1 => std::future::pending().await,
                2 => Ok(Bytes::from_static(b"no JSON")),
                _ => Err(failing()),
            }
        }
    }

    for (how, reason) in [(0, "panicked"), (1, "timeout"), (2, "nonsense"), (3, "error")] {
        for fail in [Fail::Closed, Fail::Open] {
            let webhook = Webhook::new(Box::new(Broken(how)), None, 1 << 20, Limits::default());
            let mut settings = settings("a", &serde_json::json!({}), fail);
            settings.limits.concurrency_max = 1_000;
            let case = Case::new(vec![(settings, Arc::new(webhook))]);
            let begun = Instant::now();
            let outcomes = join_all((0..1_000).map(|_| case.call("t"))).await;
            assert!(begun.elapsed() <= Duration::from_secs(2));
            for (replies, refusal) in outcomes {
                match fail {
                    Fail::Open => assert_eq!(replies.len(), 2),
                    Fail::Closed => assert_eq!(refusal.unwrap().kind, RefusalKind::PolicyDenied),
                }
            }
            assert_eq!(case.figure("external_failures_total", reason), 1_000, "{reason}");
            assert_eq!(case.seen().len(), if fail == Fail::Open { 1_000 } else { 0 });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn those_that_find_no_turn_in_their_time_have_the_verdict_too() {
    struct Hangs;

    #[async_trait]
    impl Post for Hangs {
        async fn post(&self, _: &[(&'static str, String)], _: Bytes) -> Result<Bytes, Failure> {
            std::future::pending().await
        }
    }

    let webhook = Webhook::new(Box::new(Hangs), None, 1 << 20, Limits::default());
    let case = Case::new(vec![(settings("a", &serde_json::json!({}), Fail::Closed), Arc::new(webhook))]);
    let outcomes = join_all((0..1_000).map(|_| case.call("t"))).await;
    assert!(outcomes.into_iter().all(|(_, refusal)| refusal.is_some()));
    let (hung, busy) =
        (case.figure("external_failures_total", "timeout"), case.figure("external_failures_total", "busy"));
    assert_eq!((hung + busy, hung), (1_000, 64));
}

#[tokio::test]
async fn one_who_fails_in_a_row_is_left_alone() {
    let external = fake(|_| Err(failing()));
    let mut settings = settings("a", &serde_json::json!({}), Fail::Open);
    settings.limits.breaker = BreakerPolicy { failures_max: 3, pause: Duration::from_hours(1) };
    let case = Case::new(vec![(settings, Arc::clone(&external) as _)]);
    for _ in 0..10 {
        assert_eq!(case.call("t").await.0.len(), 2);
    }
    assert_eq!(external.asked.load(Ordering::SeqCst), 3);
    assert_eq!(case.figure("external_failures_total", "breaker_open"), 7);
    assert_eq!(case.figure("external_breaker", "a"), 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_only_told_is_not_waited_for_and_changes_nothing() {
    struct Slow;

    #[async_trait]
    impl External for Slow {
        async fn ask(&self, _: &Matter, _: Duration) -> Result<Opinion, Failure> {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(Verdict::Block(None).into())
        }
    }

    let telling = Telling::start();
    let mut settings = settings("a", &serde_json::json!({}), Fail::Closed);
    settings.is_audit = true;
    let case = Case::with(vec![(settings, Arc::new(Slow))], &telling);
    let begun = Instant::now();
    for _ in 0..2_000 {
        assert_eq!(case.call("t").await.0.len(), 2);
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(telling.close(Duration::from_hours(1)).await, 0);
    let (told, lost) = (case.figure("external_calls_total", ""), case.figure("external_lost_total", ""));
    assert!(told >= 1_000 && told + lost == 2_000, "{told} told, {lost} lost");
}

#[tokio::test(start_paused = true)]
async fn what_waits_to_be_told_has_a_bound_in_bytes_with_the_requests_it_belongs_to() {
    struct Hangs;

    #[async_trait]
    impl External for Hangs {
        async fn ask(&self, _: &Matter, _: Duration) -> Result<Opinion, Failure> {
            std::future::pending().await
        }
    }

    let mut settings = settings("a", &serde_json::json!({"on": "answer"}), Fail::Closed);
    settings.is_audit = true;
    let case = Case::new(vec![(settings, Arc::new(Hangs))]);
    let long = "t".repeat(1 << 20);
    for _ in 0..20 {
        assert_eq!(case.call(&long).await.0.len(), 2);
    }
    assert_eq!(case.figure("external_lost_total", ""), 5, "15 of them are within 16 MiB");
}

#[tokio::test]
async fn a_client_that_withdraws_its_request_ends_the_question() {
    struct Hangs(tokio::sync::Notify);

    #[async_trait]
    impl External for Hangs {
        async fn ask(&self, _: &Matter, _: Duration) -> Result<Opinion, Failure> {
            self.0.notify_one();
            std::future::pending().await
        }
    }

    let external = Arc::new(Hangs(tokio::sync::Notify::new()));
    let case = Case::new(vec![(
        settings("a", &serde_json::json!({"method": "tools/call"}), Fail::Closed),
        Arc::clone(&external) as _,
    )]);
    let origin = Arc::new(Origin::new(PeerId::next(), Transport::Stdio, Revision::V2025_11_25));
    let call = Message::Request(Request::new(&Id::from_u64(7), method::TOOLS_CALL, Some("{}")));
    let withdrawn = Notification::new(method::CANCELLED, Some(r#"{"requestId":7}"#));
    let asked = case.chain.run(Envelope::to_server(call, Arc::clone(&origin)), Arc::clone(&case.server) as _);
    let withdraw = async {
        external.0.notified().await;
        let note = Message::Notification(withdrawn);
        case.chain.run(Envelope::to_server(note, origin), Arc::clone(&case.server) as _).await.unwrap();
    };
    let (replies, ()) = tokio::join!(asked, withdraw);
    assert!(replies.unwrap().next().await.is_none());
    assert_eq!(case.seen().len(), 1, "the server hears of the withdrawal only");
}

#[tokio::test]
async fn a_question_has_what_is_known_and_is_signed() {
    type Sent = (Vec<(&'static str, String)>, Bytes);

    #[derive(Clone, Default)]
    struct Notes(Arc<Mutex<Vec<Sent>>>);

    #[async_trait]
    impl Post for Notes {
        async fn post(&self, headers: &[(&'static str, String)], body: Bytes) -> Result<Bytes, Failure> {
            self.0.lock().unwrap().push((headers.to_vec(), body));
            Ok(Bytes::new())
        }
    }

    let (notes, secret) = (Notes::default(), Secret::parse("0123456789abcdef").unwrap());
    let webhook = Webhook::new(Box::new(notes.clone()), Some(secret.clone()), 600, Limits::default());
    let on = serde_json::json!({"on": ["request", "answer"]});
    let case = Case::new(vec![(settings("a", &on, Fail::Closed), Arc::new(webhook))]);
    case.call("t").await;
    let sent = notes.0.lock().unwrap().clone();
    let question: serde_json::Value = serde_json::from_slice(&sent[0].1).unwrap();
    for (name, value) in [
        ("form", serde_json::json!(1)),
        ("interceptor", "a".into()),
        ("phase", "request".into()),
        ("direction", "to-server".into()),
        ("server", "up".into()),
        ("method", "tools/call".into()),
        ("era", "legacy".into()),
        ("session", serde_json::Value::Null),
    ] {
        assert_eq!(question[name], value, "{name}");
    }
    assert!(
        sent[0].1.windows(16).any(|part| part == b"9007199254740993"),
        "digits stay as they were written"
    );
    let answer: serde_json::Value = serde_json::from_slice(&sent[1].1).unwrap();
    assert_eq!((&answer["phase"], &answer["request"]["id"]), (&"answer".into(), &7.into()));
    for (headers, body) in &sent {
        let header =
            |name| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()).unwrap();
        let (id, at) = (header("webhook-id"), header("webhook-timestamp").parse().unwrap());
        assert_eq!(header("webhook-signature"), secret.sign(&id, at, body));
    }
    assert_ne!(sent[0].0[0], sent[1].0[0], "each question has an id of its own");
    let (_, refusal) = case.call(&"t".repeat(600)).await;
    assert!(refusal.is_some());
    assert_eq!(case.figure("external_failures_total", "too_large"), 1);
}

/// A server of interceptors that does as its name says.
#[derive(Default)]
struct FakeLink {
    list: String,
    /// What names the next page, if not a cursor.
    next: Option<&'static str>,
    conversations: AtomicUsize,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Link for FakeLink {
    async fn ask(&self, method: &str, params: &str) -> Result<Response, Failure> {
        let id = Id::from_u64(1);
        let params: serde_json::Value = serde_json::from_str(params).unwrap();
        let name = params["name"].as_str().unwrap_or(method).to_owned();
        self.asked.lock().unwrap().push(name.clone());
        if method == "interceptors/list" {
            let next = match params["cursor"].as_str() {
                None => self.next.unwrap_or(r#","nextCursor":"2""#),
                Some(_) => "",
            };
            let list = if next.is_empty() { "[]" } else { &self.list };
            return Ok(Response::result(&id, &format!(r#"{{"interceptors":{list}{next}}}"#)));
        }
        let payload = params["payload"].to_string();
        let result = match name.rsplit('-').next().unwrap_or_default() {
            "deny" => {
                r#"{"valid":false,"severity":"error","messages":[{"message":"denied","severity":"error"}]}"#
                    .to_owned()
            }
            "warn" => r#"{"valid":false,"severity":"warn"}"#.to_owned(),
            "upper" => format!(r#"{{"modified":true,"payload":{}}}"#, payload.replace("low", "UP")),
            "needsup" => format!(r#"{{"valid":{}}}"#, payload.contains("UP")),
            "hangs" => std::future::pending().await,
            "panics" => panic!("on purpose"),
            _ => r#"{"valid":true}"#.to_owned(),
        };
        Ok(Response::result(&id, &result))
    }

    fn conversations(&self) -> u64 {
        self.conversations.load(Ordering::SeqCst) as u64
    }
}

fn offered(name: &str, role: &str, more: &str) -> String {
    format!(
        r#"{{"name":"{name}","type":"{role}","hooks":[{{"events":["tools/call"],"phase":"request"}},{{"events":["*"],"phase":"response"}}]{more}}}"#
    )
}

fn with_link(list: &[String], fail: Option<Fail>) -> (Case, Arc<FakeLink>, Telling) {
    let link = Arc::new(FakeLink { list: format!("[{}]", list.join(",")), ..FakeLink::default() });
    let telling = Telling::start();
    let mcp_settings = mcp::Settings { fail, config: BTreeMap::new(), limits: Limits::default() };
    let mcp = Mcp::new(Arc::clone(&link) as _, mcp_settings, telling.clone());
    let on = serde_json::json!({"on": ["request", "answer"]});
    let case = Case::with(vec![(settings("m", &on, fail.unwrap_or_default()), Arc::new(mcp))], &telling);
    (case, link, telling)
}

#[tokio::test]
async fn a_request_is_changed_first_and_judged_as_it_leaves_and_an_answer_the_other_way_round() {
    let list = [offered("b-upper", "mutation", ""), offered("a-needsup", "validation", "")];
    let (case, link, _) = with_link(&list, None);
    let (_, refusal) = case.call("low").await;
    let seen = case.seen();
    assert!(seen[0].contains(r#""UP""#) && seen[0].contains("9007199254740993"), "{seen:?}");
    let detail = refusal.unwrap().detail;
    assert_eq!(
        detail.as_deref(),
        Some("refused by the interceptor a-needsup"),
        "the answer is judged as it came"
    );
    let listed = "interceptors/list";
    assert_eq!(*link.asked.lock().unwrap(), [listed, listed, "b-upper", "a-needsup", "a-needsup"]);
    link.conversations.fetch_add(1, Ordering::SeqCst);
    case.call("low").await;
    assert_eq!(link.asked.lock().unwrap()[5..7], [listed, listed], "another conversation, another list");
}

#[tokio::test]
async fn only_errors_refuse_and_those_in_audit_never_do() {
    let list = [offered("a-warn", "validation", ""), offered("b-deny", "validation", r#","mode":"audit""#)];
    let (case, link, telling) = with_link(&list, None);
    assert_eq!(case.call("t").await.0.len(), 2);
    telling.close(Duration::from_mins(1)).await;
    assert_eq!(link.asked.lock().unwrap().iter().filter(|name| *name == "b-deny").count(), 2);
    let (case, ..) = with_link(&[offered("b-deny", "validation", "")], None);
    let (_, refusal) = case.call("t").await;
    assert_eq!(refusal.unwrap().detail.as_deref(), Some("b-deny: denied"));
}

#[tokio::test(start_paused = true)]
async fn a_failing_interceptor_costs_what_it_says_of_itself_unless_the_operator_says_otherwise() {
    for name in ["a-hangs", "a-panics"] {
        for (open, fail, passes) in [
            ("", None, false),
            (r#","failOpen":true"#, None, true),
            (r#","failOpen":true"#, Some(Fail::Closed), false),
            ("", Some(Fail::Open), true),
        ] {
            // A panic is contained further out, where nobody knows any more whose it was.
            let passes = passes && (name == "a-hangs" || fail == Some(Fail::Open));
            let (case, ..) = with_link(&[offered(name, "validation", open)], fail);
            let (replies, _) = case.call("t").await;
            assert_eq!(replies.len() == 2, passes, "{name} {open} {fail:?}");
        }
    }
}

#[tokio::test]
async fn a_list_of_which_a_part_may_be_missing_is_none() {
    let link = FakeLink { list: "[]".to_owned(), next: Some(r#","nextCursor":7"#), ..FakeLink::default() };
    let mcp_settings = mcp::Settings { fail: None, config: BTreeMap::new(), limits: Limits::default() };
    let mcp = Mcp::new(Arc::new(link), mcp_settings, Telling::start());
    let failure = mcp.prepare(Duration::from_mins(1)).await.unwrap_err();
    assert!(failure.sentence.contains("`nextCursor`"), "{failure}");
}

#[tokio::test]
async fn what_hooks_into_nothing_that_passes_costs_no_question() {
    let (case, link, _) = with_link(&[offered("a-deny", "validation", "")], None);
    let ping = Message::Request(Request::new(&Id::from_u64(1), method::PING, None));
    // The list is read for the first message; the answer to it is hooked into by `*`.
    let (_, refusal) = case.send(ping).await;
    assert!(refusal.is_some());
    let asked = link.asked.lock().unwrap().clone();
    assert_eq!(asked.iter().filter(|name| *name == "a-deny").count(), 1, "{asked:?}");
}

/// Says that its tools are for anybody.
struct Lister;

#[async_trait]
impl Service for Lister {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let result = r#"{"resultType":"complete","tools":[],"cacheScope":"public","ttlMs":1}"#;
        Ok(Replies::one(Message::Response(Response::result(envelope.request_id().unwrap(), result))))
    }
}

#[tokio::test]
async fn t51_what_an_interceptor_may_change_is_told_as_for_its_reader_only() {
    let lists = serde_json::json!({"on": "answer", "method": "tools/list"});
    let calls = serde_json::json!({"on": "request", "method": "tools/call"});
    for (when, is_audit, scope) in
        [(&lists, false, "private"), (&lists, true, "public"), (&calls, false, "public")]
    {
        let settings = Settings { is_audit, ..settings("a", when, Fail::Closed) };
        let case = Case::new(vec![(settings, fake(|_| Ok(Verdict::Continue)))]);
        let request = Request::new(&Id::from_u64(7), method::TOOLS_LIST, Some("{}"));
        let origin = Origin::new(PeerId::next(), Transport::Http, Revision::V2026_07_28);
        let envelope = Envelope::to_server(Message::Request(request), Arc::new(origin));
        let answer =
            case.chain.run(envelope, Arc::new(Lister)).await.unwrap().response().await.unwrap().unwrap();
        let told = shadowcat_protocol::json::get(answer.result_json().unwrap(), &["cacheScope"]);
        assert_eq!(told, Some(&*format!("\"{scope}\"")), "{when} {is_audit}");
    }
}
