//! What is counted of held messages.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// What can become of a held message.
const VERDICTS: [&str; 6] = ["resume", "edit", "answer", "drop", "block", "gone"];

/// How it can end with the approval that a call needs.
const OUTCOMES: [&str; 7] = ["granted", "denied", "expired", "used", "gone", "refused", "shutdown"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabel {
    verdict: &'static str,
}

/// What is counted of held messages.
#[derive(Clone, Debug, Default)]
pub struct PauseMetrics {
    held: Gauge,
    bytes: Gauge,
    released: Family<VerdictLabel, Counter>,
    refused: Counter,
    approvals: Family<OutcomeLabel, Counter>,
}

impl PauseMetrics {
    /// Metrics that show in this registry, at zero.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for verdict in VERDICTS {
            drop(metrics.released.get_or_create(&VerdictLabel { verdict }));
        }
        for outcome in OUTCOMES {
            drop(metrics.approvals.get_or_create(&OutcomeLabel { outcome }));
        }
        let approvals = metrics.approvals.clone();
        registry.register("approvals", "Calls that needed an approval, by how it ended", approvals);
        registry.register("held", "Messages that are held", metrics.held.clone());
        let bytes = metrics.bytes.clone();
        registry.register_with_unit("held_size", "Bytes of the messages that are held", Unit::Bytes, bytes);
        registry.register("held_released", "Held messages that were let go", metrics.released.clone());
        let refused = metrics.refused.clone();
        registry.register("held_refused", "Messages that there was no room to hold", refused);
        metrics
    }

    pub(super) fn held(&self, count: usize, bytes: usize) {
        self.held.set(i64::try_from(count).unwrap_or(i64::MAX));
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(super) fn released(&self, verdict: &'static str, count: usize, bytes: usize) {
        self.released.get_or_create(&VerdictLabel { verdict }).inc();
        self.held(count, bytes);
    }

    pub(super) fn approval(&self, outcome: &'static str) {
        self.approvals.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    pub(super) fn refused(&self) {
        self.refused.inc();
    }
}
