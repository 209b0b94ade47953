//! Which messages are held: filter expressions that can be set and taken away while messages pass.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use shadowcat_filter::{Filter, ParseError};
use shadowcat_protocol::Message;
use shadowcat_rules::{Meant, Scene};

use super::held::{BreakpointId, Terms};
use crate::judged::Surroundings;

/// Breakpoints at most: each is asked about every message.
pub const BREAKPOINTS_MAX: usize = 64;

/// Messages that fit this are held.
#[derive(Clone, Debug)]
pub struct Breakpoint {
    /// Its number.
    pub id: BreakpointId,
    /// Which messages.
    pub filter: Filter,
    /// For how long.
    pub terms: Terms,
    /// How many it has held.
    pub hits: u64,
}

/// Why a breakpoint was not set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BreakpointError {
    /// The expression cannot be read.
    #[error(transparent)]
    Filter(#[from] ParseError),
    /// There are as many as there may be.
    #[error("there are {BREAKPOINTS_MAX} breakpoints already; remove one first")]
    TooMany,
}

#[derive(Debug)]
struct Set {
    id: BreakpointId,
    filter: Filter,
    meant: Meant,
    terms: Terms,
    hits: AtomicU64,
}

/// The breakpoints that are set.
#[derive(Debug, Default)]
pub(super) struct Breakpoints {
    set: RwLock<Arc<[Arc<Set>]>>,
    count: AtomicUsize,
    last: AtomicU64,
}

impl Breakpoints {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    fn current(&self) -> Arc<[Arc<Set>]> {
        Arc::clone(&self.set.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn add(&self, expression: &str, terms: Terms) -> Result<Breakpoint, BreakpointError> {
        let filter: Filter = expression.parse()?;
        let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
        if set.len() >= BREAKPOINTS_MAX {
            return Err(BreakpointError::TooMany);
        }
        let id = BreakpointId(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        let meant = Meant::from(filter.clone());
        let added = Arc::new(Set { id, filter, meant, terms, hits: AtomicU64::new(0) });
        *set = set.iter().cloned().chain([Arc::clone(&added)]).collect();
        self.count.store(set.len(), Ordering::Relaxed);
        Ok(added.view())
    }

    pub(super) fn remove(&self, id: BreakpointId) -> bool {
        let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
        let before = set.len();
        *set = set.iter().filter(|other| other.id != id).cloned().collect();
        self.count.store(set.len(), Ordering::Relaxed);
        set.len() < before
    }

    pub(super) fn list(&self) -> Vec<Breakpoint> {
        self.current().iter().map(|set| set.view()).collect()
    }

    /// The first one that the message fits, by their age.
    pub(super) fn hit(&self, message: &Message, scene: &Scene<'_>) -> Option<(BreakpointId, Terms)> {
        if self.is_empty() {
            return None;
        }
        // What cannot be judged is looked at by a person.
        let fits = |set: &&Arc<Set>| set.meant.holds(message, scene, &Surroundings).unwrap_or(true);
        let current = self.current();
        let hit = current.iter().find(fits)?;
        hit.hits.fetch_add(1, Ordering::Relaxed);
        Some((hit.id, hit.terms))
    }
}

impl Set {
    fn view(&self) -> Breakpoint {
        Breakpoint {
            id: self.id,
            filter: self.filter.clone(),
            terms: self.terms,
            hits: self.hits.load(Ordering::Relaxed),
        }
    }
}
