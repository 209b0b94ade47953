//! Calls that the legacy server runs as tasks, before clients that take tasks and others.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use shadowcat_pipeline::{Envelope, ExchangeId, RefusalKind, Replies, Service as _};
use shadowcat_protocol::{ErrorObject, Message, Request, Response};

use tokio::sync::watch;

use super::peer::{Ask, META, Pair, Script, ScriptSession, ask, call, side, value};
use super::{forms, pair, state_of};
use crate::to_legacy::ToLegacySettings;

pub(super) const LIFE: Duration = Duration::from_mins(20);

/// How a task is when nothing more becomes of it.
pub(super) const OVER: [&str; 3] = ["completed", "failed", "cancelled"];

/// The tools of the server, as it lists them.
pub(super) fn tools() -> Value {
    let tool = |name: &str, support: &str| json!({"name": name, "execution": {"taskSupport": support}});
    json!([
        tool("job", "required"),
        tool("ask_job", "required"),
        tool("fail_job", "required"),
        tool("break_job", "required"),
        tool("late_job", "required"),
        tool("large_job", "required"),
        tool("count", "optional")
    ])
}

/// Whether a call is to be a task.
pub(super) fn is_job(call: &Request) -> bool {
    let params: Value = serde_json::from_str(call.params().unwrap()).unwrap();
    params.get("task").is_some()
}

fn task(id: &str, status: &str) -> Value {
    json!({"taskId": id, "status": status, "createdAt": "then", "lastUpdatedAt": "now",
        "ttl": LIFE.as_millis(), "pollInterval": 500})
}

pub(super) fn begin(script: &Script, call: &Request) -> Replies {
    let mut id = format!("t-{}", call.name().unwrap());
    if script.distinct.load(Ordering::Relaxed) {
        let mut jobs = script.jobs.lock().unwrap();
        id = format!("{id}-{}", jobs.len());
        jobs.insert(id.clone(), watch::Sender::new("working"));
    }
    one(call, &json!({"task": task(&id, "working")}))
}

/// How far the task of this name is.
fn job_of(script: &Script, id: &str) -> watch::Sender<&'static str> {
    script.jobs.lock().unwrap().get(id).unwrap_or(&script.job).clone()
}

fn one(request: &Request, result: &Value) -> Replies {
    Replies::one(Message::Response(Response::result(request.id(), &result.to_string())))
}

/// Answers a request about a task. Its name says what becomes of it.
pub(super) fn about(session: &ScriptSession, request: &Request, exchange: ExchangeId) -> Replies {
    let id = request.name().map_or_else(
        || {
            serde_json::from_str::<Value>(request.params().unwrap()).unwrap()["taskId"]
                .as_str()
                .unwrap()
                .into()
        },
        std::borrow::Cow::into_owned,
    );
    let job = job_of(&session.script, &id);
    match request.method() {
        "tasks/get" if *job.borrow() == "unknown" => {
            let error = ErrorObject { code: -32602, message: "gone".into(), data: None };
            Replies::one(Message::Response(Response::error(Some(request.id()), &error)))
        }
        "tasks/get" => one(request, &task(&id, *job.borrow())),
        "tasks/cancel" => {
            job.send_replace("cancelled");
            one(request, &task(&id, "cancelled"))
        }
        _ => result(session, request, id, exchange),
    }
}

/// The result of a task, when it has one. A task that asks does it here.
fn result(session: &ScriptSession, request: &Request, id: String, exchange: ExchangeId) -> Replies {
    let related = session.script.relates.load(Ordering::Relaxed).then_some(exchange);
    let (back, job) = (Arc::clone(&session.back), job_of(&session.script, &id));
    let request = request.clone();
    Replies::stream(futures_util::stream::once(async move {
        let mut content = json!([]);
        let meta = json!({format!("{META}related-task"): {"taskId": id}});
        let mut states = job.subscribe();
        let ended = async { *states.wait_for(|status| OVER.contains(status)).await.unwrap() };
        if id.starts_with("t-ask_job") {
            let params = json!({"message": "?", "_meta": meta}).to_string();
            let form =
                Request::new(&shadowcat_protocol::Id::from_u64(9), "elicitation/create", Some(&params));
            let mut replies = back.deliver(Message::Request(form), related, &side()).await.unwrap();
            tokio::select! {
                answer = replies.next() => {
                    content = json!([value(&answer.unwrap().unwrap())["result"]]);
                    job.send_if_modified(|status| {
                        let goes_on = !OVER.contains(status);
                        if goes_on {
                            *status = "completed";
                        }
                        goes_on
                    });
                }
                _ = ended => {}
            }
        } else {
            ended.await;
        }
        if id == "t-large_job" {
            content = json!([{"type": "text", "text": "x".repeat(1 << 20)}]);
        }
        if id == "t-break_job" || *job.borrow() == "cancelled" {
            let error = ErrorObject { code: -32000, message: "broken".into(), data: None };
            return Ok(Message::Response(Response::error(Some(request.id()), &error)));
        }
        let result = json!({"content": content, "isError": id == "t-fail_job", "_meta": meta});
        Ok(Message::Response(Response::result(request.id(), &result.to_string())))
    }))
}

