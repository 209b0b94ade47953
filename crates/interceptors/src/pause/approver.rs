//! A webhook that is asked whether calls may go on that need an approval. Nobody waits for it but the call, which waits for
//! anybody: as long as the webhook says neither yes nor no, or fails, a person can decide, and then the deadline does.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use shadowcat_pipeline::task::Tasks;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::held::Held;
use super::lot::Lot;
use super::verdict::{Decision, Wanted};
use crate::external::webhook::{Consent, ConsentWord, Petition, Waiting, Webhook};
use crate::external::{ExternalMetrics, Failure, Limits, Line, millis};

/// A webhook that is asked whether calls may go on.
pub struct Approver {
    approval: Arc<str>,
    /// What it is called where its decisions are written down.
    by: Arc<str>,
    webhook: Webhook,
    line: Line,
    tasks: Tasks,
}

impl Approver {
    /// Asks about the calls that need the approval of this name. `host` says where the webhook is; its questions are among these
    /// tasks, at most one for each call that is held.
    pub fn new(
        approval: Arc<str>,
        host: &str,
        webhook: Webhook,
        limits: Limits,
        tasks: Tasks,
        metrics: &ExternalMetrics,
    ) -> Self {
        let metrics = metrics.of(&format!("approval {approval}"));
        let by = format!("webhook {host}").into();
        Self { approval, by, webhook, line: Line::new(limits, metrics), tasks }
    }

    /// What it decides over, if it failed repeatedly and is being left alone.
    pub(super) fn left_alone(&self) -> Option<&str> {
        self.line.is_left_alone().then_some(&*self.approval)
    }

    /// Asks about a held call, and lets it go as it is answered. The question is withdrawn when the guard is dropped.
    pub(super) fn ask(self: &Arc<Self>, lot: Lot, held: Arc<Held>) -> DropGuard {
        let (approver, withdrawn) = (Arc::clone(self), CancellationToken::new());
        let guard = withdrawn.clone().drop_guard();
        self.tasks.spawn_until_stop(async move {
            withdrawn.run_until_cancelled(approver.settle(&lot, &held)).await;
        });
        guard
    }

    async fn settle(&self, lot: &Lot, held: &Held) {
        match self.consent(held).await {
            Ok(consent) => self.said(consent, lot, held),
            Err(failure) => self.failed(&failure, held),
        }
    }

    async fn consent(&self, held: &Held) -> Result<Consent, Failure> {
        let id = held.id.to_string();
        let ask = |time| async move {
            let left = held.until.duration_since(SystemTime::now()).unwrap_or_default();
            let petition = Petition {
                approval: &self.approval,
                held: Waiting { id: &id, left_ms: millis(left), then: held.then },
                origin: &held.stopped.origin,
                server: &held.stopped.server,
                message: &held.stopped.message,
            };
            self.webhook.consent(&petition, time).await
        };
        self.line.ask(ask, |_| true).await
    }

    fn said(&self, Consent { word, reason }: Consent, lot: &Lot, held: &Held) {
        self.line.metrics().said(word.as_str());
        let wanted = match word {
            ConsentWord::Approve => Wanted::Resume,
            ConsentWord::Deny => Wanted::Block,
            ConsentWord::Wait => {
                let (id, by, exchange) = (held.id, &self.by, held.stopped.origin.exchange);
                tracing::info!(%id, %exchange, %by, reason, "the webhook leaves the decision to others");
                let because = reason.map_or_else(String::new, |reason| format!(": {reason}"));
                held.stopped
                    .origin
                    .deeds
                    .add(format!("{} ({id}): {by} says wait{because}", held.stopped.cause));
                return;
            }
        };
        let decision = Decision { wanted, reason, by: Arc::clone(&self.by) };
        if let Err(error) = lot.decide(held.id, &decision) {
            // Somebody was faster.
            tracing::debug!(id = %held.id, by = %self.by, %error, "what the webhook said came too late");
        }
    }

    fn failed(&self, failure: &Failure, held: &Held) {
        let (id, by, exchange) = (held.id, &self.by, held.stopped.origin.exchange);
        tracing::warn!(%id, %exchange, %by, %failure, "the webhook did not decide: the call waits for somebody else");
        held.stopped.origin.deeds.add(format!("{} ({id}): {by} did not decide", held.stopped.cause));
    }
}

