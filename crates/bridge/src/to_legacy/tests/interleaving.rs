//! Calls of several clients in any order of questions, retries, cancels and losses.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use shadowcat_pipeline::{Envelope, Replies, Service as _, Transport};
use shadowcat_protocol::{Message, Notification};

use super::peer::{Ask, Pair, call, value};
use crate::to_legacy::ToLegacySettings;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// With whether the client hears at once what comes.
    Start(&'static str, bool),
    Listen,
    Leave,
    Cancel,
    Retry(&'static str, bool),
    Wait(u64),
    Lose,
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let tool = prop::sample::select(vec!["ask", "ask_more", "hang", "count", "visit"]);
    let answers = prop::sample::select(vec!["all", "all", "one", "none", "wrong"]);
    let step = prop_oneof![
        4 => (tool, prop::bool::weighted(0.8)).prop_map(|(tool, hears)| Step::Start(tool, hears)),
        1 => Just(Step::Listen),
        1 => Just(Step::Leave),
        1 => Just(Step::Cancel),
        5 => (answers, prop::bool::weighted(0.8)).prop_map(|(answers, hears)| Step::Retry(answers, hears)),
        1 => (0_u64..40).prop_map(Step::Wait),
        1 => Just(Step::Lose),
    ];
    (0_usize..3, step)
}

/// What one client has open.
#[derive(Default)]
struct Client {
    call: Option<(Ask, Option<Replies>)>,
    state: Option<Value>,
}

async fn take(pair: &Pair, client: &mut Client, number: usize, step: Step) {
    match step {
        Step::Start(tool, hears) => {
            let mut ask = call(tool, &json!({"elicitation": {"form": {}, "url": {}}, "roots": {}}));
            // Two of the three are one principal, and share its sessions.
            ask = ask.by(["ann", "ann", "bob"][number]);
            ask.origin.transport = Transport::Stdio;
            let replies = ask.send(pair).await.ok();
            *client = Client { call: Some((ask, replies)), state: None };
            if hears {
                listen(client).await;
            }
        }
        Step::Listen => listen(client).await,
        Step::Leave => {
            if let Some((_, replies)) = &mut client.call {
                *replies = None;
            }
        }
        Step::Cancel => {
            if let Some((ask, _)) = &client.call {
                let params = format!(r#"{{"requestId":{}}}"#, ask.id.as_json());
                let note = Notification::new("notifications/cancelled", Some(&params));
                let origin = std::sync::Arc::new(ask.origin.clone());
                let cancel = Envelope::to_server(Message::Notification(note), origin);
                pair.bridge.handle(cancel).await.unwrap();
            }
        }
        Step::Retry(how, hears) => {
            let Some((ask, replies)) = &mut client.call else { return };
            let Some(state) = &client.state else { return };
            let form = json!({"action": "accept"});
            let answers = match how {
                "all" => json!({"q1": form, "q2": {"roots": []}}),
                "one" => json!({"q1": form}),
                _ => json!({}),
            };
            let state = if how == "wrong" { json!("AAAA") } else { state.clone() };
            *replies = ask.retry(&state, &answers).send(pair).await.ok();
            if hears {
                listen(client).await;
            }
        }
        Step::Wait(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
        Step::Lose => {
            pair.script.lost.send_modify(|count| *count += 1);
        }
    }
}

/// Hears what there is, for a while.
async fn listen(client: &mut Client) {
    let Some((_, Some(replies))) = &mut client.call else { return };
    let next = tokio::time::timeout(Duration::from_secs(1), replies.next()).await;
    let Ok(Some(Ok(message))) = next else { return };
    let heard = value(&message);
    if heard["result"]["resultType"] == "input_required" {
        client.state = Some(heard["result"]["requestState"].clone());
        assert!(replies.next().await.is_none(), "a round ends with its question");
    }
}

async fn play(steps: Vec<(usize, Step)>) {
    let settings = ToLegacySettings { parked_for: Duration::from_mins(1), ..ToLegacySettings::default() };
    let pair = Pair::new(settings);
    let mut clients: [Client; 3] = Default::default();
    for (number, step) in steps {
        take(&pair, &mut clients[number], number, step).await;
    }
    drop(clients);
    tokio::time::sleep(settings.parked_for + settings.idle * 2).await;
    let waiting = ["\"ask\"", "\"ask_more\"", "\"hang\""];
    let begun: usize = waiting.iter().map(|tool| pair.log_of(tool).len()).sum();
    let ended: usize = [" done", " lost", " cancelled"].iter().map(|word| pair.log_of(word).len()).sum();
    assert_eq!(begun, ended, "{:#?}", pair.log());
    let open = [&pair.counters.parked, &pair.counters.sessions].map(crate::Count::get);
    assert_eq!(open, [0, 0], "{:#?}", pair.log());
    assert!(pair.bridge.running().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_call_ends_once_and_nothing_is_left(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(play(steps));
    }
}
