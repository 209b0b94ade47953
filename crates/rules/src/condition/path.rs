//! JSONPath (RFC 9535) over values, with a short way for the paths that nearly everybody writes: `$.arguments.path` and
//! `$.content[*].text`.

use memchr::memmem::Finder;
use serde_json::Value;
use serde_json_path::JsonPath;

use crate::strict::has_escapes;

/// A path, read once.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    text: Box<str>,
    whole: JsonPath,
    short: Option<Vec<Step>>,
    /// Finds the name of the last member that it goes into.
    name: Option<Finder<'static>>,
}

/// One step of a path that is walked the short way.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Member(Box<str>),
    Element(usize),
    /// Everything in it.
    Each,
}

impl Path {
    /// # Errors
    /// A sentence with what is wrong and the way out.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let whole = JsonPath::parse(text).map_err(|fault| {
            format!("`{text}` is no JSONPath: {fault}; write it like `$.arguments.path` or `$..token`")
        })?;
        let short = short(text);
        let name = short.as_deref().and_then(last_name).map(|name| Finder::new(name).into_owned());
        Ok(Self { text: text.into(), whole, short, name })
    }

    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Shows the values that it finds; where it means one place, no list is needed to put them in.
    pub(crate) fn shows<'v, R>(&self, value: &'v Value, look: impl FnOnce(&[&'v Value]) -> R) -> R {
        if let Some(steps) = self.only() {
            let found = steps.iter().try_fold(value, |value, step| match step {
                Step::Member(name) => value.as_object()?.get(&**name),
                Step::Element(index) => value.as_array()?.get(*index),
                Step::Each => None,
            });
            return look(found.as_slice());
        }
        let Some(steps) = &self.short else { return look(&self.whole.query(value).all()) };
        let mut found = Vec::new();
        walk(value, steps, &mut found);
        look(&found)
    }

    /// Whether it finds nothing in whatever this text stands for, as far as that can be told without reading it: a member that
    /// it goes into is not named there.
    pub(crate) fn finds_nothing_in(&self, text: &str) -> bool {
        // A name can also be written with escapes.
        let is_there =
            |name: &Finder<'_>| name.find(text.as_bytes()).is_some() || has_escapes(text, &[r"\u"]);
        self.name.as_ref().is_some_and(|name| !is_there(name))
    }

    fn only(&self) -> Option<&[Step]> {
        self.short.as_deref().filter(|steps| !steps.contains(&Step::Each))
    }

    /// The places that it finds, each as the tokens of a JSON Pointer.
    pub(crate) fn places(&self, value: &Value) -> Vec<Vec<String>> {
        let token = |element: &serde_json_path::PathElement<'_>| match element {
            serde_json_path::PathElement::Name(name) => (*name).to_owned(),
            serde_json_path::PathElement::Index(index) => index.to_string(),
        };
        let found = self.whole.query_located(value);
        found.locations().map(|location| location.iter().map(token).collect()).collect()
    }

    /// The one place that it can only mean, be there anything or not.
    pub(crate) fn only_place(&self) -> Option<Vec<String>> {
        let token = |step: &Step| match step {
            Step::Member(name) => name.to_string(),
            Step::Element(index) => index.to_string(),
            Step::Each => "*".to_owned(),
        };
        self.only().map(|steps| steps.iter().map(token).collect())
    }

    /// Whether it means the whole.
    pub(crate) fn is_root(&self) -> bool {
        self.short.as_ref().is_some_and(Vec::is_empty)
    }

    /// How many steps lead to each list that it goes into, where it means one place.
    pub(crate) fn lists(&self) -> impl Iterator<Item = usize> {
        let steps = self.only().into_iter().flatten().enumerate();
        steps.filter(|(_, step)| matches!(step, Step::Element(_))).map(|(number, _)| number)
    }

    /// Whether everything that it finds is below this member of the root.
    pub(crate) fn is_below(&self, member: &str) -> bool {
        let first = self.short.as_ref().and_then(|steps| steps.first());
        matches!(first, Some(Step::Member(name)) if **name == *member)
    }
}

