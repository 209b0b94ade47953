//! Lists whose order means nothing: their elements are known by a name, or are a set.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::path::{Path, Segment};

/// The lists of MCP, and the member their elements are known by.
const LISTS: [(&[&str], &str); 6] = [
    (&["result", "tools"], "name"),
    (&["result", "prompts"], "name"),
    (&["result", "prompts", "*", "arguments"], "name"),
    (&["result", "resources"], "uri"),
    (&["result", "resourceTemplates"], "uriTemplate"),
    (&["result", "roots"], "uri"),
];

/// What the elements of the list at this place are known by.
pub(super) fn name_member(path: &Path) -> Option<&'static str> {
    LISTS.iter().find(|(list, _)| path.is(list)).map(|(_, member)| *member)
}

/// The elements by their names; none if one has no name, or another's.
pub(super) fn by_name<'a>(elements: &'a [Value], member: &str) -> Option<BTreeMap<&'a str, &'a Value>> {
    let mut named = BTreeMap::new();
    for element in elements {
        let name = element.get(member)?.as_str()?;
        if named.insert(name, element).is_some() {
            return None;
        }
    }
    Some(named)
}

/// Whether the list at this place is a set: the arguments that a schema demands, the versions a server speaks.
pub(super) fn is_set(path: &Path) -> bool {
    let is_schema = |segment: &Segment| matches!(segment, Segment::Member(name) if name == "inputSchema" || name == "outputSchema");
    let is_required = matches!(path.segments().last(), Some(Segment::Member(name)) if name == "required");
    (is_required && path.segments().iter().any(is_schema)) || path.is(&["result", "supportedVersions"])
}
