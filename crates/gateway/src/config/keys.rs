//! What is written below each key of a file, for telling what a change of it concerns.

use std::fmt;

use serde_json::{Map, Value};

/// The keys of a file with what is written there, secrets among it: `Debug` shows the names alone.
#[derive(Clone, Default, PartialEq)]
pub struct Keys(Map<String, Value>);

impl Keys {
    /// Of a text that was read as a file already.
    pub(super) fn of(text: &str) -> Self {
        let options = serde_saphyr::options! { with_snippet: false };
        Self(serde_saphyr::from_str_with_options(text, options).unwrap_or_default())
    }

    /// Whether the key is written at the top.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Whether the key, such as `record.encrypt`, is written with nothing behind it.
    pub(crate) fn is_empty_at(&self, path: &str) -> bool {
        let (above, last) = path.rsplit_once('.').map_or((None, path), |(above, last)| (Some(above), last));
        let within = above.map_or(Some(&self.0), |above| {
            above.split('.').try_fold(&self.0, |within, key| within.get(key)?.as_object())
        });
        within.and_then(|within| within.get(last)).is_some_and(Value::is_null)
    }

    /// The keys that are not as they are in `other`, such as `timeouts.request`.
    pub(crate) fn changed(&self, other: &Self) -> Vec<String> {
        let mut changed = Vec::new();
        compare("", &self.0, &other.0, &mut changed);
        changed.sort();
        changed
    }
}

fn compare(at: &str, one: &Map<String, Value>, other: &Map<String, Value>, changed: &mut Vec<String>) {
    let added = other.keys().filter(|key| !one.contains_key(*key));
    for key in one.keys().chain(added) {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        match (one.get(key), other.get(key)) {
            (Some(Value::Object(one)), Some(Value::Object(other))) => compare(&path, one, other, changed),
            (before, after) if before == after => {}
            _ => changed.push(path),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_by_its_key_and_nothing_shows_a_value() {
        let before = Keys::of("upstream:\n  headers: {a: s3cret}\nrules: [{name: x}]\nlisten: a\n");
        let after = Keys::of("# a remark\nlisten: a\nupstream:\n  headers: {a: other}\nrules: []\nlog: {}\n");
        assert_eq!(before.changed(&after), ["log", "rules", "upstream.headers.a"]);
        assert_eq!(before.changed(&before), [""; 0]);
        assert!(before.has("rules") && !before.has("log") && !Keys::of("").has("rules"));
        assert!(!format!("{before:?}").contains("s3cret"));
    }
}
