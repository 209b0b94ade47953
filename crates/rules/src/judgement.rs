//! One message on its way through the rules.

use std::panic::{AssertUnwindSafe, catch_unwind};

use shadowcat_protocol::Message;

use crate::action::{Carried, Step};
use crate::index::Candidates;
use crate::rules::{Rule, Rules};
use crate::scene::Scene;
use crate::view::{Body, View};
use crate::world::World;

/// A message and the rules that are still to be looked at. What a rule asks for is carried out before the next rule is
/// looked at, so that later rules see what earlier ones made of the message.
#[derive(Debug)]
pub struct Judgement<'r> {
    rules: &'r Rules,
    message: Message,
    scene: Scene<'r>,
    headers: Option<Vec<(Box<str>, Box<str>)>>,
    body: Body,
    /// The next rule to look at.
    next: u32,
    /// The rule that is looked at or carried out.
    at: Option<u32>,
    /// The rule that fits, and which of its actions is next.
    current: Option<(u32, usize)>,
    ended: bool,
}

/// What a rule asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Fired<'r> {
    /// The name of the rule.
    pub rule: &'r str,
    /// Whether it is the first that this rule asks for, for this message.
    pub first: bool,
    /// What it is.
    pub step: Step,
}

impl<'r> Judgement<'r> {
    pub(crate) fn new(rules: &'r Rules, message: Message, scene: Scene<'r>) -> Self {
        Self {
            rules,
            message,
            scene,
            headers: None,
            body: Body::default(),
            next: 0,
            at: None,
            current: None,
            ended: false,
        }
    }

    /// The next thing that a rule asks for; none when no rule is left, or one has ended the message's way.
    ///
    /// A panic, which is a defect here or in a library, costs what the rule says that its failures cost.
    pub fn next(&mut self, world: &dyn World) -> Option<Fired<'r>> {
        // All that a panic leaves half-done is the place in the rules, which the failure sets.
        catch_unwind(AssertUnwindSafe(|| self.go_on(world))).unwrap_or_else(|_| self.panicked())
    }

    fn panicked(&mut self) -> Option<Fired<'r>> {
        let rule = self.at.take().and_then(|number| self.rules.list.get(number as usize));
        self.ended = rule.is_none();
        let first = self.current.is_none_or(|(_, action)| action <= 1);
        rule.map(|rule| self.failed(rule, first, "it panicked; the log says where".to_owned()))
    }

    fn go_on(&mut self, world: &dyn World) -> Option<Fired<'r>> {
        while !self.ended {
            let fired = match self.current {
                Some((number, action)) => self.carry_out(number, action, world),
                None => self.search(world),
            };
            if fired.is_some() {
                return fired;
            }
        }
        None
    }

    /// The message as it is now.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Puts another message in the place of this one: somebody edited it while it was held.
    pub fn replace(&mut self, message: Message) {
        self.message = message;
        self.body = Body::default();
    }

    /// The headers that travel with the message, if a rule has changed them.
    pub fn headers(&self) -> Option<&[(Box<str>, Box<str>)]> {
        self.headers.as_deref()
    }

    /// The message as it is now.
    pub fn into_message(self) -> Message {
        self.message
    }

    fn view<'v>(&'v self, world: &'v dyn World) -> View<'v> {
        let headers = self.headers.as_deref().unwrap_or(self.scene.facts.headers);
        View::new(&self.message, &self.scene, headers, &self.body, world)
    }

    /// Looks for the next rule that the message fits, whose actions are next then. All rules that it passes see the message
    /// as it is, so it is read for them once.
    fn search(&mut self, world: &dyn World) -> Option<Fired<'r>> {
        self.at = None;
        let rules = self.rules;
        let headers = self.headers.as_deref().unwrap_or(self.scene.facts.headers);
        let view = View::new(&self.message, &self.scene, headers, &self.body, world);
        let Some(list) = rules.index.list(view.kind, self.scene.direction, view.method) else {
            self.ended = true;
            return None;
        };
        let placed = self.body.placed.get_or_init(|| rules.index.placed(list, &view));
        for number in Candidates::of(list, view.name.as_deref(), placed, self.next) {
            let rule = rules.list.get(number as usize)?;
            (self.next, self.at) = (number + 1, Some(number));
            match rule.condition.holds(&view) {
                Ok(true) if rule.counting.as_ref().is_none_or(|counting| counting.takes(world)) => {
                    self.current = Some((number, 0));
                    return None;
                }
                Ok(_) => {}
                Err(unreadable) => return Some(self.failed(rule, true, unreadable.to_string())),
            }
        }
        self.ended = true;
        None
    }

    fn carry_out(&mut self, number: u32, action: usize, world: &dyn World) -> Option<Fired<'r>> {
        self.at = Some(number);
        let rule = self.rules.list.get(number as usize)?;
        let fired = |step| Fired { rule: &rule.name, first: action == 0, step };
        let Some(wanted) = rule.actions.get(action) else {
            self.current = None;
            self.ended = rule.stop;
            return rule.stop.then(|| fired(Step::Stop));
        };
        self.current = Some((number, action + 1));
        let carried = wanted.carry_out(&self.rules.templates, &self.view(world));
        let step = match carried {
            Ok(Carried::Step(step)) => step,
            Ok(Carried::Message(message)) => {
                self.replace(message);
                Step::Edited
            }
            Ok(Carried::Headers(headers)) => {
                self.headers = Some(headers);
                Step::Headers
            }
            Err(sentence) => return Some(self.failed(rule, action == 0, sentence)),
        };
        self.ended = step.is_last();
        Some(fired(step))
    }

    fn failed(&mut self, rule: &'r Rule, first: bool, sentence: String) -> Fired<'r> {
        let open = rule.fails_open;
        self.current = None;
        self.ended = !open;
        Fired { rule: &rule.name, first, step: Step::Failed { sentence, open } }
    }
}