pub(super) fn taking() -> Value {
    json!({"elicitation": {"form": {}}, "extensions": {format!("{META}tasks"): {}}})
}

pub(super) fn about_task(method: &'static str, handle: &Value) -> Ask {
    ask(method, &json!({"taskId": handle}), &taking())
}

async fn handle_of(pair: &Pair, tool: &str) -> Value {
    let created = call(tool, &taking()).answer(pair).await;
    assert_eq!(created["result"]["resultType"], "task", "{created}");
    created["result"]["taskId"].clone()
}

async fn look(pair: &Pair, handle: &Value) -> Value {
    let looked = about_task("tasks/get", handle).answer(pair).await;
    assert_eq!(looked["result"]["resultType"], "complete", "{looked}");
    looked["result"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_only_runs_as_a_task_is_one_for_a_client_that_takes_tasks() {
    let pair = pair();
    let found = ask("server/discover", &json!({}), &json!({})).answer(&pair).await;
    assert_eq!(found["result"]["capabilities"]["extensions"], json!({format!("{META}tasks"): {}}));
    let created = call("job", &taking()).answer(&pair).await["result"].clone();
    let handle = created["taskId"].clone();
    assert_eq!(
        created,
        json!({"resultType": "task", "taskId": handle, "status": "working", "createdAt": "then",
            "lastUpdatedAt": "now", "ttlMs": LIFE.as_millis(), "pollIntervalMs": 500,
            "_meta": {format!("{META}serverInfo"): {"name": "old", "version": "1"}}})
    );
    assert_ne!(handle, "t-job");
    assert!(pair.log_of("tools/call")[0].contains(r#""task":{"ttl":3600000}"#));
    let looked = look(&pair, &handle).await;
    assert_eq!((&looked["status"], &looked["taskId"]), (&json!("working"), &handle));
    assert!(pair.log_of("tasks/result").is_empty());
    pair.script.job.send_replace("completed");
    for _ in 0..2 {
        let looked = look(&pair, &handle).await;
        assert_eq!(looked["status"], "completed");
        assert_eq!(looked["result"]["content"], json!([]));
        assert_eq!(looked["result"]["_meta"].get(format!("{META}related-task")), None);
    }
    assert_eq!((pair.log_of("tasks/get").len(), pair.log_of("tasks/result").len()), (2, 1));
    assert_eq!(pair.log_of("tools/list").len(), 2, "two pages, once");
}

#[tokio::test(start_paused = true)]
async fn all_who_look_at_once_at_a_task_that_has_ended_are_told_what_became_of_it() {
    for (tool, asked) in [("job", 1), ("large_job", 2)] {
        let pair = pair();
        let handle = handle_of(&pair, tool).await;
        pair.script.job.send_replace("completed");
        let (one, other) = tokio::join!(look(&pair, &handle), look(&pair, &handle));
        assert_eq!((&one["status"], &one), (&json!("completed"), &other));
        assert_eq!(
            pair.log_of("tasks/result").len(),
            asked,
            "what is too large to be kept is asked for again"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_fails_by_an_error_and_not_by_a_result_that_tells_of_one() {
    for (tool, status, member) in [("fail_job", "completed", "result"), ("break_job", "failed", "error")] {
        let pair = pair();
        let handle = handle_of(&pair, tool).await;
        pair.script.job.send_replace("failed");
        let looked = look(&pair, &handle).await;
        assert_eq!(looked["status"], status);
        let expected = if member == "result" { json!(true) } else { json!(-32000) };
        assert!([&looked[member]["isError"], &looked[member]["code"]].contains(&&expected), "{looked}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_asks_is_answered_by_an_update() {
    for relates in [false, true] {
        let pair = pair();
        pair.script.relates.store(relates, Ordering::Relaxed);
        let handle = handle_of(&pair, "ask_job").await;
        pair.script.job.send_replace("input_required");
        for _ in 0..2 {
            let looked = look(&pair, &handle).await;
            assert_eq!(looked["status"], "input_required");
            let asked = json!({"q1": {"method": "elicitation/create", "params": {"message": "?"}}});
            assert_eq!(looked["inputRequests"], asked);
        }
        let answers = json!({"q7": {"action": "cancel"}, "q1": {"action": "accept"}});
        let mut update = about_task("tasks/update", &handle);
        update.params["inputResponses"] = answers;
        let acked = update.answer(&pair).await;
        assert_eq!(acked["result"]["resultType"], "complete");
        pair.script.job.subscribe().wait_for(|status| *status == "completed").await.unwrap();
        let looked = look(&pair, &handle).await;
        assert_eq!(looked["result"]["content"], json!([{"action": "accept"}]));
        assert_eq!(pair.log_of("tasks/result").len(), 1);
        assert_eq!(pair.counters.parked.get(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_only_looks_at_a_task_refuses_none_of_its_questions() {
    let pair = pair();
    let handle = handle_of(&pair, "ask_job").await;
    pair.script.job.send_replace("input_required");
    let mute = json!({"extensions": {format!("{META}tasks"): {}}});
    let seen = ask("tasks/get", &json!({"taskId": handle}), &mute).answer(&pair).await;
    assert_eq!((&seen["result"]["status"], seen["result"].get("inputRequests")), (&json!("working"), None));
    let wanted = json!({"notifications": {"taskIds": [handle]}});
    let mut listening = ask("subscriptions/listen", &wanted, &mute).send(&pair).await.unwrap();
    listening.next().await.unwrap().unwrap();
    assert_eq!(told(&mut listening).await["status"], "working");
    assert_eq!(look(&pair, &handle).await["status"], "input_required");
    let mut update = about_task("tasks/update", &handle);
    update.params["inputResponses"] = json!({"q1": {"action": "accept"}});
    update.answer(&pair).await;
    assert_eq!(told(&mut listening).await["result"]["content"], json!([{"action": "accept"}]));
}

#[tokio::test(start_paused = true)]
async fn t79_a_task_is_for_the_principal_it_was_given_to() {
    let pair = pair();
    let created = call("job", &taking()).by("ann").answer(&pair).await;
    let handle = created["result"]["taskId"].clone();
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let foreign = [about_task(method, &handle).by("bob"), about_task(method, &handle)];
        let unknown =
            [about_task(method, &json!("t-job")).by("ann"), about_task(method, &json!(7)).by("ann")];
        for request in foreign.into_iter().chain(unknown) {
            assert_eq!(request.answer(&pair).await["error"]["code"], -32602, "{method}");
        }
        let undeclared = ask(method, &json!({"taskId": handle}), &json!({})).by("ann").answer(&pair).await;
        assert_eq!(undeclared["error"]["code"], -32021);
    }
    assert!(pair.log_of("tasks/").is_empty());
    let looked = about_task("tasks/get", &handle).by("ann").answer(&pair).await;
    assert_eq!(looked["result"]["status"], "working");
    for method in ["tasks/list", "tasks/result"] {
        assert_eq!(about_task(method, &handle).by("ann").answer(&pair).await["error"]["code"], -32601);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_of_a_task_is_for_the_bridge_whatever_the_server_has_become() {
    let pair = pair();
    let handle = handle_of(&pair, "job").await;
    let listen_to = |task: &Value| {
        ask("subscriptions/listen", &json!({"notifications": {"taskIds": ["t-job", task]}}), &taking())
    };
    for asked in ["tasks/get", "tasks/update", "tasks/cancel"] {
        assert!(pair.bridge.owns(&about_task(asked, &handle).envelope()), "{asked}");
        assert!(
            !pair.bridge.owns(&about_task(asked, &json!("t-job")).envelope()),
            "a task of the server's own"
        );
        assert!(!pair.bridge.owns(&about_task(asked, &handle).by("bob").envelope()));
    }
    assert!(pair.bridge.owns(&listen_to(&handle).envelope()));
    assert!(!pair.bridge.owns(&listen_to(&json!("other")).envelope()));
    let tools = json!({"notifications": {"toolsListChanged": true}});
    assert!(!pair.bridge.owns(&ask("subscriptions/listen", &tools, &taking()).envelope()));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_task_is_cancelled_at_the_server() {
    let pair = pair();
    let handle = handle_of(&pair, "job").await;
    let acked = about_task("tasks/cancel", &handle).answer(&pair).await;
    assert_eq!(acked["result"].as_object().unwrap().len(), 2, "nothing but its type and the server's name");
    assert_eq!(pair.log_of("tasks/cancel"), [r#"s1 tasks/cancel {"taskId":"t-job"}"#]);
    assert_eq!(look(&pair, &handle).await["status"], "cancelled");
    assert!(pair.log_of("tasks/result").is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_session_of_a_task_lives_as_long_as_the_task_and_no_longer() {
    for per_request in [false, true] {
        let pair = Pair::new(ToLegacySettings { per_request, ..ToLegacySettings::default() });
        let handle = handle_of(&pair, "job").await;
        tokio::time::sleep(Duration::from_mins(19)).await;
        assert_eq!(look(&pair, &handle).await["status"], "working");
        assert_eq!(pair.counters.sessions.get(), 1);
        pair.logged("closed").await;
        assert_eq!(pair.log_of("tasks/cancel").len(), 1);
        let looked = about_task("tasks/get", &handle).answer(&pair).await;
        assert_eq!(looked["error"]["code"], -32602);
        assert_eq!(pair.counters.sessions.get(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_its_server_has_forgotten_is_unknown() {
    let pair = pair();
    let handle = handle_of(&pair, "job").await;
    pair.script.job.send_replace("unknown");
    for _ in 0..2 {
        let looked = about_task("tasks/get", &handle).answer(&pair).await;
        assert_eq!(looked["error"]["code"], -32602);
    }
    assert_eq!(pair.log_of("tasks/get").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn calls_side_by_side_with_a_task_share_its_session() {
    let pair = pair();
    handle_of(&pair, "job").await;
    call("count", &taking()).answer(&pair).await;
    assert_eq!(pair.counters.sessions.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_has_so_many_tasks_and_those_that_have_ended_make_room() {
    let pair = pair();
    let job = call("job", &taking()).by("ann");
    let first = job.answer(&pair).await["result"]["taskId"].clone();
    for _ in 1..64 {
        assert_eq!(job.answer(&pair).await["result"]["resultType"], "task");
    }
    let mut refused = job.send(&pair).await.unwrap();
    let Err(refusal) = refused.next().await.unwrap() else { panic!("there was room") };
    assert!(matches!(refusal.kind, RefusalKind::Overloaded { .. }));
    pair.logged("tasks/cancel").await;
    pair.script.job.send_replace("completed");
    let look = about_task("tasks/get", &first).by("ann");
    assert_eq!(look.answer(&pair).await["result"]["status"], "completed");
    job.answer(&pair).await;
    assert_eq!(look.answer(&pair).await["error"]["code"], -32602);
    call("job", &taking()).by("bob").answer(&pair).await;
}

#[tokio::test(start_paused = true)]
async fn clients_that_nobody_knows_by_a_name_share_no_bound_for_one_of_them() {
    let pair = pair();
    pair.script.distinct.store(true, Ordering::Relaxed);
    let first = handle_of(&pair, "job").await;
    pair.script.jobs.lock().unwrap()["t-job-0"].send_replace("completed");
    look(&pair, &first).await;
    for _ in 0..64 {
        handle_of(&pair, "job").await;
    }
    assert_eq!(look(&pair, &first).await["status"], "completed", "nobody took its outcome for their room");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_tasks_waits_for_the_result() {
    let pair = pair();
    let mut replies = call("job", &json!({})).send(&pair).await.unwrap();
    let waiting = async {
        pair.logged("tasks/get").await;
        pair.script.job.send_replace("completed");
    };
    let (reply, ()) = tokio::join!(replies.next(), waiting);
    let answer = value(&reply.unwrap().unwrap());
    assert_eq!(answer["id"], "a");
    assert_eq!(answer["result"]["resultType"], "complete");
    assert_eq!(answer["result"]["content"], json!([]));
    drop(replies);
    tokio::time::sleep(LIFE).await;
    assert!(pair.log_of("tasks/cancel").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_cannot_be_looked_at_for_a_while_goes_on() {
    for method in ["tasks/get", "tasks/result"] {
        let pair = pair();
        pair.script.faults.lock().unwrap().insert(method, 2);
        let mut replies = call("job", &json!({})).send(&pair).await.unwrap();
        let waiting = async {
            pair.logged("tasks/get").await;
            pair.script.job.send_replace("completed");
        };
        let (reply, ()) = tokio::join!(replies.next(), waiting);
        assert_eq!(value(&reply.unwrap().unwrap())["result"]["content"], json!([]));
        assert_eq!(pair.log_of(method).len(), 3);
        assert!(pair.log_of("tasks/cancel").is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_its_server_has_forgotten_ends_its_call() {
    let pair = pair();
    pair.script.job.send_replace("unknown");
    let answer = call("job", &json!({})).answer(&pair).await;
    assert_eq!(answer["error"]["code"], -32602);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_tasks_and_goes_cancels_its_task() {
    let pair = pair();
    let mut replies = call("job", &json!({})).send(&pair).await.unwrap();
    let seen = async { pair.logged("tasks/get").await };
    tokio::select! {
        reply = replies.next() => panic!("answered: {reply:?}"),
        () = seen => {}
    }
    drop(replies);
    pair.logged("tasks/cancel").await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_tasks_is_asked_like_in_any_call() {
    for relates in [false, true] {
        let pair = pair();
        pair.script.relates.store(relates, Ordering::Relaxed);
        pair.script.job.send_replace("input_required");
        let first = call("ask_job", &forms());
        let state = state_of(&first.answer(&pair).await);
        let done = first.retry(&state, &json!({"q1": {"action": "accept"}})).answer(&pair).await;
        assert_eq!(done["result"]["content"], json!([{"action": "accept"}]));
        assert_eq!(pair.log_of("tools/call").len(), 1);

        pair.script.job.send_replace("input_required");
        state_of(&first.answer(&pair).await);
        pair.logged("tasks/cancel").await;
        assert_eq!(pair.counters.parked.get(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_can_run_as_a_task_is_called_like_any_other() {
    let pair = pair();
    let answer = call("count", &taking()).answer(&pair).await;
    assert_eq!(answer["result"]["count"], 1);
    assert!(!pair.log_of("tools/call")[0].contains("ttl"));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_has_changed_is_asked_for_until_it_has_come() {
    let pair = pair();
    call("count", &taking()).answer(&pair).await;
    assert_eq!(pair.log_of("tools/list").len(), 2, "two pages");
    let changed = shadowcat_protocol::Notification::new("notifications/tools/list_changed", None);
    let back = pair.script.backs.lock().unwrap()[0].clone();
    back.deliver(Message::Notification(changed), None, &side()).await.unwrap();
    pair.script.hangs.lock().unwrap().insert("tools/list", 1);
    let leaving = call("count", &taking());
    let mut leaving = Box::pin(leaving.answer(&pair));
    while pair.log_of("tools/list").len() < 3 {
        assert!(futures_util::poll!(&mut leaving).is_pending());
        tokio::task::yield_now().await;
    }
    drop(leaving);
    call("count", &taking()).answer(&pair).await;
    assert_eq!(pair.log_of("tools/list").len(), 5, "asked for again");
    call("count", &taking()).answer(&pair).await;
    assert_eq!(pair.log_of("tools/list").len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_is_not_listed_and_refuses_to_run_is_a_task_the_next_time() {
    let pair = pair();
    let answer = call("task_only", &forms()).answer(&pair).await;
    assert_eq!(answer["error"]["code"], -32021);
    let required = json!({"extensions": {format!("{META}tasks"): {}}});
    assert_eq!(answer["error"]["data"]["requiredCapabilities"], required);
    handle_of(&pair, "task_only").await;
}

#[tokio::test(start_paused = true)]
async fn what_a_client_says_of_tasks_of_the_other_era_does_not_reach_the_server() {
    let pair = pair();
    let mut call = call("count", &taking());
    call.params["task"] = json!({"ttl": 7});
    assert_eq!(call.answer(&pair).await["result"]["count"], 1);
}

/// A subscription to word of these tasks, behind its acknowledgement; what that names.
async fn listen_to(pair: &Pair, handles: &[&Value]) -> (Replies, Value) {
    let wanted = json!({"notifications": {"taskIds": handles, "toolsListChanged": true}});
    let mut replies = ask("subscriptions/listen", &wanted, &taking()).send(pair).await.unwrap();
    let ack = value(&replies.next().await.unwrap().unwrap());
    (replies, ack["params"]["notifications"].clone())
}

/// The next word of a task.
async fn told(replies: &mut Replies) -> Value {
    let told = value(&replies.next().await.unwrap().unwrap());
    assert_eq!(told["method"], "notifications/tasks", "{told}");
    assert_eq!(told["params"]["_meta"][format!("{META}subscriptionId")], "a");
    told["params"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_listener_is_promised_word_of_the_tasks_that_are_its_own() {
    let pair = pair();
    let wanted = json!({"notifications": {"taskIds": ["t"]}});
    let undeclared = ask("subscriptions/listen", &wanted, &json!({})).answer(&pair).await;
    assert_eq!(undeclared["error"]["code"], -32021);
    let foreign = call("job", &taking()).by("bob").answer(&pair).await["result"]["taskId"].clone();
    let own = handle_of(&pair, "job").await;
    let (_, granted) = listen_to(&pair, &[&foreign, &own, &json!("t-job"), &json!(7)]).await;
    assert_eq!(granted, json!({"toolsListChanged": true, "taskIds": [own]}));
    let (_, granted) = listen_to(&pair, &[&foreign]).await;
    assert_eq!(granted, json!({"toolsListChanged": true}));
}

#[tokio::test(start_paused = true)]
async fn a_listener_is_told_how_each_task_is_and_what_becomes_of_it() {
    for says_so in [false, true] {
        let pair = pair();
        let handle = handle_of(&pair, "ask_job").await;
        let (mut replies, _) = listen_to(&pair, &[&handle]).await;
        assert_eq!(told(&mut replies).await["status"], "working");
        let begun = tokio::time::Instant::now();
        pair.script.job.send_replace("input_required");
        if says_so {
            let note = shadowcat_protocol::Notification::new(
                "notifications/tasks/status",
                Some(r#"{"taskId":"t-ask_job","status":"input_required"}"#),
            );
            let back = pair.script.backs.lock().unwrap()[0].clone();
            back.deliver(Message::Notification(note), None, &side()).await.unwrap();
        }
        let asking = told(&mut replies).await;
        let form = json!({"method": "elicitation/create", "params": {"message": "?"}});
        assert_eq!(asking["inputRequests"], json!({"q1": form}));
        assert_eq!(
            begun.elapsed() < Duration::from_millis(500),
            says_so,
            "it looks at its own pace, or at once"
        );
        let mut update = about_task("tasks/update", &handle);
        update.params["inputResponses"] = json!({"q1": {"action": "accept"}});
        update.answer(&pair).await;
        let done = told(&mut replies).await;
        assert_eq!(done["status"], "completed");
        assert_eq!(done["result"]["content"], json!([{"action": "accept"}]));
        assert_eq!(done["taskId"], handle);
        assert_eq!(done.get("resultType"), None);
        tokio::time::timeout(LIFE, replies.next()).await.expect_err("it stays open, and has no more to tell");
        assert_eq!(pair.counters.not_carried.get(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_nobody_asks_about_is_not_looked_at() {
    let pair = pair();
    let handle = handle_of(&pair, "job").await;
    let (mut replies, _) = listen_to(&pair, &[&handle]).await;
    told(&mut replies).await;
    drop(replies);
    let looks = pair.log_of("tasks/get").len();
    tokio::time::sleep(LIFE / 2).await;
    assert_eq!(pair.log_of("tasks/get").len(), looks);
}

#[tokio::test(start_paused = true)]
async fn a_long_task_shows_that_it_lives_to_whoever_waits_for_its_result() {
    let pair = pair();
    let first = call("job", &forms());
    let origin = Arc::new(first.origin.clone());
    let request = Request::new(&first.id, "tools/call", Some(&first.params.to_string()));
    let envelope = Envelope::to_server(Message::Request(request), Arc::clone(&origin));
    let mut replies = pair.bridge.handle(envelope).await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_mins(5), replies.next());
    waiting.await.expect_err("the task goes on");
    assert!(origin.pulse.count() > 100, "{}", origin.pulse.count());
    assert_eq!(pair.counters.not_carried.get(), 0);
}
