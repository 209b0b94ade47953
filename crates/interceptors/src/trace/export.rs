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
use tokio::time::{Instant, sleep, timeout};
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
/// How long the collector may take for one batch.
const POST_MAX: Duration = Duration::from_secs(10);
/// The same once the proxy ends.
const LAST_POST_MAX: Duration = Duration::from_secs(2);
/// How often a batch is sent that the collector does not take.
const TRIES_MAX: u32 = 3;
/// The pause before the second of them; the next one is twice as long.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a collector that does not take them is told of in the log.
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
    warned: Option<Instant>,
    /// Spans that were lost since the log was told.
    lost: usize,
}

/// Where spans go, and whoever sends them on from there to a collector, as those of this service.
pub fn exporter(service: &str, post: Box<dyn Post>, metrics: TraceMetrics) -> (Spans, Exporter) {
    let (sender, queue) = mpsc::channel(QUEUED_MAX);
    let spans = Spans { queue: sender, metrics: metrics.clone() };
    (spans, Exporter { service: service.to_owned(), post, queue, metrics, warned: None, lost: 0 })
}

impl Exporter {
    /// Sends on what comes until `stop`, and then what is left.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::new();
        while stop.run_until_cancelled(self.fill(&mut batch)).await == Some(true) {
            self.deliver(&mut batch, &stop).await;
        }
        loop {
            self.top_up(&mut batch);
            if batch.is_empty() {
                return;
            }
            self.deliver(&mut batch, &stop).await;
        }
    }

    /// Waits for spans; says whether there are any, and is over when none can come.
    ///
    /// # Cancel safety
    /// What was taken from the queue is in the batch.
    async fn fill(&mut self, batch: &mut Vec<Span>) -> bool {
        if self.queue.recv_many(batch, BATCH_MAX).await == 0 {
            return false;
        }
        sleep(LINGER).await;
        self.top_up(batch);
        true
    }

    fn top_up(&mut self, batch: &mut Vec<Span>) {
        while batch.len() < BATCH_MAX
            && let Ok(span) = self.queue.try_recv()
        {
            batch.push(span);
        }
    }

    async fn deliver(&mut self, batch: &mut Vec<Span>, stop: &CancellationToken) {
        let body = otlp::request(&self.service, batch);
        let mut pause = PAUSE;
        for attempt in 1.. {
            let Err(failure) = self.post(body.clone(), stop).await else {
                self.metrics.exported.inc_by(batch.len() as u64);
                break;
            };
            let is_last = attempt == TRIES_MAX;
            if is_last || stop.run_until_cancelled(sleep(pause)).await.is_none() {
                self.metrics.refused.inc_by(batch.len() as u64);
                self.warn(&failure, batch.len());
                break;
            }
            pause *= 2;
        }
        batch.clear();
    }

    /// Sends one batch; less patiently once the proxy ends.
    async fn post(&self, body: Bytes, stop: &CancellationToken) -> Result<(), Failure> {
        let mut posting = pin!(timeout(POST_MAX, self.post.post(&[], body)));
        let posted = match stop.run_until_cancelled(&mut posting).await {
            Some(posted) => posted,
            None => timeout(LAST_POST_MAX, posting).await.and_then(|posted| posted),
        };
        match posted {
            Ok(taken) => taken.map(drop),
            Err(_) => Err(Failure::new(Reason::Timeout, "no answer in time")),
        }
    }

    fn warn(&mut self, failure: &Failure, lost: usize) {
        self.lost += lost;
        if self.warned.is_some_and(|when| when.elapsed() < WARN_EVERY) {
            return;
        }
        self.warned = Some(Instant::now());
        let spans = std::mem::take(&mut self.lost);
        tracing::warn!(%failure, spans, "the collector does not take spans; they are dropped");
    }
}
