//! JSONPath (RFC 9535) over values, with a short way for the paths that nearly everybody writes: `$.arguments.path`.

use serde_json::Value;
use serde_json_path::JsonPath;

/// A path, read once.
#[derive(Debug)]
pub(crate) struct Path {
    path: JsonPath,
    plain: Option<Vec<Step>>,
}

/// One step of a path that leads to one place.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Member(Box<str>),
    Element(usize),
}

impl Path {
    /// # Errors
    /// A sentence with what is wrong and the way out.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let path = JsonPath::parse(text).map_err(|fault| {
            format!("`{text}` is no JSONPath: {fault}; write it like `$.arguments.path` or `$..token`")
        })?;
        Ok(Self { path, plain: plain(text) })
    }

    /// Shows the values that it finds; the short way needs no list to put them in.
    pub(crate) fn shows<'v, R>(&self, value: &'v Value, look: impl FnOnce(&[&'v Value]) -> R) -> R {
        let Some(steps) = &self.plain else { return look(&self.path.query(value).all()) };
        let found = steps.iter().try_fold(value, |value, step| match step {
            Step::Member(name) => value.as_object()?.get(&**name),
            Step::Element(index) => value.as_array()?.get(*index),
        });
        look(found.as_slice())
    }

    /// The places that it finds, each as the tokens of a JSON Pointer.
    pub(crate) fn places(&self, value: &Value) -> Vec<Vec<String>> {
        let token = |element: &serde_json_path::PathElement<'_>| match element {
            serde_json_path::PathElement::Name(name) => (*name).to_owned(),
            serde_json_path::PathElement::Index(index) => index.to_string(),
        };
        let found = self.path.query_located(value);
        found.locations().map(|location| location.iter().map(token).collect()).collect()
    }

    /// The one place that it can only mean, be there anything or not.
    pub(crate) fn only_place(&self) -> Option<Vec<String>> {
        let token = |step: &Step| match step {
            Step::Member(name) => name.to_string(),
            Step::Element(index) => index.to_string(),
        };
        self.plain.as_ref().map(|steps| steps.iter().map(token).collect())
    }

    /// Whether it means the whole.
    pub(crate) fn is_root(&self) -> bool {
        self.plain.as_ref().is_some_and(Vec::is_empty)
    }

    /// How many steps lead to each list that it goes into, where it means one place.
    pub(crate) fn lists(&self) -> impl Iterator<Item = usize> {
        let steps = self.plain.iter().flatten().enumerate();
        steps.filter(|(_, step)| matches!(step, Step::Element(_))).map(|(number, _)| number)
    }

    /// Whether everything that it finds is below this member of the root.
    pub(crate) fn is_below(&self, member: &str) -> bool {
        let first = self.plain.as_ref().and_then(|steps| steps.first());
        matches!(first, Some(Step::Member(name)) if **name == *member)
    }
}

/// The steps of `$.name`, `$['name']`, `$[0]` and what is made of these; none for anything that may find more than one.
fn plain(text: &str) -> Option<Vec<Step>> {
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
        for text in ["$", "$.a", "$.a['b c'][1].d", r#"$["a"]["b c"][7]"#, "$.é", "$.a.nothing"] {
            let path = Path::parse(text).unwrap();
            assert!(path.plain.is_some(), "{text}");
            assert_eq!(path.shows(&value, <[_]>::to_vec), path.path.query(&value).all(), "{text}");
        }
        for text in ["$.a.*", "$..d", "$.a['b c'][-1]", "$[?@.a]", "$['a','b']", "$.a['b c'][0:1]"] {
            assert!(Path::parse(text).unwrap().plain.is_none(), "{text}");
        }
    }

    #[test]
    fn what_is_no_path_is_told_with_an_example() {
        let told = Path::parse("arguments.path").unwrap_err();
        assert!(told.contains("no JSONPath") && told.contains("`$.arguments.path`"), "{told}");
    }
}
