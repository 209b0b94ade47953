//! Calls, questions, answers and withdrawals in any order.

use super::*;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use proptest::prelude::*;
use serde_json::json;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Answered,
    /// After a question that the client answers.
    Asked,
    /// After a question that the client never answers.
    Unheard,
    Silent,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Call(u8, Fate),
    Withdraw(u8),
    /// Whatever can happen by itself happens.
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fate = prop::sample::select(vec![Fate::Answered, Fate::Asked, Fate::Unheard, Fate::Silent]);
    let step = prop_oneof![
        3 => (0..4_u8, fate).prop_map(|(id, fate)| Step::Call(id, fate)),
        1 => (0..4_u8).prop_map(Step::Withdraw),
        1 => Just(Step::Wait),
    ];
    prop::collection::vec(step, 0..24)
}

fn server(request: &Value) -> Option<Play> {
    let params = &request["params"];
    let asks = |message: &str| {
        let form = json!({"method": "elicitation/create", "params": {"message": message}});
        Play::Result(
            json!({"resultType": "input_required", "inputRequests": {"k": form}, "requestState": "s"}),
        )
    };
    (request["method"] == "prompts/get").then(|| match params["name"].as_str().unwrap() {
        _ if params.get("inputResponses").is_some() => Play::Result(json!({"name": params["name"]})),
        "Asked" => asks("please"),
        "Unheard" => asks("hello?"),
        "Silent" => Play::Silence,
        name => Play::Result(json!({"name": name})),
    })
}

fn client(question: &Value) -> Play {
    match question["params"]["message"].as_str() {
        Some("please") => Play::Result(json!({"action": "accept"})),
        _ => Play::Silence,
    }
}

async fn check(steps: Vec<Step>) {
    let bench = Bench::new(offering(server), client);
    bench.initialize("2025-11-25", json!({"elicitation": {}})).await;
    let mut calls = FuturesUnordered::new();
    let (mut begun, mut withdrawn, mut ended) = (0, 0, Vec::new());
    for step in steps {
        match step {
            Step::Call(id, fate) => {
                let params = json!({"name": format!("{fate:?}")});
                let mut replies = bench.start(&id.to_string(), "prompts/get", &params).await;
                calls.push(async move { (id, fate, rest(&mut replies).await) });
                begun += 1;
            }
            Step::Withdraw(id) => {
                withdrawn += 1;
                bench.note("notifications/cancelled", json!({"requestId": id})).await;
            }
            Step::Wait => {
                while let Ok(Some(end)) = tokio::time::timeout(Duration::from_millis(1), calls.next()).await {
                    ended.push(end);
                }
            }
        }
    }
    // Every call that can come to its end does; the others end with their session.
    while let Ok(Some(end)) = tokio::time::timeout(Duration::from_secs(1), calls.next()).await {
        ended.push(end);
    }
    let unanswered = ended.iter().filter(|(.., replies)| replies.is_empty()).count();
    assert!(unanswered <= withdrawn, "{unanswered} calls ended without an answer");
    bench.session.close().await;
    while let Some(end) = calls.next().await {
        assert!([Fate::Unheard, Fate::Silent].contains(&end.1) && end.2.is_empty());
        ended.push(end);
    }
    assert_eq!(ended.len(), begun);
    for (id, fate, replies) in ended {
        let answer = json!({"jsonrpc": "2.0", "id": id, "result": {"name": format!("{fate:?}")}});
        assert!(replies.is_empty() || replies == [answer], "{id} {fate:?}: {replies:?}");
    }
    assert!(bench.session.in_flight.is_empty());
    assert_eq!((bench.server.awaited(), bench.client.awaited()), (0, 0));
}

proptest! {
    #[test]
    fn each_call_ends_once_and_leaves_nothing_behind(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(check(steps));
    }
}
