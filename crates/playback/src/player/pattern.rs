//! Paths that are left out when two calls are compared: a part of JSONPath, as `--ignore` takes it.

use std::str::FromStr;

use serde_json::Value;

/// The parts of a message that a path names: `$.params.arguments.now`, `$..traceId`, `$.params.arguments.items[*].at`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    steps: Vec<Step>,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Member(String),
    Element(usize),
    Any,
    /// Any number of steps down.
    Below,
}

/// Why a text is no path that can be ignored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no path: {reason}; write it like `$.params.arguments.now`, `$..traceId` or `$.params.items[*]`"
)]
pub struct BadPattern {
    text: String,
    reason: &'static str,
}

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let bad = |reason| BadPattern { text: text.to_owned(), reason };
        let mut rest = text.strip_prefix('$').ok_or_else(|| bad("it does not begin with `$`"))?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            rest = step(rest, &mut steps).map_err(bad)?;
        }
        match steps.last() {
            None => Err(bad("it names the whole message")),
            Some(Step::Below) => Err(bad("it ends in `..`")),
            Some(_) => Ok(Self { steps, text: text.to_owned() }),
        }
    }
}

/// Reads one step; gives what follows it.
fn step<'a>(text: &'a str, steps: &mut Vec<Step>) -> Result<&'a str, &'static str> {
    if let Some(rest) = text.strip_prefix("..") {
        steps.push(Step::Below);
        return if rest.starts_with('[') { Ok(rest) } else { named(rest, steps) };
    }
    if let Some(rest) = text.strip_prefix('.') {
        return named(rest, steps);
    }
    let inner = text.strip_prefix('[').ok_or("a step begins with `.` or `[`")?;
    for quote in ['\'', '"'] {
        if let Some(quoted) = inner.strip_prefix(quote) {
            let (name, rest) = quoted.split_once(quote).ok_or("a quote is not closed")?;
            steps.push(Step::Member(name.to_owned()));
            return rest.strip_prefix(']').ok_or("a bracket is not closed");
        }
    }
    let (number, rest) = inner.split_once(']').ok_or("a bracket is not closed")?;
    steps.push(match number {
        "*" => Step::Any,
        _ => Step::Element(number.parse().map_err(|_| "an element is a number or `*`")?),
    });
    Ok(rest)
}

fn named<'a>(text: &'a str, steps: &mut Vec<Step>) -> Result<&'a str, &'static str> {
    let end = text.find(['.', '[']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    match name {
        "" => return Err("a name is missing"),
        "*" => steps.push(Step::Any),
        _ => steps.push(Step::Member(name.to_owned())),
    }
    Ok(rest)
}

impl Pattern {
    /// Takes out of a value what the path names.
    pub(super) fn remove_from(&self, value: &mut Value) {
        remove(value, &self.steps);
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

fn remove(value: &mut Value, steps: &[Step]) {
    let Some((first, rest)) = steps.split_first() else { return };
    if *first == Step::Below {
        remove(value, rest);
        children(value).for_each(|child| remove(child, steps));
        return;
    }
    if !rest.is_empty() {
        match (first, value) {
            (Step::Any, value) => children(value).for_each(|child| remove(child, rest)),
            (Step::Member(name), Value::Object(members)) => {
                members.get_mut(name).into_iter().for_each(|child| remove(child, rest));
            }
            (Step::Element(number), Value::Array(elements)) => {
                elements.get_mut(*number).into_iter().for_each(|child| remove(child, rest));
            }
            _ => {}
        }
        return;
    }
    match (first, value) {
        (Step::Any, Value::Object(members)) => members.clear(),
        (Step::Any, Value::Array(elements)) => elements.clear(),
        (Step::Member(name), Value::Object(members)) => drop(members.remove(name)),
        // The others keep their places.
        (Step::Element(number), Value::Array(elements)) => {
            elements.get_mut(*number).into_iter().for_each(|element| *element = Value::Null);
        }
        _ => {}
    }
}

fn children(value: &mut Value) -> Box<dyn Iterator<Item = &mut Value> + '_> {
    match value {
        Value::Object(members) => Box::new(members.values_mut()),
        Value::Array(elements) => Box::new(elements.iter_mut()),
        _ => Box::new(std::iter::empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn without(pattern: &str) -> Value {
        let mut value = json!({"params": {"now": 1, "x.y": 2, "list": [{"now": 3, "n": 4}, 5]}});
        pattern.parse::<Pattern>().unwrap().remove_from(&mut value);
        value
    }

    #[test]
    fn what_a_path_names_is_taken_out() {
        let rows = [
            ("$.params.now", json!({"params": {"x.y": 2, "list": [{"now": 3, "n": 4}, 5]}})),
            ("$..now", json!({"params": {"x.y": 2, "list": [{"n": 4}, 5]}})),
            ("$.params['x.y']", json!({"params": {"now": 1, "list": [{"now": 3, "n": 4}, 5]}})),
            ("$.params.list[0].n", json!({"params": {"now": 1, "x.y": 2, "list": [{"now": 3}, 5]}})),
            ("$.params.list[*].now", json!({"params": {"now": 1, "x.y": 2, "list": [{"n": 4}, 5]}})),
            ("$.params.list[1]", json!({"params": {"now": 1, "x.y": 2, "list": [{"now": 3, "n": 4}, null]}})),
            ("$.params.*", json!({"params": {}})),
        ];
        for (pattern, expected) in rows {
            assert_eq!(without(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused_with_the_reason() {
        for text in ["", "params", "$", "$..", "$.", "$.a[", "$.a[x]", "$.a['b]", "$a"] {
            let error = text.parse::<Pattern>().unwrap_err().to_string();
            assert!(error.contains("is no path"), "{error}");
        }
    }
}
