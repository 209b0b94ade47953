//! Streams that are lost or refused too late, and servers that say too much at once.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use shadowcat_pipeline::{Refusal, RefusalKind, Replies};
use shadowcat_protocol::{Id, Message, Notification, Request};

use super::peer::{META, Pair, ask, call, side, value};
use super::{forms, pair, state_of};

async fn listen(pair: &Pair) -> (Replies, Value) {
    let wanted = json!({"notifications": {"toolsListChanged": true, "resourceSubscriptions": ["a:b"]}});
    let mut replies = ask("subscriptions/listen", &wanted, &json!({})).send(pair).await.unwrap();
    let ack = value(&replies.next().await.unwrap().unwrap());
    (replies, ack["params"]["notifications"].clone())
}

async fn assert_ends(mut replies: Replies) {
    let end = value(&replies.next().await.unwrap().unwrap());
    assert_eq!(end["result"]["resultType"], "complete", "{end}");
    assert!(replies.next().await.is_none());
}

async fn question(pair: &Pair, id: u64) -> Result<Replies, Refusal> {
    let back = pair.script.backs.lock().unwrap()[0].clone();
    let request = Request::new(&Id::from_u64(id), "elicitation/create", Some(r#"{"message":"?"}"#));
    back.deliver(Message::Request(request), None, &side()).await
}

#[tokio::test(start_paused = true)]
async fn a_lost_stream_ends_the_subscriptions_and_the_next_opens_it_again() {
    let pair = pair();
    let (replies, granted) = listen(&pair).await;
    assert_eq!(granted["toolsListChanged"], true);
    pair.script.backs.lock().unwrap()[0].stream_lost();
    assert_ends(replies).await;
    assert_eq!(pair.script.listens.load(Ordering::Relaxed), 1, "nobody needs it");
    let (_replies, granted) = listen(&pair).await;
    assert_eq!(granted["toolsListChanged"], true);
    assert_eq!(pair.script.listens.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lost_stream_is_opened_again_at_once_for_a_call_under_way() {
    let pair = pair();
    state_of(&call("ask", &forms()).answer(&pair).await);
    pair.script.backs.lock().unwrap()[0].stream_lost();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(pair.script.listens.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_refused_after_it_was_promised_ends_the_subscription() {
    let pair = pair();
    pair.script.has_stream.store(false, Ordering::Relaxed);
    pair.script.slowness.store(2, Ordering::Relaxed);
    let (replies, granted) = listen(&pair).await;
    assert_eq!(granted["toolsListChanged"], true);
    assert_ends(replies).await;
    assert_eq!(listen(&pair).await.1, json!({}));
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_the_server_takes_too_late_is_given_back() {
    let pair = pair();
    pair.script.slowness.store(1, Ordering::Relaxed);
    drop(listen(&pair).await);
    pair.logged("resources/unsubscribe").await;
    pair.script.slowness.store(20, Ordering::Relaxed);
    let (_replies, granted) = listen(&pair).await;
    assert_eq!(granted, json!({"toolsListChanged": true}));
    while pair.log_of("resources/unsubscribe").len() < 2 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_level_the_server_does_not_take_is_told_once() {
    let pair = pair();
    for _ in 0..2 {
        let quiet = call("talk", &json!({})).with_meta(&format!("{META}logLevel"), json!("alert"));
        quiet.answer(&pair).await;
    }
    assert_eq!(pair.log_of("setLevel").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn log_messages_leave_room_for_a_question() {
    let pair = pair();
    let talking = call("hang", &forms()).with_meta(&format!("{META}logLevel"), json!("debug"));
    let mut replies = talking.send(&pair).await.unwrap();
    let back = pair.script.backs.lock().unwrap()[0].clone();
    for _ in 0..200 {
        let note = Notification::new("notifications/message", Some(r#"{"level":"error","data":1}"#));
        back.deliver(Message::Notification(note), None, &side()).await.unwrap();
    }
    let _answer = question(&pair, 3).await.unwrap();
    let mut heard = Vec::new();
    while let Some(reply) = replies.next().await {
        heard.push(value(&reply.unwrap()));
    }
    assert!(heard.len() < 100, "{}", heard.len());
    state_of(heard.last().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_waiting_call_is_asked_so_much_and_no_more() {
    let pair = pair();
    let first = call("ask", &forms());
    let state = state_of(&first.answer(&pair).await);
    let mut open = Vec::new();
    for id in 20..60 {
        // Withdrawn at once, so that it takes no room.
        drop(question(&pair, id + 100).await);
        let Ok(replies) = question(&pair, id).await else { continue };
        open.push(replies);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut refused = 0;
    for replies in &mut open {
        let answer = tokio::time::timeout(Duration::from_millis(1), replies.next()).await;
        if let Ok(Some(Ok(answer))) = answer {
            let limit = Refusal::new(RefusalKind::LimitQueue).response(None);
            assert_eq!(Some(value(&answer)["error"]["code"].as_i64().unwrap()), limit.error_code());
            refused += 1;
        }
    }
    assert_eq!(refused, 9, "one was open before, of 32");
    let again = first.retry(&state, &json!({})).answer(&pair).await;
    assert_eq!(again["result"]["inputRequests"].as_object().unwrap().len(), 32);
}
