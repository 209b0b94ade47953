//! What is counted of rules.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use shadowcat_rules::{Fired, Rules, Step};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabel {
    rule: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ActionLabels {
    rule: String,
    action: &'static str,
}

/// What is counted of rules. There are as many labels as rules were ever in force.
#[derive(Clone, Debug, Default)]
pub struct RuleMetrics {
    fired: Family<RuleLabel, Counter>,
    actions: Family<ActionLabels, Counter>,
    failures: Family<RuleLabel, Counter>,
}

/// What was counted of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Its name.
    pub rule: String,
    /// Messages that it fitted.
    pub fired: u64,
    /// Messages for which it could not be carried out.
    pub failed: u64,
}

impl RuleMetrics {
    /// Metrics that show in this registry.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("rule_fired", "Messages that a rule fitted", metrics.fired.clone());
        registry.register("rule_actions", "What rules did to messages", metrics.actions.clone());
        let failures = metrics.failures.clone();
        registry.register("rule_failures", "Messages for which a rule could not be carried out", failures);
        metrics
    }

    /// Shows each of these rules from the start, at zero.
    pub(super) fn know(&self, rules: &Rules) {
        for rule in rules.names() {
            let label = RuleLabel { rule: rule.to_owned() };
            drop(self.fired.get_or_create(&label));
            drop(self.failures.get_or_create(&label));
        }
    }

    /// How often each of these rules fired and failed.
    pub(super) fn figures(&self, rules: &Rules) -> Vec<Figures> {
        let figures = |rule: &str| {
            let label = RuleLabel { rule: rule.to_owned() };
            let fired = self.fired.get_or_create(&label).get();
            Figures { rule: rule.to_owned(), fired, failed: self.failures.get_or_create(&label).get() }
        };
        rules.names().map(figures).collect()
    }

    pub(super) fn count(&self, fired: &Fired<'_>) {
        let rule = || fired.rule.to_owned();
        if fired.first {
            self.fired.get_or_create(&RuleLabel { rule: rule() }).inc();
        }
        if let Step::Failed { .. } = fired.step {
            self.failures.get_or_create(&RuleLabel { rule: rule() }).inc();
        }
        if let Some(action) = super::exchange::word(&fired.step) {
            self.actions.get_or_create(&ActionLabels { rule: rule(), action }).inc();
        }
    }
}
