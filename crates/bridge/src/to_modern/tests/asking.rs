//! What the server wants to know before it goes on with a call.

use super::*;
use serde_json::json;

/// Asks for these in the first round, and then answers what it was told.
fn wanting(requests: Value, state: Value) -> impl FnMut(&Value) -> Play + Send {
    offering(move |request| {
        let interactive = ["tools/call", "prompts/get"].contains(&request["method"].as_str().unwrap());
        interactive.then(|| {
            let params = &request["params"];
            if params.get("inputResponses").is_some() || params.get("requestState").is_some() {
                return Play::Result(json!({"resultType": "complete", "ttlMs": 1, "content": [], "told": params["inputResponses"]}));
            }
            let mut result = json!({"resultType": "input_required"});
            if !requests.is_null() {
                result["inputRequests"] = requests.clone();
            }
            if !state.is_null() {
                result["requestState"] = state.clone();
            }
            Play::Result(result)
        })
    })
}

fn form(message: &str) -> Value {
    json!({"method": "elicitation/create", "params": {"mode": "form", "message": message, "requestedSchema": {"type": "object", "properties": {}}}})
}

#[tokio::test]
async fn t69_the_client_is_asked_and_the_call_goes_on_with_what_it_said() {
    let state = "AbC+/==\u{1}é";
    let accepted = json!({"action": "accept", "content": {"a": 1.5}});
    let told = accepted.clone();
    let bench =
        Bench::new(wanting(json!({"k": form("m")}), json!(state)), move |_| Play::Result(told.clone()));
    bench.initialize("2025-11-25", json!({"elicitation": {}})).await;
    let arguments = json!({"name": "t", "arguments": {"x": 1}, "_meta": {"progressToken": 9}});
    let answer = bench.ask("tools/call", arguments).await;
    assert_eq!(answer["result"], json!({"content": [], "told": {"k": accepted}}));

    let [asked] = &bench.client.of("elicitation/create")[..] else { panic!("asked once") };
    assert_eq!(asked["params"], form("m")["params"]);
    let [first, second] = &bench.server.of("tools/call")[..] else { panic!("two legs") };
    assert_ne!(first["id"], second["id"]);
    assert_eq!(second["params"]["requestState"], state);
    let mut again = second["params"].clone();
    again
        .as_object_mut()
        .unwrap()
        .retain(|key, _| !["requestState", "inputResponses"].contains(&key.as_str()));
    assert_eq!(again, first["params"], "nothing else changed");
}

/// A server whose state has escapes that a reader would take for other text of the same meaning.
#[derive(Default)]
struct Literal(Mutex<Vec<String>>);

#[async_trait]
impl Service for Literal {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let Message::Request(request) = envelope.message else { return Ok(Replies::none()) };
        let mut seen = self.0.lock().unwrap();
        seen.push(request.params().unwrap().to_owned());
        let wanting = r#"{"resultType":"input_required","requestState":"\u0041\/\u00e9"}"#;
        let result = if seen.len() == 1 { wanting } else { "{}" };
        Ok(Replies::one(Message::Response(Response::result(request.id(), result))))
    }
}

