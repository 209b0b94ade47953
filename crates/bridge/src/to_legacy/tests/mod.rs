//! The wire cases of a modern client before a legacy server.

mod interleaving;
mod late_tasks;
mod loss;
mod peer;
mod sharing;
mod tasks;

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use shadowcat_pipeline::{Envelope, RefusalKind, Service as _, Transport};
use shadowcat_protocol::{Message, Notification};

use super::ToLegacySettings;
use super::session::VERDICT_PATIENCE;
use peer::{META, Pair, ask, call, side, tally, value};

fn pair() -> Pair {
    Pair::new(ToLegacySettings::default())
}

fn forms() -> Value {
    json!({"elicitation": {"form": {}}})
}

fn state_of(answer: &Value) -> Value {
    assert_eq!(answer["result"]["resultType"], "input_required", "{answer}");
    answer["result"]["requestState"].clone()
}

#[tokio::test(start_paused = true)]
async fn t56_discovery_is_answered_from_the_handshake() {
    let pair = pair();
    let answer = ask("server/discover", &json!({}), &json!({})).answer(&pair).await;
    assert_eq!(answer["result"]["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(answer["result"]["capabilities"].get("tasks"), None);
    assert_eq!(answer["result"]["_meta"][format!("{META}serverInfo")]["name"], "old");
    let log = pair.log();
    assert!(log[0].starts_with("s1 initialize") && log[0].contains(r#""capabilities":{}"#), "{log:?}");
    assert_eq!(log[1..], ["s1 notifications/initialized"]);
}

#[tokio::test(start_paused = true)]
async fn t57_a_question_of_the_server_is_answered_by_the_retry() {
    for relates in [false, true] {
        let pair = pair();
        pair.script.relates.store(relates, Ordering::Relaxed);
        let first = call("ask", &forms());
        let asked = first.answer(&pair).await;
        let state = state_of(&asked);
        assert_eq!(
            asked["result"]["inputRequests"],
            json!({"q1": {"method": "elicitation/create", "params": {"message": "?"}}})
        );
        assert!(pair.log_of("cancelled").is_empty());
        assert_eq!(pair.counters.parked.get(), 1);
        let retry = first.retry(&state, &json!({"q1": {"action": "accept"}}));
        let done = retry.answer(&pair).await;
        assert_eq!(done["result"]["resultType"], "complete");
        assert_eq!(done["result"]["content"], json!([{"action": "accept"}]));
        assert_eq!(
            pair.log_of("answer"),
            [r#"s1 answer {"jsonrpc":"2.0","id":9,"result":{"action":"accept"}}"#]
        );
        assert_eq!(pair.log_of("tools/call").len(), 1);
        assert_eq!(pair.counters.parked.get(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn t58_a_state_holds_for_its_call_its_principal_its_time_and_once() {
    let pair = pair();
    let first = call("ask", &forms()).by("ann");
    let state = state_of(&first.answer(&pair).await);
    let accept = json!({"q1": {"action": "accept"}});
    let mut flipped = state.as_str().unwrap().to_owned().into_bytes();
    flipped[20] = if flipped[20] == b'A' { b'B' } else { b'A' };
    let flipped = json!(String::from_utf8(flipped).unwrap());
    let mut other_arguments = first.retry(&state, &accept);
    other_arguments.params["arguments"]["text"] = "!".into();
    let wrong = [
        first.retry(&flipped, &accept),
        first.retry(&json!(7), &accept),
        first.retry(&state, &accept).by("bob"),
        other_arguments,
    ];
    for retry in wrong {
        assert_eq!(retry.answer(&pair).await["error"]["code"], -32602);
    }
    assert!(pair.log_of("answer").is_empty());
    let retry = first.retry(&state, &accept);
    assert_eq!(retry.answer(&pair).await["result"]["resultType"], "complete");
    assert_eq!(retry.answer(&pair).await["error"]["code"], -32602);
    assert_eq!(pair.log_of("answer").len(), 1);

    let state = state_of(&first.answer(&pair).await);
    tokio::time::sleep(ToLegacySettings::default().parked_for + Duration::from_secs(5)).await;
    assert_eq!(first.retry(&state, &accept).answer(&pair).await["error"]["code"], -32602);
    assert!(!pair.log_of("accept").iter().any(|line| line.contains("s2")));
}

#[tokio::test(start_paused = true)]
async fn t58_a_state_outlives_the_key_that_sealed_it_and_not_its_own_time() {
    let parked_for = Duration::from_hours(1);
    let pair = Pair::new(ToLegacySettings { parked_for, ..ToLegacySettings::default() });
    let accept = json!({"q1": {"action": "accept"}});
    let first = call("ask", &forms());
    let of_first_key = state_of(&first.answer(&pair).await);
    tokio::time::sleep(Duration::from_mins(50)).await;
    let still_of_it = state_of(&first.answer(&pair).await);
    // The next seal has another key.
    tokio::time::sleep(Duration::from_mins(11)).await;
    let of_second_key = state_of(&first.answer(&pair).await);
    tokio::time::sleep(Duration::from_mins(45)).await;
    let late = first.retry(&of_first_key, &accept).answer(&pair).await;
    assert_eq!(late["error"]["code"], -32602, "{late}");
    let done = first.retry(&still_of_it, &accept).answer(&pair).await;
    assert_eq!(done["result"]["resultType"], "complete", "{done}");
    tokio::time::sleep(Duration::from_hours(2)).await;
    state_of(&first.answer(&pair).await);
    for state in [still_of_it, of_second_key] {
        let late = first.retry(&state, &accept).answer(&pair).await;
        assert_eq!(late["error"]["code"], -32602, "{late}");
    }
    assert_eq!(pair.log_of("tools/call").len(), 4, "no tool ran for a state that was too old");
}

#[tokio::test(start_paused = true)]
async fn t59_a_call_whose_client_does_not_come_back_is_cancelled_with_its_questions() {
    let pair = pair();
    state_of(&call("ask", &forms()).answer(&pair).await);
    pair.logged("answer").await;
    pair.logged("cancelled").await;
    assert_eq!(pair.log_of("answer"), [r#"s1 answer {"jsonrpc":"2.0","id":9,"result":{"action":"cancel"}}"#]);
    assert_eq!(pair.counters.parked.get(), 0);
    assert_eq!(pair.counters.expired.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn t60_a_client_that_cannot_be_asked_is_not_and_the_server_knows_from_the_start() {
    let pair = pair();
    let answer = call("ask", &json!({})).answer(&pair).await;
    assert_eq!(answer["result"]["content"][0]["code"], -32601);
    assert!(pair.log()[0].contains(r#""capabilities":{}"#));
}

#[tokio::test(start_paused = true)]
async fn t60_a_call_that_fails_for_want_of_a_capability_says_which() {
    let pair = pair();
    for declared in [json!({}), json!({"sampling": {}})] {
        let answer = call("need", &declared).answer(&pair).await;
        assert_eq!(answer["error"]["code"], -32021, "{answer}");
        assert_eq!(answer["error"]["data"]["requiredCapabilities"], json!({"elicitation": {"form": {}}}));
    }
}

#[tokio::test(start_paused = true)]
async fn t61_a_url_to_visit_is_a_question_whose_retry_calls_again() {
    let pair = pair();
    let first = call("visit", &json!({"elicitation": {"url": {}}}));
    let asked = first.answer(&pair).await;
    assert_eq!(
        asked["result"]["inputRequests"],
        json!({"q1": {"method": "elicitation/create",
            "params": {"mode": "url", "url": "https://a.test", "message": "go"}}})
    );
    let retry = first.retry(&state_of(&asked), &json!({"q1": {"action": "accept"}}));
    retry.answer(&pair).await;
    let calls = pair.log_of("tools/call");
    assert_eq!(calls.len(), 2);
    assert!(!calls[1].contains("requestState") && !calls[1].contains("inputResponses"), "{calls:?}");
    let again = retry.answer(&pair).await;
    assert_eq!(again["error"]["code"], -32602, "a state is for one call: {again}");
    let late = first.retry(&state_of(&first.answer(&pair).await), &json!({"q1": {"action": "accept"}}));
    tokio::time::sleep(ToLegacySettings::default().parked_for + Duration::from_secs(5)).await;
    assert_eq!(late.answer(&pair).await["error"]["code"], -32602);
    assert_eq!(pair.log_of("tools/call").len(), 3, "{:?}", pair.log());
    let without = call("visit", &forms()).answer(&pair).await;
    assert_eq!(without["error"]["code"], -32021);
    assert_eq!(without["error"]["data"]["requiredCapabilities"], json!({"elicitation": {"url": {}}}));
}

#[tokio::test(start_paused = true)]
async fn t61_a_call_for_which_there_was_no_session_can_be_made_again_after_the_same_visit() {
    let pair = Pair::new(ToLegacySettings { sessions_max: 1, ..ToLegacySettings::default() });
    let first = call("visit", &json!({"elicitation": {"url": {}}}));
    let retry = first.retry(&state_of(&first.answer(&pair).await), &json!({"q1": {"action": "accept"}}));
    let busy = call("hang", &json!({})).by("bob").send(&pair).await.unwrap();
    let refusal = retry.send(&pair).await.err().unwrap();
    assert!(matches!(refusal.kind, RefusalKind::Overloaded { .. }));
    drop(busy);
    state_of(&retry.answer(&pair).await);
    assert_eq!(retry.answer(&pair).await["error"]["code"], -32602);
}

#[tokio::test(start_paused = true)]
async fn t61_an_error_that_names_no_url_is_no_question() {
    let answer = call("visit_nothing", &json!({"elicitation": {"url": {}}})).answer(&pair()).await;
    assert_eq!(answer["error"]["code"], -32603, "{answer}");
}

#[tokio::test(start_paused = true)]
async fn t62_a_missing_resource_is_a_wrong_parameter_and_keeps_its_data() {
    let pair = pair();
    let read = ask("resources/read", &json!({"uri": "a:b"}), &json!({}));
    assert_eq!(read.send(&pair).await.unwrap().head().status, None);
    let answer = read.answer(&pair).await;
    assert_eq!(answer["error"]["code"], -32602);
    assert_eq!(answer["error"]["data"], json!({"uri": "a:b"}));
}

#[tokio::test(start_paused = true)]
async fn t63_two_listeners_share_one_subscription_at_the_server() {
    let pair = pair();
    let wanted = json!({"notifications": {"toolsListChanged": true, "promptsListChanged": true,
        "resourceSubscriptions": ["a:b"]}});
    let listen = ask("subscriptions/listen", &wanted, &json!({}));
    let mut one = listen.clone().with_id("1").send(&pair).await.unwrap();
    let mut other = listen.with_id("\"1\"").send(&pair).await.unwrap();
    for (replies, id) in [(&mut one, json!(1)), (&mut other, json!("1"))] {
        let ack = value(&replies.next().await.unwrap().unwrap());
        assert_eq!(ack["method"], "notifications/subscriptions/acknowledged");
        let granted = json!({"toolsListChanged": true, "resourceSubscriptions": ["a:b"]});
        assert_eq!(ack["params"]["notifications"], granted);
        assert_eq!(ack["params"]["_meta"][format!("{META}subscriptionId")], id);
    }
    let back = pair.script.backs.lock().unwrap()[0].clone();
    let note = Notification::new("notifications/resources/updated", Some(r#"{"uri":"a:b"}"#));
    back.deliver(Message::Notification(note), None, &side()).await.unwrap();
    for (replies, id) in [(&mut one, json!(1)), (&mut other, json!("1"))] {
        let note = value(&replies.next().await.unwrap().unwrap());
        assert_eq!(note["params"]["uri"], "a:b");
        assert_eq!(note["params"]["_meta"][format!("{META}subscriptionId")], id);
    }
    assert_eq!(pair.log_of("resources/subscribe").len(), 1);
    drop(one);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(pair.log_of("resources/unsubscribe").is_empty());
    drop(other);
    pair.logged("resources/unsubscribe").await;
}

#[tokio::test(start_paused = true)]
async fn a_listener_on_a_server_without_a_stream_is_promised_nothing() {
    let pair = pair();
    pair.script.has_stream.store(false, Ordering::Relaxed);
    let wanted = json!({"notifications": {"toolsListChanged": true}});
    let mut replies = ask("subscriptions/listen", &wanted, &json!({})).send(&pair).await.unwrap();
    let ack = value(&replies.next().await.unwrap().unwrap());
    assert_eq!(ack["params"]["notifications"], json!({}));
    pair.bridge.close().await;
    let end = value(&replies.next().await.unwrap().unwrap());
    assert_eq!(end["result"]["resultType"], "complete");
    assert_eq!(end["result"]["_meta"][format!("{META}subscriptionId")], "a");
    assert!(replies.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_about_its_stream_is_not_waited_for_and_has_not_refused_it() {
    let pair = pair();
    pair.script.is_silent.store(true, Ordering::Relaxed);
    let begun = tokio::time::Instant::now();
    let asked = call("ask", &forms()).answer(&pair).await;
    assert_eq!(asked["result"]["resultType"], "input_required");
    assert!(begun.elapsed() < VERDICT_PATIENCE, "{:?}", begun.elapsed());
    let wanted = json!({"notifications": {"toolsListChanged": true}});
    let mut replies = ask("subscriptions/listen", &wanted, &json!({})).send(&pair).await.unwrap();
    let ack = value(&replies.next().await.unwrap().unwrap());
    assert_eq!(ack["params"]["notifications"], wanted["notifications"]);
}

#[tokio::test(start_paused = true)]
async fn t64_a_client_that_goes_away_cancels_its_call() {
    let pair = pair();
    let replies = call("hang", &json!({})).send(&pair).await.unwrap();
    drop(replies);
    pair.logged("cancelled").await;

    let mut hang = call("hang", &forms());
    hang.origin.transport = Transport::Stdio;
    let mut replies = hang.send(&pair).await.unwrap();
    let note = Notification::new("notifications/cancelled", Some(r#"{"requestId":"a"}"#));
    let origin = std::sync::Arc::new(hang.origin.clone());
    let cancel = Envelope::to_server(Message::Notification(note), origin);
    let (ended, ()) = tokio::join!(replies.next(), async {
        pair.logged("s2 tools/call").await;
        pair.bridge.handle(cancel).await.unwrap();
    });
    assert!(ended.is_none());
    pair.logged("s2 cancelled").await;
}

#[tokio::test(start_paused = true)]
async fn b6_what_a_server_keeps_is_there_on_the_next_call() {
    let pair = pair();
    for count in 1..=3 {
        let answer = call("count", &forms()).by("ann").answer(&pair).await;
        assert_eq!((&answer["result"]["session"], &answer["result"]["count"]), (&json!(1), &json!(count)));
    }
    let other = call("count", &forms()).by("bob").answer(&pair).await;
    assert_eq!(other["result"]["session"], 2);
    let state = state_of(&call("ask", &forms()).by("ann").answer(&pair).await);
    let beside = call("count", &forms()).by("ann").answer(&pair).await;
    assert_eq!(beside["result"]["session"], 3, "a parked call keeps its session for itself");
    let accept = json!({"q1": {"action": "accept"}});
    call("ask", &forms()).by("ann").retry(&state, &accept).answer(&pair).await;
    let after = call("count", &forms()).by("ann").answer(&pair).await;
    assert_eq!((&after["result"]["session"], &after["result"]["count"]), (&json!(1), &json!(4)));
}

#[tokio::test(start_paused = true)]
async fn questions_that_come_together_go_together_and_what_is_left_out_is_asked_again() {
    let pair = pair();
    let capabilities = json!({"elicitation": {}, "roots": {}});
    let first = call("ask_more", &capabilities);
    let asked = first.answer(&pair).await;
    assert_eq!(asked["result"]["inputRequests"].as_object().unwrap().len(), 2);
    let roots = json!({"roots": []});
    let again = first.retry(&state_of(&asked), &json!({"q2": roots, "q7": {}})).answer(&pair).await;
    assert_eq!(again["result"]["inputRequests"]["q1"], asked["result"]["inputRequests"]["q1"]);
    assert_eq!(again["result"]["inputRequests"].as_object().unwrap().len(), 1);
    let done = first.retry(&state_of(&again), &json!({"q1": {"action": "decline"}})).answer(&pair).await;
    assert_eq!(done["result"]["content"].as_array().unwrap().len(), 2);
    assert_eq!(pair.log_of("answer").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_hears_the_log_messages_and_the_progress_it_asked_for() {
    let pair = pair();
    let methods = |all: Vec<Value>| -> Vec<String> {
        all.iter().filter_map(|message| Some(message["method"].as_str()?.to_owned())).collect()
    };
    assert!(methods(call("talk", &json!({})).all(&pair).await).is_empty());
    let talk = call("talk", &json!({}))
        .with_meta(&format!("{META}logLevel"), json!("warning"))
        .with_meta("progressToken", json!("t"));
    let heard = talk.all(&pair).await;
    assert_eq!(heard[0]["params"]["data"], 2);
    assert_eq!(heard[1]["params"]["progressToken"], "t");
    assert_eq!(methods(heard), ["notifications/message", "notifications/progress"]);
    assert_eq!(pair.log_of("logging/setLevel"), [r#"s1 logging/setLevel {"level":"warning"}"#]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_elsewhere_just_before_the_answer_is_heard_before_it() {
    let pair = pair();
    for declared in [json!({}), forms()] {
        let talk = call("talk_last", &declared).with_meta(&format!("{META}logLevel"), json!("warning"));
        let heard = talk.all(&pair).await;
        assert_eq!(heard.len(), 2, "{heard:?}");
        assert_eq!(heard[0]["params"]["data"], 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cursor_leads_back_to_its_session_and_to_no_other() {
    let pair = pair();
    let list = |cursor: Option<&Value>| {
        let params = cursor.map_or_else(|| json!({}), |cursor| json!({"cursor": cursor}));
        ask("tools/list", &params, &json!({}))
    };
    let first = list(None).answer(&pair).await;
    assert_eq!((&first["result"]["ttlMs"], &first["result"]["cacheScope"]), (&json!(0), &json!("private")));
    let cursor = first["result"]["nextCursor"].clone();
    list(Some(&cursor)).answer(&pair).await;
    assert!(pair.log().last().unwrap().contains(r#"{"cursor":"page two"}"#), "{:?}", pair.log());
    for wrong in [list(Some(&cursor)).by("bob"), list(Some(&json!("page two")))] {
        assert_eq!(wrong.answer(&pair).await["error"]["code"], -32602);
    }
    pair.script.turn.fetch_add(1, Ordering::Relaxed);
    assert_eq!(
        list(Some(&cursor)).answer(&pair).await["error"]["code"],
        -32602,
        "of a session that was lost"
    );
    let cursor = list(None).answer(&pair).await["result"]["nextCursor"].clone();
    assert!(list(Some(&cursor)).answer(&pair).await.get("result").is_some());
    tokio::time::sleep(ToLegacySettings::default().idle * 2).await;
    assert_eq!(list(Some(&cursor)).answer(&pair).await["error"]["code"], -32602);
}

#[tokio::test(start_paused = true)]
async fn a_cursor_is_of_no_use_in_a_session_that_was_set_up_again_under_the_request_with_it() {
    let pair = pair();
    let list = |params: &Value| ask("prompts/list", params, &json!({}));
    let loses = || pair.script.losses.lock().unwrap().insert("prompts/list", 1);
    let first = async || list(&json!({})).answer(&pair).await["result"]["nextCursor"].clone();
    let cursor = first().await;
    loses();
    let answer = list(&json!({"cursor": cursor})).answer(&pair).await;
    assert_eq!(answer["error"]["code"], -32602, "sent with the cursor to another session: {answer}");
    loses();
    let cursor = first().await;
    let answer = list(&json!({"cursor": cursor})).answer(&pair).await;
    assert_eq!(answer["error"]["code"], -32602, "nobody knows which session it is of: {answer}");
    let cursor = first().await;
    assert!(list(&json!({"cursor": cursor})).answer(&pair).await.get("result").is_some());
}

#[tokio::test(start_paused = true)]
async fn idle_sessions_end_and_at_the_cap_the_oldest_goes_first() {
    let settings = ToLegacySettings { sessions_max: 2, ..ToLegacySettings::default() };
    let pair = Pair::new(settings);
    let _busy = call("hang", &json!({})).by("ann").send(&pair).await.unwrap();
    call("count", &json!({})).by("bob").answer(&pair).await;
    call("count", &json!({})).by("cid").answer(&pair).await;
    pair.logged("s2 closed").await;
    let busy_too = call("hang", &json!({})).by("cid").send(&pair).await.unwrap();
    let refusal = call("count", &json!({})).by("dan").send(&pair).await.err().unwrap();
    assert!(matches!(refusal.kind, RefusalKind::Overloaded { .. }));
    assert_eq!(pair.counters.sessions.get(), 2);
    drop(busy_too);
    pair.logged("s3 closed").await;
    assert!(pair.log_of("s1 closed").is_empty());
    assert_eq!(pair.counters.sessions.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_over_the_cap_of_its_key_waits_and_is_refused_at_last() {
    let settings = ToLegacySettings { sessions_per_key_max: 1, ..ToLegacySettings::default() };
    let pair = Pair::new(settings);
    let first = call("ask", &forms());
    let state = state_of(&first.answer(&pair).await);
    let refusal = call("count", &forms()).send(&pair).await.err().unwrap();
    assert!(matches!(refusal.kind, RefusalKind::Overloaded { .. }));
    let next = call("count", &forms());
    let retry = first.retry(&state, &json!({"q1": {"action": "accept"}}));
    let (next, done) = tokio::join!(next.answer(&pair), retry.answer(&pair));
    assert_eq!(done["result"]["resultType"], "complete");
    assert_eq!(next["result"]["session"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_session_for_each_request_ends_with_it() {
    let settings = ToLegacySettings { per_request: true, ..ToLegacySettings::default() };
    let pair = Pair::new(settings);
    for session in 1..=2 {
        let answer = call("count", &forms()).answer(&pair).await;
        assert_eq!((&answer["result"]["session"], &answer["result"]["count"]), (&json!(session), &json!(1)));
        pair.logged(&format!("s{session} closed")).await;
    }
    assert_eq!(pair.counters.sessions.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_modern_revision_took_away_is_unknown() {
    let pair = pair();
    for method in ["ping", "logging/setLevel", "initialize", "tasks/list"] {
        assert_eq!(ask(method, &json!({}), &json!({})).answer(&pair).await["error"]["code"], -32601);
    }
    assert!(pair.log().is_empty());
    ask("vendor/thing", &json!({"a": 1}), &json!({})).answer(&pair).await;
    assert_eq!(pair.log_of("vendor/thing"), [r#"s1 vendor/thing {"a":1}"#]);
}

#[tokio::test(start_paused = true)]
async fn a_question_for_no_call_is_answered_as_if_nobody_were_there() {
    let pair = pair();
    call("count", &json!({"elicitation": {}, "sampling": {}})).answer(&pair).await;
    let back = pair.script.backs.lock().unwrap()[0].clone();
    for (method, told) in [
        ("ping", json!({"result": {}})),
        ("elicitation/create", json!({"result": {"action": "cancel"}})),
        ("sampling/createMessage", json!({"error": {"code": -1}})),
        ("roots/list", json!({"error": {"code": -32601}})),
    ] {
        let request =
            shadowcat_protocol::Request::new(&shadowcat_protocol::Id::from_u64(3), method, Some("{}"));
        let mut replies = back.deliver(Message::Request(request), None, &side()).await.unwrap();
        let answer = value(&replies.next().await.unwrap().unwrap());
        assert_eq!(answer["id"], 3);
        assert_eq!(answer.get("result"), told.get("result"), "{method}");
        assert_eq!(answer["error"]["code"], told["error"]["code"], "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_gives_up_what_is_parked_and_ends_every_session() {
    let pair = pair();
    state_of(&call("ask", &forms()).answer(&pair).await);
    pair.bridge.close().await;
    assert_eq!(pair.log_of("answer").len(), 1);
    assert_eq!(pair.log_of("cancelled"), ["s1 cancelled"]);
    assert_eq!(pair.log_of("closed"), ["s1 closed"]);
    assert_eq!((pair.counters.parked.get(), pair.counters.sessions.get()), (0, 0));
    assert_eq!(pair.counters.expired.get(), 0, "its client might have come back");
    assert!(call("count", &forms()).send(&pair).await.is_err());
    pair.tasks.stop();
}

#[tokio::test(start_paused = true)]
async fn a_question_its_server_withdraws_is_not_asked_again() {
    let pair = pair();
    let first = call("ask_briefly", &forms());
    let state = state_of(&first.answer(&pair).await);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let done = first.retry(&state, &json!({})).answer(&pair).await;
    assert_eq!(done["result"]["content"], json!(["without"]));
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_asked_only_what_it_declares_itself() {
    let pair = pair();
    let first = call("ask_more", &json!({"elicitation": {}, "roots": {}}));
    let state = state_of(&first.answer(&pair).await);
    let mut retry = first.retry(&state, &json!({"q1": {"action": "accept"}}));
    retry.params["_meta"][format!("{META}clientCapabilities")] = forms();
    let done = retry.answer(&pair).await;
    assert_eq!(done["result"]["content"][1]["code"], -32601, "{done}");
}

#[tokio::test(start_paused = true)]
async fn a_call_for_which_there_is_no_room_to_wait_is_given_up() {
    let settings = ToLegacySettings { parked_per_principal_max: 1, ..ToLegacySettings::default() };
    let pair = Pair::new(settings);
    state_of(&call("ask", &forms()).by("ann").answer(&pair).await);
    let mut replies = call("ask", &forms()).by("ann").send(&pair).await.unwrap();
    let refusal = replies.next().await.unwrap().err().unwrap();
    assert!(matches!(refusal.kind, RefusalKind::Overloaded { .. }));
    pair.logged("s2 answer").await;
    pair.logged("s2 cancelled").await;
    state_of(&call("ask", &forms()).by("bob").answer(&pair).await);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_could_not_be_reached_is_tried_again() {
    let pair = pair();
    pair.script.refuses.store(true, Ordering::Relaxed);
    let refusal = call("count", &forms()).send(&pair).await.err().unwrap();
    assert_eq!(refusal.kind, RefusalKind::UpstreamUnreachable);
    pair.script.refuses.store(false, Ordering::Relaxed);
    let answer = call("count", &forms()).answer(&pair).await;
    assert_eq!(answer["result"]["session"], 2);
    assert_eq!(pair.counters.sessions.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_parked_calls_of_ten_principals_never_cross() {
    let settings = ToLegacySettings { gather: Duration::from_millis(1), ..ToLegacySettings::default() };
    let pair = Pair::new(settings);
    let one = |number: usize| {
        let pair = &pair;
        async move {
            let who = format!("p{}", number % 10);
            let mine = format!("call {number}");
            let arguments = json!({"name": "ask", "arguments": {"text": mine}});
            let first = ask("tools/call", &arguments, &forms()).by(&who);
            let asked = first.answer(pair).await;
            assert_eq!(asked["result"]["inputRequests"]["q1"]["params"]["message"], mine);
            let answer = json!({"q1": {"action": "accept", "content": {"was": mine}}});
            let done = first.retry(&state_of(&asked), &answer).answer(pair).await;
            assert_eq!(done["result"]["content"][0]["content"]["was"], mine);
            who
        }
    };
    let done = futures_util::future::join_all((0..50).map(one)).await;
    assert!(tally(done.into_iter()).values().all(|count| *count == 5));
    assert_eq!(pair.counters.parked.get(), 0);
    let opened = u64::try_from(pair.script.backs.lock().unwrap().len()).unwrap();
    assert_eq!(pair.counters.sessions.get(), opened);
}
