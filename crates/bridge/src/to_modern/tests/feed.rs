//! Changes at the server, told to its clients.

use super::*;
use serde_json::json;
use shadowcat_pipeline::RefusalKind;

use crate::to_modern::feed::SUBSCRIBERS_MAX;

const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// The parameters of a subscription, and the way to its stream.
type Listen = (Value, mpsc::Sender<Value>);

/// The subscriptions a server was asked for.
#[derive(Clone, Default)]
struct Listens(Arc<Mutex<Vec<Listen>>>);

impl Listens {
    /// A server that grants all that is asked for but these resources.
    fn granting_all_but(&self, refused: &'static str) -> impl FnMut(&Value) -> Play + Send + 'static {
        let listens = self.clone();
        offering(move |request| {
            (request["method"] == "subscriptions/listen").then(|| {
                let mut granted = request["params"]["notifications"].clone();
                if let Some(uris) = granted.get_mut("resourceSubscriptions") {
                    uris.as_array_mut().unwrap().retain(|uri| uri != refused);
                }
                let (stream, messages) = mpsc::channel(8);
                let mut ack =
                    tagged("notifications/subscriptions/acknowledged", &json!({"notifications": granted}));
                ack["params"]["_meta"][SUBSCRIPTION] = request["id"].clone();
                stream.try_send(ack).unwrap();
                listens.0.lock().unwrap().push((request["params"].clone(), stream));
                Play::Open(messages)
            })
        })
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn filter(&self, number: usize) -> Value {
        self.0.lock().unwrap()[number].0["notifications"].clone()
    }

    fn stream(&self, number: usize) -> mpsc::Sender<Value> {
        self.0.lock().unwrap()[number].1.clone()
    }

    /// Ends the stream from the server's side.
    fn lose(&self, number: usize) {
        self.0.lock().unwrap()[number].1 = mpsc::channel(1).0;
    }
}

fn tagged(method: &str, params: &Value) -> Value {
    let mut params = params.clone();
    params["_meta"] = json!({SUBSCRIPTION: 1});
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

/// A session whose subscription is open.
async fn following(refused: &'static str) -> (Bench, Listens) {
    let listens = Listens::default();
    let bench = Bench::new(listens.granting_all_but(refused), unasked);
    bench.initialize("2025-11-25", json!({"sampling": {}})).await;
    bench.note("notifications/initialized", json!({})).await;
    until(|| listens.len() == 1).await;
    (bench, listens)
}

#[tokio::test]
async fn what_the_server_offers_to_tell_is_told_without_its_subscription() {
    let (bench, listens) = following("").await;
    assert_eq!(listens.filter(0), json!({"toolsListChanged": true}));
    bench.note("notifications/initialized", json!({})).await;
    bench.session.listen();
    let mut kept = tagged("notifications/tools/list_changed", &json!({}));
    kept["params"]["_meta"]["k"] = json!(1);
    let other = tagged("notifications/message", &json!({"level": "info", "data": 1}));
    for message in [&tagged("notifications/tools/list_changed", &json!({})), &other, &kept] {
        listens.stream(0).send(message.clone()).await.unwrap();
    }
    until(|| bench.client.seen().len() == 2).await;
    assert_eq!(
        bench.client.seen(),
        [
            json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}),
            json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": {"_meta": {"k": 1}}})
        ]
    );
    assert_eq!(listens.len(), 1);
    assert_eq!(bench.counters.not_carried.get(), 1);
}

#[tokio::test]
async fn a_resource_is_followed_by_a_subscription_in_the_place_of_the_last() {
    let (bench, listens) = following("").await;
    assert_eq!(bench.ask("resources/subscribe", json!({"uri": "a:1"})).await["result"], json!({}));
    assert_eq!(bench.ask("resources/subscribe", json!({"uri": "a:1"})).await["result"], json!({}));
    assert_eq!(listens.filter(1), json!({"resourceSubscriptions": ["a:1"]}));
    let updated = tagged("notifications/resources/updated", &json!({"uri": "a:1/sub"}));
    listens.stream(1).send(updated).await.unwrap();
    until(|| bench.client.seen().len() == 1).await;
    assert_eq!(bench.client.seen()[0]["params"], json!({"uri": "a:1/sub"}));

    assert_eq!(bench.ask("resources/subscribe", json!({"uri": "a:2"})).await["result"], json!({}));
    assert_eq!(listens.filter(2), json!({"resourceSubscriptions": ["a:1", "a:2"]}));
    until(|| listens.stream(1).is_closed()).await;
    assert_eq!(bench.ask("resources/unsubscribe", json!({"uri": "a:3"})).await["result"], json!({}));
    assert_eq!(listens.len(), 3);
    assert_eq!(bench.ask("resources/unsubscribe", json!({"uri": "a:1"})).await["result"], json!({}));
    assert_eq!(listens.filter(3), json!({"resourceSubscriptions": ["a:2"]}));
    assert_eq!(bench.ask("resources/unsubscribe", json!({"uri": "a:2"})).await["result"], json!({}));
    until(|| listens.stream(3).is_closed()).await;
    assert_eq!(listens.len(), 4, "for no resource there is no subscription");
    assert!(!listens.stream(0).is_closed(), "lists are not touched by resources");
}

#[tokio::test]
async fn a_resource_the_server_does_not_grant_is_not_followed() {
    let (bench, listens) = following("a:no").await;
    assert_eq!(bench.ask("resources/subscribe", json!({"uri": "a:no"})).await["error"]["code"], -32602);
    assert_eq!(bench.ask("resources/subscribe", json!({})).await["error"]["code"], -32602);
    until(|| bench.server.awaited() == 1).await;
    assert!(!listens.stream(0).is_closed(), "the one there was goes on");

    let script = offering(|request| {
        (request["method"] == "server/discover").then(|| {
            Play::Result(json!({"supportedVersions": ["2026-07-28"], "capabilities": {"resources": {}}}))
        })
    });
    let bench = Bench::new(script, unasked);
    bench.initialize("2025-11-25", json!({})).await;
    assert_eq!(bench.ask("resources/subscribe", json!({"uri": "a:1"})).await["error"]["code"], -32601);
    assert!(bench.server.of("subscriptions/listen").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lost_subscription_is_opened_again_and_what_it_followed_told_as_changed() {
    let (bench, listens) = following("").await;
    bench.ask("resources/subscribe", json!({"uri": "a:1"})).await;
    let mut lost = 1;
    for again in 2..5 {
        listens.lose(lost);
        until(|| listens.len() == again + 1 && bench.client.seen().len() == again - 1).await;
        assert_eq!(listens.filter(again), listens.filter(1));
        lost = again;
    }
    for note in bench.client.seen() {
        assert_eq!(note["method"], "notifications/resources/updated");
        assert_eq!(note["params"], json!({"uri": "a:1"}));
    }
    assert_eq!(bench.server.awaited(), 2);
}

#[tokio::test(start_paused = true)]
async fn all_sessions_hear_of_lists_by_one_subscription_that_ends_behind_the_last() {
    let (bench, listens) = following("").await;
    let others = [bench.beside(unasked), bench.beside(unasked)];
    for other in &others {
        other.initialize("2025-06-18", json!({})).await;
        other.note("notifications/initialized", json!({})).await;
    }
    let changed = tagged("notifications/tools/list_changed", &json!({}));
    listens.stream(0).send(changed).await.unwrap();
    let told = |times| {
        let clients = [&bench, &others[0], &others[1]].map(|session| Arc::clone(&session.client));
        until(move || clients.iter().all(|client| client.seen().len() == times))
    };
    told(1).await;
    listens.lose(0);
    told(2).await;
    assert_eq!(others[1].client.of("notifications/tools/list_changed").len(), 2);
    assert_eq!((listens.len(), bench.server.awaited()), (2, 1), "opened again once for all");

    bench.session.close().await;
    others[0].session.close().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!listens.stream(1).is_closed());
    others[1].session.close().await;
    until(|| listens.stream(1).is_closed() && bench.server.awaited() == 0).await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(listens.len(), 2, "nobody is there to be told");
    let late = bench.beside(unasked);
    late.initialize("2025-06-18", json!({})).await;
    late.session.listen();
    until(|| listens.len() == 3).await;
}

#[tokio::test]
async fn a_client_that_falls_behind_is_told_once_of_what_it_missed() {
    let (bench, listens) = following("").await;
    until(|| bench.server.awaited() == 1).await;
    let changed = Notification::new("notifications/prompts/list_changed", None);
    for _ in 0..1_000 {
        // Without a pause in which it could be heard.
        bench.shared.lists.tell(changed.clone());
    }
    until(|| !bench.client.seen().is_empty()).await;
    listens
        .stream(0)
        .send(tagged("notifications/tools/list_changed", &json!({"_meta": {"k": 1}})))
        .await
        .unwrap();
    until(|| bench.client.seen().len() == 2).await;
    let told: Vec<_> = bench.client.seen().iter().map(|note| note["method"].clone()).collect();
    assert_eq!(told, ["notifications/tools/list_changed"; 2], "the one list that may change");
}

#[tokio::test]
async fn a_tool_list_that_has_changed_passes_again_before_the_next_call() {
    let (bench, listens) = following("").await;
    bench.ask("tools/call", json!({"name": "t"})).await;
    bench.ask("tools/call", json!({"name": "t"})).await;
    assert_eq!(bench.server.of("tools/list").len(), 1);
    listens.stream(0).send(tagged("notifications/tools/list_changed", &json!({}))).await.unwrap();
    until(|| bench.client.seen().len() == 1).await;
    bench.ask("tools/call", json!({"name": "t"})).await;
    bench.ask("tools/call", json!({"name": "t"})).await;
    assert_eq!(bench.server.of("tools/list").len(), 2);
}

#[tokio::test]
async fn a_resource_whose_subscription_was_given_up_is_not_said_to_be_followed() {
    let params = json!({"protocolVersion": "2025-11-25"}).to_string();
    let known = Resumed {
        handshake: Some((params, "{}".into())),
        subscriptions: vec!["a:1".into()],
        ..Resumed::default()
    };
    let script = offering(|request| {
        (request["method"] == "subscriptions/listen").then(|| Play::Error(-32601, json!(null)))
    });
    let bench = Bench::restored(known, script, unasked);
    bench.session.listen();
    until(|| bench.server.of("subscriptions/listen").len() == 2).await;
    until(|| bench.tasks.running() == 1).await;
    assert_eq!(bench.ask("resources/subscribe", json!({"uri": "a:1"})).await["error"]["code"], -32601);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_subscriptions_is_asked_once() {
    let script = offering(|request| {
        (request["method"] == "subscriptions/listen").then(|| Play::Error(-32601, json!(null)))
    });
    let bench = Bench::new(script, unasked);
    bench.initialize("2025-11-25", json!({})).await;
    bench.session.listen();
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(bench.server.of("subscriptions/listen").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_acknowledge_is_asked_again_at_growing_pauses() {
    let script = offering(|request| (request["method"] == "subscriptions/listen").then_some(Play::Silence));
    let bench = Bench::new(script, unasked);
    bench.initialize("2025-11-25", json!({})).await;
    let mut replies = bench.start("1", "resources/subscribe", &json!({"uri": "a:1"})).await;
    assert_eq!(replies.next().await.unwrap().unwrap_err().kind, RefusalKind::UpstreamTimeout);
    bench.session.listen();
    tokio::time::sleep(Duration::from_hours(1)).await;
    let asked = bench.server.of("subscriptions/listen").len();
    assert!((48..=60).contains(&asked), "in an hour of the paused clock: {asked}");
    assert_eq!(bench.server.awaited(), 0);
}

#[tokio::test]
async fn a_restored_session_follows_what_it_did_once_its_client_listens() {
    let listens = Listens::default();
    let params = json!({"protocolVersion": "2025-11-25"}).to_string();
    let known = Resumed {
        handshake: Some((params, "{}".into())),
        log_level: None,
        subscriptions: vec!["a:1".into()],
    };
    let bench = Bench::restored(known, listens.granting_all_but(""), unasked);
    bench.session.listen();
    until(|| listens.len() == 2).await;
    for filter in [json!({"toolsListChanged": true}), json!({"resourceSubscriptions": ["a:1"]})] {
        assert!([listens.filter(0), listens.filter(1)].contains(&filter), "{filter}");
    }
}

#[tokio::test]
async fn a_closed_session_leaves_nothing_behind() {
    let (bench, listens) = following("").await;
    bench.session.close().await;
    bench.session.close().await;
    assert_eq!(bench.tasks.running(), 0);
    until(|| bench.server.awaited() == 0).await;
    assert!(listens.stream(0).is_closed());
}

#[tokio::test(start_paused = true)]
async fn sessions_that_follow_resources_leave_calls_their_room_at_the_server() {
    let listens = Listens::default();
    let bench = Bench::new(listens.granting_all_but(""), unasked);
    let subscribe = |session: Bench| async move {
        session.initialize("2025-11-25", json!({})).await;
        let mut replies = session.start("1", "resources/subscribe", &json!({"uri": "a:1"})).await;
        (replies.next().await.unwrap(), session)
    };
    let mut following = Vec::new();
    for _ in 0..SUBSCRIBERS_MAX {
        let (answer, session) = subscribe(bench.beside(unasked)).await;
        answer.unwrap();
        following.push(session);
    }
    let (answer, refused) = subscribe(bench.beside(unasked)).await;
    assert!(matches!(answer.unwrap_err().kind, RefusalKind::Overloaded { .. }));
    assert_eq!(bench.server.awaited(), SUBSCRIBERS_MAX);
    assert_eq!(refused.ask("tools/call", json!({"name": "t"})).await["result"], json!({"x": 1}));

    // Whoever follows some may follow others, and whoever follows none or is gone makes room.
    let changed = following[0].ask("resources/subscribe", json!({"uri": "a:2"})).await;
    assert_eq!(changed["result"], json!({}));
    following[0].ask("resources/unsubscribe", json!({"uri": "a:1"})).await;
    following[0].ask("resources/unsubscribe", json!({"uri": "a:2"})).await;
    let (answer, _late) = subscribe(bench.beside(unasked)).await;
    answer.unwrap();
    following.remove(1).session.close().await;
    assert_eq!(refused.ask("resources/subscribe", json!({"uri": "a:1"})).await["result"], json!({}));
    until(|| bench.server.awaited() == SUBSCRIBERS_MAX).await;
}
