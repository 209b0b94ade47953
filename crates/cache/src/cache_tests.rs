//! The cache before a server that does as it is told, with a clock in the tests' hands.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{
    Envelope, Head, Origin, PeerId, Principal, Refusal, Replies, Service, Transport, UpstreamSide,
};
use shadowcat_protocol::{ErrorObject, Id, Message, Notification, Request, Response, Revision, json, method};
use tokio::sync::mpsc;
use tokio::time::{advance, sleep};

use super::{Cache, Server};
use crate::Settings;

const EVERYTHING: &str = r#"{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"listChanged":true,"subscribe":true}}"#;
const SECOND: Duration = Duration::from_secs(1);

/// A server that does as it is told.
struct Fake {
    conversation: AtomicU64,
    capabilities: &'static str,
    /// What is answered to whom, without the number of the answer.
    says: Mutex<BTreeMap<String, String>>,
    seen: Mutex<Vec<(String, String)>>,
    status: Mutex<Option<u16>>,
    listening: Mutex<Vec<mpsc::Sender<Result<Message, Refusal>>>>,
    listens: bool,
}

impl Fake {
    fn calls(&self, method: &str) -> usize {
        self.params(method).len()
    }

    fn params(&self, method: &str) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(seen, _)| seen == method).map(|(_, params)| params.clone()).collect()
    }

    fn says(&self, method: &str, result: &str) {
        self.says.lock().unwrap().insert(method.to_owned(), result.to_owned());
    }

    /// Tells all who listen.
    fn tells(&self, told: &str, uri: Option<&str>) {
        let params = uri.map(|uri| format!(r#"{{"uri":"{uri}"}}"#));
        let note = Notification::new(told, params.as_deref());
        self.listening
            .lock()
            .unwrap()
            .retain(|out| out.try_send(Ok(Message::Notification(note.clone()))).is_ok());
    }

    fn hangs_up(&self) {
        self.listening.lock().unwrap().clear();
    }
}

#[async_trait]
impl Service for Fake {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let Message::Request(request) = envelope.message else { return Ok(Replies::none()) };
        let params = request.params().unwrap_or_default().to_owned();
        let number = {
            let mut seen = self.seen.lock().unwrap();
            seen.push((request.method().to_owned(), params.clone()));
            seen.iter().filter(|(seen, _)| seen == request.method()).count()
        };
        let answer = |result: &str| Message::Response(Response::result(request.id(), result));
        let says = self.says.lock().unwrap().get(request.method()).cloned();
        let message = match (request.method(), says) {
            (_, Some(says)) if says.starts_with("error ") => {
                let code = says.trim_start_matches("error ").parse().unwrap();
                let error = ErrorObject { code, message: "no".into(), data: None };
                Message::Response(Response::error(Some(request.id()), &error))
            }
            (_, Some(says)) => {
                let name = envelope.origin.principal.as_ref().map_or("", Principal::name);
                answer(&says.replace("NUMBER", &number.to_string()).replace("NAME", name))
            }
            (method::DISCOVER, None) => {
                answer(&format!(r#"{{"resultType":"complete","capabilities":{}}}"#, self.capabilities))
            }
            (method::LISTEN, None) if self.listens => {
                let (out, told) = mpsc::channel(100);
                let granted = json::get(&params, &["notifications"]).unwrap();
                let params = format!(r#"{{"notifications":{granted}}}"#);
                let note = Notification::new(method::LISTEN_ACKNOWLEDGED, Some(&params));
                out.try_send(Ok(Message::Notification(note))).unwrap();
                self.listening.lock().unwrap().push(out);
                let told = futures_util::stream::unfold(told, |mut told| async {
                    told.recv().await.map(|reply| (reply, told))
                });
                return Ok(Replies::stream(told));
            }
            _ => {
                let error = ErrorObject { code: -32601, message: "no".into(), data: None };
                Message::Response(Response::error(Some(request.id()), &error))
            }
        };
        Ok(Replies::one(message).with_head(Head { status: *self.status.lock().unwrap(), ..Head::default() }))
    }
}

impl Server for Fake {
    fn conversation(&self) -> Option<u64> {
        Some(self.conversation.load(Ordering::Relaxed)).filter(|number| *number > 0)
    }
}

/// A cache before it, and who asks.
struct Bench {
    server: Arc<Fake>,
    cache: Cache,
    tasks: Tasks,
}

fn bench_with(capabilities: &'static str, listens: bool, settings: Settings) -> Bench {
    let server = Arc::new(Fake {
        conversation: AtomicU64::new(1),
        capabilities,
        says: Mutex::default(),
        seen: Mutex::default(),
        status: Mutex::default(),
        listening: Mutex::default(),
        listens,
    });
    let side =
        UpstreamSide { name: "up".into(), transport: Transport::Http, revision: Revision::V2026_07_28 };
    let tasks = Tasks::new();
    let cache = Cache::new(Arc::clone(&server) as _, side, settings, &tasks);
    Bench { server, cache, tasks }
}

fn settings() -> Settings {
    Settings { entries_max: 100, bytes_max: 1 << 20, ttl_max: Duration::from_hours(1) }
}

/// Before a server that tells of nothing.
fn bench() -> Bench {
    bench_with("{}", false, settings())
}

fn origin(principal: Option<&str>) -> Origin {
    let mut origin = Origin::new(PeerId::next(), Transport::Http, Revision::V2026_07_28);
    origin.principal = principal.map(Principal::named);
    origin
}

fn result(members: &str) -> String {
    format!(r#"{{ "resultType":"complete",{members} , "n" : NUMBER, "big":1.00}}"#)
}

fn public(ttl_ms: u64) -> String {
    result(&format!(r#""ttlMs":{ttl_ms},"cacheScope":"public""#))
}

fn private(ttl_ms: u64) -> String {
    result(&format!(r#""cacheScope":"private","ttlMs": {ttl_ms}"#))
}

impl Bench {
    async fn ask_as(&self, origin: Origin, method: &str, params: &str) -> String {
        let request = Request::new(&Id::parse_json("\"mine\"").unwrap(), method, Some(params));
        let envelope = Envelope::to_server(Message::Request(request), Arc::new(origin));
        let mut replies = self.cache.handle(envelope).await.unwrap();
        let answer = replies.response().await.unwrap().unwrap();
        assert_eq!(answer.id().map(Id::as_json), Some("\"mine\""));
        std::str::from_utf8(answer.text()).unwrap().to_owned()
    }

    async fn ask(&self, method: &str, params: &str) -> String {
        self.ask_as(origin(None), method, params).await
    }

    async fn read(&self, uri: &str) -> String {
        self.ask(method::RESOURCES_READ, &format!(r#"{{"uri":"{uri}"}}"#)).await
    }

    /// Lets those work who have something to do.
    async fn settle(&self) {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    async fn ends(self) {
        self.tasks.stop();
        assert!(self.tasks.join(SECOND).await);
    }
}

#[tokio::test(start_paused = true)]
async fn t47_what_is_public_is_asked_once_and_told_to_anybody_with_the_rest_of_its_time() {
    let bench = bench();
    bench.server.says(method::TOOLS_LIST, &public(60_000));
    let first = bench.ask_as(origin(Some("ann")), method::TOOLS_LIST, "{}").await;
    assert!(first.contains(r#""ttlMs":60000,"cacheScope":"public" , "n" : 1, "big":1.00}"#), "{first}");
    advance(Duration::from_millis(1_500)).await;
    for principal in [Some("bob"), None] {
        let again = bench.ask_as(origin(principal), method::TOOLS_LIST, "{}").await;
        assert_eq!(again, first.replace("60000", "58500"), "every other byte stays");
    }
    advance(Duration::from_millis(58_499)).await;
    let last = bench.ask(method::TOOLS_LIST, "{}").await;
    assert!(last.contains(r#""ttlMs":1,"#), "{last}");
    advance(Duration::from_micros(1)).await;
    let fresh = bench.ask(method::TOOLS_LIST, "{}").await;
    assert!(fresh.contains(r#""ttlMs":60000,"#) && fresh.contains(r#""n" : 2"#), "{fresh}");
    let counters = bench.cache.counters();
    assert_eq!((counters.hits(), counters.misses(), counters.answers_stored()), (3, 2, 2));
    bench.ends().await;
}

#[tokio::test(start_paused = true)]
async fn t48_what_is_private_is_told_to_whom_it_was_told_before_and_to_nobody_else() {
    let bench = bench();
    bench.server.says(method::RESOURCES_READ, &private(60_000));
    let read =
        async |principal| bench.ask_as(origin(principal), method::RESOURCES_READ, r#"{"uri":"a:1"}"#).await;
    let number = |text: String| json::get(&text, &["result", "n"]).unwrap().to_owned();
    assert_eq!(number(read(Some("ann")).await), "1");
    assert_eq!(number(read(Some("bob")).await), "2");
    assert_eq!(number(read(Some("ann")).await), "1");
    assert_eq!(number(read(Some("bob")).await), "2");
    assert_eq!(number(read(None).await), "3");
    assert_eq!(number(read(None).await), "4", "nobody knows that it is the same client");
    let mut piped = origin(None);
    piped.transport = Transport::Stdio;
    let on_pipe = async || {
        let same = Origin { peer: piped.peer, ..piped.clone() };
        number(bench.ask_as(same, method::RESOURCES_READ, r#"{"uri":"a:1"}"#).await)
    };
    assert_eq!([on_pipe().await, on_pipe().await], ["5", "5"]);
    bench.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sec13_of_a_hundred_clients_at_once_none_is_told_what_is_for_another() {
    let bench = Arc::new(bench_with("{}", false, Settings { entries_max: 150, ..settings() }));
    bench.server.says(method::TOOLS_LIST, &result(r#""ttlMs":600000,"cacheScope":"private","for":"NAME""#));
    bench.server.says(method::RESOURCES_READ, &result(r#""ttlMs":2,"cacheScope":"private","for":"NAME""#));
    let clients = (0..100).map(|number| {
        let bench = Arc::clone(&bench);
        async move {
            let name = format!("client-{number}");
            for call in 0..100 {
                let (method, params) = match call % 3 {
                    0 => (method::RESOURCES_READ, r#"{"uri":"a:1"}"#),
                    _ => (method::TOOLS_LIST, "{}"),
                };
                let answer = bench.ask_as(origin(Some(&name)), method, params).await;
                assert!(answer.contains(&format!("\"for\":\"{name}\"")), "{name}: {answer}");
                if call == number {
                    bench
                        .cache
                        .0
                        .hear(&Message::Notification(Notification::new(method::TOOLS_CHANGED, None)));
                }
                tokio::task::yield_now().await;
            }
        }
    });
    let tasks = Tasks::new();
    let (done, mut all) = mpsc::channel(100);
    for client in clients {
        let done = done.clone();
        tasks.spawn(async move {
            client.await;
            done.send(()).await.unwrap();
        });
    }
    drop(done);
    let mut ended = 0;
    while all.recv().await.is_some() {
        ended += 1;
    }
    assert_eq!(ended, 100, "each was told only what is for it");
    assert!(bench.cache.counters().hits() > 0);
}

#[tokio::test(start_paused = true)]
async fn t50_an_answer_in_a_round_of_questions_is_neither_kept_nor_taken_from_what_is() {
    let bench = bench();
    bench.server.says(method::RESOURCES_READ, &public(60_000));
    for more in [r#","inputResponses":{}"#, r#","requestState":"s""#] {
        let params = format!(r#"{{"uri":"a:1"{more}}}"#);
        bench.ask(method::RESOURCES_READ, &params).await;
        bench.ask(method::RESOURCES_READ, &params).await;
    }
    assert_eq!((bench.server.calls(method::RESOURCES_READ), bench.cache.size().0), (4, 0));
    bench.read("a:1").await;
    bench.ask(method::RESOURCES_READ, r#"{"uri":"a:1","requestState":"s"}"#).await;
    assert_eq!(bench.server.calls(method::RESOURCES_READ), 6);
    bench.read("a:1").await;
    assert_eq!(bench.server.calls(method::RESOURCES_READ), 6);
    bench.ends().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_complete_result_with_time_is_not_kept() {
    let bench = bench();
    for says in [
        "error -32603",
        r#"{"resultType":"input_required","ttlMs":60000,"cacheScope":"public"}"#,
        r#"{"resultType":"task","ttlMs":60000,"cacheScope":"public"}"#,
        r#"{"ttlMs":60000,"cacheScope":"public"}"#,
        &public(0),
        &result(r#""cacheScope":"public""#),
        &result(r#""ttlMs":-5,"cacheScope":"public""#),
    ] {
        bench.server.says(method::RESOURCES_READ, says);
        bench.read("a:1").await;
        assert_eq!(bench.cache.size(), (0, 0), "{says}");
    }
    bench.server.says(method::TOOLS_CALL, &public(60_000));
    bench.ask(method::TOOLS_CALL, r#"{"name":"t"}"#).await;
    bench.server.says(method::RESOURCES_READ, &public(60_000));
    *bench.server.status.lock().unwrap() = Some(500);
    bench.read("a:1").await;
    assert_eq!(bench.cache.size(), (0, 0));
    bench.ends().await;
}

#[tokio::test(start_paused = true)]
async fn a_page_for_its_reader_only_makes_all_pages_so_until_the_list_changes() {
    let bench = bench();
    let (first, second) = ("{}", r#"{"cursor":"2"}"#);
    bench.server.says(method::TOOLS_LIST, &public(60_000));
    bench.ask(method::TOOLS_LIST, first).await;
    bench.server.says(method::TOOLS_LIST, &private(0));
    bench.ask(method::TOOLS_LIST, second).await;
    bench.server.says(method::TOOLS_LIST, &public(60_000));
    bench.ask(method::TOOLS_LIST, first).await;
    bench.ask(method::TOOLS_LIST, first).await;
    assert_eq!(bench.server.calls(method::TOOLS_LIST), 4, "the first page is told to nobody else any more");
    bench.ask_as(origin(Some("ann")), method::TOOLS_LIST, first).await;
    bench.ask_as(origin(Some("ann")), method::TOOLS_LIST, first).await;
    assert_eq!(bench.server.calls(method::TOOLS_LIST), 5);
    bench.cache.0.hear(&Message::Notification(Notification::new(method::TOOLS_CHANGED, None)));
    bench.ask(method::TOOLS_LIST, first).await;
    bench.ask(method::TOOLS_LIST, first).await;
    assert_eq!(bench.server.calls(method::TOOLS_LIST), 6);
    bench.ends().await;
}

#[tokio::test(start_paused = true)]
async fn t49_what_the_server_tells_of_is_asked_again_and_nothing_else() {
    let bench = bench_with(EVERYTHING, true, settings());
    let lists =
        [method::TOOLS_LIST, method::PROMPTS_LIST, method::RESOURCES_LIST, method::RESOURCE_TEMPLATES_LIST];
    for method in lists.into_iter().chain([method::RESOURCES_READ]) {
        bench.server.says(method, &public(600_000));
    }
    let ask_all = async || {
        for method in lists {
            bench.ask(method, "{}").await;
        }
        for uri in ["file:///a", "file:///a/b", "file:///c"] {
            bench.read(uri).await;
        }
        let calls = |method: &&str| bench.server.calls(method);
        let asked: Vec<_> = lists.iter().chain([&method::RESOURCES_READ]).map(calls).collect();
        asked
    };
    assert_eq!(ask_all().await, [1, 1, 1, 1, 3]);
    bench.settle().await;
    sleep(2 * SECOND).await;
    let listens = bench.server.params(method::LISTEN);
    let last = json::get(listens.last().unwrap(), &["notifications"]).unwrap();
    let all = r#"{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true,"resourceSubscriptions":["file:///a","file:///a/b","file:///c"]}"#;
    assert_eq!(last, all);
    let mut asked = ask_all().await;
    assert_eq!(asked, [1, 1, 1, 1, 3]);
    for (told, uri, again) in [
        (method::TOOLS_CHANGED, None, [1, 0, 0, 0, 0]),
        (method::PROMPTS_CHANGED, None, [0, 1, 0, 0, 0]),
        (method::RESOURCES_CHANGED, None, [0, 0, 1, 1, 0]),
        (method::RESOURCE_UPDATED, Some("file:///c"), [0, 0, 0, 0, 1]),
        (method::RESOURCE_UPDATED, Some("file:///a/b/deep"), [0, 0, 0, 0, 2]),
        (method::RESOURCE_UPDATED, Some("other:x"), [0, 0, 0, 0, 3]),
        (method::PROGRESS, None, [0; 5]),
    ] {
        bench.server.tells(told, uri);
        bench.settle().await;
        let now = ask_all().await;
        let more: Vec<_> = now.iter().zip(&asked).map(|(now, before)| now - before).collect();
        assert_eq!(more, again, "{told} {uri:?}");
        asked = now;
    }
    bench.ends().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_that_a_client_is_told_of_counts_as_well() {
    let bench = bench();
    bench.server.says(method::TOOLS_LIST, &public(600_000));
    bench.ask(method::TOOLS_LIST, "{}").await;
    let note = Notification::new(method::TOOLS_CHANGED, None);
    let told = futures_util::stream::iter([Ok(Message::Notification(note))]);
    let mut replies = bench.cache.0.hearing(Replies::stream(told));
    assert_eq!(bench.cache.size().0, 1);
    assert!(replies.next().await.is_some());
    assert_eq!(bench.cache.size().0, 0);
    bench.ends().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_asked_for_before_a_change_is_not_kept() {
    let bench = bench();
    bench.server.says(method::TOOLS_LIST, &public(600_000));
    let request = Message::Request(Request::new(&Id::from_u64(1), method::TOOLS_LIST, Some("{}")));
    let envelope = Envelope::to_server(request, Arc::new(origin(None)));
    let question = Arc::new(crate::key::Question::of(&envelope).unwrap());
    for (change, kept) in [(method::TOOLS_CHANGED, 0), (method::RESOURCE_UPDATED, 1)] {
        let asked = bench.cache.0.find(Arc::clone(&question), None).unwrap_err();
        let replies = bench.server.handle(envelope.clone()).await.unwrap();
        bench.cache.0.hear(&Message::Notification(Notification::new(change, None)));
        bench.cache.0.keeping(replies, asked).response().await.unwrap();
        assert_eq!(bench.cache.size().0, kept, "{change}");
    }
    bench.ends().await;
}

#[tokio::test(start_paused = true)]
async fn in_another_conversation_nothing_is_known() {
    let bench = bench();
    bench.server.says(method::TOOLS_LIST, &public(600_000));
    bench.ask(method::TOOLS_LIST, "{}").await;
    bench.server.conversation.store(2, Ordering::Relaxed);
    bench.ask(method::TOOLS_LIST, "{}").await;
    assert_eq!(bench.server.calls(method::TOOLS_LIST), 2);
    bench.server.conversation.store(0, Ordering::Relaxed);
    bench.ask(method::TOOLS_LIST, "{}").await;
    assert_eq!((bench.server.calls(method::TOOLS_LIST), bench.cache.size().0), (3, 0));
    assert_eq!(bench.cache.counters().answers_invalidated(), 2);
    bench.ends().await;
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_the_request_for_which_the_conversation_was_begun_is_kept() {
    let bench = bench();
    bench.server.says(method::TOOLS_LIST, &public(600_000));
    for conversation in [0, 3] {
        bench.server.conversation.store(conversation, Ordering::Relaxed);
        let request = Message::Request(Request::new(&Id::from_u64(1), method::TOOLS_LIST, Some("{}")));
        let envelope = Envelope::to_server(request, Arc::new(origin(None)));
        let question = Arc::new(crate::key::Question::of(&envelope).unwrap());
        let asked = bench.cache.0.find(question, None).unwrap_err();
        let replies = bench.server.handle(envelope).await.unwrap();
        bench.server.conversation.store(conversation.max(2), Ordering::Relaxed);
        bench.cache.0.keeping(replies, asked).response().await.unwrap();
        assert_eq!(bench.cache.size().0, 1);
    }
    bench.ends().await;
}

#[tokio::test(start_paused = true)]
async fn an_error_that_says_that_a_list_is_old_drops_it() {
    let bench = bench();
    for method in [method::TOOLS_LIST, method::PROMPTS_LIST] {
        bench.server.says(method, &public(600_000));
        bench.ask(method, "{}").await;
    }
    for (code, left) in [(-32603, 2), (-32020, 1), (-32022, 0)] {
        bench.server.says(method::TOOLS_CALL, &format!("error {code}"));
        bench.ask(method::TOOLS_CALL, r#"{"name":"t"}"#).await;
        assert_eq!(bench.cache.size().0, left, "{code}");
    }
    bench.ends().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_subscription_takes_along_what_was_kept_and_is_opened_again_when_there_is_something_to_keep() {
    let bench = bench_with(EVERYTHING, true, settings());
    bench.server.says(method::TOOLS_LIST, &public(600_000));
    bench.settle().await;
    assert_eq!(bench.server.calls(method::LISTEN), 0, "nothing is kept yet");
    bench.ask(method::TOOLS_LIST, "{}").await;
    bench.settle().await;
    assert_eq!(bench.server.calls(method::LISTEN), 1);
    bench.server.hangs_up();
    bench.settle().await;
    assert_eq!(bench.cache.size().0, 0);
    sleep(5 * SECOND).await;
    assert_eq!(bench.server.calls(method::LISTEN), 1, "nothing is kept");
    bench.ask(method::TOOLS_LIST, "{}").await;
    bench.settle().await;
    assert_eq!(bench.server.calls(method::LISTEN), 2);
    assert_eq!(bench.cache.size().0, 0, "it may have changed while nobody told");
    bench.ask(method::TOOLS_LIST, "{}").await;
    bench.ask(method::TOOLS_LIST, "{}").await;
    assert_eq!(bench.server.calls(method::TOOLS_LIST), 3);
    bench.ends().await;
}

#[tokio::test(start_paused = true)]
async fn the_subscription_ends_when_nothing_is_kept_any_more() {
    let bench = bench_with(EVERYTHING, true, settings());
    bench.server.says(method::TOOLS_LIST, &public(5_000));
    bench.ask(method::TOOLS_LIST, "{}").await;
    bench.settle().await;
    assert!(!bench.server.listening.lock().unwrap()[0].is_closed());
    sleep(60 * SECOND).await;
    assert!(bench.server.listening.lock().unwrap()[0].is_closed());
    bench.ends().await;
}

#[tokio::test(start_paused = true)]
async fn the_subscription_ends_also_when_the_server_goes_on_talking() {
    let bench = bench_with(EVERYTHING, true, settings());
    bench.server.says(method::TOOLS_LIST, &public(5_000));
    bench.ask(method::TOOLS_LIST, "{}").await;
    for _ in 0..12 {
        sleep(5 * SECOND).await;
        bench.server.tells(method::PROGRESS, None);
    }
    assert!(bench.server.listening.lock().unwrap().is_empty());
    bench.ends().await;
}

#[tokio::test(start_paused = true)]
async fn a_wider_subscription_that_is_not_had_leaves_the_one_there_is() {
    let bench = bench_with(EVERYTHING, true, settings());
    bench.server.says(method::RESOURCES_READ, &public(600_000));
    bench.read("a:1").await;
    bench.settle().await;
    // It ends what it does not acknowledge.
    bench.server.says(method::LISTEN, "{}");
    bench.read("b:2").await;
    sleep(10 * SECOND).await;
    assert_eq!((bench.cache.size().0, bench.server.calls(method::LISTEN)), (2, 2));
    bench.server.tells(method::RESOURCE_UPDATED, Some("a:1"));
    bench.settle().await;
    assert_eq!(bench.cache.size().0, 1, "the first is heard still");
    bench.server.says.lock().unwrap().remove(method::LISTEN);
    sleep(60 * SECOND).await;
    assert!(bench.server.params(method::LISTEN).last().unwrap().contains(r#":["b:2"]"#));
    bench.server.tells(method::RESOURCE_UPDATED, Some("b:2"));
    bench.settle().await;
    assert_eq!(bench.cache.size().0, 0);
    bench.ends().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_disliked_one_resource_is_asked_again_to_tell_of_them_after_a_while() {
    let bench = bench_with(EVERYTHING, true, settings());
    bench.server.says(method::RESOURCES_READ, &public(3_600_000));
    bench.server.says(method::LISTEN, "error -32602");
    bench.read("a:1").await;
    bench.settle().await;
    bench.server.says.lock().unwrap().remove(method::LISTEN);
    let of_resources = || {
        let listens = bench.server.params(method::LISTEN);
        listens.iter().filter(|params| params.contains(r#":["a:1"]"#)).count()
    };
    sleep(9 * 60 * SECOND).await;
    assert_eq!((of_resources(), bench.server.calls(method::LISTEN)), (1, 2), "the lists alone");
    sleep(2 * 60 * SECOND).await;
    assert_eq!(of_resources(), 2);
    bench.ends().await;
}

#[tokio::test(start_paused = true)]
async fn resources_that_are_read_one_after_the_other_make_ever_fewer_subscriptions() {
    let bench = bench_with(EVERYTHING, true, settings());
    bench.server.says(method::RESOURCES_READ, &public(3_600_000));
    for number in 0..60 {
        bench.read(&format!("a:{number}")).await;
        sleep(SECOND).await;
    }
    let listens = bench.server.calls(method::LISTEN);
    assert!((3..=7).contains(&listens), "{listens}");
    sleep(90 * SECOND).await;
    let last =
        |uri: &str| bench.server.params(method::LISTEN).last().unwrap().contains(&format!(r#""{uri}""#));
    assert!(last("a:59"));
    for uri in ["b:1", "b:2"] {
        bench.read(uri).await;
        sleep(2 * SECOND).await;
        assert!(last(uri), "after a quiet time none waits for long");
    }
    bench.ends().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_tells_of_nothing_is_not_asked_again_and_again() {
    for (capabilities, listens, listened) in [("{}", true, 0), (EVERYTHING, false, 1)] {
        let bench = bench_with(capabilities, listens, settings());
        bench.server.says(method::TOOLS_LIST, &public(600_000));
        for _ in 0..50 {
            bench.ask(method::TOOLS_LIST, "{}").await;
            bench.read("a:1").await;
            sleep(SECOND).await;
        }
        let (discovered, listens) =
            (bench.server.calls(method::DISCOVER), bench.server.calls(method::LISTEN));
        assert_eq!((discovered, listens, bench.server.calls(method::TOOLS_LIST)), (1, listened, 1));
        bench.ends().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_not_used_for_the_longest_time_gives_way() {
    let bench = bench_with("{}", false, Settings { entries_max: 2, ..settings() });
    bench.server.says(method::RESOURCES_READ, &public(600_000));
    for uri in ["a:1", "a:2", "a:1", "a:3", "a:1"] {
        bench.read(uri).await;
    }
    assert_eq!((bench.server.calls(method::RESOURCES_READ), bench.cache.size().0), (3, 2));
    bench.read("a:2").await;
    assert_eq!(bench.server.calls(method::RESOURCES_READ), 4);
    assert_eq!(bench.cache.counters().answers_evicted(), 2);
    bench.ends().await;
}

#[tokio::test(start_paused = true)]
async fn bytes_are_bounded_and_no_answer_takes_more_than_its_share() {
    let bench = bench_with("{}", false, Settings { bytes_max: 16 * 1024, ..settings() });
    let filled = |bytes: usize| {
        result(&format!(r#""ttlMs":600000,"cacheScope":"public","x":"{}""#, "x".repeat(bytes)))
    };
    bench.server.says(method::RESOURCES_READ, &filled(2_100));
    bench.read("a:0").await;
    assert_eq!(bench.cache.size(), (0, 0), "more than its share");
    bench.server.says(method::RESOURCES_READ, &filled(1_000));
    for number in 0..50 {
        bench.read(&format!("a:{number}")).await;
        assert!(bench.cache.size().1 <= 16 * 1024);
    }
    assert!(bench.cache.size().0 > 5);
    bench.ends().await;
}

#[tokio::test(start_paused = true)]
async fn no_answer_is_kept_for_longer_than_the_operator_wants() {
    let bench = bench_with("{}", false, Settings { ttl_max: SECOND, ..settings() });
    for ttl in [600_000, u64::MAX] {
        bench.server.says(method::TOOLS_LIST, &public(ttl));
        bench.ask(method::TOOLS_LIST, "{}").await;
        bench.ask(method::TOOLS_LIST, "{}").await;
        advance(SECOND).await;
    }
    bench.ask(method::TOOLS_LIST, "{}").await;
    assert_eq!(bench.server.calls(method::TOOLS_LIST), 3);
    bench.ends().await;
}

#[tokio::test(start_paused = true)]
async fn the_tape_is_told_and_so_is_the_side_that_answered() {
    let bench = bench();
    bench.server.says(method::TOOLS_LIST, &public(600_000));
    for deeds in [vec![], vec!["cache: answered".into()]] {
        let asked = Arc::new(origin(None));
        let request = Message::Request(Request::new(&Id::from_u64(1), method::TOOLS_LIST, Some("{}")));
        let replies = bench.cache.handle(Envelope::to_server(request, Arc::clone(&asked))).now_or_never();
        replies.unwrap().unwrap().response().await.unwrap();
        assert_eq!(asked.upstream.get().is_some(), !deeds.is_empty());
        assert_eq!(asked.deeds.take(), deeds);
    }
    bench.ends().await;
}
