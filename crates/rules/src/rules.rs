//! Rules, compiled: every pattern and path is read, and nothing about them can be wrong any more.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use shadowcat_protocol::caching::Cacheable;
use shadowcat_protocol::{Direction, Message, Request, method};

use crate::action::{Action, Compiling, Templates};
use crate::condition::{self, Chance, Condition, Known, Shape};
use crate::counting::Counting;
use crate::fault::{Fault, Faults, Place};
use crate::index::{DIRECTIONS, Index};
use crate::judgement::{Found, Judgement};
use crate::scene::{Kind, Scene};
use crate::world::World;
use crate::written;

/// Rules at most; each costs memory in every list that it could be in.
const RULES_MAX: usize = 10_000;

/// Rules in the order in which they are looked at.
#[derive(Debug, Default)]
pub struct Rules {
    pub(crate) list: Vec<Rule>,
    pub(crate) index: Index,
    pub(crate) templates: Templates,
    /// What may be kept of a server's answers, and is not the server's own any more.
    changing: Vec<Cacheable>,
}

#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    /// Without what the index knows.
    pub(crate) condition: Condition,
    pub(crate) counting: Option<Counting>,
    pub(crate) actions: Vec<Action>,
    pub(crate) stop: bool,
    pub(crate) fails_open: bool,
}

impl Rules {
    /// Reads every pattern, path and template.
    ///
    /// # Errors
    /// With everything that is wrong.
    pub fn compile(written: &[written::Rule]) -> Result<Self, Vec<Fault>> {
        if written.is_empty() {
            return Ok(Self::default());
        }
        let mut faults = Faults::default();
        let mut templates = Templates::default();
        let root = Place::Root("rules");
        if written.len() > RULES_MAX {
            faults.add(&root, format!("more than {RULES_MAX} rules"));
            return faults.or(Self::default());
        }
        let mut names: HashSet<&str> = HashSet::new();
        let mut rules = Vec::with_capacity(written.len());
        for (number, rule) in written.iter().enumerate() {
            let place = root.index(number);
            if rule.name.trim().is_empty() {
                faults.add(&place.key("name"), "expected a name");
            } else if !names.insert(&rule.name) {
                // Which one is not said by its number: it may be in another file.
                faults.add(&place.key("name"), format!("another rule has the name {:?} already", rule.name));
            }
            rules.push((rule.priority, Rule::compile(rule, &place, &mut templates, &mut faults)));
        }
        rules.sort_by_key(|(priority, _)| Reverse(*priority));
        let rules: Vec<Rule> = rules.into_iter().map(|(_, rule)| rule).collect();
        let index = Index::of(&rules.iter().map(|rule| &rule.condition).collect::<Vec<_>>());
        let changing =
            Cacheable::ALL.into_iter().filter(|what| rules.iter().any(|rule| rule.may_change(*what)));
        let changing = changing.collect();
        let beyond_shape = |rule: Rule| Rule { condition: rule.condition.beyond_shape(), ..rule };
        let rules = rules.into_iter().map(beyond_shape).collect();
        faults.or(Self { list: rules, index, templates, changing })
    }

    /// Those that are written as they were in the rules before go on counting where they are there.
    pub fn go_on_from(&mut self, before: &Self) {
        let before: HashMap<&str, &Counting> = before
            .list
            .iter()
            .filter_map(|rule| Some((rule.name.as_str(), rule.counting.as_ref()?)))
            .collect();
        for rule in &mut self.list {
            if let (Some(counting), Some(earlier)) = (&mut rule.counting, before.get(rule.name.as_str())) {
                counting.go_on_from(earlier);
            }
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Their names, in the order in which they are looked at.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|rule| rule.name.as_str())
    }

    /// Whether any of them could fit such a message; costs next to nothing.
    pub fn concerns(&self, kind: Kind, direction: Direction, method: Option<&str>) -> bool {
        self.index.list(kind, direction, method).is_some_and(|list| !list.is_empty())
    }

