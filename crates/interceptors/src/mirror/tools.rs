//! What lists of tools have taught: which arguments are mirrored. Each caller has a list of his own, because rules may change it
//! by who asks.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shadowcat_pipeline::Principal;
use shadowcat_protocol::headers::{ParamHeader, param_headers};
use shadowcat_protocol::{Message, json, method};
use tokio::time::Instant;

/// Callers whose lists are remembered. That of who was away for longest is forgotten: it is asked for again.
const LISTS_MAX: usize = 1_000;
/// Tools whose annotations are remembered, in all lists.
const TOOLS_MAX: usize = 10_000;
/// The time for which a list is not asked for again, unless it changes.
pub(super) const LISTED_FOR: Duration = Duration::from_mins(1);

/// What tool lists have taught.
#[derive(Default)]
pub(super) struct Tools(Mutex<Learned>);

#[derive(Default)]
struct Learned {
    lists: HashMap<Asker, List>,
    /// How often the list was told to have changed.
    changes: u64,
    /// How often a list was looked at.
    looks: u64,
}

/// The list of one caller.
#[derive(Default)]
struct List {
    /// The mirrored arguments of the tools seen so far.
    mirrored: HashMap<String, Arc<[ParamHeader]>>,
    /// Calls do without asking for the list until then.
    asked_until: Option<Instant>,
    /// Held while we ask for it, so that many calls ask for it once.
    asking: Arc<tokio::sync::Mutex<()>>,
    /// When it was looked at last, as the number of that look.
    used: u64,
}

/// Who asks, as rules see it: another credential of the same principal may be shown other tools.
#[derive(Clone)]
struct Asker(Option<Principal>);

impl Asker {
    fn known(&self) -> Option<(&str, &serde_json::Value)> {
        self.0.as_ref().map(|principal| (principal.name(), principal.claims()))
    }
}

impl PartialEq for Asker {
    fn eq(&self, other: &Self) -> bool {
        self.known() == other.known()
    }
}

impl Eq for Asker {}

impl Hash for Asker {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.known().hash(state);
    }
}

impl Learned {
    fn list(&mut self, asker: Option<&Principal>) -> &mut List {
        let asker = Asker(asker.cloned());
        if self.lists.len() >= LISTS_MAX && !self.lists.contains_key(&asker) {
            self.forget_one();
        }
        self.looks += 1;
        let list = self.lists.entry(asker).or_default();
        list.used = self.looks;
        list
    }

    fn forget_one(&mut self) {
        let oldest = self.lists.iter().min_by_key(|(_, list)| list.used).map(|(asker, _)| asker.clone());
        oldest.and_then(|asker| self.lists.remove(&asker));
    }

    fn tools(&self) -> usize {
        self.lists.values().map(|list| list.mirrored.len()).sum()
    }
}

impl Tools {
    fn learned(&self) -> MutexGuard<'_, Learned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mirrored arguments of a tool, if the list of who asks was seen to have it.
    pub(super) fn known(&self, asker: Option<&Principal>, tool: &str) -> Option<Arc<[ParamHeader]>> {
        self.learned().list(asker).mirrored.get(tool).cloned()
    }

    /// What is to be held by who asks for the list, if that could tell more of this tool than is known.
    pub(super) fn open(&self, asker: Option<&Principal>, tool: &str) -> Option<Arc<tokio::sync::Mutex<()>>> {
        let mut learned = self.learned();
        let list = learned.list(asker);
        let is_asked = list.asked_until.is_some_and(|until| until > Instant::now());
        (!is_asked && !list.mirrored.contains_key(tool)).then(|| Arc::clone(&list.asking))
    }

    /// How often the list was told to have changed.
    pub(super) fn changes(&self) -> u64 {
        self.learned().changes
    }

    /// The list was asked for, when it had changed so often.
    pub(super) fn asked(&self, asker: Option<&Principal>, changes: u64) {
        let mut learned = self.learned();
        if learned.changes == changes {
            learned.list(asker).asked_until = Some(Instant::now() + LISTED_FOR);
        }
    }

    /// Looks for news of the list.
    pub(super) fn hear(&self, message: &Message) {
        if message.method() == Some(method::TOOLS_CHANGED) {
            let mut learned = self.learned();
            learned.changes += 1;
            for list in learned.lists.values_mut() {
                list.asked_until = None;
            }
        }
    }

    /// Reads one page of the list of who asks.
    pub(super) fn learn(&self, asker: Option<&Principal>, result: &str) {
        let mut learned = self.learned();
        let mirrored = &mut learned.list(asker).mirrored;
        for tool in json::get(result, &["tools"]).into_iter().flat_map(json::elements) {
            let Some(name) = json::get(tool, &["name"]).and_then(json::string) else { continue };
            let schema = json::get(tool, &["inputSchema"]).unwrap_or("{}");
            // An annotation that is wrong mirrors nothing; it is for the client to leave such a tool alone.
            let params = param_headers(schema).unwrap_or_default();
            if mirrored.len() < TOOLS_MAX || mirrored.contains_key(&*name) {
                mirrored.insert(name.into_owned(), params.into());
            }
        }
        while learned.lists.len() > 1 && learned.tools() > TOOLS_MAX {
            learned.forget_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(tools: std::ops::Range<usize>) -> String {
        let named: Vec<String> = tools.map(|number| format!(r#"{{"name":"{number}"}}"#)).collect();
        format!(r#"{{"tools":[{}]}}"#, named.join(","))
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_goes() {
        let tools = Tools::default();
        let callers: Vec<Principal> =
            (0..=LISTS_MAX).map(|number| Principal::named(&number.to_string())).collect();
        let knows = |caller: usize, tool: &str| tools.known(Some(&callers[caller]), tool).is_some();
        for caller in &callers {
            tools.learn(Some(caller), &list(0..2));
        }
        assert_eq!(tools.learned().lists.len(), LISTS_MAX);
        assert!(knows(1, "0") && !knows(0, "0"));
        tools.learn(Some(&callers[7]), &list(0..TOOLS_MAX + 5));
        assert_eq!(tools.learned().tools(), TOOLS_MAX);
        assert!(knows(7, "0") && !knows(7, &TOOLS_MAX.to_string()));
    }
}
