//! What a client declared that it can be asked for, and whether a server's question is within that.

use std::collections::BTreeSet;

use shadowcat_protocol::{ErrorObject, codes, json, method};

use crate::object::Object;

/// One thing a client can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Ability {
    Form,
    Url,
    Sampling,
    SamplingContext,
    SamplingTools,
    Roots,
}

const FORM: &str = r#"{"elicitation":{"form":{}}}"#;
const URL: &str = r#"{"elicitation":{"url":{}}}"#;
const SAMPLING: &str = r#"{"sampling":{}}"#;
const SAMPLING_TOOLS: &str = r#"{"sampling":{"tools":{}}}"#;
const ROOTS: &str = r#"{"roots":{}}"#;

/// A question that the client did not declare to answer.
#[derive(Debug)]
pub(crate) struct Undeclared {
    /// What the server is told.
    pub(crate) error: ErrorObject,
    /// What the client would have had to declare, as JSON; nothing helps with a question that no client answers.
    pub(crate) required: Option<&'static str>,
}

/// What one request declares, as far as a legacy session has a word for it: extensions, experiments and tasks hosted
/// by the client are left out, because the bridge could not serve them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Declared(BTreeSet<Ability>);

impl Declared {
    /// What a request declares by these capabilities, as JSON.
    pub(crate) fn of(all: &str) -> Self {
        let is_there = |path: &[&str]| json::get(all, path).is_some_and(|raw| raw.starts_with('{'));
        let elicitation = is_there(&["elicitation"]);
        let url = elicitation && is_there(&["elicitation", "url"]);
        // An elicitation capability without a mode means forms: it is older than the modes.
        let form = elicitation && (is_there(&["elicitation", "form"]) || !url);
        let sampling = is_there(&["sampling"]);
        let abilities = [
            (Ability::Form, form),
            (Ability::Url, url),
            (Ability::Sampling, sampling),
            (Ability::SamplingContext, sampling && is_there(&["sampling", "context"])),
            (Ability::SamplingTools, sampling && is_there(&["sampling", "tools"])),
            (Ability::Roots, is_there(&["roots"])),
        ];
        Self(abilities.into_iter().filter(|(_, declared)| *declared).map(|(ability, _)| ability).collect())
    }

    /// Whether a server has nothing to ask for.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the user can be sent to a URL.
    pub(crate) fn has_url(&self) -> bool {
        self.has(Ability::Url)
    }

    fn has(&self, ability: Ability) -> bool {
        self.0.contains(&ability)
    }

