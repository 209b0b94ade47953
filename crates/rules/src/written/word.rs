//! Actions that are written as one word, without a value: `- drop`.

use std::fmt;

use schemars::Schema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::{Action, Pause};

/// Those that mean something without a value.
const ALONE: [&str; 2] = ["drop", "pause"];
/// All others, with a value as people write it.
const WITH_VALUE: [(&str, &str); 12] = [
    ("set", "set: {$.arguments.dry_run: true}"),
    ("remove", "remove: $.arguments.token"),
    ("rename", "rename: {$.arguments.path: file}"),
    ("replace", "replace: {$.arguments.path: {find: a, with: b}}"),
    ("patch", "patch: [{op: remove, path: /arguments/n}]"),
    ("headers", "headers: {remove: [X-Old]}"),
    ("block", "block: not here"),
    ("mock", "mock: {result: {content: []}}"),
    ("delay", "delay: 200ms"),
    ("fault", "fault: cut"),
    ("tag", "tag: word"),
    ("log", "log: a sentence"),
];
/// All words, for telling which one was meant.
const WORDS: [&str; 14] = [
    "set", "remove", "rename", "replace", "patch", "headers", "block", "mock", "delay", "drop", "fault",
    "pause", "tag", "log",
];

struct ActionVisitor;

impl<'de> Visitor<'de> for ActionVisitor {
    type Value = Action;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an action such as `block: not here`")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Action, E> {
        match word {
            "drop" => Ok(Action::Drop(true)),
            "pause" => Ok(Action::Pause(Pause::default())),
            _ => Err(match WITH_VALUE.into_iter().find(|(known, _)| *known == word) {
                Some((_, example)) => E::custom(format_args!("`{word}` needs a value, such as `{example}`")),
                None => E::unknown_variant(word, &WORDS),
            }),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Action, A::Error> {
        let action = Action::deserialize(MapAccessDeserializer::new(&mut map))?;
        match map.next_key::<IgnoredAny>()? {
            None => Ok(action),
            Some(_) => Err(de::Error::custom("one key is expected here; the next entry begins with `- `")),
        }
    }
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ActionVisitor)
    }
}

/// Lets the schema have what stands alone, too.
pub(super) fn allow_words(schema: &mut Schema) {
    if let Some(Value::Array(forms)) = schema.get_mut("oneOf") {
        forms.push(json!({ "description": "An action that needs no value.", "enum": ALONE }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_alone_is_an_action_or_says_what_it_lacks() {
        let read = |value: Value| serde_json::from_value::<Action>(value).map_err(|fault| fault.to_string());
        assert_eq!(read(json!("drop")), Ok(Action::Drop(true)));
        assert_eq!(read(json!("pause")), Ok(Action::Pause(Pause::default())));
        assert_eq!(read(json!({"drop": true})), read(json!("drop")));
        for (word, example) in WITH_VALUE {
            let told = read(json!(word)).unwrap_err();
            assert!(told.contains(&format!("`{word}` needs a value, such as `{example}`")), "{told}");
        }
        assert!(read(json!("dorp")).unwrap_err().contains("unknown variant `dorp`"));
        assert!(read(json!({"drop": true, "log": "x"})).unwrap_err().contains("one key is expected"));
        assert!(ALONE.into_iter().chain(WITH_VALUE.map(|(word, _)| word)).all(|word| WORDS.contains(&word)));
    }
}
