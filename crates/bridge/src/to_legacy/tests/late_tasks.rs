//! Calls that become a task only when their client was asked something already.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use shadowcat_pipeline::{ExchangeId, Replies};
use shadowcat_protocol::{Id, Message, Request};

use super::peer::{META, ScriptSession, call, side};
use super::tasks::{about_task, begin, taking};
use super::{forms, pair, state_of};

/// Begins a task whose job asks before the call is told that it has become one.
pub(super) fn begin_late(session: &ScriptSession, call: &Request, exchange: ExchangeId) -> Replies {
    let related = session.script.relates.load(Ordering::Relaxed).then_some(exchange);
    let of_task = json!({format!("{META}related-task"): {"taskId": "t-late_job"}});
    let params = json!({"message": "?", "_meta": of_task}).to_string();
    let form = Request::new(&Id::from_u64(9), "elicitation/create", Some(&params));
    let (back, script, call) = (Arc::clone(&session.back), Arc::clone(&session.script), call.clone());
    let job = script.job.clone();
    script.tasks.spawn_until_stop(async move {
        let mut replies = back.deliver(Message::Request(form), related, &side()).await.unwrap();
        if replies.next().await.is_some() {
            job.send_replace("completed");
        }
    });
    Replies::stream(futures_util::stream::once(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        script.log.lock().unwrap().push("created".to_owned());
        begin(&script, &call).next().await.unwrap()
    }))
}

#[tokio::test(start_paused = true)]
async fn a_call_that_becomes_a_task_while_its_client_is_asked_goes_on_as_one() {
    for relates in [false, true] {
        let pair = pair();
        pair.script.relates.store(relates, Ordering::Relaxed);
        let first = call("late_job", &forms());
        let state = state_of(&first.answer(&pair).await);
        pair.logged("created").await;
        let done = first.retry(&state, &json!({"q1": {"action": "accept"}})).answer(&pair).await;
        assert_eq!(done["result"]["content"], json!([]), "{done}");
        assert!(pair.log_of("tasks/cancel").is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_becomes_a_task_while_its_client_is_asked_is_handed_out_as_one() {
    let pair = pair();
    let first = call("late_job", &taking());
    let state = state_of(&first.answer(&pair).await);
    pair.logged("created").await;
    let created = first.retry(&state, &json!({"q1": {"action": "accept"}})).answer(&pair).await;
    assert_eq!(created["result"]["resultType"], "task", "{created}");
    pair.script.job.subscribe().wait_for(|status| *status == "completed").await.unwrap();
    let looked = about_task("tasks/get", &created["result"]["taskId"]).answer(&pair).await;
    assert_eq!(looked["result"]["status"], "completed", "{looked}");
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_client_was_asked_and_does_not_come_back_is_cancelled() {
    let pair = pair();
    state_of(&call("late_job", &forms()).answer(&pair).await);
    pair.logged("created").await;
    assert!(pair.log_of("tasks/cancel").is_empty());
    pair.logged("tasks/cancel").await;
}
