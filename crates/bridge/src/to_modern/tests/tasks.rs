//! Calls that the modern server runs as tasks, for a client that has never heard of them.

use super::*;
use serde_json::json;
use shadowcat_pipeline::RefusalKind;

const EXTENSION: &str = "io.modelcontextprotocol/tasks";

fn declares(request: &Value) -> bool {
    let meta = &request["params"]["_meta"];
    meta["io.modelcontextprotocol/clientCapabilities"]["extensions"].get(EXTENSION).is_some()
}

fn task(status: &str, detail: Value) -> Value {
    let mut task = json!({"taskId": "t", "status": status, "createdAt": "then", "lastUpdatedAt": "now",
        "ttlMs": 600_000, "pollIntervalMs": 200, "resultType": "complete"});
    if let Value::Object(detail) = detail {
        task.as_object_mut().unwrap().extend(detail);
    }
    task
}

/// A server whose calls are all tasks; each look at one finds the next of these.
fn tasking(looks: Vec<Value>) -> impl FnMut(&Value) -> Play + Send {
    let mut looks = looks.into_iter();
    offering(move |request| {
        let needed = json!({"requiredCapabilities": {"extensions": {EXTENSION: {}}}});
        let asked = request["method"].as_str().unwrap();
        if !asked.starts_with("tasks/") && asked != "tools/call" {
            return None;
        }
        if !declares(request) {
            return Some(Play::Error(-32021, needed));
        }
        Some(match asked {
            "tools/call" => {
                let mut created = task("working", json!(null));
                created["resultType"] = json!("task");
                Play::Result(created)
            }
            "tasks/get" => match looks.next() {
                Some(look) if look.get("late").is_some() => Play::Refuse(RefusalKind::UpstreamTimeout.into()),
                Some(look) if look.get("gone").is_some() => Play::Refuse(RefusalKind::SessionLost.into()),
                Some(look) if look.get("refused").is_some() => Play::Error(-32602, json!(null)),
                Some(look) => Play::Result(look),
                None => Play::Result(task("working", json!(null))),
            },
            _ => Play::Result(json!({"resultType": "complete"})),
        })
    })
}

async fn bench(looks: Vec<Value>, client: impl FnMut(&Value) -> Play + Send + 'static) -> Bench {
    let bench = Bench::new(tasking(looks), client);
    bench.initialize("2025-11-25", json!({"elicitation": {}, "sampling": {}})).await;
    bench
}

fn arguments() -> Value {
    json!({"name": "t", "arguments": {"x": 1}, "_meta": {"progressToken": 9}})
}

