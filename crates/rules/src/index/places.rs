//! Rules that are found by what stands at a place of the content: at `$.arguments.path`, say.
//!
//! Such a rule can only fit where the text at its place has one of the pieces in it without which no text fits. The pieces of
//! all rules for a place are looked for in one pass over that text, and of a thousand rules those few are
//! left that could fit.

use std::collections::HashMap;

use aho_corasick::AhoCorasick;
use serde_json::Value;

use crate::condition::{Condition, Need, Path, Root};
use crate::view::View;

/// Rules for one place that it takes to look for their pieces at once: fewer are asked one by one.
const RULES_MIN: usize = 8;
/// Pieces that are found in one text. One that has more could fit all.
const FOUND_MAX: usize = 4096;

/// The places that many rules look at.
#[derive(Debug, Default)]
pub(crate) struct Places {
    list: Vec<PlaceOf>,
    /// Where the rules look that are found by it.
    of_rules: HashMap<u32, usize>,
}

/// One place.
#[derive(Debug)]
struct PlaceOf {
    root: Root,
    path: Path,
    pieces: AhoCorasick,
    /// The rule that each piece is of.
    rules: Vec<u32>,
}

/// The rules of a list that are found by what stands at places.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    rules: Vec<u32>,
    places: Vec<usize>,
}

impl Placed {
    pub(crate) fn add(&mut self, place: usize, rule: u32) {
        self.rules.push(rule);
        if !self.places.contains(&place) {
            self.places.push(place);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl Places {
    pub(crate) fn of(conditions: &[&Condition]) -> Self {
        let mut needs: HashMap<(Root, &str), Vec<(u32, Need<'_>)>> = HashMap::new();
        for (number, condition) in (0..).zip(conditions) {
            if let Some(need) = condition.need() {
                needs.entry((need.root, need.path.text())).or_default().push((number, need));
            }
        }
        let mut places = Self::default();
        for needs in needs.into_values().filter(|needs| needs.len() >= RULES_MIN) {
            places.add(needs);
        }
        places
    }

    fn add(&mut self, needs: Vec<(u32, Need<'_>)>) {
        let Some((root, path)) = needs.first().map(|(_, need)| (need.root, need.path.clone())) else {
            return;
        };
        let known: Vec<u32> = needs.iter().map(|(rule, _)| *rule).collect();
        let pieces = needs
            .into_iter()
            .flat_map(|(rule, need)| need.pieces.into_iter().map(move |piece| (piece, rule)));
        let (pieces, rules): (Vec<Vec<u8>>, Vec<u32>) = pieces.unzip();
        // What cannot be searched for at once is looked at rule by rule.
        if let Ok(pieces) = AhoCorasick::new(pieces) {
            self.of_rules.extend(known.into_iter().map(|rule| (rule, self.list.len())));
            self.list.push(PlaceOf { root, path, pieces, rules });
        }
    }

    /// The place that a rule is found by.
    pub(crate) fn of_rule(&self, rule: u32) -> Option<usize> {
        self.of_rules.get(&rule).copied()
    }

    /// The rules among `placed` that this message could fit, in order. A message that cannot be read in one way only could fit all:
    /// each of them tells so.
    pub(crate) fn found(&self, placed: &Placed, view: &View<'_>) -> Vec<u32> {
        let mut found = Vec::new();
        for place in placed.places.iter().filter_map(|place| self.list.get(*place)) {
            if !place.find(view, &mut found) {
                return placed.rules.clone();
            }
        }
        found.sort_unstable();
        found.dedup();
        found.retain(|rule| placed.rules.binary_search(rule).is_ok());
        found
    }
}

impl PlaceOf {
    /// Adds the rules whose pieces are there; whether that could be told.
    fn find(&self, view: &View<'_>, found: &mut Vec<u32>) -> bool {
        let Some(content) = self.root.of(view) else { return true };
        let Ok(content) = content.value() else { return false };
        self.path.shows(content, |values| match values.first() {
            Some(Value::String(text)) => {
                let pieces = self.pieces.find_overlapping_iter(text).take(FOUND_MAX);
                let before = found.len();
                found.extend(pieces.filter_map(|piece| self.rules.get(piece.pattern().as_usize())));
                found.len() - before < FOUND_MAX
            }
            // A list could contain the text.
            Some(Value::Array(_)) => false,
            None | Some(_) => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shadowcat_protocol::Direction;

    use crate::tests::{Still, compile, message};
    use crate::{Facts, Rules, Scene};

    /// One demand as people write it, about texts of a few letters.
    fn demand() -> impl Strategy<Value = String> {
        let text = "[ab/\\\\]{1,3}";
        prop_oneof![
            text.prop_map(|text| serde_json::Value::from(text).to_string()),
            text.prop_map(|text| format!("{{contains: {}}}", serde_json::Value::from(text))),
            "(\\^)?(\\(\\?i\\))?[ab/]{1,2}(\\(a\\|b\\))?[ab.]{0,2}(\\$)?"
                .prop_map(|regex| format!("{{matches: '{regex}'}}")),
            Just("{exists: false}".to_owned()),
            Just("{exists: true}".to_owned()),
            Just("3".to_owned()),
            Just("true".to_owned()),
            Just("null".to_owned()),
        ]
    }

    /// Content with the argument, without it, with another form of it, or read in two ways.
    fn content() -> impl Strategy<Value = String> {
        let text = "[abAB/\\\\\n]{0,5}".prop_map(|text| serde_json::Value::from(text).to_string());
        let escaped = text.clone().prop_map(|text| text.replace('a', r"\u0061").replace('/', r"\/"));
        let value = prop_oneof![
            text.clone(),
            escaped,
            Just("3".to_owned()),
            text.prop_map(|text| format!("[{text},3]")),
            Just(r#"{"p":"a"}"#.to_owned()),
            Just("true".to_owned()),
            Just("null".to_owned()),
        ];
        let key = prop_oneof![Just(r#""p""#), Just(r#""q""#), Just(r#""\u0070""#)];
        proptest::collection::vec((key, value), 0..3).prop_map(|members| {
            let members: Vec<String> =
                members.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
            format!(r#"{{"arguments":{{{}}}}}"#, members.join(","))
        })
    }

    fn rule(number: usize, demand: &str) -> String {
        format!(
            "- {{name: r{number}, when: {{params: {{$.arguments.p: {demand}}}}}, do: [{{tag: t}}], fail: open}}\n"
        )
    }

    /// The rules that fired or could not be judged.
    fn fired(rules: &Rules, content: &str) -> Vec<(String, bool)> {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{content}}}"#);
        let facts = Facts::default();
        let scene = Scene { direction: Direction::ToServer, facts: &facts, asked: None, took: None };
        let mut judgement = rules.judge(message(&text), scene);
        let mut fired = Vec::new();
        while let Some(one) = judgement.next(&Still) {
            fired.push((one.rule.to_owned(), matches!(one.step, crate::Step::Failed { .. })));
        }
        fired
    }

    proptest! {
        #[test]
        fn many_rules_for_a_place_do_what_each_does_alone(
            demands in proptest::collection::vec(demand(), 8..24),
            content in content(),
        ) {
            let written: Vec<String> =
                demands.iter().enumerate().map(|(number, demand)| rule(number, demand)).collect();
            let alone: Vec<_> =
                written.iter().flat_map(|rule| fired(&compile(rule).unwrap(), &content)).collect();
            let together = fired(&compile(&written.concat()).unwrap(), &content);
            prop_assert_eq!(together, alone);
        }
    }
}
