//! One message judged by the rules, and what is to become of it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use shadowcat_pipeline::{Broken, Direction, Envelope, Origin, PeerId, Refusal, RefusalKind};
use shadowcat_protocol::{Era, Id, Message, Request, Response};
use shadowcat_rules::{self as rules, Asked, Facts, Fired, Outcome, Scene, Step, World};
use tokio::time::Instant;

use super::book::Edition;
use super::withdrawn::Waiting;

/// What a message is judged with, and then its replies.
pub(super) struct Exchange {
    edition: Arc<Edition>,
    origin: Arc<Origin>,
    server: Arc<str>,
    headers: Vec<(Box<str>, Box<str>)>,
    waiting: Arc<Waiting>,
    /// The request of a client, which it may withdraw.
    request: Option<(PeerId, Id)>,
    asked: Option<Asked>,
    begun: Instant,
}

/// What is to become of a message.
pub(super) enum Fate {
    GoesOn(Message, Changed),
    Refused(Refusal),
    /// This takes its place, or that of its answer.
    Answered(Message),
    /// It does not go on.
    Gone,
    /// Nor does anything else of its exchange.
    Silent,
    /// Nobody waits for it.
    Withdrawn,
}

/// What rules changed.
#[derive(Default)]
pub(super) struct Changed {
    /// Anything of the message itself.
    pub(super) is_any: bool,
    /// Its headers, if they were changed.
    pub(super) headers: Option<Vec<(Box<str>, Box<str>)>>,
}

impl Exchange {
    pub(super) fn new(
        edition: Arc<Edition>,
        envelope: &Envelope,
        server: &Arc<str>,
        waiting: &Arc<Waiting>,
    ) -> Self {
        // What a server asks and withdraws never comes this far: its replies are dropped.
        let is_client = envelope.direction == Direction::ToServer;
        let id = envelope.request_id().filter(|_| is_client);
        Self {
            edition,
            origin: Arc::clone(&envelope.origin),
            server: Arc::clone(server),
            headers: envelope.headers.clone(),
            waiting: Arc::clone(waiting),
            request: id.map(|id| (envelope.origin.peer, id.clone())),
            asked: None,
            begun: Instant::now(),
        }
    }

    pub(super) fn headers(&self) -> &[(Box<str>, Box<str>)] {
        &self.headers
    }

    pub(super) fn concerns_replies(&self, request: &Request, direction: Direction) -> bool {
        self.edition.rules.concerns_replies(request, direction)
    }

    /// From here on messages are the replies to this request.
    pub(super) fn asks(&mut self, asked: Asked) {
        self.asked = Some(asked);
    }

    /// Waits until the request is withdrawn, which may be never.
    pub(super) async fn silence<T>(&self) -> Option<T> {
        self.waiting.during(self.request.as_ref(), std::future::pending()).await
    }

    /// Sends a message through the rules; what takes time is waited for.
    pub(super) async fn judge(&self, message: Message, direction: Direction) -> Fate {
        let facts = self.facts();
        let took = self.asked.is_some().then(|| self.begun.elapsed());
        let scene = Scene { direction, facts: &facts, asked: self.asked.as_ref(), took };
        let mut judgement = self.edition.rules.judge(message, scene);
        let mut is_changed = false;
        while let Some(fired) = judgement.next(&Surroundings) {
            self.note(&fired);
            match fired.step {
                Step::Edited => is_changed = true,
                Step::Unchanged
                | Step::Headers
                | Step::Tag(_)
                | Step::Log(_)
                | Step::Stop
                | Step::Failed { open: true, .. } => {}
                Step::Delay(delay) => {
                    if !self.wait(delay).await {
                        return Fate::Withdrawn;
                    }
                }
                last => return ended(last, fired.rule, judgement.message()),
            }
        }
        let headers = judgement.headers().map(<[_]>::to_vec);
        Fate::GoesOn(judgement.into_message(), Changed { is_any: is_changed, headers })
    }

    /// Whether the request still stands at the end of the wait.
    async fn wait(&self, delay: Duration) -> bool {
        self.waiting.during(self.request.as_ref(), tokio::time::sleep(delay)).await.is_some()
    }

