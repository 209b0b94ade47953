//! From what is written to a condition.

use std::collections::BTreeMap;

use regex::Regex;
use shadowcat_filter::{Filter, Pattern};
use shadowcat_protocol::Direction;

use super::{Condition, Demand, Fact, Path, Patterns, Root};
use crate::counting::counts;
use crate::fault::{Faults, Place};
use crate::scene::Kind;
use crate::view::Named;
use crate::written::{Era, On, OneOrMany, Size, Test, Way, When};

/// Conditions within each other at most.
const DEPTH_MAX: usize = 32;

/// The condition of a rule. Where no kind of message is named, requests are meant.
pub(crate) fn compile(when: &When, place: &Place<'_>, faults: &mut Faults) -> Condition {
    let condition = Compiler { faults }.condition(when, place, 0);
    if names_kind(when) {
        return condition;
    }
    if names_outcome(when) {
        faults.add(place, "`result` and `error` are of answers; add `on: answer`");
    }
    let requests = Condition::Kind(vec![Kind::Request]);
    match condition {
        Condition::All(parts) => Condition::All([requests].into_iter().chain(parts).collect()),
        other => Condition::All(vec![requests, other]),
    }
}

pub(crate) fn regex(source: &str) -> Result<Regex, String> {
    shadowcat_filter::regex(source, false).map_err(|fault| format!("this regular expression {fault}"))
}

fn nested(when: &When) -> impl Iterator<Item = &When> {
    when.all.iter().chain(&when.any).chain(when.not.as_deref())
}

fn names_kind(when: &When) -> bool {
    !when.on.0.is_empty() || nested(when).any(names_kind)
}

fn names_outcome(when: &When) -> bool {
    !when.result.is_empty() || !when.error.is_empty() || nested(when).any(names_outcome)
}

struct Compiler<'f> {
    faults: &'f mut Faults,
}

