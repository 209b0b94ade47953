//! Calls, tasks, questions, answers, withdrawals and losses of two clients in any order.

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
    /// As a task that comes to its end.
    Task,
    /// As a task that does not.
    Endless,
}

impl Fate {
    fn method(self) -> &'static str {
        match self {
            Self::Task | Self::Endless => "tools/call",
            _ => "prompts/get",
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Call(u8, Fate),
    Withdraw(u8),
    /// The server ends with all that it owes.
    Lose,
    /// Whatever can happen by itself happens.
    Wait,
}

/// Each with the client that takes it.
fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let fates = [Fate::Answered, Fate::Asked, Fate::Unheard, Fate::Silent, Fate::Task, Fate::Endless];
    let fate = prop::sample::select(fates.to_vec());
    let step = prop_oneof![
        3 => (0..4_u8, fate).prop_map(|(id, fate)| Step::Call(id, fate)),
        1 => (0..4_u8).prop_map(Step::Withdraw),
        1 => Just(Step::Lose),
        1 => Just(Step::Wait),
    ];
    prop::collection::vec((0..2_usize, step), 0..24)
}

fn server(request: &Value) -> Option<Play> {
    let params = &request["params"];
    let asks = |message: &str| {
        let form = json!({"method": "elicitation/create", "params": {"message": message}});
        Play::Result(
            json!({"resultType": "input_required", "inputRequests": {"k": form}, "requestState": "s"}),
        )
    };
    let task = |kind: &str, status: &str| {
        let id = params.get("name").unwrap_or(&params["taskId"]);
        Play::Result(json!({"resultType": kind, "taskId": id, "status": status, "pollIntervalMs": 100,
            "ttlMs": null, "result": {"name": id}}))
    };
    match request["method"].as_str().unwrap() {
        "tools/call" => return Some(task("task", "working")),
        "tasks/get" if params["taskId"] == "Task" => return Some(task("complete", "completed")),
        "tasks/get" => return Some(task("complete", "working")),
        _ => {}
    }
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

/// One call, and all that its client has got for it.
struct Ended {
    client: usize,
    id: u8,
    fate: Fate,
    /// How often the server had been lost when it was begun.
    losses: usize,
    replies: Vec<Result<Value, RefusalKind>>,
}

async fn ended(client: usize, id: u8, fate: Fate, losses: usize, mut replies: Replies) -> Ended {
    let mut all = Vec::new();
    while let Some(reply) = replies.next().await {
        let reply = reply.map(|message| serde_json::from_slice(message.text()).unwrap());
        all.push(reply.map_err(|refusal| refusal.kind));
    }
    Ended { client, id, fate, losses, replies: all }
}

async fn check(steps: Vec<(usize, Step)>) {
    let one = Bench::new(offering(server), client);
    let clients = [one.beside(client), one];
    for bench in &clients {
        bench.initialize("2025-11-25", json!({"elicitation": {}})).await;
    }
    let server = &clients[0].server;
    let mut calls = FuturesUnordered::new();
    let (mut begun, mut withdrawn, mut losses, mut all) = ([0, 0], [0, 0], 0, Vec::new());
    for (client, step) in steps {
        let bench = &clients[client];
        match step {
            Step::Call(id, fate) => {
                let params = json!({"name": format!("{fate:?}")});
                let replies = bench.start(&id.to_string(), fate.method(), &params).await;
                calls.push(ended(client, id, fate, losses, replies));
                begun[client] += 1;
            }
            Step::Withdraw(id) => {
                withdrawn[client] += 1;
                bench.note("notifications/cancelled", json!({"requestId": id})).await;
            }
            Step::Lose => {
                losses += 1;
                server.lost.send_replace(losses);
            }
            Step::Wait => {
                while let Ok(Some(end)) = tokio::time::timeout(Duration::from_millis(1), calls.next()).await {
                    all.push(end);
                }
            }
        }
    }
    // Every call that can come to its end does; the others end with their session.
    while let Ok(Some(end)) = tokio::time::timeout(Duration::from_secs(1), calls.next()).await {
        all.push(end);
    }
    for (client, withdrawn) in withdrawn.into_iter().enumerate() {
        let unanswered = all.iter().filter(|end| end.client == client && end.replies.is_empty()).count();
        assert!(unanswered <= withdrawn, "{unanswered} calls of {client} ended without an answer");
    }
    for bench in &clients {
        bench.session.close().await;
    }
    while let Some(end) = calls.next().await {
        assert!([Fate::Unheard, Fate::Silent, Fate::Endless].contains(&end.fate) && end.replies.is_empty());
        assert!(end.fate != Fate::Silent || end.losses == losses, "a call outlived its server");
        all.push(end);
    }
    let of = |method, fate: &str| {
        let names =
            |sent: &&Value| [&sent["params"]["name"], &sent["params"]["taskId"]].contains(&&json!(fate));
        server.of(method).iter().filter(names).count()
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    // A task of which the end was not seen is cancelled, once; one whose call was withdrawn first was never heard of.
    let withdrawn = withdrawn.iter().sum::<usize>();
    let (tasks, cancelled) = (of("tools/call", "Endless"), of("tasks/cancel", "Endless"));
    assert!(cancelled <= tasks && tasks - cancelled <= withdrawn, "{cancelled} of {tasks}");
    assert!(of("tasks/cancel", "Task") <= withdrawn);
    for (client, begun) in begun.into_iter().enumerate() {
        assert_eq!(all.iter().filter(|end| end.client == client).count(), begun, "each of its calls ends");
    }
    for Ended { id, fate, losses: before, replies, .. } in all {
        let answer = json!({"jsonrpc": "2.0", "id": id, "result": {"name": format!("{fate:?}")}});
        match &replies[..] {
            [] => {}
            [Ok(told)] => assert_eq!(told, &answer, "{fate:?}"),
            [Err(RefusalKind::UpstreamExited)] => {
                assert!(fate == Fate::Silent && before < losses, "{fate:?}");
            }
            other => panic!("{id} {fate:?}: {other:?}"),
        }
    }
    for bench in &clients {
        assert!(bench.session.in_flight.is_empty());
        assert_eq!((bench.server.awaited(), bench.client.awaited()), (0, 0));
    }
}

proptest! {
    #[test]
    fn each_call_ends_once_and_leaves_nothing_behind(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(check(steps));
    }
}
