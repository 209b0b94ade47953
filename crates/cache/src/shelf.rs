//! The answers that are kept: found, added, dropped. No waiting, no clock: the time is an argument.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use shadowcat_protocol::caching::{Cacheable, Keeping, Lasting, Scope};
use shadowcat_protocol::subscription::URI_BYTES_MAX;
use shadowcat_protocol::{Notification, Response, json};
use tokio::time::Instant;

use crate::Settings;
use crate::key::{Key, Question, Reader};

/// No answer takes more than this part of the room.
const SHARE: usize = 8;
/// What an answer costs in memory besides its text and its key.
const OVERHEAD: usize = 512;
const NANOS_PER_MILLI: u128 = 1_000_000;

/// The answers of one server.
pub(crate) struct Shelf {
    settings: Settings,
    entries: HashMap<Key, Entry>,
    /// The keys by their last use, the oldest first.
    uses: BTreeMap<u64, Key>,
    next_use: u64,
    bytes: usize,
    known: HashMap<Cacheable, Known>,
}

/// What is known of all answers of a kind.
#[derive(Clone, Copy, Default)]
struct Known {
    /// How often they may have changed: what was asked for before is not kept.
    changes: u64,
    /// A page of the list was for its reader only.
    is_private: bool,
}

struct Entry {
    answer: Lasting,
    asked: Instant,
    /// As the server said.
    ttl: Duration,
    until: Instant,
    used: u64,
    bytes: usize,
}

/// A question on its way to the server.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) question: Arc<Question>,
    pub(crate) reader: Option<Reader>,
    at: Instant,
    changes: u64,
}

/// A kept answer, and for how long it still holds.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) answer: Lasting,
    pub(crate) ttl_ms: u64,
}

/// What came of keeping an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) stored: bool,
    /// Those that gave way to it.
    pub(crate) evicted: usize,
    /// Those that did not hold any more because of it.
    pub(crate) dropped: usize,
}

/// What may have changed at the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Everything,
    /// All of these kinds.
    Kinds(Vec<Cacheable>),
    /// This resource, or one that it is a part of.
    Resource(String),
}

impl Change {
    /// What a notification tells of, if anything that could be kept.
    pub(crate) fn told(note: &Notification) -> Option<Self> {
        let mut kinds = Cacheable::changed(note.method()).peekable();
        let is_of_resource = *kinds.peek()? == Cacheable::Resource;
        let uri = note.params().filter(|_| is_of_resource).and_then(|params| json::get(params, &["uri"]));
        Some(match uri.and_then(json::string) {
            Some(uri) => Self::Resource(uri.into_owned()),
            None => Self::Kinds(kinds.collect()),
        })
    }

    fn is_about(&self, what: Cacheable) -> bool {
        match self {
            Self::Everything => true,
            Self::Kinds(kinds) => kinds.contains(&what),
            Self::Resource(_) => what == Cacheable::Resource,
        }
    }
}