    /// Whether any of them could fit what comes back for this request, which travels in `direction`.
    pub fn concerns_replies(&self, asked: &Request, direction: Direction) -> bool {
        let back = direction.back();
        let answer = self.index.list(Kind::Answer, back, Some(asked.method()));
        answer.is_some_and(|list| list.has(|| asked.name())) || self.index.has(Kind::Notification, back)
    }

    /// Whether what a modern client is answered to this may differ by who it is: any of them may change the answer, or what the
    /// server is asked.
    pub fn may_change(&self, what: Cacheable) -> bool {
        self.changing.contains(&what)
    }

    /// Begins to judge a message.
    pub fn judge<'r>(&'r self, message: Message, scene: Scene<'r>) -> Judgement<'r> {
        Judgement::new(self, message, scene)
    }

    /// Looks at a message without taking it: none if it goes on as it is, which is what becomes of nearly every one.
    pub fn look(&self, message: &Message, scene: &Scene<'_>, world: &dyn World) -> Option<Found> {
        Found::of(self, message, scene, world)
    }

    /// Judges a message of which this was found, in the same scene.
    pub fn judge_on<'r>(&'r self, found: Found, message: Message, scene: Scene<'r>) -> Judgement<'r> {
        Judgement::on(self, found, message, scene)
    }
}

impl Rule {
    fn compile(
        written: &written::Rule,
        place: &Place<'_>,
        templates: &mut Templates,
        faults: &mut Faults,
    ) -> Self {
        let (when, list) = (place.key("when"), place.key("do"));
        if written.actions.is_empty() && !written.stop {
            faults.add(&list, "the rule does nothing; write what it does, or `stop: true`");
        }
        let faults_before = faults.count();
        let condition = condition::compile(&written.when, &when, faults);
        let kinds: Vec<Kind> =
            Kind::ALL.into_iter().filter(|kind| could_fit(&condition, *kind, &DIRECTIONS)).collect();
        if kinds.is_empty() && faults.count() == faults_before {
            faults.add(&when, "no message can ever fit this: its conditions contradict each other");
        }
        let mut compiling =
            Compiling { templates, faults, kinds: &kinds, has_rounds: has_rounds(&condition) };
        let actions = written.actions.iter().enumerate();
        let actions =
            actions.filter_map(|(number, action)| compiling.action(action, &list.index(number))).collect();
        Self {
            name: written.name.clone(),
            condition,
            counting: Counting::of(written, &when, faults),
            actions,
            stop: written.stop,
            fails_open: written.fail == written::Fail::Open,
        }
    }

    fn may_change(&self, what: Cacheable) -> bool {
        let method = Known::Is(what.method());
        let ways = [(Kind::Request, Direction::ToServer), (Kind::Answer, Direction::ToClient)];
        let could_fit =
            |(kind, direction)| self.condition.chance(&Shape { kind, direction, method }) != Chance::Never;
        self.actions.iter().any(Action::changes) && ways.into_iter().any(could_fit)
    }
}

/// The requests to a server that it may answer with a question, after which they are asked again (2026-07-28).
const WITH_ROUNDS: [&str; 3] = [method::TOOLS_CALL, method::PROMPTS_GET, method::RESOURCES_READ];

/// Whether any message of this kind could fit that travels in one of these directions, whatever its method.
pub(crate) fn could_fit(condition: &Condition, kind: Kind, directions: &[Direction]) -> bool {
    let mut methods = Vec::new();
    condition.methods(&mut methods);
    let others: Vec<String> = methods.iter().map(|method| (*method).to_owned()).collect();
    let known = methods.into_iter().map(Known::Is).chain([Known::NoneOf(&others)]);
    known.into_iter().any(|method| {
        directions.iter().any(|direction| {
            condition.chance(&Shape { kind, direction: *direction, method }) != Chance::Never
        })
    })
}

fn has_rounds(condition: &Condition) -> bool {
    WITH_ROUNDS.into_iter().any(|method| {
        let shape = Shape { kind: Kind::Request, direction: Direction::ToServer, method: Known::Is(method) };
        condition.chance(&shape) != Chance::Never
    })
}
