//! What is not looked at when messages are compared, named by JSONPath (RFC 9535).

use serde_json::Value;
use serde_json_path::JsonPath;

/// Stands in place of an element that is not looked at, so that the others keep their numbers.
const IGNORED: &str = "\u{0}ignored";

/// Why a path is none.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{path}` is no JSONPath: {detail}; write it like `$..updatedAt`, or `$.params` and `$.result` with what is in them"
)]
pub struct BadPath {
    path: String,
    detail: String,
}

/// Paths that are not looked at, from the message on.
#[derive(Clone, Debug, Default)]
pub struct Ignored(Vec<JsonPath>);

impl Ignored {
    /// From what a person wrote.
    ///
    /// # Errors
    /// One of them is no path.
    pub fn parse<S: AsRef<str>>(paths: &[S]) -> Result<Self, BadPath> {
        let path = |path: &S| {
            let path = path.as_ref();
            JsonPath::parse(path)
                .map_err(|error| BadPath { path: path.to_owned(), detail: error.to_string() })
        };
        paths.iter().map(path).collect::<Result<_, _>>().map(Self)
    }

    /// Leaves out what is ignored.
    pub(crate) fn remove_from(&self, message: &mut Value) {
        for path in &self.0 {
            let found: Vec<String> = path
                .query_located(message)
                .locations()
                .map(serde_json_path::NormalizedPath::to_json_pointer)
                .collect();
            // From behind, so that what is inside of something goes before it.
            for pointer in found.iter().rev() {
                remove(message, pointer);
            }
        }
    }
}

fn remove(message: &mut Value, pointer: &str) {
    let Some((parent, last)) = pointer.rsplit_once('/') else {
        *message = Value::String(IGNORED.to_owned());
        return;
    };
    match message.pointer_mut(parent) {
        Some(Value::Object(members)) => {
            members.remove(&last.replace("~1", "/").replace("~0", "~"));
        }
        Some(Value::Array(elements)) => {
            if let Some(element) = last.parse::<usize>().ok().and_then(|number| elements.get_mut(number)) {
                *element = Value::String(IGNORED.to_owned());
            }
        }
        _ => (),
    }
}

/// Whether one of two elements is not looked at.
pub(crate) fn is_ignored(before: &Value, after: &Value) -> bool {
    before == IGNORED || after == IGNORED
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_path_names_is_left_out_and_elements_keep_their_numbers() {
        let gone = json!(IGNORED);
        let rows = [
            ("$.params.now", json!({"params": {"x.y": 2, "list": [{"now": 3, "n": 4}, 5]}})),
            ("$..now", json!({"params": {"x.y": 2, "list": [{"n": 4}, 5]}})),
            ("$.params['x.y']", json!({"params": {"now": 1, "list": [{"now": 3, "n": 4}, 5]}})),
            ("$.params.list[*].now", json!({"params": {"now": 1, "x.y": 2, "list": [{"n": 4}, 5]}})),
            ("$.params.list[0]", json!({"params": {"now": 1, "x.y": 2, "list": [gone, 5]}})),
            ("$.params.*", json!({"params": {}})),
        ];
        for (path, expected) in rows {
            let mut value = json!({"params": {"now": 1, "x.y": 2, "list": [{"now": 3, "n": 4}, 5]}});
            Ignored::parse(&[path]).unwrap().remove_from(&mut value);
            assert_eq!(value, expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["", "params", "$.", "$.a[", "$.a['b]", "$a"] {
            let error = Ignored::parse(&[text]).unwrap_err().to_string();
            assert!(error.contains("is no JSONPath"), "{error}");
        }
    }
}
