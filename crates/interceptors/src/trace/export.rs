//! The queue of spans that have ended, and whoever sends them on. Nothing here is waited for by a request: what does not fit
//! into the queue, and what the collector does not take, is counted and gone.

use std::fmt;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::otlp;
use super::span::Span;
use crate::external::webhook::Post;
use crate::external::{Failure, Reason};

/// Spans that wait to be sent.
const QUEUED_MAX: usize = 4_096;
/// Spans of one batch.
const BATCH_MAX: usize = 512;
/// How long a span waits for company.
const LINGER: Duration = Duration::from_secs(1);
/// How long the collector may take for one batch, however often it is sent: those behind it wait.
const DELIVER_MAX: Duration = Duration::from_secs(10);
/// How long one try may take once the proxy ends.
const LAST_POST_MAX: Duration = Duration::from_secs(2);
/// How often a batch is sent that the collector does not take.
const TRIES_MAX: u32 = 3;
/// The pause before the second of them; the next one is twice as long.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the log is told of spans that are lost.
const WARN_EVERY: Duration = Duration::from_mins(1);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// What is counted of spans.
#[derive(Clone, Debug)]
pub struct TraceMetrics {
    exported: Counter,
    queue_full: Counter,
    refused: Counter,
}

impl TraceMetrics {
    /// Metrics that show in this registry.
    pub fn register(registry: &mut Registry) -> Self {
        let spans = Family::<Outcome, Counter>::default();
        let of = |outcome| spans.get_or_create_owned(&Outcome { outcome });
        let metrics =
            Self { exported: of("exported"), queue_full: of("queue_full"), refused: of("not_taken") };
        registry.register("trace_spans", "Spans of requests, by what became of them", spans);
        metrics
    }
}

/// Takes spans that have ended.
#[derive(Clone)]
pub struct Spans {
    queue: mpsc::Sender<Span>,
    metrics: TraceMetrics,
}

impl Spans {
    pub(super) fn put(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.metrics.queue_full.inc();
        }
    }
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spans").finish_non_exhaustive()
    }
}

/// Sends spans on, in batches.
pub struct Exporter {
    service: String,
    post: Box<dyn Post>,
    queue: mpsc::Receiver<Span>,
    metrics: TraceMetrics,
    /// How many did not fit into the queue, when that was last looked at.
    overflow: u64,
    losses: Losses,
}

/// Where spans go, and whoever sends them on from there to a collector, as those of this service.
pub fn exporter(service: &str, post: Box<dyn Post>, metrics: TraceMetrics) -> (Spans, Exporter) {
    let (sender, queue) = mpsc::channel(QUEUED_MAX);
    let spans = Spans { queue: sender, metrics: metrics.clone() };
    let service = service.to_owned();
    (spans, Exporter { service, post, queue, metrics, overflow: 0, losses: Losses::default() })
}

impl Exporter {
    /// Sends on what comes until `stop`, and then what is left.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::new();
        while stop.run_until_cancelled(self.fill(&mut batch)).await == Some(true) {
            self.deliver(&mut batch, &stop).await;
        }
        loop {
            while batch.len() < BATCH_MAX
                && let Ok(span) = self.queue.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                break;
            }
            self.deliver(&mut batch, &stop).await;
        }
        self.losses.tell();
    }

    /// Waits for spans, and for company as long as there is room for it; says whether there are any, and is over when none can
    /// come.
    ///
    /// # Cancel safety
    /// What was taken from the queue is in the batch.
    async fn fill(&mut self, batch: &mut Vec<Span>) -> bool {
        if self.queue.recv_many(batch, BATCH_MAX).await == 0 {
            return false;
        }
        let end = Instant::now() + LINGER;
        while batch.len() < BATCH_MAX {
            let room = BATCH_MAX - batch.len();
            match timeout_at(end, self.queue.recv_many(batch, room)).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        true
    }

    async fn deliver(&mut self, batch: &mut Vec<Span>, stop: &CancellationToken) {
        let sent = batch.len() as u64;
        let body = otlp::request(&self.service, batch);
        batch.clear();
        let (lost, why) = match self.send(body, stop).await {
            Ok(answer) => (otlp::rejected(&answer).min(sent), "the collector rejects them".to_owned()),
            // Some collectors, and gateways in front of them, take it with another status than 200.
            Err(Failure { status: Some(200..300), .. }) => (0, String::new()),
            Err(failure) => (sent, failure.sentence),
        };
        self.metrics.exported.inc_by(sent - lost);
        self.metrics.refused.inc_by(lost);
        self.losses.add(lost, why);
        let overflow = self.metrics.queue_full.get();
        self.losses.add(overflow - self.overflow, "they come faster than they are taken".to_owned());
        self.overflow = overflow;
    }

    /// Sends one batch, again if that can help; gives the answer to it. Once the proxy ends, what failed is not sent again, and
    /// what waits for its next try has it at once.
    async fn send(&self, body: Bytes, stop: &CancellationToken) -> Result<Bytes, Failure> {
        let (end, mut pause, mut tries) = (Instant::now() + DELIVER_MAX, PAUSE, 0);
        loop {
            let posted = self.post(body.clone(), end, stop).await;
            tries += 1;
            let is_last = tries == TRIES_MAX || stop.is_cancelled() || Instant::now() + pause >= end;
            match posted {
                Err(failure) if !is_last && may_pass(&failure) => {
                    stop.run_until_cancelled(sleep(pause)).await;
                }
                posted => return posted,
            }
            pause *= 2;
        }
    }

    async fn post(&self, body: Bytes, end: Instant, stop: &CancellationToken) -> Result<Bytes, Failure> {
        let mut posting = pin!(timeout_at(end, self.post.post(&[], body)));
        let posted = match stop.run_until_cancelled(&mut posting).await {
            Some(posted) => posted,
            None => timeout(LAST_POST_MAX, posting).await.and_then(|posted| posted),
        };
        posted.unwrap_or_else(|_| Err(Failure::new(Reason::Timeout, "no answer in time")))
    }
}

/// Whether the same batch may be taken later. Of the answers that refuse it these are the ones after which it may be sent
/// again (OTLP 1.0, "Retryable Response Codes").
fn may_pass(failure: &Failure) -> bool {
    failure.status.is_none_or(|status| matches!(status, 429 | 502 | 503 | 504))
}

/// The spans that were lost since the log was told.
#[derive(Default)]
struct Losses {
    spans: u64,
    why: String,
    told: Option<Instant>,
}

impl Losses {
    /// Tells the log too if it was not told of others lately.
    fn add(&mut self, spans: u64, why: String) {
        if spans > 0 {
            self.spans += spans;
            self.why = why;
        }
        if self.told.is_none_or(|when| when.elapsed() >= WARN_EVERY) {
            self.tell();
        }
    }

    fn tell(&mut self) {
        if self.spans == 0 {
            return;
        }
        let Self { spans, why, .. } = std::mem::take(self);
        self.told = Some(Instant::now());
        tracing::warn!(%why, spans, "spans are dropped on their way to the collector");
    }
}