    fn facts(&self) -> Facts<'_> {
        let origin = &*self.origin;
        Facts {
            session: origin.session.as_ref().map(|session| &*session.0),
            principal: origin.principal.as_ref().map(|principal| &*principal.0),
            server: Some(&self.server),
            transport: origin.transport.as_str(),
            revision: origin.revision.as_str(),
            era: match origin.revision.era() {
                Era::Legacy => "legacy",
                Era::Modern => "modern",
            },
            headers: &self.headers,
        }
    }

    /// Counts it, and says it in the log and on the tape.
    fn note(&self, fired: &Fired<'_>) {
        self.edition.metrics.count(fired);
        let (exchange, rule) = (self.origin.exchange, fired.rule);
        match &fired.step {
            Step::Log(line) => tracing::info!(%exchange, rule, "{line}"),
            Step::Tag(words) => tracing::info!(%exchange, rule, tags = words.join(" "), "tagged"),
            Step::Failed { sentence, open } => {
                tracing::warn!(%exchange, rule, sentence, goes_on = open, "a rule could not be carried out");
            }
            step => tracing::debug!(%exchange, rule, ?step, "a rule fired"),
        }
        if let Some(word) = word(&fired.step) {
            let more = match &fired.step {
                Step::Tag(words) => format!(" {}", words.join(" ")),
                _ => String::new(),
            };
            self.origin.deeds.add(format!("{rule}: {word}{more}"));
        }
    }
}

/// What becomes of a message that does not go on.
fn ended(step: Step, rule: &str, message: &Message) -> Fate {
    match step {
        Step::Block(reason) => Fate::Refused(denied().with_detail(reason)),
        Step::Mock(outcome) => match id_of(message) {
            Some(id) => Fate::Answered(Message::Response(response(id, &outcome))),
            None => Fate::Gone,
        },
        Step::Fault(rules::Broken::Cut) => Fate::Refused(RefusalKind::Broken(Broken::Cut).into()),
        Step::Fault(rules::Broken::Malformed) => Fate::Refused(RefusalKind::Broken(Broken::Malformed).into()),
        Step::Fault(rules::Broken::Timeout) => Fate::Silent,
        Step::Pause(_) => {
            let cause = format!("the rule {rule} holds a message, and nobody is there to let it go");
            Fate::Refused(denied().with_cause(cause))
        }
        Step::Failed { sentence, .. } => {
            Fate::Refused(denied().with_cause(format!("the rule {rule} failed: {sentence}")))
        }
        _ => Fate::Gone,
    }
}

/// The word for what a rule did, if it did anything.
pub(super) fn word(step: &Step) -> Option<&'static str> {
    Some(match step {
        Step::Unchanged | Step::Stop => return None,
        Step::Edited => "edit",
        Step::Headers => "headers",
        Step::Tag(_) => "tag",
        Step::Log(_) => "log",
        Step::Delay(_) => "delay",
        Step::Pause(_) => "pause",
        Step::Block(_) => "block",
        Step::Mock(_) => "mock",
        Step::Drop => "drop",
        Step::Fault(rules::Broken::Cut) => "cut",
        Step::Fault(rules::Broken::Malformed) => "malformed",
        Step::Fault(rules::Broken::Timeout) => "timeout",
        Step::Failed { .. } => "failed",
    })
}

fn denied() -> Refusal {
    Refusal::new(RefusalKind::PolicyDenied)
}

/// The id that an answer in place of this message has.
fn id_of(message: &Message) -> Option<&Id> {
    match message {
        Message::Request(request) => Some(request.id()),
        Message::Response(response) => response.id(),
        Message::Notification(_) => None,
    }
}

fn response(id: &Id, outcome: &Outcome) -> Response {
    match outcome {
        Outcome::Result(result) => Response::result(id, result),
        Outcome::Error(error) => Response::error(Some(id), error),
    }
}

/// The clock and the dice of this process.
struct Surroundings;

impl World for Surroundings {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn random(&self) -> [u8; 16] {
        let mut random = [0; 16];
        if let Err(error) = getrandom::fill(&mut random) {
            tracing::error!(%error, "the system gives no randomness");
        }
        random
    }
}