impl Shelf {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            entries: HashMap::new(),
            uses: BTreeMap::new(),
            next_use: 0,
            bytes: 0,
            known: HashMap::new(),
        }
    }

    /// A question that the server is asked now.
    pub(crate) fn asks(&self, question: Arc<Question>, reader: Option<Reader>, now: Instant) -> Asked {
        let changes = self.known(question.what).changes;
        Asked { question, reader, at: now, changes }
    }

    fn known(&self, what: Cacheable) -> Known {
        self.known.get(&what).copied().unwrap_or_default()
    }

    /// The kept answer to a question, if there is one that its reader may be told.
    pub(crate) fn find(
        &mut self,
        question: &Arc<Question>,
        reader: Option<&Reader>,
        now: Instant,
    ) -> Option<Found> {
        reader.into_iter().chain([&Reader::Anybody]).find_map(|reader| {
            self.take_down(&Key { question: Arc::clone(question), reader: reader.clone() }, now)
        })
    }

    fn take_down(&mut self, key: &Key, now: Instant) -> Option<Found> {
        let entry = self.entries.get_mut(key)?;
        let age = now.saturating_duration_since(entry.asked);
        // A part of a millisecond counts as a whole one: nobody is told more than the server said.
        let left = entry.ttl.as_millis().saturating_sub(age.as_nanos().div_ceil(NANOS_PER_MILLI));
        if now >= entry.until || left == 0 {
            self.remove(key);
            return None;
        }
        if let Some(key) = self.uses.remove(&entry.used) {
            entry.used = self.next_use;
            self.next_use += 1;
            self.uses.insert(entry.used, key);
        }
        Some(Found { answer: entry.answer.clone(), ttl_ms: u64::try_from(left).unwrap_or(u64::MAX) })
    }

    /// Keeps the answer to a question, if it may be kept and there is room.
    pub(crate) fn keep(&mut self, asked: Asked, answer: &Response, now: Instant) -> Kept {
        let Some(keeping) = answer.result_json().and_then(Keeping::of) else { return Kept::default() };
        let Asked { question, reader, at, changes } = asked;
        let mut kept = Kept::default();
        let reader = if self.is_private(question.what, keeping.scope) {
            kept.dropped = self.close(&question);
            reader
        } else {
            Some(Reader::Anybody)
        };
        // What changed meanwhile may be missing in it.
        let has_changed = changes != self.known(question.what).changes;
        let (Some(reader), Some(answer), false) = (reader, Lasting::of(answer), has_changed) else {
            return kept;
        };
        let until = at.checked_add(keeping.ttl.min(self.settings.ttl_max)).filter(|until| *until > now);
        let bytes = answer.bytes() + question.bytes() + reader.bytes() + OVERHEAD;
        let is_fit = bytes <= self.settings.bytes_max / SHARE
            && question.uri().is_none_or(|uri| uri.len() <= URI_BYTES_MAX);
        let (Some(until), true) = (until, is_fit) else { return kept };
        let key = Key { question, reader };
        self.remove(&key);
        kept.evicted = self.make_room(bytes, now);
        let used = self.next_use;
        self.next_use += 1;
        self.bytes += bytes;
        self.uses.insert(used, key.clone());
        let entry = Entry { answer, asked: at, ttl: keeping.ttl, until, used, bytes };
        self.entries.insert(key, entry);
        Kept { stored: true, ..kept }
    }

    /// Whether an answer is for its reader only: one page of a list that is makes all of them so.
    fn is_private(&self, what: Cacheable, scope: Scope) -> bool {
        scope == Scope::Private || self.known(what).is_private
    }

    /// Nobody else is told any more what turned out to be for its reader only.
    fn close(&mut self, question: &Arc<Question>) -> usize {
        let what = question.what;
        if !what.has_pages() {
            return self.remove(&Key { question: Arc::clone(question), reader: Reader::Anybody });
        }
        let known = self.known.entry(what).or_default();
        if std::mem::replace(&mut known.is_private, true) {
            // Since then none is kept for anybody.
            return 0;
        }
        self.drop_if(|key| key.question.what == what && key.reader == Reader::Anybody)
    }

    fn make_room(&mut self, bytes: usize, now: Instant) -> usize {
        if self.has_room(bytes) {
            return 0;
        }
        // What nobody would be told goes first.
        self.expire(now);
        let mut evicted = 0;
        while !self.has_room(bytes) {
            let Some(key) = self.uses.values().next().cloned() else { break };
            self.remove(&key);
            evicted += 1;
        }
        evicted
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.entries.len() < self.settings.entries_max && self.bytes + bytes <= self.settings.bytes_max
    }

    fn expire(&mut self, now: Instant) {
        let stale = self.entries.iter().filter(|(_, entry)| now >= entry.until);
        for key in stale.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.remove(&key);
        }
    }

    /// Drops what may not hold any more; gives how many that were. What is on its way is not kept either.
    pub(crate) fn hear(&mut self, change: &Change) -> usize {
        for what in Cacheable::ALL.into_iter().filter(|what| change.is_about(*what)) {
            let known = self.known.entry(what).or_default();
            *known = Known { changes: known.changes + 1, is_private: false };
        }
        let dropped = match change {
            Change::Resource(told) => {
                self.drop_if(|key| key.question.uri().is_some_and(|uri| are_related(uri, told)))
            }
            Change::Everything | Change::Kinds(_) => 0,
        };
        // What a resource is a part of need not be plain from its name: then any may be meant.
        if dropped > 0 { dropped } else { self.drop_if(|key| change.is_about(key.question.what)) }
    }

    fn drop_if(&mut self, is_meant: impl Fn(&Key) -> bool) -> usize {
        let meant: Vec<Key> = self.entries.keys().filter(|key| is_meant(key)).cloned().collect();
        for key in &meant {
            self.remove(key);
        }
        meant.len()
    }

    /// How many that were: one or none.
    fn remove(&mut self, key: &Key) -> usize {
        let Some(entry) = self.entries.remove(key) else { return 0 };
        self.uses.remove(&entry.used);
        self.bytes -= entry.bytes;
        1
    }

    /// The resources among what is kept; none if nothing is.
    pub(crate) fn resources(&mut self, now: Instant) -> Option<BTreeSet<String>> {
        self.expire(now);
        let uris = self.entries.keys().filter_map(|key| key.question.uri().map(str::to_owned));
        (!self.entries.is_empty()).then(|| uris.collect())
    }

    /// How many there are, and their bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }
}

/// Whether one of two resources may be a part of the other (2026-07-28 schema, of `notifications/resources/updated`).
fn are_related(one: &str, other: &str) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

#[cfg(test)]
#[path = "shelf_tests.rs"]
mod tests;