impl fmt::Debug for Approver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Approver").field("by", &self.by).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use async_trait::async_trait;
    use bytes::Bytes;
    use futures_util::FutureExt as _;
    use prometheus_client::registry::Registry;
    use shadowcat_pipeline::{Direction, Origin, PeerId, Principal, Transport};
    use shadowcat_protocol::{Id, Message, Request, Revision, method};
    use shadowcat_rules::Then;
    use tokio::sync::oneshot;

    use super::super::approvals::{Call, Claim};
    use super::super::{By, Cause, PauseMetrics, Released, Settings, Stopped, Terms, Verdict};
    use super::*;
    use crate::external::webhook::{Post, Secret};
    use crate::external::{BreakerPolicy, Reason};

    /// A question, and how to answer it.
    type Asked = (serde_json::Value, oneshot::Sender<Result<Bytes, Failure>>);

    /// Answers as it is told to.
    #[derive(Clone, Default)]
    struct Fake(Arc<Mutex<Vec<Asked>>>);

    #[async_trait]
    impl Post for Fake {
        async fn post(&self, headers: &[(&'static str, String)], body: Bytes) -> Result<Bytes, Failure> {
            assert!(headers.iter().any(|(name, _)| *name == "webhook-signature"));
            let (answer, answered) = oneshot::channel();
            self.0.lock().unwrap().push((serde_json::from_slice(&body).unwrap(), answer));
            answered.await.unwrap()
        }
    }

    impl Fake {
        async fn asked(&self) -> Asked {
            loop {
                if let Some(asked) = self.0.lock().unwrap().pop() {
                    return asked;
                }
                tokio::task::yield_now().await;
            }
        }

        async fn says(&self, body: &'static str) -> serde_json::Value {
            let (question, answer) = self.asked().await;
            answer.send(Ok(Bytes::from_static(body.as_bytes()))).unwrap();
            question
        }
    }

    struct Case {
        lot: Lot,
        fake: Fake,
        approver: Arc<Approver>,
        registry: Registry,
        tasks: Tasks,
    }

    impl Case {
        fn new() -> Self {
            let (fake, tasks) = (Fake::default(), Tasks::new());
            let mut registry = Registry::default();
            let secret = Secret::parse("0123456789abcdef").unwrap();
            let webhook = Webhook::new(
                Box::new(fake.clone()),
                Some(secret),
                1 << 20,
                shadowcat_protocol::Limits::default(),
            );
            let limits = Limits {
                timeout: Duration::from_secs(5),
                concurrency_max: 64,
                breaker: BreakerPolicy::default(),
            };
            let metrics = ExternalMetrics::register(&mut registry);
            let approver = Approver::new("remove".into(), "h:1", webhook, limits, tasks.clone(), &metrics);
            let lot = Lot::new(Settings::default(), PauseMetrics::register(&mut registry));
            Self { lot, fake, approver: Arc::new(approver), registry, tasks }
        }

        fn stopped(&self, path: &str) -> Stopped {
            let params = format!(r#"{{"name":"rm","arguments":{{"path":"{path}"}}}}"#);
            let request = Request::new(&Id::from_u64(1), method::TOOLS_CALL, Some(&params));
            let mut origin = Origin::new(PeerId::next(), Transport::Stdio, Revision::V2025_11_25);
            let claims = serde_json::Map::from_iter([("role".to_owned(), "admin".into())]);
            origin.principal = Some(Principal::new("ann", claims, None));
            let call = Call::of(&request, &origin, "up").unwrap();
            Stopped {
                message: Message::Request(request),
                asked: None,
                direction: Direction::ToServer,
                origin: Arc::new(origin),
                server: "up".into(),
                cause: Cause::Approval("remove".into()),
                terms: Terms { held_for: Some(Duration::from_mins(1)), then: Some(Then::Block) },
                claim: Some(Claim { call, grant_for: Duration::from_mins(10) }),
                approver: Some(Arc::clone(&self.approver)),
            }
        }

        fn figure(&self, line: &str) -> bool {
            let mut page = String::new();
            prometheus_client::encoding::text::encode(&mut page, &self.registry).unwrap();
            page.lines().any(|found| found == line)
        }

        /// Waits until no question is out.
        async fn is_quiet(&self) {
            while self.tasks.running() > 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    fn by(released: &Released) -> &str {
        released.by.word()
    }

    #[tokio::test(start_paused = true)]
    async fn its_word_ends_the_wait_of_a_call() {
        let case = Case::new();
        let stopped = case.stopped("/a");
        let origin = Arc::clone(&stopped.origin);
        let yes = r#"{"verdict":"approve","reason":"within the budget"}"#;
        let (released, question) = tokio::join!(case.lot.hold(stopped), case.fake.says(yes));
        assert!(matches!(released.verdict, Verdict::Resume) && by(&released) == "webhook h:1");
        let deeds = ["approval remove (h-1): resume by webhook h:1: within the budget".into()];
        assert_eq!(origin.deeds.take(), deeds);
        assert_eq!(question["phase"], "approval");
        assert_eq!((&question["approval"], &question["principal"]), (&"remove".into(), &"ann".into()));
        assert_eq!(question["claims"]["role"], "admin");
        assert_eq!((&question["held"]["id"], &question["held"]["then"]), (&"h-1".into(), &"block".into()));
        assert!(question["held"]["left_ms"].as_u64().unwrap() > 50_000);
        assert_eq!(question["message"]["params"]["arguments"]["path"], "/a");

        let no = r#"{"verdict":"deny","reason":"not today"}"#;
        let (released, _) = tokio::join!(case.lot.hold(case.stopped("/a")), case.fake.says(no));
        assert!(matches!(&released.verdict, Verdict::Block(sentence) if sentence == "not today"));
        case.is_quiet().await;
        assert!(case.figure(r#"external_verdicts_total{interceptor="approval remove",verdict="approve"} 1"#));
        assert!(case.figure(r#"approvals_total{outcome="granted"} 1"#));
        assert!(case.figure(r#"approvals_total{outcome="denied"} 1"#));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_decide_leaves_it_to_a_person_and_the_deadline() {
        let case = Case::new();
        for body in [r#"{"verdict":"wait"}"#, "", "perhaps"] {
            let decides = async {
                case.fake.says(body).await;
                case.is_quiet().await;
                let held = case.lot.list().pop().unwrap();
                let decision = Decision { wanted: Wanted::Resume, reason: None, by: "api".into() };
                case.lot.decide(held.id, &decision).unwrap();
            };
            let (released, ()) = tokio::join!(case.lot.hold(case.stopped("/a")), decides);
            assert_eq!(by(&released), "api", "{body}");
        }
        // Nobody answers: the question ends at its time, the call at its own.
        let (released, (_, unanswered)) = tokio::join!(case.lot.hold(case.stopped("/a")), case.fake.asked());
        assert!(released.by == By::Deadline && matches!(released.verdict, Verdict::Block(_)));
        drop(unanswered);
        assert!(case.figure(r#"external_failures_total{interceptor="approval remove",reason="timeout"} 1"#));
        assert!(case.figure(r#"external_failures_total{interceptor="approval remove",reason="nonsense"} 1"#));
        assert!(case.figure(r#"external_verdicts_total{interceptor="approval remove",verdict="wait"} 2"#));
    }

    #[tokio::test(start_paused = true)]
    async fn the_question_is_withdrawn_when_somebody_else_decides() {
        let case = Case::new();
        let decides = async {
            let (_, unanswered) = case.fake.asked().await;
            let held = case.lot.list().pop().unwrap();
            let decision = Decision { wanted: Wanted::Block, reason: None, by: "api".into() };
            case.lot.decide(held.id, &decision).unwrap();
            case.is_quiet().await;
            assert!(unanswered.is_closed());
        };
        let (released, ()) = tokio::join!(case.lot.hold(case.stopped("/a")), decides);
        assert_eq!(by(&released), "api");
    }

    #[tokio::test(start_paused = true)]
    async fn a_yes_for_a_caller_who_has_left_is_good_once_for_the_same_call() {
        let case = Case::new();
        let stopped = case.stopped("/a");
        let (call, other) = (stopped.claim.clone().unwrap().call, case.stopped("/b").claim.unwrap().call);
        assert!(case.lot.hold(stopped).now_or_never().is_none());
        assert!(case.lot.list().pop().unwrap().is_abandoned, "its caller has left, the call has not");
        case.fake.says(r#"{"verdict":"approve"}"#).await;
        case.is_quiet().await;
        assert!(!case.lot.grants().take(&other));
        assert!(case.lot.grants().take(&call) && !case.lot.grants().take(&call));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_repeatedly_is_left_alone_and_calls_go_on_waiting() {
        let case = Case::new();
        for _ in 0..5 {
            let fails = async {
                let (_, answer) = case.fake.asked().await;
                answer.send(Err(Failure::new(Reason::Error, "it fails"))).unwrap();
            };
            tokio::join!(case.lot.hold(case.stopped("/a")), fails);
        }
        assert_eq!(case.approver.left_alone(), Some("remove"));
        assert_eq!(by(&case.lot.hold(case.stopped("/a")).await), "deadline");
        assert!(
            case.figure(r#"external_failures_total{interceptor="approval remove",reason="breaker_open"} 1"#)
        );
    }
}
