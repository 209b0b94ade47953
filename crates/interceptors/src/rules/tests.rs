use std::sync::Mutex;
use std::time::Duration;

use shadowcat_pipeline::{Chain, Form, Head, Origin, PeerId, RefusalKind, Service, Transport};
use shadowcat_protocol::{Id, Notification, Request, Response, Revision, method};
use shadowcat_rules::written;
use tokio::time::{Instant, timeout};

use super::*;
use crate::pause::{Decision, Wanted};

fn compiled(rules: serde_json::Value) -> shadowcat_rules::Rules {
    let written: Vec<written::Rule> = serde_json::from_value(rules).unwrap();
    shadowcat_rules::Rules::compile(&written).unwrap()
}

/// Says `before` notifications, then answers; notes what has reached it.
#[derive(Default)]
struct Server {
    before: usize,
    seen: Mutex<Vec<Envelope>>,
}

impl Server {
    fn seen(&self) -> Vec<Envelope> {
        self.seen.lock().unwrap().clone()
    }
}

#[async_trait]
impl Service for Server {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        self.seen.lock().unwrap().push(envelope.clone());
        let Some(id) = envelope.request_id() else { return Ok(Replies::none()) };
        let notes = (0..self.before).map(|number| {
            let params = format!(r#"{{"progressToken":1,"progress":{number}}}"#);
            Ok(Message::Notification(Notification::new(method::PROGRESS, Some(&params))))
        });
        let answer = Ok(Message::Response(Response::result(id, r#"{"n":1.0}"#)));
        let all: Vec<_> = notes.chain([answer]).collect();
        let head = Head { form: Form::Stream, status: None };
        Ok(Replies::stream(futures_util::stream::iter(all)).with_head(head))
    }
}

struct Case {
    chain: Chain,
    lot: Lot,
    book: Arc<Book>,
    server: Arc<Server>,
    peer: PeerId,
}

impl Case {
    fn new(rules: serde_json::Value, before: usize) -> Self {
        let book = Arc::new(Book::new(compiled(rules), RuleMetrics::default()));
        let lot = Lot::new(crate::pause::Settings::default(), crate::PauseMetrics::default());
        let chain =
            Chain::new(vec![Arc::new(Rules::new(Arc::clone(&book), "up".into(), lot.clone(), Tasks::new()))]);
        Self {
            chain,
            lot,
            book,
            server: Arc::new(Server { before, ..Server::default() }),
            peer: PeerId::next(),
        }
    }

    fn envelope(&self, message: Message) -> Envelope {
        let origin = Origin::new(self.peer, Transport::Stdio, Revision::V2025_11_25);
        Envelope::to_server(message, Arc::new(origin))
    }

    fn call(&self) -> Envelope {
        let params = r#"{"name":"echo","arguments":{"n":9007199254740993}}"#;
        let request = Request::new(&Id::from_u64(7), method::TOOLS_CALL, Some(params));
        self.envelope(Message::Request(request))
    }

    async fn run(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        self.chain.run(envelope, Arc::clone(&self.server) as _).await
    }

    /// What the client gets for a call: the texts, then the word of a refusal.
    async fn said(&self) -> Vec<String> {
        let mut replies = match self.run(self.call()).await {
            Ok(replies) => replies,
            Err(refusal) => return vec![refusal.kind.reason().to_owned()],
        };
        let mut said = Vec::new();
        while let Some(reply) = replies.next().await {
            said.push(match reply {
                Ok(message) => String::from_utf8(message.text().to_vec()).unwrap(),
                Err(refusal) => refusal.kind.reason().to_owned(),
            });
        }
        said
    }
}

macro_rules! rule {
    ($when:expr, $actions:expr) => {
        serde_json::json!([{ "name": "r", "when": $when, "do": $actions }])
    };
}

#[tokio::test]
async fn what_no_rule_concerns_passes_as_it_is() {
    let case =
        Case::new(rule!(serde_json::json!({"tool": "other"}), serde_json::json!([{"block": "no"}])), 1);
    assert_eq!(case.said().await.len(), 2);
    let seen = case.server.seen();
    assert!(!seen[0].is_changed && seen[0].message.text() == case.call().message.text());
}

#[tokio::test]
async fn a_request_is_refused_answered_or_changed() {
    let when = || serde_json::json!({"tool": "echo"});
    let case = Case::new(rule!(when(), serde_json::json!([{"block": "not here"}])), 0);
    let refusal = case.run(case.call()).await.unwrap_err();
    assert_eq!((refusal.kind, refusal.detail.as_deref()), (RefusalKind::PolicyDenied, Some("not here")));
    assert!(case.server.seen().is_empty());

    let case = Case::new(rule!(when(), serde_json::json!([{"mock": {"result": {"x": 1}}}])), 0);
    assert_eq!(case.said().await, [r#"{"jsonrpc":"2.0","id":7,"result":{"x":1}}"#]);
    assert!(case.server.seen().is_empty());

    let case = Case::new(rule!(when(), serde_json::json!([{"set": {"$.name": "other"}}])), 0);
    case.said().await;
    let seen = &case.server.seen()[0];
    let text = String::from_utf8(seen.message.text().to_vec()).unwrap();
    assert!(
        seen.is_changed && text.contains(r#""name":"other","arguments":{"n":9007199254740993}"#),
        "{text}"
    );
    assert_eq!(seen.origin.deeds.take(), vec![Box::<str>::from("r: edit")]);
}

#[tokio::test]
async fn every_reply_is_judged_by_itself() {
    let notes = serde_json::json!({"on": "notification", "params": {"$.progress": {"below": 2}}});
    let case = Case::new(rule!(notes, serde_json::json!([{"drop": true}])), 3);
    let said = case.said().await;
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains(r#""progress":2"#));

    let answers = || serde_json::json!({"on": "answer"});
    let case = Case::new(rule!(answers(), serde_json::json!([{"block": "no"}])), 1);
    assert_eq!(case.said().await[1..], ["policy_denied"]);
    let case = Case::new(rule!(answers(), serde_json::json!([{"set": {"$.more": true}}])), 0);
    assert_eq!(case.said().await, [r#"{"jsonrpc":"2.0","id":7,"result":{"n":1.0,"more":true}}"#]);
    let mock = serde_json::json!([{"mock": {"error": {"code": 5, "message": "m"}}}]);
    let case = Case::new(rule!(answers(), mock), 0);
    assert_eq!(case.said().await, [r#"{"jsonrpc":"2.0","id":7,"error":{"code":5,"message":"m"}}"#]);
    for fault in ["cut", "malformed"] {
        let case = Case::new(rule!(answers(), serde_json::json!([{"fault": fault}])), 1);
        assert_eq!(case.said().await[1..], [format!("broken_{fault}")]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_form_of_the_answer_is_kept_and_a_wait_takes_as_long_as_it_says() {
    let case = Case::new(rule!(serde_json::json!({"on": "answer"}), serde_json::json!([{"delay": "3s"}])), 1);
    let begun = Instant::now();
    let mut replies = case.run(case.call()).await.unwrap();
    assert_eq!(replies.head().form, Form::Stream);
    assert!(replies.next().await.unwrap().is_ok());
    assert_eq!(begun.elapsed(), Duration::ZERO, "what comes before the answer does not wait");
    assert!(replies.next().await.unwrap().is_ok());
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_withdraws_its_request_ends_every_wait() {
    let hour = Duration::from_hours(1);
    for (when, action) in [
        (serde_json::json!({}), serde_json::json!({"delay": "2h"})),
        (serde_json::json!({"on": "answer"}), serde_json::json!({"delay": "2h"})),
        (serde_json::json!({}), serde_json::json!({"drop": true})),
        (serde_json::json!({"on": "answer"}), serde_json::json!({"fault": "timeout"})),
    ] {
        let case = Case::new(rule!(when, serde_json::json!([action])), 0);
        let waits = async {
            let Ok(mut replies) = case.run(case.call()).await else { panic!("{action}") };
            assert!(replies.next().await.is_none(), "{action}");
        };
        let mut waits = std::pin::pin!(waits);
        assert!(timeout(hour, &mut waits).await.is_err(), "{action}");
        let note = Notification::new(method::CANCELLED, Some(r#"{"requestId":7}"#));
        let _none = case.run(case.envelope(Message::Notification(note))).await.unwrap();
        assert!(timeout(Duration::from_secs(1), waits).await.is_ok(), "{action}");
    }
}

#[tokio::test]
async fn a_rule_that_fails_refuses_or_lets_pass_as_it_says() {
    for (fail, goes_on) in [("closed", false), ("open", true)] {
        let rules = serde_json::json!([{
            "name": "r", "fail": fail, "do": [{"block": "{{ request.params.arguments.none.deeper }}"}]
        }]);
        let case = Case::new(rules, 0);
        for _ in 0..1_000 {
            let said = case.said().await;
            assert_eq!(said == ["policy_denied"], !goes_on, "{said:?}");
        }
        assert_eq!(case.server.seen().len(), if goes_on { 1_000 } else { 0 });
    }
}

#[tokio::test]
async fn what_began_under_other_rules_ends_under_them() {
    let drops = rule!(serde_json::json!({"on": "notification"}), serde_json::json!([{"drop": true}]));
    let case = Case::new(drops, 2);
    let mut replies = case.run(case.call()).await.unwrap();
    case.book.publish(compiled(rule!(serde_json::json!({}), serde_json::json!([{"block": "no"}]))));
    assert!(matches!(replies.next().await, Some(Ok(Message::Response(_)))));
    assert_eq!(case.said().await, ["policy_denied"]);
}

#[tokio::test]
async fn a_rule_that_stays_the_same_goes_on_counting_under_changed_rules() {
    let late = |sentence: &str| serde_json::json!({ "name": "late", "when": {"after": 2}, "do": [{"block": sentence}] });
    let other = || serde_json::json!({ "name": "other", "when": {"tool": "other"}, "do": [{"drop": true}] });
    let case = Case::new(serde_json::json!([late("no")]), 0);
    let blocks = async || case.said().await == ["policy_denied"];
    assert!(!blocks().await && !blocks().await);
    case.book.publish(compiled(serde_json::json!([other(), late("no")])));
    assert!(blocks().await, "the third");
    case.book.publish(compiled(serde_json::json!([late("never")])));
    assert!(!blocks().await, "another rule of that name begins anew");
}

#[tokio::test]
async fn what_a_rule_pauses_goes_on_with_the_rest_of_the_rules() {
    let rules = serde_json::json!([
        { "name": "look", "do": [{"pause": {"for": "1h"}}, {"set": {"$.arguments.more": true}}] },
        { "name": "name", "when": {"tool": "other"}, "do": [{"tag": "other"}] },
    ]);
    let case = Case::new(rules, 0);
    let replies = case.run(case.call()).await.unwrap();
    let held = case.lot.list().pop().unwrap();
    assert_eq!(held.stopped.cause.to_string(), "rule look");
    let text =
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"other","arguments":{"n":1.0}}}"#;
    let decision = Decision { wanted: Wanted::Edit(text.into()), reason: None, by: "api".into() };
    case.lot.decide(held.id, &decision).unwrap();
    let mut replies = replies;
    while replies.next().await.is_some() {}
    let seen = &case.server.seen()[0];
    let text = String::from_utf8(seen.message.text().to_vec()).unwrap();
    assert!(text.contains(r#""name":"other","arguments":{"n":1.0,"more":true}"#), "{text}");
    assert_eq!(seen.origin.deeds.take().len(), 4, "paused, let go, edited, tagged");
}

/// Says that its tools are for anybody.
struct Lister;

#[async_trait]
impl Service for Lister {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let result =
            r#"{"resultType":"complete","tools":[{"name":"a"}], "cacheScope" : "public","ttlMs":60000}"#;
        Ok(Replies::one(Message::Response(Response::result(envelope.request_id().unwrap(), result))))
    }
}

/// Whom a client may tell the tools that it is told of, and what the tape says was done.
async fn told(rules: serde_json::Value, revision: Revision, method: &str) -> (String, usize) {
    let case = Case::new(rules, 0);
    let origin = Arc::new(Origin::new(case.peer, Transport::Http, revision));
    let request = Message::Request(Request::new(&Id::from_u64(7), method, Some("{}")));
    let envelope = Envelope::to_server(request, Arc::clone(&origin));
    let mut replies = case.chain.run(envelope, Arc::new(Lister)).await.unwrap();
    let answer = replies.response().await.unwrap().unwrap();
    let scope =
        shadowcat_protocol::json::get(answer.result_json().unwrap(), &["cacheScope"]).unwrap().to_owned();
    (scope, origin.deeds.take().iter().filter(|deed| &***deed == "cacheScope: private").count())
}

#[tokio::test]
async fn t51_what_a_rule_may_change_is_told_as_for_its_reader_only() {
    let list = |more: serde_json::Value, actions: serde_json::Value| {
        let mut when = serde_json::json!({"method": "tools/list"});
        when.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rule!(when, actions)
    };
    let (answer, nobody) =
        (serde_json::json!({"on": "answer"}), serde_json::json!({"on": "answer", "principal": "x"}));
    let remove = || serde_json::json!([{"remove": "$.tools[0]"}]);
    let to_public = serde_json::json!([{"remove": "$.tools[0]"}, {"set": {"$.cacheScope": "public"}}]);
    let request = serde_json::json!({"on": "request"});
    let to_request = serde_json::json!([{"set": {"$.x": 1}}]);
    for (rules, scope, deeds) in [
        (list(answer.clone(), remove()), "private", 1),
        (list(nobody, remove()), "private", 1),
        (list(request, to_request), "private", 1),
        (list(answer.clone(), to_public), "public", 1),
        (list(answer.clone(), serde_json::json!([{"tag": "seen"}])), "public", 0),
        (rule!(serde_json::json!({"method": "prompts/list"}), remove()), "public", 0),
    ] {
        let what = format!("{rules}");
        let said = told(rules, Revision::V2026_07_28, method::TOOLS_LIST).await;
        assert_eq!(said, (format!("\"{scope}\""), deeds), "{what}");
    }
    let says = r#"{"resultType":"complete","tools":[],"cacheScope":"public","ttlMs":1}"#;
    let says: serde_json::Value = serde_json::from_str(says).unwrap();
    let mocked = list(serde_json::json!({"on": "request"}), serde_json::json!([{"mock": {"result": says}}]));
    let said = told(mocked, Revision::V2026_07_28, method::TOOLS_LIST).await;
    assert_eq!(said, ("\"public\"".to_owned(), 0), "an operator's own words");
}

#[tokio::test]
async fn whom_an_answer_may_be_told_is_a_matter_of_results_that_say_so() {
    let rules = || rule!(serde_json::json!({"on": "answer"}), serde_json::json!([{"remove": "$.tools[0]"}]));
    for (revision, method) in
        [(Revision::V2025_11_25, method::TOOLS_LIST), (Revision::V2026_07_28, method::TOOLS_CALL)]
    {
        assert_eq!(told(rules(), revision, method).await, ("\"public\"".to_owned(), 0), "{method}");
    }
}
