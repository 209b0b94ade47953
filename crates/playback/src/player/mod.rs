//! Tapes as a server: which recorded answer a client gets, and what comes with it.
//!
//! A [`Player`] holds the calls of its tapes by what they ask. It is asked with a request and the [`Cursor`] of a client,
//! and says what is to happen; it sends nothing and waits for nothing, which is the gateway's.
//!
//! | file | holds |
//! |---|---|
//! | `load.rs` | tapes made a player |
//! | `track.rs`, `scene.rs` | the calls of a tape in their order, and what happened for each |
//! | `asked.rs` | what a request asks |
//! | `shelf.rs`, `cursor.rs` | the calls of one era by what they ask, and how far one client is in them |
//! | `greeting.rs` | what the tapes say of the server, and what is said where they say nothing |
//! | `nearest.rs` | what is told of a call that is not on the tapes |
//! | `states.rs` | what a client is given to bring back |
//! | `score.rs` | what was played and what was not |

mod asked;
mod cursor;
mod greeting;
mod load;
mod nearest;
mod scene;
mod score;
mod shelf;
mod states;
#[cfg(test)]
mod tests;
mod track;

use std::sync::{Arc, OnceLock};

use serde_json::Value;
use shadowcat_protocol::{Era, Request, Response, json, method};
use shadowcat_tape::{Redactor, Secrets};

use self::asked::Asked;
use self::shelf::{Found, Shelf};
use self::states::States;
use crate::ignored::Ignored;
pub use cursor::Cursor;
pub use load::Empty;
pub use scene::{Act, Live, Question, Scene, Step};
pub use score::{Report, Score};

/// How tapes are played.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What does not count when two calls are compared.
    pub ignored: Ignored,
    /// A tool is not called more often than it was on tape.
    pub is_strict: bool,
}

/// Tapes as a server.
#[derive(Debug)]
pub struct Player {
    tapes: Vec<String>,
    legacy: Shelf,
    modern: Shelf,
    settings: Settings,
    states: States,
    score: Score,
    /// Made at the first need, which most runs do not have; none if the system has no randomness for it.
    redactor: OnceLock<Option<Redactor>>,
}

/// What is to happen for a request.
#[derive(Debug)]
pub enum Turn {
    /// What happened on the tape, with what is this request's own.
    Scene(Arc<Scene>, Live),
    /// Something that needs no tape.
    Ready(Response),
    /// Nothing: the tapes do not have it. The sentence says what comes near.
    Missing(String),
}

impl Player {
    /// The names of the tapes.
    pub fn tapes(&self) -> &[String] {
        &self.tapes
    }

    /// What was played so far.
    pub fn score(&self) -> &Score {
        &self.score
    }

    /// Whether the tapes have calls of clients of this era.
    pub fn speaks(&self, era: Era) -> bool {
        !self.shelf(era).is_empty()
    }

    /// Whether clients of this era called this method on the tapes.
    pub fn knows(&self, era: Era, method: &str) -> bool {
        self.shelf(era).methods().contains(&method)
    }

    fn shelf(&self, era: Era) -> &Shelf {
        match era {
            Era::Legacy => &self.legacy,
            Era::Modern => &self.modern,
        }
    }

    /// What is to happen for a request of a client that is this far.
    pub fn answer(&self, era: Era, cursor: &mut Cursor, request: &Request) -> Turn {
        let known = self.shelf(era);
        let live = Live::of(request, era == Era::Modern);
        if request.method() == greeting::method_of(era) {
            return self.greet(era, request, live);
        }
        if era == Era::Legacy && request.method() == method::PING {
            return Turn::Ready(Response::result(request.id(), "{}"));
        }
        let Some(asked) = Asked::read(request.text(), &self.settings.ignored) else {
            return Turn::Missing("the request is not one that can be compared".to_owned());
        };
        let found = match state(request) {
            None => known.find(&asked, cursor),
            Some(state) => match self.states.opener(&state) {
                Some(opener) => known.round(opener, &asked),
                None => known.stray(&asked),
            },
        };
        let refused = |found: &Found| {
            found.is_repeated && self.settings.is_strict && request.method() == method::TOOLS_CALL
        };
        match found {
            Some(found) if !refused(&found) => self.play(era, found, live),
            Some(found) => self.miss(nearest::used_up(self, era, found.call)),
            None => match greeting::without_tape(era, request) {
                Some(turn) => turn,
                None => self.miss(nearest::describe(self, era, &asked, state(request).is_some())),
            },
        }
    }

    /// What the server did of its own accord when its client notified it.
    pub fn hear(&self, era: Era, cursor: &mut Cursor, method: &str) -> Option<Arc<[Step]>> {
        self.shelf(era).word(method, cursor).filter(|steps| !steps.is_empty())
    }

    /// Notes how a client answered a question of the server.
    pub fn heard(&self, question: &Question, answer: &Response) {
        if let Some(difference) = nearest::other_answer(self, question, answer) {
            tracing::warn!(question = question.request.method(), %difference, "the client answers otherwise than on the tape");
            self.score.note_surprise();
        }
    }

    fn play(&self, era: Era, found: Found, mut live: Live) -> Turn {
        let known = self.shelf(era);
        let Some(call) = known.call(found.call) else { return Turn::Missing(String::new()) };
        known.note_used(found.call);
        self.score.note_played(found.is_repeated);
        if found.is_repeated {
            tracing::debug!(
                call = call.asked.subject(),
                "asked more often than on the tape: the last answer is given again"
            );
        }
        if found.is_surprising {
            tracing::warn!(call = call.asked.subject(), "the client brings other answers than on the tape");
            self.score.note_surprise();
        }
        if call.gives_state() {
            live.state = Some(self.states.give(found.call));
        }
        Turn::Scene(Arc::clone(&call.scene), live)
    }

    fn miss(&self, what: String) -> Turn {
        tracing::warn!(missing = what, "not on the tape");
        self.score.note_miss(&what);
        Turn::Missing(what)
    }

    /// What was played, and what was not, in the end.
    pub fn report(&self) -> Report {
        let unused = [&self.legacy, &self.modern].into_iter().flat_map(Shelf::unused);
        let unused = unused.map(|call| format!("{} ({})", call.asked.subject(), self.place(call))).collect();
        self.score.report(unused)
    }

    /// A live value as it may stand in logs and errors: without what a tape would not show.
    fn veil(&self, live: &Value) -> Value {
        let redactor = self.redactor.get_or_init(|| Redactor::new(&Secrets::default()).ok());
        let Some(redactor) = redactor else { return Value::Null };
        serde_json::from_str(&redactor.json(&live.to_string()).text).unwrap_or_default()
    }

    /// Where a recorded call stands.
    fn place(&self, call: &shelf::Recorded) -> String {
        let tape = self.tapes.get(call.place.tape).map_or("?", String::as_str);
        format!("{tape}, frame {}", call.place.seq)
    }
}

/// The state that a request brings back.
fn state(request: &Request) -> Option<String> {
    let raw = json::get(request.params()?, &["requestState"])?;
    Some(json::string(raw).map_or_else(|| raw.to_owned(), std::borrow::Cow::into_owned))
}
