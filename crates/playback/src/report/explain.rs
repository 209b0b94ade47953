//! What a difference means, in the words of MCP.

use serde_json::Value;

use super::Finding;
use crate::compare::Difference;
use crate::path::Segment;
use crate::script::Call;

/// The differences of an answer as findings; several that are one change to a person are one finding.
pub(super) fn findings(
    call: &Call,
    before: &Value,
    after: &Value,
    differences: Vec<Difference>,
) -> Vec<Finding> {
    if let Some(finding) = other_kind(before, after) {
        return vec![finding];
    }
    let demanded: Vec<(String, String)> = differences.iter().filter_map(demand).collect();
    let is_told = |difference: &Difference| {
        new_property(difference).is_some_and(|property| demanded.contains(&property))
    };
    differences
        .into_iter()
        .filter(|difference| !is_told(difference))
        .map(|difference| Finding {
            says: says(call, &difference, before),
            path: Some(difference.path.to_string()),
            before: difference.before,
            after: difference.after,
        })
        .collect()
}

/// An answer that is an error now, or no longer one: what else differs follows from that.
fn other_kind(before: &Value, after: &Value) -> Option<Finding> {
    let (was, is) = (error(before), error(after));
    let finding = |says: String| {
        let part = |message: &Value| message.get("error").or_else(|| message.get("result")).cloned();
        Some(Finding { says, path: None, before: part(before), after: part(after) })
    };
    match (was, is) {
        (None, Some(error)) => finding(format!("it fails now: {error}")),
        (Some(error), None) => finding(format!("it no longer fails; it failed with: {error}")),
        _ => None,
    }
}

/// The text of an error, of the protocol or of a tool.
fn error(message: &Value) -> Option<String> {
    if let Some(error) = message.get("error") {
        let text = error.get("message").and_then(Value::as_str).unwrap_or_default();
        return Some(text.to_owned());
    }
    let result = message.get("result")?;
    if !result.get("isError")?.as_bool()? {
        return None;
    }
    let text = result.pointer("/content/0/text").and_then(Value::as_str).unwrap_or("an error without a text");
    Some(text.lines().next().unwrap_or_default().to_owned())
}

/// The tool, prompt or resource of a list that a difference is about, and the steps behind it.
fn listed(difference: &Difference) -> Option<(&'static str, &str, &[Segment])> {
    let segments = difference.path.segments();
    let [Segment::Member(result), Segment::Member(list), Segment::Named(_, name), rest @ ..] = segments
    else {
        return None;
    };
    let kind = match list.as_str() {
        _ if result != "result" => return None,
        "tools" => "tool",
        "prompts" => "prompt",
        "resources" => "resource",
        "resourceTemplates" => "resource template",
        "roots" => "root",
        _ => return None,
    };
    Some((kind, name, rest))
}

fn is_member(segment: &Segment, name: &str) -> bool {
    matches!(segment, Segment::Member(member) if member == name)
}

/// The tool and the argument that it demands now.
fn demand(difference: &Difference) -> Option<(String, String)> {
    let (_, tool, rest) = listed(difference)?;
    let is_demand = matches!(rest, [schema, required] if is_member(schema, "inputSchema") && is_member(required, "required"));
    // Where there was no list of them before, the list itself is new.
    let argument = match (&difference.before, difference.after.as_ref()?) {
        (None, Value::String(argument)) => argument,
        (None, Value::Array(arguments)) => arguments.first()?.as_str()?,
        _ => return None,
    };
    is_demand.then(|| (tool.to_owned(), argument.to_owned()))
}

/// The tool and the argument that it knows now.
fn new_property(difference: &Difference) -> Option<(String, String)> {
    let (_, tool, rest) = listed(difference)?;
    let [schema, properties, Segment::Member(argument)] = rest else { return None };
    let is_new = difference.before.is_none()
        && is_member(schema, "inputSchema")
        && is_member(properties, "properties");
    is_new.then(|| (tool.to_owned(), argument.clone()))
}

fn says(call: &Call, difference: &Difference, before: &Value) -> String {
    let Some((kind, name, rest)) = listed(difference) else { return plain(call, difference) };
    if let Some((tool, argument)) = demand(difference) {
        let is_known = before.pointer("/result/tools").and_then(Value::as_array).is_some_and(|tools| {
            let own = tools.iter().find(|known| known.get("name").is_some_and(|name| *name == *tool));
            own.is_some_and(|own| {
                own.pointer("/inputSchema/properties").is_some_and(|all| all.get(&argument).is_some())
            })
        });
        let how = if is_known { "now requires the argument" } else { "has a new required argument" };
        return format!("{kind} `{name}` {how} `{argument}`");
    }
    let change = match (&difference.before, &difference.after) {
        (None, _) => "is new",
        (_, None) => "is gone",
        _ => "is another one",
    };
    match rest {
        [] => format!("{kind} `{name}` {change}"),
        [schema, properties, Segment::Member(argument), ..]
            if is_member(schema, "inputSchema") && is_member(properties, "properties") =>
        {
            let what = if rest.len() == 3 { change } else { "has another schema" };
            format!("argument `{argument}` of {kind} `{name}` {what}")
        }
        [schema, required] if is_member(schema, "inputSchema") && is_member(required, "required") => {
            let argument = difference.before.as_ref().and_then(Value::as_str).unwrap_or("any");
            format!("{kind} `{name}` no longer requires the argument `{argument}`")
        }
        [Segment::Member(member), ..] => {
            let what = if rest.len() == 1 { change } else { "differs" };
            format!("`{member}` of {kind} `{name}` {what}")
        }
        _ => format!("{kind} `{name}` differs"),
    }
}

fn plain(call: &Call, difference: &Difference) -> String {
    let what = match call.name.as_deref() {
        Some(name) => format!("the answer of `{name}`"),
        None => "the answer".to_owned(),
    };
    let part = match difference.path.segments().last() {
        Some(Segment::Member(name)) => format!("`{name}`"),
        _ => "such an element".to_owned(),
    };
    match (&difference.before, &difference.after) {
        (None, _) => format!("{what} has {part} now"),
        (_, None) => format!("{what} has no {part} any more"),
        _ => format!("{what} is another one"),
    }
}