#[tokio::test]
async fn the_state_is_given_back_as_it_was_written() {
    let service = Arc::new(Literal::default());
    let params = json!({"protocolVersion": "2025-11-25"}).to_string();
    let known = Resumed { handshake: Some((params, "{}".into())), ..Resumed::default() };
    let bench = Bench::new(plain(), unasked);
    let settings = bench.shared.settings.clone();
    let server = ModernServer::new(
        Arc::clone(&service) as _,
        Chain::default(),
        settings,
        Arc::clone(&bench.counters),
        Tasks::new(),
    );
    let session = ToModern::new(server, Arc::clone(&bench.client) as _, known, &bench.tasks);
    let bench = Bench { session, ..bench };
    bench.ask("prompts/get", json!({"name": "p"})).await;
    assert!(service.0.lock().unwrap()[1].ends_with(r#","requestState":"\u0041\/\u00e9"}"#));
}

#[tokio::test]
async fn everything_of_a_round_is_asked_at_once() {
    let wanted = json!({
        "a": form("1"), "b": {"method": "roots/list"},
        "c": {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}}
    });
    let (answering, script) = answers_together(3);
    let bench = Bench::new(wanting(wanted, json!(null)), script);
    bench.tasks.spawn_until_stop(answering);
    bench.initialize("2025-11-25", json!({"elicitation": {}, "roots": {}, "sampling": {}})).await;
    let answer = bench.ask("tools/call", json!({"name": "t"})).await;
    assert_eq!(
        answer["result"]["told"],
        json!({"a": {"of": "elicitation/create"}, "b": {"of": "roots/list"}, "c": {"of": "sampling/createMessage"}})
    );
    assert!(bench.server.of("tools/call")[1]["params"].get("requestState").is_none(), "there was none");
    bench.tasks.stop();
}

/// A client that answers nothing before it was asked so many times, and the task that does it.
fn answers_together(
    many: usize,
) -> (impl Future<Output = ()> + Send + 'static, impl FnMut(&Value) -> Play + Send + 'static) {
    let (asked, mut questions) = mpsc::channel::<(Value, mpsc::Sender<Value>)>(8);
    let answering = async move {
        let mut waiting = Vec::new();
        while waiting.len() < many {
            waiting.push(questions.recv().await.unwrap());
        }
        for (question, answer) in waiting {
            let result = json!({"of": question["method"]});
            let response = json!({"jsonrpc": "2.0", "id": question["id"], "result": result});
            answer.send(response).await.unwrap();
        }
    };
    let script = move |request: &Value| {
        let (answer, answers) = mpsc::channel(1);
        asked.try_send((request.clone(), answer)).unwrap();
        Play::Open(answers)
    };
    (answering, script)
}

#[tokio::test(start_paused = true)]
async fn a_round_with_nothing_but_state_is_paced() {
    let bench = Bench::new(wanting(json!(null), json!("s")), unasked);
    bench.initialize("2025-11-25", json!({})).await;
    let before = tokio::time::Instant::now();
    assert!(bench.ask("tools/call", json!({"name": "t"})).await["result"].is_object());
    assert_eq!(before.elapsed(), Duration::from_millis(250), "by the paused clock");
    assert!(bench.server.of("tools/call")[1]["params"].get("inputResponses").is_none());
}

#[tokio::test]
async fn a_server_that_never_comes_to_an_end_is_stopped() {
    let script = offering(|request| {
        (request["method"] == "tools/call")
            .then(|| Play::Result(json!({"resultType": "input_required", "inputRequests": {"k": form("m")}})))
    });
    let bench = Bench::new(script, |_| Play::Result(json!({"action": "accept"})));
    bench.initialize("2025-11-25", json!({"elicitation": {}})).await;
    assert_eq!(bench.ask("tools/call", json!({"name": "t"})).await["result"]["isError"], true);
    assert_eq!(bench.server.of("tools/call").len(), 11);
    assert_eq!(bench.client.seen().len(), 10);
}

#[tokio::test]
async fn a_refused_form_is_declined_and_a_failed_one_cancelled() {
    for (code, action) in [(-1, "decline"), (-32601, "decline"), (-32603, "cancel"), (-32000, "cancel")] {
        let bench =
            Bench::new(wanting(json!({"k": form("m")}), json!("s")), move |_| Play::Error(code, json!(null)));
        bench.initialize("2025-06-18", json!({"elicitation": {}})).await;
        let answer = bench.ask("tools/call", json!({"name": "t"})).await;
        assert_eq!(answer["result"]["told"], json!({"k": {"action": action}}), "{code}");
    }
}

#[tokio::test]
async fn a_refused_sampling_ends_the_call() {
    let sampling = json!({"k": {"method": "sampling/createMessage", "params": {"messages": []}}});
    let bench = Bench::new(wanting(sampling, json!("s")), |_| Play::Error(-1, json!(null)));
    bench.initialize("2025-06-18", json!({"sampling": {}})).await;
    let answer = bench.ask("tools/call", json!({"name": "t"})).await;
    assert_eq!(answer["result"]["isError"], true);
    let answer = bench.ask("prompts/get", json!({"name": "p"})).await;
    assert_eq!(answer["error"]["code"], -32603);
    assert_eq!(bench.server.of("prompts/get").len(), 1, "not sent again");
}

#[tokio::test]
async fn what_the_client_did_not_declare_is_not_asked() {
    let url = json!({"method": "elicitation/create", "params": {"mode": "url", "url": "https://a", "message": "m"}});
    for (version, capabilities, wanted, told) in [
        ("2025-06-18", json!({"elicitation": {}}), url.clone(), Some(json!({"action": "decline"}))),
        ("2025-11-25", json!({"elicitation": {}}), url, Some(json!({"action": "decline"}))),
        ("2025-03-26", json!({"elicitation": {}}), form("m"), Some(json!({"action": "decline"}))),
        ("2025-11-25", json!({}), json!({"method": "roots/list"}), None),
        ("2025-11-25", json!({}), json!({"method": "vendor/x"}), None),
    ] {
        let bench = Bench::new(wanting(json!({"k": wanted}), json!("s")), unasked);
        bench.initialize(version, capabilities).await;
        let answer = bench.ask("tools/call", json!({"name": "t"})).await;
        match told {
            Some(told) => assert_eq!(answer["result"]["told"], json!({"k": told})),
            None => assert_eq!(answer["result"]["isError"], true),
        }
        assert_eq!(bench.counters.not_carried.get(), 1);
    }
}

#[tokio::test]
async fn a_url_has_a_name_for_those_who_want_one() {
    let url = json!({"method": "elicitation/create", "params": {"mode": "url", "url": "https://a", "message": "m"}});
    let bench =
        Bench::new(wanting(json!({"k": url}), json!("s")), |_| Play::Result(json!({"action": "accept"})));
    bench.initialize("2025-11-25", json!({"elicitation": {"url": {}}})).await;
    bench.ask("tools/call", json!({"name": "t"})).await;
    bench.ask("tools/call", json!({"name": "t"})).await;
    let asked = bench.client.of("elicitation/create");
    let names: Vec<_> =
        asked.iter().map(|asked| asked["params"]["elicitationId"].as_str().unwrap()).collect();
    assert_ne!(names[0], names[1]);
}

#[tokio::test(start_paused = true)]
async fn a_person_who_does_not_answer_has_cancelled() {
    let bench = Bench::new(wanting(json!({"k": form("m")}), json!("s")), |_| Play::Silence);
    bench.initialize("2025-11-25", json!({"elicitation": {}})).await;
    let answer = bench.ask("tools/call", json!({"name": "t"})).await;
    assert_eq!(answer["result"]["told"], json!({"k": {"action": "cancel"}}));
    assert_eq!(bench.client.awaited(), 0, "the question is withdrawn");
}

#[tokio::test]
async fn a_call_withdrawn_while_its_client_is_asked_asks_nothing_more() {
    let bench = Bench::new(wanting(json!({"a": form("1"), "b": form("2")}), json!("s")), |_| Play::Silence);
    bench.initialize("2025-11-25", json!({"elicitation": {}})).await;
    let mut replies = bench.start("3", "tools/call", &json!({"name": "t"})).await;
    let waiting = async {
        let left = rest(&mut replies).await;
        assert!(left.is_empty(), "nothing more is answered: {left:?}");
    };
    let withdrawing = async {
        until(|| bench.client.awaited() == 2).await;
        bench.note("notifications/cancelled", json!({"requestId": 3})).await;
    };
    tokio::join!(waiting, withdrawing);
    assert_eq!((bench.client.awaited(), bench.server.awaited()), (0, 0));
    assert_eq!(bench.server.of("tools/call").len(), 1);
}

#[tokio::test]
async fn only_some_requests_may_be_answered_by_a_question() {
    let script = offering(|request| {
        (request["method"] == "tools/list")
            .then(|| Play::Result(json!({"resultType": "input_required", "requestState": "s"})))
    });
    let bench = Bench::new(script, unasked);
    bench.initialize("2025-11-25", json!({})).await;
    assert_eq!(bench.ask("tools/list", json!({})).await["error"]["code"], -32603);
}
