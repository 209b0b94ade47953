//! Who gets which session, when, and after whom.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::json;
use shadowcat_pipeline::{Envelope, RefusalKind, Service as _, Transport};
use shadowcat_protocol::{Id, Message, Notification, Request};

use super::peer::{Pair, ask, call, side, value};
use super::{forms, pair, state_of};
use crate::to_legacy::ToLegacySettings;

#[tokio::test(start_paused = true)]
async fn a_question_that_comes_before_anything_of_the_answer_is_heard() {
    let pair = pair();
    pair.script.answers_whole.store(true, Ordering::Relaxed);
    let first = call("ask", &forms());
    let state = state_of(&first.answer(&pair).await);
    let done = first.retry(&state, &json!({"q1": {"action": "accept"}})).answer(&pair).await;
    assert_eq!(done["result"]["content"], json!([{"action": "accept"}]));
}

#[tokio::test(start_paused = true)]
async fn what_a_withdrawn_call_still_asks_is_put_to_nobody() {
    for whole in [false, true] {
        let pair = pair();
        pair.script.answers_whole.store(whole, Ordering::Relaxed);
        let mut withdrawn = call("hang", &forms()).send(&pair).await.unwrap();
        tokio::select! {
            _ = withdrawn.next() => unreachable!(),
            () = pair.logged("hang") => {}
        }
        let back = pair.script.backs.lock().unwrap()[0].clone();
        drop(withdrawn);
        pair.script.answers_whole.store(false, Ordering::Relaxed);
        let mut next = call("hang", &forms()).send(&pair).await.unwrap();
        let form = r#"{"message":"really delete what the first one named?"}"#;
        let question = Request::new(&Id::from_u64(3), "elicitation/create", Some(form));
        tokio::select! {
            heard = next.next() => panic!("{heard:?}"),
            () = pair.logged("s2 tools/call") => {}
        }
        if let Ok(mut replies) = back.deliver(Message::Request(question), None, &side()).await {
            let answer = value(&replies.next().await.unwrap().unwrap());
            assert_eq!(answer["result"], json!({"action": "cancel"}));
        }
        pair.logged("s1 closed").await;
        assert_eq!(pair.log_of("ping"), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_handed_on_no_more_ends_behind_its_last_listener() {
    let pair = pair();
    let wanted = json!({"notifications": {"toolsListChanged": true}});
    let mut listening = ask("subscriptions/listen", &wanted, &forms()).send(&pair).await.unwrap();
    assert!(listening.next().await.is_some());
    let mut withdrawn = call("hang", &forms()).send(&pair).await.unwrap();
    tokio::select! {
        _ = withdrawn.next() => unreachable!(),
        () = pair.logged("hang") => {}
    }
    drop(withdrawn);
    let next = call("count", &forms()).answer(&pair).await;
    assert_eq!(next["result"]["session"], 2);
    assert_eq!(pair.log_of("closed"), [""; 0]);
    drop(listening);
    pair.logged("s1 closed").await;
    assert_eq!(pair.counters.sessions.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_call_that_has_ended_lets_its_session_go() {
    let settings = ToLegacySettings { sessions_per_key_max: 1, ..ToLegacySettings::default() };
    let pair = Pair::new(settings);
    let first = call("ask", &forms());
    let state = state_of(&first.answer(&pair).await);
    pair.script.lost.send_modify(|count| *count += 1);
    pair.logged("s1 lost").await;
    assert!(call("count", &forms()).answer(&pair).await.get("result").is_some());
    let mut replies = first.retry(&state, &json!({})).send(&pair).await.unwrap();
    assert_eq!(replies.next().await.unwrap().err().unwrap().kind, RefusalKind::UpstreamExited);
}

#[tokio::test(start_paused = true)]
async fn clients_that_nobody_knows_by_a_name_do_not_shut_each_other_out() {
    let settings =
        ToLegacySettings { parked_per_principal_max: 1, parked_max: 3, ..ToLegacySettings::default() };
    let pair = Pair::new(settings);
    for _ in 0..3 {
        state_of(&call("ask", &forms()).answer(&pair).await);
    }
    let mut replies = call("ask", &forms()).send(&pair).await.unwrap();
    let refusal = replies.next().await.unwrap().err().unwrap();
    assert!(matches!(refusal.kind, RefusalKind::Overloaded { .. }));
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_makes_room_for_another_where_the_server_has_no_more() {
    let pair = pair();
    pair.script.room.store(1, Ordering::Relaxed);
    call("count", &json!({})).answer(&pair).await;
    let other = call("count", &forms()).answer(&pair).await;
    assert_eq!(other["result"]["count"], 1);
    pair.logged("s1 closed").await;
    let _busy = call("hang", &forms()).send(&pair).await.unwrap();
    let refusal = call("count", &json!({})).send(&pair).await.err().unwrap();
    assert!(matches!(refusal.kind, RefusalKind::Overloaded { .. }));
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_used_again_stands_for_the_newer_request() {
    let pair = pair();
    let on_pipe = |tool| {
        let mut call = call(tool, &forms());
        call.origin.transport = Transport::Stdio;
        call
    };
    let (older, mut newer) = (on_pipe("count"), on_pipe("hang"));
    newer.origin.peer = older.origin.peer;
    let mut answered = older.send(&pair).await.unwrap();
    assert!(answered.next().await.is_some());
    let mut replies = newer.send(&pair).await.unwrap();
    drop(answered);
    let note = Notification::new("notifications/cancelled", Some(r#"{"requestId":"a"}"#));
    let cancel = Envelope::to_server(Message::Notification(note), Arc::new(newer.origin.clone()));
    let (ended, ()) = tokio::join!(replies.next(), async {
        pair.logged("hang").await;
        assert!(pair.bridge.owns(&cancel));
        pair.bridge.handle(cancel).await.unwrap();
    });
    assert!(ended.is_none());
    pair.logged("cancelled").await;
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_the_server_refuses_is_promised_to_nobody() {
    let pair = pair();
    pair.script.slowness.store(1, Ordering::Relaxed);
    let wanted = json!({"notifications": {"resourceSubscriptions": ["a:no"]}});
    let listen = || async {
        let mut replies = ask("subscriptions/listen", &wanted, &json!({})).send(&pair).await.unwrap();
        let ack = value(&replies.next().await.unwrap().unwrap());
        ack["params"]["notifications"].clone()
    };
    let granted = tokio::join!(listen(), listen(), listen());
    assert_eq!(granted, (json!({}), json!({}), json!({})));
}
