//! Rules, compiled: every pattern and path is read, and nothing about them can be wrong any more.

use std::cmp::Reverse;
use std::collections::HashMap;

use shadowcat_protocol::{Direction, Message, Request};

use crate::action::Action;
use crate::condition::{self, Condition};
use crate::counting::Counting;
use crate::fault::{Fault, Faults, Place};
use crate::index::Index;
use crate::judgement::Judgement;
use crate::scene::{Kind, Scene};
use crate::written;

/// Rules at most; each costs memory in every list that it could be in.
const RULES_MAX: usize = 10_000;

/// Rules in the order in which they are looked at.
#[derive(Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    index: Index,
}

#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
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
        let mut faults = Faults::default();
        let root = Place::Root("rules");
        if written.len() > RULES_MAX {
            faults.add(&root, format!("more than {RULES_MAX} rules"));
            return faults.or(Self::default());
        }
        let mut names: HashMap<&str, usize> = HashMap::new();
        let mut rules = Vec::with_capacity(written.len());
        for (number, rule) in written.iter().enumerate() {
            let place = root.index(number);
            if rule.name.trim().is_empty() {
                faults.add(&place.key("name"), "expected a name");
            } else if let Some(earlier) = names.insert(&rule.name, number) {
                let sentence = format!("the name {:?} is that of rules[{earlier}] already", rule.name);
                faults.add(&place.key("name"), sentence);
            }
            rules.push((rule.priority, Rule::compile(rule, &place, &mut faults)));
        }
        rules.sort_by_key(|(priority, _)| Reverse(*priority));
        let rules: Vec<Rule> = rules.into_iter().map(|(_, rule)| rule).collect();
        let index = Index::of(&rules.iter().map(|rule| &rule.condition).collect::<Vec<_>>());
        faults.or(Self { rules, index })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Their names, in the order in which they are looked at.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.name.as_str())
    }

    /// Whether any of them could fit such a message; costs next to nothing.
    pub fn concerns(&self, kind: Kind, direction: Direction, method: Option<&str>) -> bool {
        self.index.list(kind, direction, method).is_some_and(|list| !list.is_empty())
    }

    /// Whether any of them could fit what comes back for this request, which travels in `direction`.
    pub fn concerns_replies(&self, asked: &Request, direction: Direction) -> bool {
        let back = direction.back();
        let answer = self.index.list(Kind::Answer, back, Some(asked.method()));
        answer.is_some_and(|list| list.has(asked.name().as_deref()))
            || self.index.has(Kind::Notification, back)
    }

    /// Begins to judge a message.
    pub fn judge<'r>(&'r self, message: Message, scene: Scene<'r>) -> Judgement<'r> {
        Judgement::new(&self.rules, &self.index, message, scene)
    }
}

impl Rule {
    fn compile(written: &written::Rule, place: &Place<'_>, faults: &mut Faults) -> Self {
        let when = place.key("when");
        if written.actions.is_empty() && !written.stop {
            faults.add(&place.key("do"), "the rule does nothing; write what it does, or `stop: true`");
        }
        let list = place.key("do");
        let actions = written.actions.iter().enumerate();
        Self {
            name: written.name.clone(),
            condition: condition::compile(&written.when, &when, faults),
            counting: Counting::of(&written.when, &when, faults),
            actions: actions
                .filter_map(|(number, action)| Action::compile(action, &list.index(number), faults))
                .collect(),
            stop: written.stop,
            fails_open: written.fail == written::Fail::Open,
        }
    }
}
