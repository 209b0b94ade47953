//! Which rules a message could fit, told by its kind, direction, method and name, and by the texts in its content.
//!
//! A rule that can only fit one method is in no other method's list, and one that asks for a name is found by that name:
//! a thousand rules for a thousand tools cost a call as much as the one rule for its tool. Where many rules look at the
//! same argument, those are found that it could fit (`places.rs`).

mod places;

use shadowcat_protocol::{Direction, method};
use std::borrow::Cow;

use crate::condition::{Chance, Condition, Known, Shape};
use crate::scene::Kind;
use crate::view::View;
use places::{Placed, Places};

/// Methods with a list of their own at most; rules for others share a list, and are told apart by looking.
const METHODS_MAX: usize = 64;

/// These have theirs in any case, however many others rules name.
const FREQUENT: [&str; 4] =
    [method::TOOLS_CALL, method::TOOLS_LIST, method::PROMPTS_GET, method::RESOURCES_READ];

pub(crate) const DIRECTIONS: [Direction; 2] = [Direction::ToServer, Direction::ToClient];

/// The rules by what they could fit. Rules are numbers in the order in which they are looked at.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// In the order of [`slot`].
    lists: [Methods; SLOTS],
    places: Places,
}

/// Lists by what rules name, found several times for each message. What is in a table is the operator's, so a hash that a
/// sender could foresee gains the sender nothing.
type Table<V> = std::collections::HashMap<String, V, foldhash::fast::RandomState>;

const SLOTS: usize = Kind::ALL.len() * DIRECTIONS.len();

fn slot(kind: Kind, direction: Direction) -> usize {
    let kind = match kind {
        Kind::Request => 0,
        Kind::Notification => 1,
        Kind::Answer => 2,
    };
    kind * DIRECTIONS.len() + usize::from(direction == Direction::ToClient)
}

/// The rules for one kind of message in one direction.
#[derive(Debug, Default)]
struct Methods {
    known: Table<List>,
    others: List,
}

/// Rules in their order: those that any message could fit, and those that need one of these names.
#[derive(Debug, Default)]
pub(crate) struct List {
    general: Vec<u32>,
    named: Table<Vec<u32>>,
    /// Of the general ones, those that are found by what stands at a place.
    placed: Placed,
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
        let places = Places::of(conditions);
        let mut lists: [Methods; SLOTS] = Default::default();
        for kind in Kind::ALL {
            for direction in DIRECTIONS {
                let list = |method| List::of(conditions, &Shape { kind, direction, method }, &places);
                let known = methods.iter().map(|method| (method.clone(), list(Known::Is(method))));
                let known = known.filter(|(_, list)| !list.is_empty()).collect();
                if let Some(methods_of) = lists.get_mut(slot(kind, direction)) {
                    *methods_of = Methods { known, others: list(Known::NoneOf(&methods)) };
                }
            }
        }
        Self { lists, places }.with_methods(&methods)
    }

    /// A method whose list is empty is known all the same: what fits no method in particular is not for it.
    fn with_methods(mut self, methods: &[String]) -> Self {
        for lists in self.lists.iter_mut().filter(|lists| !lists.others.is_empty()) {
            for method in methods {
                lists.known.entry(method.clone()).or_default();
            }
        }
        self
    }

    pub(crate) fn list(&self, kind: Kind, direction: Direction, method: Option<&str>) -> Option<&List> {
        let lists = self.lists.get(slot(kind, direction))?;
        Some(method.and_then(|method| lists.known.get(method)).unwrap_or(&lists.others))
    }

    /// The rules of a list that the content of this message allows, of those that are found by it.
    pub(crate) fn placed<'v>(&self, list: &List, view: &'v View<'_>) -> &'v [u32] {
        if list.placed.is_empty() {
            return &[];
        }
        view.body.placed.get_or_init(|| self.places.found(&list.placed, view))
    }

    /// Whether any message of this kind could fit a rule.
    pub(crate) fn has(&self, kind: Kind, direction: Direction) -> bool {
        self.lists.get(slot(kind, direction)).is_some_and(|lists| {
            !lists.others.is_empty() || lists.known.values().any(|list| !list.is_empty())
        })
    }
}

impl List {
    fn of(conditions: &[&Condition], shape: &Shape<'_>, places: &Places) -> Self {
        let mut list = Self::default();
        for (number, condition) in (0..).zip(conditions) {
            if condition.chance(shape) == Chance::Never {
                continue;
            }
            match (condition.names(), places.of_rule(number)) {
                (Some(names), _) => {
                    for name in names {
                        let rules = list.named.entry(name.to_owned()).or_default();
                        if rules.last() != Some(&number) {
                            rules.push(number);
                        }
                    }
                }
                (None, Some(place)) => list.placed.add(place, number),
                (None, None) => list.general.push(number),
            }
        }
        list
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.general.is_empty() && self.named.is_empty() && self.placed.is_empty()
    }

    /// Whether a message of this name could fit any of them; the name is asked for only if it matters.
    pub(crate) fn has<'n>(&self, name: impl FnOnce() -> Option<Cow<'n, str>>) -> bool {
        let is_named = || name().is_some_and(|name| self.named.contains_key(&*name));
        !self.general.is_empty() || !self.placed.is_empty() || !self.named.is_empty() && is_named()
    }

    fn named<'n>(&self, name: impl FnOnce() -> Option<&'n str>) -> &[u32] {
        if self.named.is_empty() {
            return &[];
        }
        name().and_then(|name| self.named.get(name)).map_or(&[], Vec::as_slice)
    }
}

/// The rules that a message could fit, from one on, in their order.
#[derive(Debug)]
pub(crate) struct Candidates<'i> {
    /// Each in order, and no rule in two of them.
    sources: [&'i [u32]; 3],
}

impl<'i> Candidates<'i> {
    /// Those of a list for a message of this name, which is asked for only if it matters; `placed` are those that its content
    /// allows.
    pub(crate) fn of<'n>(
        list: &'i List,
        name: impl FnOnce() -> Option<&'n str>,
        placed: &'i [u32],
        from: u32,
    ) -> Self {
        let mut sources = [&*list.general, list.named(name), placed];
        for source in &mut sources {
            *source = source.split_at(source.partition_point(|number| *number < from)).1;
        }
        Self { sources }
    }
}

impl Iterator for Candidates<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let number = self.sources.iter().filter_map(|source| source.first()).min().copied()?;
        for source in &mut self.sources {
            *source = source.strip_prefix(&[number]).unwrap_or(source);
        }
        Some(number)
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
        Candidates::of(list, || Some(tool), &[], 0).collect()
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
        let rules = compile(rules).unwrap();
        let list = rules.index.list(Kind::Request, Direction::ToServer, Some("tools/call")).unwrap();
        assert_eq!(Candidates::of(list, || Some("t"), &[2], 1).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn beyond_the_methods_that_have_lists_rules_are_found_all_the_same() {
        let rules = compile(&thousand("{method: 'm/#'}")).unwrap();
        for number in [0, 63, 64, 999] {
            let method = format!("m/{number}");
            let list = rules.index.list(Kind::Request, Direction::ToServer, Some(&method)).unwrap();
            assert!(Candidates::of(list, || None, &[], 0).any(|found| found == number), "{method}");
        }
    }
}
