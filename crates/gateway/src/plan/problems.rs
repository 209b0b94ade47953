//! What keeps a plan from being made: everything at once, each with its place and the way out.

use std::fmt;

use crate::config::Mistake;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {sentence}")]
pub struct PlanError {
    /// The flag, the variable, or the line of the file.
    pub place: String,
    /// What is wrong and what would be right. Never a secret.
    pub sentence: String,
}

impl From<Mistake> for PlanError {
    fn from(mistake: Mistake) -> Self {
        Self { place: mistake.place, sentence: mistake.sentence }
    }
}

/// Everything that is wrong; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanErrors(pub Vec<PlanError>);

impl std::error::Error for PlanErrors {}

impl fmt::Display for PlanErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let line_end = if index == 0 { "" } else { "\n" };
            write!(f, "{line_end}{error}")?;
        }
        Ok(())
    }
}

/// Collects problems, so that one run reports them all.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<PlanError>);

impl Problems {
    pub(super) fn add(&mut self, place: impl Into<String>, sentence: impl Into<String>) {
        self.0.push(PlanError { place: place.into(), sentence: sentence.into() });
    }

    /// The value, or `None` and a note of what is wrong with it.
    pub(super) fn take<T, E: fmt::Display>(
        &mut self,
        place: impl Into<String>,
        outcome: Result<T, E>,
    ) -> Option<T> {
        outcome.map_err(|sentence| self.add(place, sentence.to_string())).ok()
    }

    pub(super) fn extend(&mut self, errors: Vec<PlanError>) {
        self.0.extend(errors);
    }

    pub(super) fn or<T>(self, plan: Option<T>) -> Result<T, PlanErrors> {
        match plan {
            Some(plan) if self.0.is_empty() => Ok(plan),
            _ => Err(PlanErrors(self.0)),
        }
    }
}
