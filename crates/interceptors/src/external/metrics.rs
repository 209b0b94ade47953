//! What is counted of those who are asked.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::breaker::State;
use super::verdict::Reason;

/// The steps of the duration histogram, in seconds.
const BUCKETS: [f64; 11] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    interceptor: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabels {
    interceptor: String,
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    interceptor: String,
    reason: &'static str,
}

/// What is counted of those who are asked. There are as many labels as there are interceptors in the configuration.
#[derive(Clone, Debug)]
pub struct ExternalMetrics {
    calls: Family<Name, Counter>,
    verdicts: Family<VerdictLabels, Counter>,
    failures: Family<FailureLabels, Counter>,
    lost: Family<Name, Counter>,
    durations: Family<Name, Histogram, fn() -> Histogram>,
    breakers: Family<Name, Gauge>,
}

impl Default for ExternalMetrics {
    fn default() -> Self {
        Self {
            calls: Family::default(),
            verdicts: Family::default(),
            failures: Family::default(),
            lost: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            breakers: Family::default(),
        }
    }
}

impl ExternalMetrics {
    /// Metrics that show in this registry.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let all = metrics.clone();
        registry.register(
            "external_calls",
            "Messages that external interceptors were asked about",
            all.calls,
        );
        registry.register("external_verdicts", "What external interceptors said", all.verdicts);
        registry.register("external_failures", "Questions without a verdict", all.failures);
        registry.register("external_lost", "Messages that interceptors in audit were not told of", all.lost);
        registry.register_with_unit(
            "external_duration",
            "Time from a question to its verdict",
            Unit::Seconds,
            all.durations,
        );
        registry.register("external_breaker", "0: closed, 1: one question is tried, 2: open", all.breakers);
        metrics
    }

    /// Those of one of them, which show from now on.
    pub(crate) fn of(&self, name: &str) -> LineMetrics {
        let label = Name { interceptor: name.to_owned() };
        LineMetrics {
            calls: self.calls.get_or_create_owned(&label),
            lost: self.lost.get_or_create_owned(&label),
            durations: self.durations.get_or_create_owned(&label),
            breaker: self.breakers.get_or_create_owned(&label),
            all: self.clone(),
            name: label.interceptor,
        }
    }
}

/// What is counted of one who is asked.
#[derive(Clone, Debug)]
pub(crate) struct LineMetrics {
    calls: Counter,
    lost: Counter,
    durations: Histogram,
    breaker: Gauge,
    all: ExternalMetrics,
    name: String,
}

impl LineMetrics {
    pub(super) fn asked(&self, took: Duration) {
        self.calls.inc();
        self.durations.observe(took.as_secs_f64());
    }

    pub(crate) fn said(&self, verdict: &'static str) {
        let labels = VerdictLabels { interceptor: self.name.clone(), verdict };
        self.all.verdicts.get_or_create(&labels).inc();
    }

    pub(super) fn failed(&self, reason: Reason) {
        let labels = FailureLabels { interceptor: self.name.clone(), reason: reason.as_str() };
        self.all.failures.get_or_create(&labels).inc();
    }

    pub(super) fn lost(&self, number: u64) {
        self.lost.inc_by(number);
    }

    pub(super) fn breaker(&self, state: State) {
        self.breaker.set(match state {
            State::Closed(_) => 0,
            State::Trying => 1,
            State::Open(_) => 2,
        });
    }
}
