//! What the client on tape answered when it was asked, given again to a server that asks the same.

use std::time::Duration;

use serde_json::{Value, json};

use shadowcat_protocol::codes;

use crate::compare::means_the_same;
use crate::run_values::meaning;
use crate::script::Question;

/// What a server asked otherwise than on tape is remembered so often.
const SURPRISES_MAX: usize = 1_000;

/// The questions of one client, each to be answered once and in order.
#[derive(Debug)]
pub(super) struct Stock {
    questions: Vec<(Question, bool)>,
    surprises: Vec<Surprise>,
}

/// What a server asked otherwise than on tape.
#[derive(Clone, Debug, PartialEq)]
pub enum Surprise {
    /// This was never asked on tape; the server was given an error.
    NotOnTape(Value),
    /// It was asked more often than on tape; the server was given the same answer again.
    Again(Value),
    /// It was asked on tape, in this frame, and never now.
    NotAsked(u64, Value),
}

impl Stock {
    pub(super) fn new(questions: &[Question]) -> Self {
        Self {
            questions: questions.iter().map(|question| (question.clone(), false)).collect(),
            surprises: Vec::new(),
        }
    }

    /// `result` or `error` for what a server asks, and how long the client on tape took for it.
    pub(super) fn answer(&mut self, asked: &Value) -> (Value, Duration) {
        let asked = meaning(asked);
        let fits = |(question, _): &&mut (Question, bool)| means_the_same(&question.asked, &asked);
        if let Some((question, used)) = self.questions.iter_mut().filter(|(_, used)| !used).find(fits) {
            *used = true;
            return (reply(question), question.took);
        }
        if let Some((question, _)) = self.questions.iter_mut().rev().find(fits) {
            let given = (reply(question), question.took);
            self.note(Surprise::Again(asked));
            return given;
        }
        let method = asked.get("method").and_then(Value::as_str).unwrap_or_default();
        let sentence = format!("the tape that is played holds no answer to this {method}");
        self.note(Surprise::NotOnTape(asked));
        (error(&sentence), Duration::ZERO)
    }

    fn note(&mut self, surprise: Surprise) {
        if self.surprises.len() < SURPRISES_MAX {
            self.surprises.push(surprise);
        }
    }

    /// What was asked otherwise than on tape, at the end.
    pub(super) fn surprises(mut self) -> Vec<Surprise> {
        for (question, _) in std::mem::take(&mut self.questions).into_iter().filter(|(_, used)| !used) {
            self.note(Surprise::NotAsked(question.seq, question.asked));
        }
        self.surprises
    }
}

fn reply(question: &Question) -> Value {
    question
        .reply
        .clone()
        .unwrap_or_else(|| error("the client on the tape that is played never answered this"))
}

fn error(message: &str) -> Value {
    json!({"error": {"code": codes::INTERNAL_ERROR, "message": message}})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(seq: u64, asked: &Value, action: &str) -> Question {
        let reply = Some(json!({"result": {"action": action}}));
        Question { seq, asked: meaning(asked), reply, took: Duration::from_millis(3) }
    }

    fn ask(message: &str) -> Value {
        json!({"id": 9, "jsonrpc": "2.0", "method": "elicitation/create", "params": {"message": message}})
    }

    #[test]
    fn what_means_the_same_is_answered_in_the_order_of_the_tape() {
        let questions =
            [question(1, &ask("a"), "one"), question(2, &ask("b"), "two"), question(3, &ask("a"), "three")];
        let mut stock = Stock::new(&questions);
        let mut said = |message| stock.answer(&ask(message)).0["result"]["action"].clone();
        assert_eq!([said("b"), said("a"), said("a")], ["two", "one", "three"]);
        assert_eq!(stock.surprises(), []);
    }

    #[test]
    fn what_was_never_asked_is_an_error_and_is_told() {
        let questions = [question(1, &ask("a"), "one")];
        let mut stock = Stock::new(&questions);
        let (reply, _) = stock.answer(&ask("new"));
        assert!(reply["error"]["message"].as_str().unwrap().contains("elicitation/create"), "{reply}");
        let surprises = stock.surprises();
        assert!(
            matches!(&surprises[..], [Surprise::NotOnTape(_), Surprise::NotAsked(1, _)]),
            "{surprises:?}"
        );
    }

    #[test]
    fn what_is_asked_once_more_gets_the_same_answer_and_is_told() {
        let questions = [question(1, &ask("a"), "one")];
        let mut stock = Stock::new(&questions);
        assert_eq!(stock.answer(&ask("a")).0, stock.answer(&ask("a")).0);
        assert!(matches!(&stock.surprises()[..], [Surprise::Again(_)]));
    }
}
