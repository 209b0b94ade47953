//! The routes, one table: what is answered and what is described both come from it.

use http::Method;
use schemars::{Schema, SchemaGenerator};

use crate::forms::{Approval, NewBreakpoint, Verdict};
use crate::problem::Problem;

/// What stands in a path for the number of a thing.
const ID: &str = "{id}";

/// A way to ask for something.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) method: Method,
    /// Its path, with [`ID`] for a number.
    pub(crate) path: &'static str,
    pub(crate) operation: Operation,
    /// What it is, as a sentence.
    pub(crate) summary: &'static str,
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Describe,
    Status,
    Sessions,
    Rules,
    Messages,
    ListHeld,
    ShowHeld,
    Decide,
    ListBreakpoints,
    AddBreakpoint,
    RemoveBreakpoint,
    ListApprovals,
    Approve,
}

impl Operation {
    /// Whether nobody is asked for a token: the description tells nothing about this proxy.
    pub(crate) fn is_open(self) -> bool {
        self == Self::Describe
    }

    /// The schema of its body; none if it has no body.
    pub(crate) fn body(self) -> Option<fn(&mut SchemaGenerator) -> Schema> {
        match self {
            Self::Decide => Some(SchemaGenerator::subschema_for::<Verdict>),
            Self::AddBreakpoint => Some(SchemaGenerator::subschema_for::<NewBreakpoint>),
            Self::Approve => Some(SchemaGenerator::subschema_for::<Approval>),
            _ => None,
        }
    }
}

const fn route(method: Method, path: &'static str, operation: Operation, summary: &'static str) -> Route {
    Route { method, path, operation, summary }
}

/// All there are.
pub(crate) static ROUTES: [Route; 13] = [
    route(Method::GET, "/v1/openapi.json", Operation::Describe, "This description; needs no token."),
    route(Method::GET, "/v1/status", Operation::Status, "How the proxy is."),
    route(Method::GET, "/v1/sessions", Operation::Sessions, "The sessions in use."),
    route(Method::GET, "/v1/rules", Operation::Rules, "The rules in force, and how often they fired."),
    route(
        Method::GET,
        "/v1/messages",
        Operation::Messages,
        "Messages as they pass, and those that are held and let go, as server-sent events.",
    ),
    route(Method::GET, "/v1/held", Operation::ListHeld, "The messages that wait, the oldest first."),
    route(Method::GET, "/v1/held/{id}", Operation::ShowHeld, "One of them, with its text."),
    route(Method::POST, "/v1/held/{id}/verdict", Operation::Decide, "Lets a message go."),
    route(Method::GET, "/v1/breakpoints", Operation::ListBreakpoints, "Which messages are held."),
    route(Method::POST, "/v1/breakpoints", Operation::AddBreakpoint, "Holds further messages."),
    route(
        Method::DELETE,
        "/v1/breakpoints/{id}",
        Operation::RemoveBreakpoint,
        "Holds them no more; those that wait go on waiting.",
    ),
    route(Method::GET, "/v1/approvals", Operation::ListApprovals, "The calls that wait for an approval."),
    route(Method::POST, "/v1/approvals/{id}", Operation::Approve, "Approves a call, or denies it."),
];

/// What a request asks for, and of which thing.
pub(crate) fn find<'p>(method: &Method, path: &'p str) -> Result<(Operation, Option<&'p str>), Problem> {
    let here: Vec<&Route> = ROUTES.iter().filter(|route| fits(route.path, path)).collect();
    if let Some(route) = here.iter().find(|route| route.method == *method) {
        return Ok((route.operation, number(route.path, path)));
    }
    if here.is_empty() {
        return Err(Problem::not_found("there is no such path; /v1/openapi.json lists those there are"));
    }
    let allowed: Vec<&str> = here.iter().map(|route| route.method.as_str()).collect();
    Err(Problem::method(allowed.join(", ")))
}

fn fits(form: &str, path: &str) -> bool {
    (form == path && !form.contains(ID)) || number(form, path).is_some()
}

/// The number in a path of this form.
fn number<'p>(form: &str, path: &'p str) -> Option<&'p str> {
    let (before, behind) = form.split_once(ID)?;
    let number = path.strip_prefix(before)?.strip_suffix(behind)?;
    (!number.is_empty() && !number.contains(['/', '{'])).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_with_its_number() {
        let found = |method, path| find(&method, path).ok();
        assert_eq!(found(Method::GET, "/v1/held"), Some((Operation::ListHeld, None)));
        assert_eq!(found(Method::GET, "/v1/held/h-1"), Some((Operation::ShowHeld, Some("h-1"))));
        assert_eq!(found(Method::POST, "/v1/held/h-1/verdict"), Some((Operation::Decide, Some("h-1"))));
        for path in
            ["", "/v1/held/{id}", "/", "/v1", "/v1/held/", "/v1/held//verdict", "/v1/held/a/b", "/v2/held"]
        {
            assert_eq!(found(Method::GET, path), None, "{path}");
        }
        assert_eq!(found(Method::PUT, "/v1/breakpoints"), None);
    }
}
