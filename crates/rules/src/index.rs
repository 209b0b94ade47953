//! Which rules a message could fit, told by its kind, direction, method and name alone.
//!
//! A rule that can only fit one method is in no other method's list, and one that asks for a name is found by that name:
//! a thousand rules for a thousand tools cost a call as much as the one rule for its tool.

use std::collections::HashMap;

use shadowcat_protocol::{Direction, method};

use crate::condition::{Chance, Condition, Known, Shape};
use crate::scene::Kind;

/// Methods with a list of their own at most; rules for others share a list, and are told apart by looking.
const METHODS_MAX: usize = 64;

/// These have theirs in any case, however many others rules name.
const FREQUENT: [&str; 4] =
    [method::TOOLS_CALL, method::TOOLS_LIST, method::PROMPTS_GET, method::RESOURCES_READ];

pub(crate) const DIRECTIONS: [Direction; 2] = [Direction::ToServer, Direction::ToClient];

/// The rules by what they could fit. Rules are numbers in the order in which they are looked at.
#[derive(Debug, Default)]
pub(crate) struct Index {
    lists: HashMap<(Kind, Direction), Methods>,
}

/// The rules for one kind of message in one direction.
#[derive(Debug, Default)]
struct Methods {
    known: HashMap<String, List>,
    others: List,
}

/// Rules in their order: those that any message could fit, and those that need one of these names.
#[derive(Debug, Default)]
pub(crate) struct List {
    general: Vec<u32>,
    named: HashMap<String, Vec<u32>>,
}

impl Index {
    pub(crate) fn of(conditions: &[&Condition]) -> Self {
        let mut written: Vec<&str> = Vec::new();
        for condition in conditions {
            condition.methods(&mut written);
        }
        written.sort_unstable();
        written.dedup();
        let written = written.into_iter().filter(|method| !FREQUENT.contains(method));
        let methods: Vec<String> =
            FREQUENT.into_iter().chain(written).take(METHODS_MAX).map(str::to_owned).collect();
        let mut lists = HashMap::new();
        for kind in Kind::ALL {
            for direction in DIRECTIONS {
                let list = |method| List::of(conditions, &Shape { kind, direction, method });
                let known = methods.iter().map(|method| (method.clone(), list(Known::Is(method))));
                let known = known.filter(|(_, list)| !list.is_empty()).collect();
                lists.insert((kind, direction), Methods { known, others: list(Known::NoneOf(&methods)) });
            }
        }
        Self { lists }.with_methods(&methods)
    }

    /// A method whose list is empty is known all the same: what fits no method in particular is not for it.
    fn with_methods(mut self, methods: &[String]) -> Self {
        for lists in self.lists.values_mut().filter(|lists| !lists.others.is_empty()) {
            for method in methods {
                lists.known.entry(method.clone()).or_default();
            }
        }
        self
    }

    pub(crate) fn list(&self, kind: Kind, direction: Direction, method: Option<&str>) -> Option<&List> {
        let lists = self.lists.get(&(kind, direction))?;
        Some(method.and_then(|method| lists.known.get(method)).unwrap_or(&lists.others))
    }

    /// Whether any message of this kind could fit a rule.
    pub(crate) fn has(&self, kind: Kind, direction: Direction) -> bool {
        self.lists.get(&(kind, direction)).is_some_and(|lists| {
            !lists.others.is_empty() || lists.known.values().any(|list| !list.is_empty())
        })
    }
}

impl List {
    fn of(conditions: &[&Condition], shape: &Shape<'_>) -> Self {
        let mut list = Self::default();
        for (number, condition) in (0..).zip(conditions) {
            if condition.chance(shape) == Chance::Never {
                continue;
            }
            match condition.names() {
                None => list.general.push(number),
                Some(names) => {
                    for name in names {
                        let rules = list.named.entry(name.to_owned()).or_default();
                        if rules.last() != Some(&number) {
                            rules.push(number);
                        }
                    }
                }
            }
        }
        list
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.general.is_empty() && self.named.is_empty()
    }

    /// Whether a message of this name could fit any of them.
    pub(crate) fn has(&self, name: Option<&str>) -> bool {
        self.next(0, name).is_some()
    }

    /// The first rule from this number on that a message of this name could fit.
    pub(crate) fn next(&self, from: u32, name: Option<&str>) -> Option<u32> {
        let first = |list: &[u32]| list.get(list.partition_point(|number| *number < from)).copied();
        let named = name.and_then(|name| self.named.get(name)).and_then(|list| first(list));
        match (first(&self.general), named) {
            (Some(general), Some(named)) => Some(general.min(named)),
            (general, named) => general.or(named),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::compile;

    /// The rules that a call of this tool is shown to, if none of them ends it.
    fn shown(rules: &str, tool: &str) -> Vec<u32> {
        let rules = compile(rules).unwrap();
        let list = rules.index.list(Kind::Request, Direction::ToServer, Some("tools/call")).unwrap();
        let mut shown = Vec::new();
        let mut from = 0;
        while let Some(number) = list.next(from, Some(tool)) {
            shown.push(number);
            from = number + 1;
        }
        shown
    }

    fn thousand(when: &str) -> String {
        let rule = |number: usize| {
            format!("- {{name: r{number}, when: {}, stop: true}}\n", when.replace('#', &number.to_string()))
        };
        (0..1_000).map(rule).collect()
    }

    #[test]
    fn of_a_thousand_rules_a_message_is_shown_to_those_that_it_could_fit() {
        assert!(shown(&thousand("{method: 'resources/#'}"), "t7").is_empty());
        assert!(shown(&thousand("{on: answer, tool: 't#'}"), "t7").is_empty());
        assert!(shown(&thousand("{direction: to-client}"), "t7").is_empty());
        assert!(shown(&thousand("{prompt: 't#'}"), "t7").is_empty());
        assert_eq!(shown(&thousand("{tool: 't#'}"), "t7"), [7]);
        assert_eq!(shown(&thousand("{all: [{tool: ['t#', x#]}], era: legacy}"), "x9"), [9]);
        assert_eq!(shown(&thousand("{tool: '*#'}"), "t7").len(), 1_000);
        assert_eq!(shown(&thousand("{not: {tool: 't#'}}"), "t7").len(), 1_000);
    }

    #[test]
    fn rules_by_name_and_others_are_looked_at_in_one_order() {
        let rules = "- {name: a, when: {tool: t}, stop: true}\n- {name: b, when: {tool: 't*'}, stop: true}\n\
                     - {name: c, when: {tool: u}, stop: true}\n- {name: d, when: {tool: t}, stop: true}\n";
        assert_eq!(shown(rules, "t"), [0, 1, 3]);
    }

    #[test]
    fn beyond_the_methods_that_have_lists_rules_are_found_all_the_same() {
        let rules = compile(&thousand("{method: 'm/#'}")).unwrap();
        for number in [0, 63, 64, 999] {
            let method = format!("m/{number}");
            let list = rules.index.list(Kind::Request, Direction::ToServer, Some(&method)).unwrap();
            let mut from = 0;
            let mut found = std::iter::from_fn(|| {
                let next = list.next(from, None)?;
                from = next + 1;
                Some(next)
            });
            assert!(found.any(|found| found == number), "{method}");
        }
    }
}
