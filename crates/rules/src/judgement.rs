//! One message on its way through the rules.

use std::cell::Cell;
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
    /// What was found before it began.
    found: Option<Hit>,
    /// The next rule to look at.
    next: u32,
    /// The rule that fits, and which of its actions is next.
    current: Option<(u32, usize)>,
    ended: bool,
}

/// The first rule that does something about a message, and what was read of the message to find it.
#[derive(Debug)]
pub struct Found {
    hit: Hit,
    body: Body,
}

/// A rule that a message fits, or of which that cannot be told.
#[derive(Debug)]
struct Hit {
    rule: u32,
    fault: Option<String>,
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

impl Found {
    /// None if the message goes on as it is.
    pub(crate) fn of(rules: &Rules, message: &Message, scene: &Scene<'_>, world: &dyn World) -> Option<Self> {
        let body = Body::default();
        let hit = Hit::search(rules, 0, &View::new(message, scene, scene.facts.headers, &body, world))?;
        Some(Self { hit, body })
    }
}

impl Hit {
    /// Looks for it among the rules from one on. All that are passed see the message as it is, so it is read for them once.
    fn search(rules: &Rules, from: u32, view: &View<'_>) -> Option<Self> {
        let at = Cell::new(None);
        // A panic leaves nothing half-done.
        let hit = catch_unwind(AssertUnwindSafe(|| Self::search_unguarded(rules, from, view, &at)));
        hit.unwrap_or_else(|_| at.get().map(|rule| Self { rule, fault: Some(PANICKED.to_owned()) }))
    }

    fn search_unguarded(rules: &Rules, from: u32, view: &View<'_>, at: &Cell<Option<u32>>) -> Option<Self> {
        let list = rules.index.list(view.kind, view.scene.direction, view.method)?;
        for number in Candidates::of(list, || view.name(), rules.index.placed(list, view), from) {
            let rule = rules.list.get(number as usize)?;
            at.set(Some(number));
            let fault = match rule.condition.holds(view) {
                Ok(true) if rule.counting.as_ref().is_none_or(|counting| counting.takes(view.world)) => None,
                Ok(_) => continue,
                Err(unreadable) => Some(unreadable.to_string()),
            };
            return Some(Self { rule: number, fault });
        }
        None
    }
}

const PANICKED: &str = "it panicked; the log says where";

impl<'r> Judgement<'r> {
    pub(crate) fn new(rules: &'r Rules, message: Message, scene: Scene<'r>) -> Self {
        Self {
            rules,
            message,
            scene,
            headers: None,
            body: Body::default(),
            found: None,
            next: 0,
            current: None,
            ended: false,
        }
    }

    pub(crate) fn on(rules: &'r Rules, found: Found, message: Message, scene: Scene<'r>) -> Self {
        let Found { hit, body } = found;
        Self { body, found: Some(hit), ..Self::new(rules, message, scene) }
    }

    /// The next thing that a rule asks for; none when no rule is left, or one has ended the message's way.
    ///
    /// A panic, which is a defect here or in a library, costs what the rule says that its failures cost.
    pub fn next(&mut self, world: &dyn World) -> Option<Fired<'r>> {
        while !self.ended {
            let fired = match self.current {
                Some((number, action)) => {
                    // All that a panic leaves half-done is the place in the rules, which the failure sets.
                    catch_unwind(AssertUnwindSafe(|| self.carry_out(number, action, world)))
                        .unwrap_or_else(|_| self.panicked(number, action))
                }
                None => self.search(world),
            };
            if fired.is_some() {
                return fired;
            }
        }
        None
    }

    fn panicked(&mut self, number: u32, action: usize) -> Option<Fired<'r>> {
        let rule = self.rules.list.get(number as usize)?;
        Some(self.failed(rule, action == 0, PANICKED.to_owned()))
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

    /// Looks for the next rule that the message fits, whose actions are next then.
    fn search(&mut self, world: &dyn World) -> Option<Fired<'r>> {
        let found = self.found.take();
        let Some(hit) = found.or_else(|| Hit::search(self.rules, self.next, &self.view(world))) else {
            self.ended = true;
            return None;
        };
        self.next = hit.rule + 1;
        match hit.fault {
            None => {
                self.current = Some((hit.rule, 0));
                None
            }
            Some(fault) => {
                let rule = self.rules.list.get(hit.rule as usize)?;
                Some(self.failed(rule, true, fault))
            }
        }
    }

    fn carry_out(&mut self, number: u32, action: usize, world: &dyn World) -> Option<Fired<'r>> {
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