fn form(message: &str) -> Value {
    json!({"method": "elicitation/create", "params": {"mode": "form", "message": message, "requestedSchema": {"type": "object", "properties": {}}}})
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_only_runs_as_a_task_is_run_to_its_end_inside_the_call() {
    let result = json!({"content": [], "n": 1.5, "resultType": "complete"});
    let looks = vec![
        task("working", json!(null)),
        task("working", json!(null)),
        task("completed", json!({"result": result})),
    ];
    let bench = bench(looks, unasked).await;
    let before = tokio::time::Instant::now();
    let answer = bench.ask("tools/call", arguments()).await;
    assert_eq!(answer["result"], json!({"content": [], "n": 1.5}));
    assert_eq!(before.elapsed(), Duration::from_millis(600), "by the paused clock");
    let [first, second] = &bench.server.of("tools/call")[..] else { panic!("called twice") };
    assert!(!declares(first) && declares(second));
    assert_eq!(first["params"]["arguments"], second["params"]["arguments"]);
    let looked = bench.server.of("tasks/get");
    assert_eq!(looked.len(), 3);
    assert_eq!(looked[0]["params"]["taskId"], "t");
    assert_eq!(looked[0]["params"]["_meta"].get("progressToken"), None);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(bench.server.of("tasks/cancel").is_empty());
    assert_eq!(bench.counters.not_carried.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_task_asks_is_asked_of_the_client_once() {
    let both = json!({"inputRequests": {"a": form("1"), "b": form("2")}});
    let looks = vec![
        task("input_required", json!({"inputRequests": {"a": form("1")}})),
        task("input_required", both),
        task("completed", json!({"result": {"content": []}})),
    ];
    let bench = bench(looks, |_| Play::Result(json!({"action": "accept"}))).await;
    let answer = bench.ask("tools/call", arguments()).await;
    assert_eq!(answer["result"], json!({"content": []}));
    assert_eq!(bench.client.of("elicitation/create").len(), 2);
    let told: Vec<_> = bench
        .server
        .of("tasks/update")
        .iter()
        .map(|update| update["params"]["inputResponses"].clone())
        .collect();
    assert_eq!(told, [json!({"a": {"action": "accept"}}), json!({"b": {"action": "accept"}})]);
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_question_cannot_be_answered_is_cancelled() {
    let sampling = json!({"method": "sampling/createMessage", "params": {"messages": []}});
    let looks = vec![task("input_required", json!({"inputRequests": {"a": sampling}}))];
    let bench = bench(looks, |_| Play::Error(-1, json!(null))).await;
    let answer = bench.ask("tools/call", arguments()).await;
    assert_eq!(answer["result"]["isError"], true);
    until(|| bench.server.of("tasks/cancel").len() == 1).await;
    assert!(bench.server.of("tasks/update").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_fails_fails_its_call() {
    let failed = task("failed", json!({"error": {"code": -7, "message": "broken", "data": {"a": 1}}}));
    for (look, code) in [
        (failed, Some(-7)),
        (task("cancelled", json!(null)), None),
        (task("completed", json!(null)), None),
        (json!({"refused": true}), None),
        (json!({"gone": true}), None),
    ] {
        let bench = bench(vec![look], unasked).await;
        let answer = bench.ask("tools/call", arguments()).await;
        if let Some(code) = code {
            let error = json!({"code": code, "message": "broken", "data": {"a": 1}});
            assert_eq!(answer["error"], error);
        } else {
            assert_eq!(answer["result"]["isError"], true, "{answer}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_cannot_be_looked_at_for_a_while_goes_on() {
    let late = json!({"late": true});
    let looks = vec![
        task("working", json!(null)),
        late.clone(),
        late,
        task("completed", json!({"result": {"content": []}})),
    ];
    let bench = bench(looks, unasked).await;
    assert_eq!(bench.ask("tools/call", arguments()).await["result"], json!({"content": []}));
    assert!(bench.server.of("tasks/cancel").is_empty());
}

/// A server whose task asks once, and which answers the updates of it like this.
async fn asking_once(mut update: impl FnMut() -> Play + Send + 'static) -> Bench {
    let asking = task("input_required", json!({"inputRequests": {"a": form("1")}}));
    let done = task("completed", json!({"result": {"content": []}}));
    let mut server = tasking(vec![asking, done]);
    let server = move |request: &Value| match request["method"].as_str() {
        Some("tasks/update") => update(),
        _ => server(request),
    };
    let bench = Bench::new(server, |_| Play::Result(json!({"action": "accept"})));
    bench.initialize("2025-11-25", json!({"elicitation": {}})).await;
    bench
}

#[tokio::test(start_paused = true)]
async fn answers_that_do_not_reach_a_task_are_told_again_and_asked_for_once() {
    let mut faults = 2;
    let bench = asking_once(move || {
        if faults == 0 {
            return Play::Result(json!({"resultType": "complete"}));
        }
        faults -= 1;
        Play::Refuse(RefusalKind::UpstreamTimeout.into())
    });
    let bench = bench.await;
    assert_eq!(bench.ask("tools/call", arguments()).await["result"], json!({"content": []}));
    assert_eq!(bench.client.of("elicitation/create").len(), 1);
    assert_eq!(bench.server.of("tasks/update").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_does_not_take_its_answers_and_goes_on_wanting_them_ends_its_call() {
    let asking = || task("input_required", json!({"inputRequests": {"a": form("1")}}));
    let bench = refusing_answers(vec![asking(), asking(), task("working", json!(null))]).await;
    let answer = bench.ask("tools/call", arguments()).await;
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert_eq!((bench.server.of("tasks/get").len(), bench.server.of("tasks/update").len()), (2, 1));
    assert_eq!(bench.client.of("elicitation/create").len(), 1);
    until(|| bench.server.of("tasks/cancel").len() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_has_come_to_its_end_while_its_client_was_asked_answers_its_call() {
    let asking = || task("input_required", json!({"inputRequests": {"a": form("1")}}));
    let done = || task("completed", json!({"result": {"content": []}}));
    for looks in [vec![asking(), done()], vec![asking(), task("working", json!(null)), done()]] {
        let bench = refusing_answers(looks).await;
        let answer = bench.ask("tools/call", arguments()).await;
        assert_eq!(answer["result"], json!({"content": []}), "{answer}");
        assert_eq!(bench.server.of("tasks/update").len(), 1);
        assert!(bench.server.of("tasks/cancel").is_empty());
    }
}

/// A server that takes no answers for its task, whatever it asks.
async fn refusing_answers(looks: Vec<Value>) -> Bench {
    let mut server = tasking(looks);
    let server = move |request: &Value| match request["method"].as_str() {
        Some("tasks/update") => Play::Error(-32602, json!(null)),
        _ => server(request),
    };
    let bench = Bench::new(server, |_| Play::Result(json!({"action": "accept"})));
    bench.initialize("2025-11-25", json!({"elicitation": {}})).await;
    bench
}

#[tokio::test(start_paused = true)]
async fn a_client_that_withdraws_its_call_cancels_the_task() {
    for goes in [false, true] {
        let bench = bench(Vec::new(), unasked).await;
        let mut replies = bench.start("3", "tools/call", &arguments()).await;
        let seen = until(|| bench.server.of("tasks/get").len() > 2);
        tokio::select! {
            reply = replies.next() => panic!("answered: {reply:?}"),
            () = seen => {}
        }
        if goes {
            drop(replies);
        } else {
            bench.note("notifications/cancelled", json!({"requestId": 3})).await;
            assert!(rest(&mut replies).await.is_empty(), "nothing more is answered");
        }
        until(|| bench.server.of("tasks/cancel").len() == 1).await;
        let cancel = &bench.server.of("tasks/cancel")[0];
        assert!(declares(cancel) && cancel["params"]["taskId"] == "t");
    }
}

/// A call that its server was told it may run as a task, and has not answered; `play` is what it does about it.
async fn unanswered(play: Play) -> (Bench, Replies) {
    let (mut server, mut play) = (tasking(Vec::new()), Some(play));
    let server = move |request: &Value| match request["method"].as_str() {
        Some("tools/call") if declares(request) => play.take().unwrap(),
        _ => server(request),
    };
    let bench = Bench::new(server, unasked);
    bench.initialize("2025-11-25", json!({})).await;
    let mut replies = bench.start("3", "tools/call", &arguments()).await;
    let declared = until(|| bench.server.of("tools/call").len() == 2);
    tokio::select! {
        reply = replies.next() => panic!("answered: {reply:?}"),
        () = declared => {}
    }
    (bench, replies)
}

#[tokio::test(start_paused = true)]
async fn a_task_that_has_no_name_yet_is_cancelled_when_it_has_one() {
    let (answers, receiver) = mpsc::channel(1);
    let (bench, mut replies) = unanswered(Play::Open(receiver)).await;
    bench.note("notifications/cancelled", json!({"requestId": 3})).await;
    assert!(rest(&mut replies).await.is_empty(), "nothing is waited for");
    let mut created = task("working", json!(null));
    created["resultType"] = json!("task");
    let id = &bench.server.of("tools/call")[1]["id"];
    answers.send(json!({"jsonrpc": "2.0", "id": id, "result": created})).await.unwrap();
    until(|| bench.server.of("tasks/cancel").len() == 1).await;
    assert_eq!(bench.server.of("tasks/cancel")[0]["params"]["taskId"], "t");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_waits_for_the_name_of_a_task_that_nobody_wants() {
    let (answers, receiver) = mpsc::channel(1);
    let (bench, mut replies) = unanswered(Play::Open(receiver)).await;
    let mut created = task("working", json!(null));
    created["resultType"] = json!("task");
    let id = &bench.server.of("tools/call")[1]["id"];
    let naming = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        answers.send(json!({"jsonrpc": "2.0", "id": id, "result": created})).await.unwrap();
    };
    let closing = async {
        bench.session.close().await;
        assert_eq!(bench.server.of("tasks/cancel").len(), 1);
    };
    tokio::join!(closing, naming, rest(&mut replies));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_withdrawn_before_it_was_sent_again_is_not_sent() {
    let bench = bench(Vec::new(), unasked).await;
    bench.server.full_for.send_replace(|sent| sent["method"] == "tools/call" && declares(sent));
    let mut replies = bench.start("3", "tools/call", &arguments()).await;
    let refused = until(|| bench.server.of("tools/call").len() == 1 && bench.server.awaited() == 0);
    tokio::select! {
        reply = replies.next() => panic!("answered: {reply:?}"),
        () = refused => {}
    }
    bench.note("notifications/cancelled", json!({"requestId": 3})).await;
    assert!(rest(&mut replies).await.is_empty());
    bench.server.full_for.send_replace(|_| false);
    bench.session.close().await;
    assert_eq!(bench.server.of("tools/call").len(), 1, "only the first");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_names_no_task_is_let_go() {
    let (bench, replies) = unanswered(Play::Silence).await;
    drop(replies);
    until(|| bench.server.awaited() == 0).await;
    assert!(bench.server.of("tasks/cancel").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_has_cancelled_its_tasks() {
    let bench = bench(Vec::new(), unasked).await;
    let mut replies = bench.start("3", "tools/call", &arguments()).await;
    let seen = until(|| !bench.server.of("tasks/get").is_empty());
    tokio::select! {
        reply = replies.next() => panic!("answered: {reply:?}"),
        () = seen => {}
    }
    let closing = async {
        bench.session.close().await;
        assert_eq!(bench.server.of("tasks/cancel").len(), 1);
    };
    tokio::join!(closing, rest(&mut replies));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_does_not_end_in_its_time_fails_its_call() {
    let bench = bench(Vec::new(), unasked).await;
    let answer = bench.ask("tools/call", arguments()).await;
    assert_eq!(answer["result"]["isError"], true);
    until(|| bench.server.of("tasks/cancel").len() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_nobody_declared_is_run_to_its_end_as_well() {
    let script = offering(|request| match request["method"].as_str().unwrap() {
        "tools/call" | "prompts/get" => {
            let mut created = task("working", json!(null));
            created["resultType"] = json!("task");
            Some(Play::Result(created))
        }
        "tasks/get" if declares(request) => {
            Some(Play::Result(task("completed", json!({"result": {"content": []}}))))
        }
        _ => None,
    });
    let bench = Bench::new(script, unasked);
    bench.initialize("2025-06-18", json!({})).await;
    assert_eq!(bench.ask("tools/call", arguments()).await["result"], json!({"content": []}));
    let answer = bench.ask("prompts/get", json!({"name": "p"})).await;
    assert_eq!(answer["error"]["code"], -32603, "only calls of tools can be tasks");
}

#[tokio::test]
async fn t70_a_server_that_still_wants_the_extension_is_believed_the_second_time() {
    let needed = json!({"requiredCapabilities": {"extensions": {EXTENSION: {}}}});
    let script = offering(move |request| {
        (request["method"] == "tools/call").then(|| Play::Error(-32021, needed.clone()))
    });
    let bench = Bench::new(script, unasked);
    bench.initialize("2025-11-25", json!({})).await;
    let answer = bench.ask("tools/call", arguments()).await;
    assert_eq!(answer["result"]["isError"], true);
    assert_eq!(bench.server.of("tools/call").len(), 2);
}