impl Compiler<'_> {
    fn condition(&mut self, when: &When, place: &Place<'_>, depth: usize) -> Condition {
        let mut parts = Vec::new();
        self.terms(when, place, &mut parts);
        self.texts(when, place, &mut parts);
        self.contents(when, place, &mut parts);
        if depth == DEPTH_MAX {
            self.faults.add(place, format!("more than {DEPTH_MAX} conditions within each other"));
            return Condition::All(parts);
        }
        for (key, list) in [("all", &when.all), ("any", &when.any)] {
            let key = place.key(key);
            let inner =
                list.iter().enumerate().map(|(index, inner)| self.nested(inner, &key.index(index), depth));
            let inner: Vec<Condition> = inner.collect();
            match key {
                Place::Key(_, "any") if !inner.is_empty() => parts.push(Condition::Any(sorted(inner))),
                _ => parts.extend(inner),
            }
        }
        if let Some(inner) = &when.not {
            parts.push(Condition::Not(Box::new(self.nested(inner, &place.key("not"), depth))));
        }
        Condition::all(sorted(parts))
    }

    fn nested(&mut self, when: &When, place: &Place<'_>, depth: usize) -> Condition {
        if counts(when) {
            self.faults.add(
                place,
                "`every`, `after` and `share` count the messages that fit all else; write them at the top of `when`",
            );
        }
        if *when == When::default() {
            self.faults.add(place, "says nothing; write a condition, or leave it out");
        }
        self.condition(when, place, depth + 1)
    }

    fn terms(&mut self, when: &When, place: &Place<'_>, parts: &mut Vec<Condition>) {
        if !when.on.0.is_empty() {
            parts.push(Condition::Kind(when.on.0.iter().copied().map(kind).collect()));
        }
        parts.extend(when.direction.map(|way| Condition::Goes(direction(way))));
        if let Some(Size { above, below }) = when.size {
            if above.is_none() && below.is_none() {
                self.faults.add(&place.key("size"), "expected `above` or `below`, such as {above: 10kB}");
            }
            let bytes = |size: crate::written::ByteSize| size.bytes();
            parts.push(Condition::Size { above: above.map(bytes), below: below.map(bytes) });
        }
        if let Some(text) = &when.filter {
            let filter = text.parse::<Filter>().map_err(|fault| fault.to_string());
            parts.extend(self.faults.take(&place.key("filter"), filter).map(Box::new).map(Condition::Filter));
        }
    }

    fn texts(&mut self, when: &When, place: &Place<'_>, parts: &mut Vec<Condition>) {
        let names = [
            ("tool", &when.tool, Named::Tool),
            ("prompt", &when.prompt, Named::Prompt),
            ("resource", &when.resource, Named::Resource),
            ("name", &when.name, Named::Any),
        ];
        let facts = [
            ("server", &when.server, Fact::Server),
            ("session", &when.session, Fact::Session),
            ("principal", &when.principal, Fact::Principal),
            ("revision", &when.revision, Fact::Revision),
            ("transport", &when.transport, Fact::Transport),
        ];
        parts.extend(self.patterns(&when.method, &place.key("method")).map(Condition::Method));
        for (key, written, named) in names {
            let patterns = self.patterns(written, &place.key(key));
            parts.extend(patterns.map(|patterns| Condition::Name(named, patterns)));
        }
        for (key, written, fact) in facts {
            let patterns = self.patterns(written, &place.key(key));
            parts.extend(patterns.map(|patterns| Condition::Fact(fact, patterns)));
        }
        if let Some(era) = when.era {
            let word = match era {
                Era::Legacy => "legacy",
                Era::Modern => "modern",
            };
            parts.extend(
                Pattern::parse(word).ok().map(|word| Condition::Fact(Fact::Era, Patterns(vec![word]))),
            );
        }
        for (name, written) in &when.header {
            let header = place.key("header");
            let patterns = self.patterns(written, &header.key(name));
            parts.extend(patterns.map(|patterns| Condition::Header(name.to_lowercase().into(), patterns)));
        }
    }

    fn contents(&mut self, when: &When, place: &Place<'_>, parts: &mut Vec<Condition>) {
        let roots: [(&str, &BTreeMap<String, Test>, Root); 3] = [
            ("params", &when.params, Root::Params),
            ("result", &when.result, Root::Result),
            ("error", &when.error, Root::Error),
        ];
        for (key, written, root) in roots {
            let found = self.places(written, &place.key(key));
            parts.extend(found.into_iter().map(|(path, demand)| Condition::Content(root, path, demand)));
        }
        let claims = self.places(&when.claims, &place.key("claims"));
        parts.extend(claims.into_iter().map(|(path, demand)| Condition::Claims(path, demand)));
    }

    /// Paths, and what is demanded of what they find.
    fn places(&mut self, written: &BTreeMap<String, Test>, key: &Place<'_>) -> Vec<(Box<Path>, Box<Demand>)> {
        let mut places = Vec::new();
        for (path, Test(tests)) in written {
            let place = key.key(path);
            let demand = Demand::compile(tests, &place, self.faults);
            let path = self.faults.take(&place, Path::parse(path));
            places.extend(path.map(|path| (Box::new(path), Box::new(demand))));
        }
        places
    }

    fn patterns(&mut self, written: &OneOrMany<String>, place: &Place<'_>) -> Option<Patterns> {
        let pattern =
            |text: &String| Pattern::parse(text).map_err(|sentence| format!("this pattern {sentence}"));
        let patterns: Vec<Pattern> =
            written.0.iter().filter_map(|text| self.faults.take(place, pattern(text))).collect();
        (!written.0.is_empty()).then_some(Patterns(patterns))
    }
}

fn sorted(mut parts: Vec<Condition>) -> Vec<Condition> {
    parts.sort_by_key(Condition::cost);
    parts
}

fn kind(on: On) -> Kind {
    match on {
        On::Request => Kind::Request,
        On::Answer => Kind::Answer,
        On::Notification => Kind::Notification,
    }
}

fn direction(way: Way) -> Direction {
    match way {
        Way::ToServer => Direction::ToServer,
        Way::ToClient => Direction::ToClient,
    }
}
