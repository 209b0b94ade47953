//! What a run showed: each call against what it was compared with, in sentences, and the time the calls took.

mod explain;
mod json;
mod judge;
mod junit;
mod latency;
#[cfg(test)]
mod tests;
mod text;

use std::time::Duration;

use serde_json::Value;

pub use judge::{Before, judge};
pub use latency::Latency;

use crate::compare::Rules;
use crate::script::title;
use crate::tapes::Place;

/// What is judged, and how.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// What counts as a difference in an answer.
    pub rules: Rules,
    /// So many times slower is a difference; none if time is only told.
    pub slowdown_max: Option<f64>,
    /// What the answers are compared with.
    pub before: String,
    /// Who gave the answers.
    pub after: String,
}

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Report {
    /// The tapes that the calls were made again from.
    pub tapes: Vec<String>,
    /// What the answers were compared with.
    pub before: String,
    /// Who gave the answers.
    pub after: String,
    /// The calls, in the order of the tape.
    pub calls: Vec<Judged>,
    /// What belongs to no call.
    pub remarks: Vec<Finding>,
    /// The time that calls of one kind took.
    pub latencies: Vec<Latency>,
    /// The length of the tape.
    pub length: Duration,
    /// How long it took to play.
    pub elapsed: Duration,
    /// What a reader should know that is no difference.
    pub notes: Vec<String>,
    /// Whether the server gave no answer at all, and why.
    pub failure: Option<String>,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Where its frame stands.
    pub place: Place,
    /// The same for people.
    pub frame: String,
    /// The hash of its session's id.
    pub session: Option<String>,
    /// The method.
    pub method: String,
    /// The tool, prompt, resource or task.
    pub name: Option<String>,
    /// What it was called with.
    pub arguments: Option<Value>,
    /// How long it took.
    pub took: Option<Duration>,
    /// What came of it.
    pub verdict: Verdict,
}

/// What came of the comparison of one call.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Nothing differs that counts.
    Same,
    /// This differs.
    Differs(Vec<Finding>),
    /// It was not compared, for this reason.
    PassedOver(String),
}

/// One thing that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What differs, as a sentence.
    pub says: String,
    /// Where, as a JSONPath from the answer on.
    pub path: Option<String>,
    /// What stood there; none if nothing did.
    pub before: Option<Value>,
    /// What stands there now; none if nothing does.
    pub after: Option<Value>,
}

impl Finding {
    /// One that is said by its sentence alone.
    pub(crate) fn plain(says: impl Into<String>) -> Self {
        Self { says: says.into(), path: None, before: None, after: None }
    }
}

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
    /// JUnit's XML, as CI systems read it.
    Junit,
}

impl Report {
    /// Whether anything differs.
    pub fn differs(&self) -> bool {
        self.differing() > 0 || !self.remarks.is_empty() || self.slower().next().is_some()
    }

    /// How many calls differ.
    pub fn differing(&self) -> usize {
        self.calls.iter().filter(|call| matches!(call.verdict, Verdict::Differs(_))).count()
    }

    /// How many calls were not compared.
    pub fn passed_over(&self) -> usize {
        self.calls.iter().filter(|call| matches!(call.verdict, Verdict::PassedOver(_))).count()
    }

    /// The kinds of calls that are too slow.
    pub fn slower(&self) -> impl Iterator<Item = &Latency> {
        self.latencies.iter().filter(|latency| latency.is_slower)
    }

    /// What was compared with what.
    pub fn title(&self) -> String {
        format!("{}: {} against {}", self.tapes.join(", "), self.after, self.before)
    }

    /// The report as text of a form.
    pub fn write(&self, form: Form) -> String {
        match form {
            Form::Text => text::write(self),
            Form::Json => json::write(self),
            Form::Junit => junit::write(self),
        }
    }
}

impl Judged {
    /// The call in a few words: `tools/call echo {"message":"hi"}`.
    pub fn title(&self) -> String {
        title(&self.method, self.name.as_deref(), self.arguments.as_ref())
    }
}
