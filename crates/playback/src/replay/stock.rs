//! What the client on tape answered when it was asked, given again to a server that asks the same.

use std::time::Duration;

use serde_json::{Value, json};
use shadowcat_protocol::{codes, method};

use crate::compare::means_the_same;
use crate::run_values::meaning;
use crate::script::Question;
use crate::tapes::Place;

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
    /// It was asked on tape, in this frame and in other words about the same text; the server was given that answer.
    Otherwise(Place, Value, Value),
    /// It was asked more often than on tape; the server was given the same answer again.
    Again(Value),
    /// It was asked on tape, in this frame, and never now.
    NotAsked(Place, Value),
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
        let (given, surprise) = if let Some(question) = self.next(|known| means_the_same(known, &asked)) {
            (question.given(), None)
        } else if let Some(question) = self.next(|known| is_about_the_same(known, &asked)) {
            (question.given(), Some(Surprise::Otherwise(question.place, question.asked.clone(), asked)))
        } else if let Some(question) = self.last(&asked) {
            (question.given(), Some(Surprise::Again(asked)))
        } else {
            let method = asked.get("method").and_then(Value::as_str).unwrap_or_default();
            let sentence = format!("the tape that is played holds no answer to this {method}");
            ((error(&sentence), Duration::ZERO), Some(Surprise::NotOnTape(asked)))
        };
        if let Some(surprise) = surprise {
            self.note(surprise);
        }
        given
    }

    /// The next question that was not asked yet.
    fn next(&mut self, fits: impl Fn(&Value) -> bool) -> Option<&Question> {
        let mut unused = self.questions.iter_mut().filter(|(_, used)| !used);
        let (question, used) = unused.find(|(question, _)| fits(&question.asked))?;
        *used = true;
        Some(question)
    }

    fn last(&self, asked: &Value) -> Option<&Question> {
        let mut known = self.questions.iter().map(|(question, _)| question).rev();
        known.find(|question| {
            means_the_same(&question.asked, asked) || is_about_the_same(&question.asked, asked)
        })
    }

    fn note(&mut self, surprise: Surprise) {
        if self.surprises.len() < SURPRISES_MAX {
            self.surprises.push(surprise);
        }
    }

    /// What was asked otherwise than on tape, at the end.
    pub(super) fn surprises(mut self) -> Vec<Surprise> {
        for (question, _) in std::mem::take(&mut self.questions).into_iter().filter(|(_, used)| !used) {
            self.note(Surprise::NotAsked(question.place, question.asked));
        }
        self.surprises
    }
}

impl Question {
    fn given(&self) -> (Value, Duration) {
        let never = || error("the client on the tape that is played never answered this");
        (self.reply.clone().unwrap_or_else(never), self.took)
    }
}

/// Whether two questions put the same text before a person or a model, whatever else differs: the form of the answer, how
/// long it may be. An answer to another text is never given, for it may agree to something else.
fn is_about_the_same(before: &Value, after: &Value) -> bool {
    let text = |asked: &Value| {
        let params = asked.get("params")?;
        let text = match asked.get("method")?.as_str()? {
            method::ELICITATION => [params.get("message")?, params.get("url").unwrap_or(&Value::Null)],
            method::SAMPLING => [params.get("messages")?, params.get("systemPrompt").unwrap_or(&Value::Null)],
            _ => return None,
        };
        Some(json!([asked.get("method"), text]))
    };
    text(before).zip(text(after)).is_some_and(|(before, after)| means_the_same(&before, &after))
}

fn error(message: &str) -> Value {
    json!({"error": {"code": codes::INTERNAL_ERROR, "message": message}})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(seq: u64, asked: &Value, action: &str) -> Question {
        let reply = Some(json!({"result": {"action": action}}));
        Question {
            place: Place { tape: 0, seq },
            asked: meaning(asked),
            reply,
            took: Duration::from_millis(3),
        }
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
            matches!(&surprises[..], [Surprise::NotOnTape(_), Surprise::NotAsked(Place { seq: 1, .. }, _)]),
            "{surprises:?}"
        );
    }

    #[test]
    fn the_same_text_asked_in_another_form_gets_its_answer_and_another_text_does_not() {
        let with_schema = |message: &str, title: &str| {
            let schema = json!({"type": "object", "title": title});
            json!({"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}})
        };
        let questions =
            [question(1, &with_schema("a", "old"), "one"), question(2, &with_schema("b", "old"), "two")];
        let mut stock = Stock::new(&questions);
        assert_eq!(stock.answer(&with_schema("b", "new")).0["result"]["action"], "two");
        assert!(stock.answer(&with_schema("c", "old")).0["error"].is_object());
        let surprises = stock.surprises();
        let [Surprise::Otherwise(place, before, _), Surprise::NotOnTape(_), Surprise::NotAsked(..)] =
            &surprises[..]
        else {
            panic!("{surprises:?}")
        };
        assert_eq!((place.seq, &before["params"]["message"]), (2, &json!("b")));
    }

    #[test]
    fn a_form_is_what_a_question_is_unless_it_says_otherwise() {
        let mut asked = ask("a");
        asked["params"]["mode"] = json!("form");
        let mut stock = Stock::new(&[question(1, &asked, "one")]);
        stock.answer(&ask("a"));
        assert_eq!(stock.surprises(), []);
    }

    #[test]
    fn what_is_asked_once_more_gets_the_same_answer_and_is_told() {
        let questions = [question(1, &ask("a"), "one")];
        let mut stock = Stock::new(&questions);
        assert_eq!(stock.answer(&ask("a")).0, stock.answer(&ask("a")).0);
        assert!(matches!(&stock.surprises()[..], [Surprise::Again(_)]));
    }
}
