//! The rules in force, which can be swapped while messages pass.

use std::sync::{Arc, PoisonError, RwLock};

use super::metrics::{Figures, RuleMetrics};

/// The rules in force. What began with the ones before ends with them.
#[derive(Debug)]
pub struct Book {
    current: RwLock<Arc<Edition>>,
    metrics: RuleMetrics,
}

/// The rules that were in force at one time.
#[derive(Debug)]
pub(super) struct Edition {
    pub(super) rules: shadowcat_rules::Rules,
    pub(super) metrics: RuleMetrics,
}

impl Book {
    /// A book of these rules.
    pub fn new(rules: shadowcat_rules::Rules, metrics: RuleMetrics) -> Self {
        metrics.know(&rules);
        let edition = Edition { rules, metrics: metrics.clone() };
        Self { current: RwLock::new(Arc::new(edition)), metrics }
    }

    /// Puts others in force, all at once. Rules that stay the same go on counting.
    pub fn publish(&self, mut rules: shadowcat_rules::Rules) {
        rules.go_on_from(&self.current().rules);
        self.metrics.know(&rules);
        let edition = Arc::new(Edition { rules, metrics: self.metrics.clone() });
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = edition;
    }

    /// What was counted of the rules in force.
    pub fn figures(&self) -> Vec<Figures> {
        self.metrics.figures(&self.current().rules)
    }

    pub(super) fn current(&self) -> Arc<Edition> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}
