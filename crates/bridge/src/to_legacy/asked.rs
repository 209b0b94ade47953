//! The questions of one call, or of one task, that its client has not answered.

use shadowcat_protocol::{Revision, json};
use tokio::sync::oneshot;

use super::inbox::QUESTIONS_MAX;
use super::question::Question;
use super::round::Round;
use crate::declared::Declared;

/// Open questions, each with the key under which its client answers it.
#[derive(Debug, Default)]
pub(super) struct Questions {
    open: Vec<(String, Question)>,
    /// How many questions were put so far: a key is never used for two.
    keys: u64,
}

impl Questions {
    /// Whether the server waits for nothing any more.
    pub(super) fn is_empty(&self) -> bool {
        self.open.iter().all(|(_, question)| question.is_withdrawn())
    }

    /// One more question; says whether there was room for it.
    pub(super) fn take(&mut self, question: Question) -> bool {
        self.open.retain(|(_, question)| !question.is_withdrawn());
        if self.open.len() >= QUESTIONS_MAX {
            question.turn_away();
            return false;
        }
        self.keys += 1;
        self.open.push((format!("q{}", self.keys), question));
        true
    }

    /// Gives the server what a request of the client answers; the other questions stay open.
    pub(super) fn answer(&mut self, round: &Round, revision: Revision) {
        for (key, question) in std::mem::take(&mut self.open) {
            match round.response(&key) {
                Some(result) => question.answer(result, revision),
                None => self.open.push((key, question)),
            }
        }
    }

    /// Without the questions that the server has withdrawn, and those that a client of these capabilities must not be
    /// asked.
    pub(super) fn drop_unfit(&mut self, declared: &Declared) {
        for (key, question) in std::mem::take(&mut self.open) {
            if question.is_withdrawn() {
                continue;
            }
            match declared.allows(question.request.method(), question.request.params()) {
                Ok(()) => self.open.push((key, question)),
                Err(undeclared) => question.refuse(&undeclared.error),
            }
        }
    }

    /// The questions as a client of these capabilities finds them in a result; none if there is none for it.
    pub(super) fn to_input_requests(&self, declared: &Declared) -> Option<String> {
        let fit = self.open.iter().filter(|(_, question)| {
            !question.is_withdrawn()
                && declared.allows(question.request.method(), question.request.params()).is_ok()
        });
        input_requests(fit.map(|(key, question)| (key, question.to_input_request())))
    }

    /// Answers every question as if nobody were there. The receivers resolve when the answers have left.
    pub(super) fn give_up(&mut self) -> Vec<oneshot::Receiver<()>> {
        std::mem::take(&mut self.open).into_iter().filter_map(|(_, question)| question.give_up()).collect()
    }
}

/// Questions by their keys as a client finds them in a result; none if there is none.
pub(super) fn input_requests(asked: impl Iterator<Item = (impl AsRef<str>, String)>) -> Option<String> {
    let requests: Vec<_> = asked.map(|(key, question)| json::quote(key.as_ref()) + ":" + &question).collect();
    (!requests.is_empty()).then(|| format!("{{{}}}", requests.join(",")))
}