    /// The capabilities as `initialize` declares them.
    pub(crate) fn to_json(&self) -> String {
        let group = |members: &[(&'static str, Ability)]| {
            let declared = members.iter().filter(|(_, ability)| self.has(*ability));
            declared.fold(Object::default(), |object, (name, _)| object.with(name, "{}")).to_json()
        };
        let mut all = Object::default();
        if self.has(Ability::Form) || self.has(Ability::Url) {
            all.set("elicitation", group(&[("form", Ability::Form), ("url", Ability::Url)]));
        }
        if self.has(Ability::Sampling) {
            let parts = [("context", Ability::SamplingContext), ("tools", Ability::SamplingTools)];
            all.set("sampling", group(&parts));
        }
        if self.has(Ability::Roots) {
            all.set("roots", "{}");
        }
        all.to_json()
    }

    /// Whether the client may be asked this, with these parameters.
    pub(crate) fn allows(&self, asked: &str, params: Option<&str>) -> Result<(), Undeclared> {
        let member = |name| params.and_then(|params| json::get(params, &[name]));
        match asked {
            method::ELICITATION => match (is_url(params), self.has(Ability::Form), self.has(Ability::Url)) {
                (true, false, false) => Err(undeclared("elicitation", URL)),
                (false, false, false) => Err(undeclared("elicitation", FORM)),
                (true, true, false) => Err(unfit("this mode of elicitation", URL)),
                (false, false, true) => Err(unfit("this mode of elicitation", FORM)),
                (true, _, true) | (false, true, _) => Ok(()),
            },
            method::SAMPLING if !self.has(Ability::Sampling) => Err(undeclared("sampling", SAMPLING)),
            method::SAMPLING => {
                let has_tools = member("tools").is_some() || member("toolChoice").is_some();
                if has_tools && !self.has(Ability::SamplingTools) {
                    return Err(unfit("sampling with tools", SAMPLING_TOOLS));
                }
                Ok(())
            }
            method::ROOTS_LIST if self.has(Ability::Roots) => Ok(()),
            method::ROOTS_LIST => Err(undeclared("roots", ROOTS)),
            other => Err(Undeclared {
                error: error(codes::METHOD_NOT_FOUND, format!("the client has no method {other}")),
                required: None,
            }),
        }
    }
}

/// Whether an elicitation sends the user to a URL.
pub(crate) fn is_url(params: Option<&str>) -> bool {
    let mode = params.and_then(|params| json::get(params, &["mode"])).and_then(json::string);
    mode.is_some_and(|mode| mode == "url")
}

fn undeclared(capability: &str, required: &'static str) -> Undeclared {
    let error = error(codes::METHOD_NOT_FOUND, format!("the client did not declare {capability}"));
    Undeclared { error, required: Some(required) }
}

fn unfit(what: &str, required: &'static str) -> Undeclared {
    let error = error(codes::INVALID_PARAMS, format!("the client did not declare {what}"));
    Undeclared { error, required: Some(required) }
}

fn error(code: i64, message: String) -> ErrorObject {
    ErrorObject { code, message, data: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn declared(capabilities: &str) -> Declared {
        Declared::of(capabilities)
    }

    #[test]
    fn only_what_the_bridge_can_serve_is_declared() {
        for (modern, legacy) in [
            ("{}", "{}"),
            (r#"{"elicitation":{}}"#, r#"{"elicitation":{"form":{}}}"#),
            (r#"{"elicitation":{"url":{},"x":{}}}"#, r#"{"elicitation":{"url":{}}}"#),
            (r#"{"sampling":{"tools":{}},"extensions":{"a/b":{}}}"#, r#"{"sampling":{"tools":{}}}"#),
            (r#"{"roots":{"listChanged":true},"tasks":{},"sampling":null}"#, r#"{"roots":{}}"#),
        ] {
            assert_eq!(declared(modern).to_json(), legacy, "{modern}");
        }
    }

    #[test]
    fn the_order_of_capabilities_makes_no_other_session() {
        let one = declared(r#"{"roots":{},"elicitation":{"form":{},"url":{}}}"#);
        assert_eq!(one, declared(r#"{"elicitation":{"url":{},"form":{}},"roots":{}}"#));
        assert_ne!(one, declared(r#"{"elicitation":{"url":{}},"roots":{}}"#));
    }

    #[test]
    fn a_question_is_within_what_was_declared_or_is_refused() {
        let form = declared(r#"{"elicitation":{}}"#);
        assert!(form.allows("elicitation/create", Some(r#"{"message":"?"}"#)).is_ok());
        let code = |declared: &Declared, method, params| {
            declared.allows(method, Some(params)).map_err(|undeclared| undeclared.error.code)
        };
        assert_eq!(code(&form, "elicitation/create", r#"{"mode":"url"}"#), Err(-32602));
        assert_eq!(code(&form, "sampling/createMessage", "{}"), Err(-32601));
        assert_eq!(code(&form, "roots/list", "{}"), Err(-32601));
        let sampling = declared(r#"{"sampling":{}}"#);
        assert_eq!(code(&sampling, "sampling/createMessage", "{}"), Ok(()));
        assert_eq!(code(&sampling, "sampling/createMessage", r#"{"tools":[]}"#), Err(-32602));
        assert_eq!(code(&sampling, "vendor/ask", "{}"), Err(-32601));
    }

    #[test]
    fn only_what_was_declared_may_be_asked() {
        let bare = declared("{}");
        let plain = declared(r#"{"elicitation":{},"sampling":{},"roots":{}}"#);
        let url_only = declared(r#"{"elicitation":{"url":{}},"sampling":{"tools":{}}}"#);
        let malformed = declared(r#"{"elicitation":true,"sampling":1,"roots":[]}"#);
        for (declared, expected) in [
            (&bare, [false, false, false, false, false]),
            (&plain, [true, false, true, false, true]),
            (&url_only, [false, true, true, true, false]),
            (&malformed, [false, false, false, false, false]),
        ] {
            let asked = [
                ("elicitation/create", None),
                ("elicitation/create", Some(r#"{"mode":"url"}"#)),
                ("sampling/createMessage", Some("{}")),
                ("sampling/createMessage", Some(r#"{"tools":[]}"#)),
                ("roots/list", None),
            ];
            assert_eq!(asked.map(|(asked, params)| declared.allows(asked, params).is_ok()), expected);
        }
        assert!(plain.allows("ping", None).is_err());
    }
}
