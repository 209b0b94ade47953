//! Whatever happens in whatever order: nobody is told what is not for them, or what does not hold any more.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use shadowcat_pipeline::{Envelope, Origin, PeerId, Transport};
use shadowcat_protocol::caching::{Cacheable, Scope};
use shadowcat_protocol::{Id, Message, Notification, Request, Response, Revision, json, method};
use tokio::time::Instant;

use super::{Asked, Change, Shelf};
use crate::Settings;
use crate::key::{Question, Reader};

const SETTINGS: Settings = Settings { entries_max: 4, bytes_max: 16 * 1024, ttl_max: Duration::from_secs(5) };
const QUESTIONS: [(&str, &str); 5] = [
    (method::TOOLS_LIST, "{}"),
    (method::TOOLS_LIST, r#"{"cursor":"2"}"#),
    (method::RESOURCES_READ, r#"{"uri":"a:1"}"#),
    (method::RESOURCES_READ, r#"{"uri":"a:1/2"}"#),
    (method::DISCOVER, "{}"),
];
const CHANGES: [(&str, Option<&str>); 4] = [
    (method::TOOLS_CHANGED, None),
    (method::PROMPTS_CHANGED, None),
    (method::RESOURCE_UPDATED, Some("a:1")),
    (method::RESOURCE_UPDATED, Some("other:2")),
];

#[derive(Clone, Debug)]
enum Step {
    /// Somebody asks this, and the server if nothing is kept.
    Ask {
        question: usize,
        by: usize,
    },
    /// The server answers what it was asked first.
    Answer {
        ttl_ms: u64,
        scope: Scope,
    },
    Wait(u64),
    Told(usize),
    Lost,
}

fn step() -> impl Strategy<Value = Step> {
    let scope = prop_oneof![Just(Scope::Public), Just(Scope::Private)];
    prop_oneof![
        4 => (0..QUESTIONS.len(), 0..4_usize).prop_map(|(question, by)| Step::Ask { question, by }),
        4 => (prop_oneof![Just(0_u64), 1..8_000_u64], scope)
            .prop_map(|(ttl_ms, scope)| Step::Answer { ttl_ms, scope }),
        2 => (1..3_000_000_u64).prop_map(Step::Wait),
        1 => (0..CHANGES.len()).prop_map(Step::Told),
        1 => Just(Step::Lost),
    ]
}

/// An answer as the server gave it.
#[derive(Clone, Copy)]
struct Given {
    question: usize,
    by: usize,
    asked: Instant,
    ttl_ms: u64,
    scope: Scope,
}

/// A shelf, and all that is known of what was put on it.
struct World {
    shelf: Shelf,
    readers: [Option<Reader>; 4],
    now: Instant,
    on_the_way: Vec<(Asked, usize, usize, Instant)>,
    given: Vec<Given>,
    changed: Vec<(Change, Instant)>,
}

fn question(number: usize) -> Arc<Question> {
    let (method, params) = QUESTIONS[number];
    let request = Message::Request(Request::new(&Id::from_u64(1), method, Some(params)));
    let origin = Origin::new(PeerId::next(), Transport::Http, Revision::V2026_07_28);
    Arc::new(Question::of(&Envelope::to_server(request, Arc::new(origin))).unwrap())
}

impl World {
    fn new() -> Self {
        let named = |name: &str| Some(Reader::Named(name.into()));
        Self {
            shelf: Shelf::new(SETTINGS),
            readers: [named("ann"), named("bob"), Some(Reader::Peer(PeerId::next())), None],
            now: Instant::now(),
            on_the_way: Vec::new(),
            given: Vec::new(),
            changed: Vec::new(),
        }
    }

    fn take(&mut self, step: &Step) {
        // No two things happen in one moment.
        self.now += Duration::from_nanos(1);
        match *step {
            Step::Ask { question: number, by } => self.ask(number, by),
            Step::Answer { ttl_ms, scope } => self.answer(ttl_ms, scope),
            Step::Wait(micros) => self.now += Duration::from_micros(micros),
            Step::Told(number) => {
                let (told, uri) = CHANGES[number];
                let params = uri.map(|uri| format!(r#"{{"uri":"{uri}"}}"#));
                self.hear(Change::told(&Notification::new(told, params.as_deref())).unwrap());
            }
            Step::Lost => self.hear(Change::Everything),
        }
        let (entries, bytes) = self.shelf.size();
        assert!(entries <= SETTINGS.entries_max && bytes <= SETTINGS.bytes_max);
        assert_eq!(entries, self.shelf.uses.len());
        assert_eq!(bytes, self.shelf.entries.values().map(|entry| entry.bytes).sum::<usize>());
    }

    fn ask(&mut self, number: usize, by: usize) {
        let (question, reader) = (question(number), self.readers[by].clone());
        let Some(found) = self.shelf.find(&question, reader.as_ref(), self.now) else {
            self.on_the_way.push((self.shelf.asks(question, reader, self.now), number, by, self.now));
            return;
        };
        let told = found.answer.told(&Id::from_u64(1), found.ttl_ms);
        let text = std::str::from_utf8(told.text()).unwrap();
        let given = self.given[json::get(text, &["result", "given"]).unwrap().parse::<usize>().unwrap()];
        assert_eq!(given.question, number);
        let told = Duration::from_millis(found.ttl_ms);
        assert!(self.now + told <= given.asked + Duration::from_millis(given.ttl_ms), "beyond its time");
        assert!(found.ttl_ms > 0 && self.now < given.asked + SETTINGS.ttl_max);
        if given.scope == Scope::Private {
            assert!(given.by == by && self.readers[by].is_some(), "somebody else's");
        }
        let what = question.what;
        for (change, at) in &self.changed {
            let is_meant = match change {
                Change::Resource(uri) => what == Cacheable::Resource && uri == "a:1",
                change => change.is_about(what),
            };
            assert!(!is_meant || *at < given.asked, "{change:?} was told since");
        }
        if what == Cacheable::Tools && given.by != by {
            let since =
                self.changed.iter().filter(|(change, _)| change.is_about(what)).map(|(_, at)| *at).max();
            let is_closed = self.given.iter().any(|page| {
                let is_page = QUESTIONS[page.question].0 == method::TOOLS_LIST;
                is_page && page.scope == Scope::Private && since.is_none_or(|since| page.asked > since)
            });
            assert!(!is_closed, "a page of the list was for its reader only");
        }
    }

    fn answer(&mut self, ttl_ms: u64, scope: Scope) {
        if self.on_the_way.is_empty() {
            return;
        }
        let (asked, question, by, at) = self.on_the_way.remove(0);
        let given = self.given.len();
        let scope_word = scope.as_str();
        let result = format!(
            r#"{{"resultType":"complete","given":{given},"ttlMs":{ttl_ms},"cacheScope":"{scope_word}"}}"#
        );
        self.given.push(Given { question, by, asked: at, ttl_ms, scope });
        self.shelf.keep(asked, &Response::result(&Id::from_u64(1), &result), self.now);
    }

    fn hear(&mut self, change: Change) {
        self.shelf.hear(&change);
        self.changed.push((change, self.now));
    }
}

proptest! {
    #[test]
    fn nobody_is_told_what_is_not_theirs_or_does_not_hold(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
    }
}

#[test]
fn the_model_meets_kept_answers() {
    let mut world = World::new();
    let steps = [
        Step::Ask { question: 0, by: 0 },
        Step::Answer { ttl_ms: 1_000, scope: Scope::Public },
        Step::Wait(998_000),
        Step::Ask { question: 0, by: 1 },
        Step::Wait(2_000),
        Step::Ask { question: 0, by: 1 },
    ];
    for step in &steps {
        world.take(step);
    }
    assert_eq!((world.given.len(), world.on_the_way.len()), (1, 1));
}

#[test]
fn a_readers_name_takes_room_too() {
    let bytes = |name: &str| {
        let mut shelf = Shelf::new(SETTINGS);
        let now = Instant::now();
        let asked = shelf.asks(question(0), Some(Reader::Named(name.into())), now);
        let result = r#"{"resultType":"complete","ttlMs":1000,"cacheScope":"private"}"#;
        assert!(shelf.keep(asked, &Response::result(&Id::from_u64(1), result), now).stored);
        shelf.size().1
    };
    assert_eq!(bytes(&"n".repeat(1_000)) - bytes("n"), 999);
}
