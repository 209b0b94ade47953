//! Calls and tasks of several clients in any order of questions, retries, cancels and losses.

use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use shadowcat_pipeline::{Envelope, Replies, Service as _, Transport};
use shadowcat_protocol::{Id, Message, Notification};
use tokio::time::Instant;

use super::peer::{Ask, Pair, ask, call, value};
use super::tasks::{LIFE, OVER, about_task, taking};
use crate::to_legacy::ToLegacySettings;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// With whether the client takes tasks, and hears at once what comes.
    Start(&'static str, bool, bool),
    Listen,
    Leave,
    Cancel,
    Retry(&'static str, bool),
    /// A request about the task that the last call has become.
    About(&'static str),
    Subscribe,
    /// How far the tasks are that have not ended.
    Jobs(&'static str),
    Wait(u64),
    Lose,
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let tool = prop::sample::select(vec!["ask", "ask_more", "hang", "count", "visit", "job", "ask_job"]);
    let answers = prop::sample::select(vec!["all", "all", "one", "none", "wrong"]);
    let step = prop_oneof![
        4 => (tool, any::<bool>(), prop::bool::weighted(0.8))
            .prop_map(|(tool, takes, hears)| Step::Start(tool, takes, hears)),
        1 => Just(Step::Listen),
        1 => Just(Step::Leave),
        1 => Just(Step::Cancel),
        5 => (answers, prop::bool::weighted(0.8)).prop_map(|(answers, hears)| Step::Retry(answers, hears)),
        2 => prop::sample::select(vec!["tasks/get", "tasks/get", "tasks/update", "tasks/cancel"])
            .prop_map(Step::About),
        1 => Just(Step::Subscribe),
        1 => prop::sample::select(vec!["working", "input_required", "completed"]).prop_map(Step::Jobs),
        1 => (0_u64..40).prop_map(Step::Wait),
        1 => Just(Step::Lose),
    ];
    (0_usize..3, step)
}

/// One round of a call, as its client hears it.
struct Hearing {
    id: Id,
    replies: Replies,
    /// Responses and refusals.
    ends: usize,
    is_over: bool,
    is_withdrawn: bool,
}

impl Hearing {
    /// Sends a request; none if it was refused at once, which is its end.
    async fn begin(ask: &Ask, pair: &Pair) -> Option<Self> {
        let replies = ask.send(pair).await.ok()?;
        Some(Self { id: ask.id.clone(), replies, ends: 0, is_over: false, is_withdrawn: false })
    }

    /// What comes next, if it comes soon.
    async fn next(&mut self) -> Option<Value> {
        let next = tokio::time::timeout(Duration::from_secs(1), self.replies.next()).await.ok()?;
        self.is_over = next.is_none();
        let told = match next? {
            Ok(Message::Notification(note)) => return Some(value(&Message::Notification(note))),
            Ok(message) => Some(value(&message)),
            Err(_) => None,
        };
        self.ends += 1;
        assert_eq!(self.ends, 1, "a second end: {told:?}");
        if let Some(told) = &told {
            assert_eq!(told["id"].to_string(), self.id.as_json(), "{told}");
        }
        told
    }

    /// Hears the rest. What only the server could end ends with it, or with the life of its task.
    async fn finish(mut self, pair: &Pair) {
        for _ in 0..5 {
            self.next().await;
        }
        if !self.is_over {
            pair.script.lost.send_modify(|count| *count += 1);
        }
        let late = Instant::now() + LIFE + Duration::from_mins(1);
        while !self.is_over && Instant::now() < late {
            self.next().await;
        }
        assert!(self.is_over, "a call never ends: {:#?}", pair.log());
        assert!(self.ends == 1 || self.is_withdrawn, "a call ended without a word: {:#?}", pair.log());
    }
}

/// What one client has open.
#[derive(Default)]
struct Client {
    call: Option<(Ask, Option<Hearing>)>,
    state: Option<Value>,
    task: Option<Value>,
    /// A subscription to word of tasks.
    told: Option<Replies>,
}

/// One of three clients. Two of them are one principal, and share its sessions.
fn by(ask: Ask, number: usize) -> Ask {
    ask.by(["ann", "ann", "bob"][number])
}

async fn take(pair: &Pair, client: &mut Client, number: usize, step: Step) {
    match step {
        Step::Start(tool, takes, hears) => {
            let mut declared = json!({"elicitation": {"form": {}, "url": {}}, "roots": {}});
            if takes {
                declared = taking();
            }
            let mut ask = by(call(tool, &declared), number);
            ask.origin.transport = Transport::Stdio;
            let hearing = Hearing::begin(&ask, pair).await;
            let told = client.told.take();
            *client = Client { call: Some((ask, hearing)), state: None, task: None, told };
            if hears {
                listen(client).await;
            }
        }
        Step::Listen => listen(client).await,
        Step::Leave => {
            if let Some((_, hearing)) = &mut client.call {
                *hearing = None;
            }
        }
        Step::Cancel => {
            if let Some((ask, Some(hearing))) = &mut client.call {
                hearing.is_withdrawn = true;
                let params = format!(r#"{{"requestId":{}}}"#, hearing.id.as_json());
                let note = Notification::new("notifications/cancelled", Some(&params));
                let origin = std::sync::Arc::new(ask.origin.clone());
                let cancel = Envelope::to_server(Message::Notification(note), origin);
                pair.bridge.handle(cancel).await.unwrap();
            }
        }
        Step::Retry(how, hears) => {
            let Some((ask, hearing)) = &mut client.call else { return };
            let Some(state) = &client.state else { return };
            let form = json!({"action": "accept"});
            let answers = match how {
                "all" => json!({"q1": form, "q2": {"roots": []}}),
                "one" => json!({"q1": form}),
                _ => json!({}),
            };
            let state = if how == "wrong" { json!("AAAA") } else { state.clone() };
            *hearing = Hearing::begin(&ask.retry(&state, &answers), pair).await;
            if hears {
                listen(client).await;
            }
        }
        Step::About(method) => {
            let Some(task) = &client.task else { return };
            let mut ask = by(about_task(method, task), number);
            ask.params["inputResponses"] = json!({"q1": {"action": "accept"}});
            let mut replies = ask.send(pair).await.unwrap();
            // A task whose server was lost is refused.
            drop(replies.next().await.unwrap());
        }
        Step::Subscribe => {
            let wanted = json!({"notifications": {"taskIds": [client.task.clone().unwrap_or_default()]}});
            let ask = by(ask("subscriptions/listen", &wanted, &taking()), number);
            let mut told = ask.send(pair).await.unwrap();
            for _ in 0..3 {
                drop(tokio::time::timeout(Duration::from_secs(1), told.next()).await);
            }
            client.told = Some(told);
        }
        Step::Jobs(status) => {
            for job in pair.script.jobs.lock().unwrap().values() {
                job.send_if_modified(|was| {
                    let goes_on = !OVER.contains(was);
                    if goes_on {
                        *was = status;
                    }
                    goes_on
                });
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
    let Some((_, Some(hearing))) = &mut client.call else { return };
    let Some(heard) = hearing.next().await else { return };
    if heard["result"]["resultType"] == "input_required" {
        client.state = Some(heard["result"]["requestState"].clone());
        hearing.next().await;
        assert!(hearing.is_over, "a round ends with its question");
    }
    if heard["result"]["resultType"] == "task" {
        client.task = Some(heard["result"]["taskId"].clone());
    }
}

async fn play(steps: Vec<(usize, Step)>) {
    let settings = ToLegacySettings { parked_for: Duration::from_mins(1), ..ToLegacySettings::default() };
    let pair = Pair::new(settings);
    pair.script.distinct.store(true, Ordering::Relaxed);
    let mut clients: [Client; 3] = Default::default();
    for (number, step) in steps {
        take(&pair, &mut clients[number], number, step).await;
    }
    for client in &mut clients {
        if let Some((_, Some(hearing))) = client.call.take() {
            hearing.finish(&pair).await;
        }
    }
    drop(clients);
    tokio::time::sleep(LIFE + settings.parked_for + settings.idle * 2).await;
    let jobs = pair.script.jobs.lock().unwrap();
    let left: Vec<_> = jobs.iter().filter(|(_, job)| !OVER.contains(&*job.borrow())).collect();
    assert!(left.is_empty(), "tasks that nobody ended: {left:?} {:#?}", pair.log());
    let waiting = ["\"ask\"", "\"ask_more\"", "\"hang\""];
    let begun: usize = waiting.iter().map(|tool| pair.log_of(tool).len()).sum();
    let ended: usize = [" done", " lost", " cancelled"].iter().map(|word| pair.log_of(word).len()).sum();
    assert_eq!(begun, ended, "{:#?}", pair.log());
    let open = [&pair.counters.parked, &pair.counters.sessions].map(crate::Count::get);
    assert_eq!(open, [0, 0], "{:#?}", pair.log());
    assert!(pair.bridge.running.is_empty());
    assert!(pair.bridge.handles.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_call_ends_once_and_nothing_is_left(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(play(steps));
    }
}