/// The name of the last member that these steps go into, if `\u` is the only other way to write what is in it.
fn last_name(steps: &[Step]) -> Option<&str> {
    let names = steps.iter().rev().filter_map(|step| match step {
        Step::Member(name) => Some(&**name),
        Step::Element(_) | Step::Each => None,
    });
    names.take(1).find(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_'))
}

/// Everything that these steps lead to, in the order of RFC 9535.
fn walk<'v>(value: &'v Value, steps: &[Step], found: &mut Vec<&'v Value>) {
    let Some((step, rest)) = steps.split_first() else { return found.push(value) };
    match (step, value) {
        (Step::Member(name), Value::Object(members)) => {
            members.get(&**name).into_iter().for_each(|value| walk(value, rest, found));
        }
        (Step::Element(index), Value::Array(list)) => {
            list.get(*index).into_iter().for_each(|value| walk(value, rest, found));
        }
        (Step::Each, Value::Array(list)) => list.iter().for_each(|value| walk(value, rest, found)),
        (Step::Each, Value::Object(members)) => members.values().for_each(|value| walk(value, rest, found)),
        _ => {}
    }
}

/// The steps of `$.name`, `$['name']`, `$[0]`, `$[*]` and what is made of these; none for anything else.
fn short(text: &str) -> Option<Vec<Step>> {
    let mut rest = text.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let (step, behind) = step(rest)?;
        steps.push(step);
        rest = behind;
    }
    Some(steps)
}

fn step(text: &str) -> Option<(Step, &str)> {
    if let Some(behind) = text.strip_prefix(".*").or_else(|| text.strip_prefix("[*]")) {
        return Some((Step::Each, behind));
    }
    if let Some(name) = text.strip_prefix('.') {
        let end = name.find(['.', '[', ' ']).unwrap_or(name.len());
        let (name, behind) = name.split_at(end);
        let is_plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        return is_plain.then(|| (Step::Member(name.into()), behind));
    }
    let inside = text.strip_prefix('[')?;
    for quote in ['\'', '"'] {
        if let Some(name) = inside.strip_prefix(quote) {
            let (name, behind) = name.split_once(quote)?;
            let behind = behind.strip_prefix(']')?;
            return (!name.contains('\\')).then(|| (Step::Member(name.into()), behind));
        }
    }
    let (index, behind) = inside.split_once(']')?;
    let is_index = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
    is_index.then(|| index.parse().ok())?.map(|index| (Step::Element(index), behind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_short_way_finds_what_the_long_one_does() {
        let value = json!({"a": {"b c": [{"d": 1}, {"d": 2}]}, "é": null});
        let one = ["$", "$.a", "$.a['b c'][1].d", r#"$["a"]["b c"][7]"#, "$.é", "$.a.nothing"];
        let many = ["$.*", "$[*]", "$.a.*[*].d", "$.a['b c'][*].d", "$.a[*][0]", "$.é[*]"];
        for text in one.into_iter().chain(many) {
            let path = Path::parse(text).unwrap();
            assert!(path.short.is_some(), "{text}");
            assert_eq!(path.only().is_some(), one.contains(&text), "{text}");
            assert_eq!(path.shows(&value, <[_]>::to_vec), path.whole.query(&value).all(), "{text}");
        }
        for text in ["$..d", "$..*", "$.a['b c'][-1]", "$[?@.a]", "$['a','b']", "$.a['b c'][0:1]"] {
            assert!(Path::parse(text).unwrap().short.is_none(), "{text}");
        }
    }

    #[test]
    fn what_is_not_named_in_a_text_is_not_found_there() {
        let finds_nothing = |path: &str, text: &str| Path::parse(path).unwrap().finds_nothing_in(text);
        assert!(finds_nothing("$.a.path", r#"{"a":{"pat":"h"}}"#));
        assert!(finds_nothing("$.path[*]", r#"{"a":"\n"}"#));
        assert!(!finds_nothing("$.a.path", r#"{"path":1}"#));
        assert!(!finds_nothing("$.path", r#"{"\u0070ath":1}"#));
        assert!(
            !finds_nothing("$", "{}") && !finds_nothing("$..path", "{}") && !finds_nothing("$['a/b']", "{}")
        );
    }

    #[test]
    fn what_is_no_path_is_told_with_an_example() {
        let told = Path::parse("arguments.path").unwrap_err();
        assert!(told.contains("no JSONPath") && told.contains("`$.arguments.path`"), "{told}");
    }
}
