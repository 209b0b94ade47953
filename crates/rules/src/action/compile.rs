//! From what is written to an action, and what an action cannot do with the messages of its rule.

use super::edit::Edit;
use super::headers::Headers;
use super::patch::Patch;
use super::template::{Json, Template, Templates};
use super::{Action, Pause};
use crate::condition::Path;
use crate::fault::{Faults, Place};
use crate::scene::Kind;
use crate::written::{self, Mock};

/// What is at hand while the actions of a rule are compiled.
pub(crate) struct Compiling<'c> {
    pub(crate) templates: &'c mut Templates,
    pub(crate) faults: &'c mut Faults,
    /// The kinds of message that the rule could fit.
    pub(crate) kinds: &'c [Kind],
    /// Whether it could fit requests whose answer may be a question, after which the client asks them again.
    pub(crate) has_rounds: bool,
}

impl Compiling<'_> {
    pub(crate) fn action(&mut self, written: &written::Action, place: &Place<'_>) -> Option<Action> {
        let place = &place.key(written.word());
        Some(match written {
            written::Action::Set(set) => Action::Edit(Edit::set(set, place, self)),
            written::Action::Remove(remove) => Action::Edit(Edit::remove(remove, place, self)),
            written::Action::Rename(rename) => Action::Edit(Edit::rename(rename, place, self)),
            written::Action::Replace(replace) => Action::Edit(Edit::replace(replace, place, self)),
            written::Action::Patch(patch) => Action::Patch(Patch::compile(patch, place, self)),
            written::Action::Headers(headers) => Action::Headers(Headers::compile(headers, place, self)),
            written::Action::Block(reason) => Action::Block(self.text(reason, place)),
            written::Action::Mock(mock) => {
                self.answers(place);
                self.mock(mock, place)
            }
            written::Action::Delay(delay) => {
                let (from, to) = (delay.from.get(), delay.to.get());
                if from > to {
                    self.faults.add(place, "`from` is longer than `to`");
                }
                Action::Delay { from, to }
            }
            written::Action::Drop(true) => Action::Drop,
            written::Action::Drop(false) => {
                self.faults.add(place, "does nothing; write `drop: true`, or leave it out");
                return None;
            }
            written::Action::Fault(broken) => {
                self.answers(place);
                Action::Fault(*broken)
            }
            written::Action::Pause(written::Pause { held_for, then }) => {
                Action::Pause(Pause { held_for: held_for.map(written::Span::get), then: *then })
            }
            written::Action::Tag(words) => Action::Tag(words.0.clone()),
            written::Action::Log(line) => Action::Log(self.text(line, place)),
        })
    }

    fn mock(&mut self, mock: &Mock, place: &Place<'_>) -> Action {
        match mock {
            Mock::Result(result) => {
                let place = place.key("result");
                let result = self.json(result, &place);
                if !result.may_be_object() {
                    self.faults.add(&place, "a result is an object");
                }
                Action::MockResult(result)
            }
            Mock::Error(error) => {
                let place = place.key("error");
                Action::MockError {
                    code: error.code,
                    message: self.text(&error.message, &place.key("message")),
                    data: error.data.as_ref().map(|data| self.json(data, &place.key("data"))),
                }
            }
        }
    }

    fn text(&mut self, source: &str, place: &Place<'_>) -> Template {
        let template = Template::text(source, self.templates, place, self.faults);
        self.known(template.variables().iter().copied(), place);
        template
    }

    pub(super) fn json(&mut self, written: &serde_json::Value, place: &Place<'_>) -> Json {
        let json = Json::compile(written, self.templates, place, self.faults);
        self.known(json.variables(), place);
        json
    }

    pub(super) fn path(&mut self, text: &str, place: &Place<'_>) -> Option<Path> {
        self.faults.take(place, Path::parse(text))
    }

    /// A path to something inside.
    pub(super) fn inner_path(&mut self, text: &str, place: &Place<'_>) -> Option<Path> {
        let path = self.path(text, place)?;
        if path.is_root() {
            self.faults.add(place, "expected a path to something inside, such as `$.arguments.path`");
        }
        Some(path)
    }

    /// Demands that a value which is put there is the same each time, for the rounds of one call are one call: a request
    /// whose answer is a question comes again with the same arguments, and a server may hold it to them.
    pub(super) fn repeatable(
        &mut self,
        path: &Path,
        variables: impl Iterator<Item = &'static str>,
        place: &Place<'_>,
    ) {
        let below = if path.is_below(META) { Some(META) } else { None };
        self.repeatable_at(below, variables, place);
    }

    /// The same, for a place below this member.
    pub(super) fn repeatable_at(
        &mut self,
        member: Option<&str>,
        mut variables: impl Iterator<Item = &'static str>,
        place: &Place<'_>,
    ) {
        let by_chance = variables.find(|name| matches!(*name, "uuid" | "now"));
        if let Some(name) = by_chance.filter(|_| self.has_rounds && member != Some(META)) {
            let sentence = format!(
                "`{name}()` differs each time, but a call that is asked something comes again and must be the same; use \
                 what is in the request, such as `{{{{ request.params.arguments | string | hash }}}}`, or put it below `$.{META}`"
            );
            self.faults.add(place, sentence);
        }
    }

    /// Demands that there is an answer to speak of.
    fn answers(&mut self, place: &Place<'_>) {
        if self.kinds.contains(&Kind::Notification) {
            self.faults
                .add(place, "a notification has no answer; leave `notification` out of `on`, or use `drop`");
        }
    }

    /// Demands that what templates use is there for every message that the rule could fit.
    fn known(&mut self, variables: impl Iterator<Item = &'static str>, place: &Place<'_>) {
        for name in variables {
            let (kind, word) = match name {
                "response" => (Kind::Answer, "answer"),
                "notification" => (Kind::Notification, "notification"),
                _ => continue,
            };
            if self.kinds.iter().any(|other| *other != kind) {
                self.faults.add(place, format!("`{name}` is there only in rules `on: {word}`"));
            }
        }
    }
}

const META: &str = "_meta";
