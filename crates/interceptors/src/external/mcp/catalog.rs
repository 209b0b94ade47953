//! The interceptors of a server, as its list describes them, and which of them a message concerns.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::external::verdict::Failure;

/// Interceptors of one server.
const INTERCEPTORS_MAX: usize = 256;

/// A side of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Request,
    Response,
}

impl Phase {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }
}

/// What an interceptor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Validation,
    Mutation,
}

/// One interceptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) is_audit: bool,
    pub(super) fails_open: bool,
    hooks: Vec<Hook>,
    /// For requests, and for answers.
    priority: (i32, i32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Hook {
    events: Vec<String>,
    on_request: bool,
    on_response: bool,
}

impl Descriptor {
    fn priority(&self, phase: Phase) -> i32 {
        match phase {
            Phase::Request => self.priority.0,
            Phase::Response => self.priority.1,
        }
    }
}

/// All interceptors of a server, by their names.
#[derive(Debug, Default)]
pub(super) struct Catalog(BTreeMap<String, Descriptor>);

impl Catalog {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a page of the list.
    pub(super) fn add_page(&mut self, result: &str) -> Result<(), Failure> {
        let page: Page = serde_json::from_str(result).map_err(|error| {
            Failure::nonsense(format!("the list of interceptors cannot be read: {error}"))
        })?;
        for written in page.interceptors {
            let Some(descriptor) = written.read() else { continue };
            if self.0.len() >= INTERCEPTORS_MAX {
                return Err(Failure::nonsense(format!("more than {INTERCEPTORS_MAX} interceptors")));
            }
            let name = descriptor.name.clone();
            if self.0.insert(name.clone(), descriptor).is_some() {
                return Err(Failure::nonsense(format!("two interceptors have the name {}", told(&name))));
            }
        }
        Ok(())
    }

    /// Those that hook into this event, by name.
    pub(super) fn hooked(&self, event: &str, phase: Phase) -> impl Iterator<Item = &Descriptor> {
        self.0.values().filter(move |descriptor| descriptor.hooks.iter().any(|hook| hook.fits(event, phase)))
    }

    /// Those of them that change payloads, in the order in which they are asked.
    pub(super) fn mutators(&self, event: &str, phase: Phase) -> Vec<&Descriptor> {
        let mut mutators: Vec<_> =
            self.hooked(event, phase).filter(|hooked| hooked.role == Role::Mutation).collect();
        // Equal ones stay in the order of their names.
        mutators.sort_by_key(|mutator| mutator.priority(phase));
        mutators
    }

    /// Those of them that only judge.
    pub(super) fn validators(&self, event: &str, phase: Phase) -> Vec<&Descriptor> {
        self.hooked(event, phase).filter(|hooked| hooked.role == Role::Validation).collect()
    }
}

impl Hook {
    fn fits(&self, event: &str, phase: Phase) -> bool {
        let has_phase = match phase {
            Phase::Request => self.on_request,
            Phase::Response => self.on_response,
        };
        has_phase && self.events.iter().any(|pattern| covers(pattern, event, phase))
    }
}

fn covers(pattern: &str, event: &str, phase: Phase) -> bool {
    match pattern.strip_prefix("*/") {
        Some(only) => only == phase.as_str(),
        None => match pattern.strip_suffix('*') {
            Some(start) => event.starts_with(start),
            None => pattern == event,
        },
    }
}

fn told(name: &str) -> String {
    crate::external::verdict::told(name)
}

#[derive(Deserialize)]
struct Page {
    interceptors: Vec<Written>,
}

/// A descriptor as the drafts have it: `hooks` of the newer ones, `hook` of the first.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    name: String,
    r#type: String,
    #[serde(default)]
    hooks: Vec<WrittenHook>,
    hook: Option<WrittenHook>,
    mode: Option<String>,
    #[serde(default)]
    fail_open: bool,
    priority_hint: Option<Priority>,
}

#[derive(Deserialize)]
struct WrittenHook {
    events: Vec<String>,
    phase: WrittenPhase,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenPhase {
    Request,
    Response,
    Both,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Priority {
    Both(i32),
    Each {
        #[serde(default)]
        request: i32,
        #[serde(default)]
        response: i32,
    },
}

impl Written {
    /// None if it is of a type that is not known here; what cannot be asked is passed over.
    fn read(self) -> Option<Descriptor> {
        let role = match self.r#type.as_str() {
            "validation" => Role::Validation,
            "mutation" => Role::Mutation,
            other => {
                let (name, kind) = (told(&self.name), told(other));
                tracing::warn!(interceptor = name, kind, "an interceptor of an unknown type is not asked");
                return None;
            }
        };
        let hooks = self.hooks.into_iter().chain(self.hook).map(|hook| Hook {
            events: hook.events,
            on_request: hook.phase != WrittenPhase::Response,
            on_response: hook.phase != WrittenPhase::Request,
        });
        Some(Descriptor {
            name: self.name,
            role,
            is_audit: self.mode.as_deref() == Some("audit"),
            fails_open: self.fail_open,
            hooks: hooks.collect(),
            priority: match self.priority_hint {
                None => (0, 0),
                Some(Priority::Both(priority)) => (priority, priority),
                Some(Priority::Each { request, response }) => (request, response),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(interceptors: &str) -> Result<Catalog, Failure> {
        let mut catalog = Catalog::default();
        catalog.add_page(&format!(r#"{{"interceptors":{interceptors}}}"#)).map(|()| catalog)
    }

    #[test]
    fn hooks_of_both_drafts_are_read_and_events_are_matched() {
        for (hooks, event, phase, expected) in [
            (r#""hooks":[{"events":["tools/call"],"phase":"request"}]"#, "tools/call", Phase::Request, true),
            (
                r#""hooks":[{"events":["tools/call"],"phase":"request"}]"#,
                "tools/call",
                Phase::Response,
                false,
            ),
            (r#""hooks":[{"events":["tools/call"],"phase":"request"}]"#, "tools/list", Phase::Request, false),
            (r#""hook":{"events":["tools/call"],"phase":"both"}"#, "tools/call", Phase::Response, true),
            (r#""hook":{"events":["*"],"phase":"both"}"#, "roots/list", Phase::Request, true),
            (r#""hook":{"events":["*"],"phase":"response"}"#, "roots/list", Phase::Request, false),
            (r#""hook":{"events":["*/response"],"phase":"both"}"#, "roots/list", Phase::Response, true),
            (r#""hook":{"events":["*/response"],"phase":"both"}"#, "roots/list", Phase::Request, false),
            (r#""hook":{"events":["tools/*"],"phase":"both"}"#, "tools/list", Phase::Request, true),
            (r#""hook":{"events":["tools/*"],"phase":"both"}"#, "prompts/list", Phase::Request, false),
        ] {
            let catalog = catalog(&format!(r#"[{{"name":"a","type":"validation",{hooks}}}]"#)).unwrap();
            assert_eq!(catalog.hooked(event, phase).count() == 1, expected, "{hooks} {event} {phase:?}");
        }
    }

    #[test]
    fn mutators_are_asked_by_priority_and_then_by_name() {
        let hook = r#""type":"mutation","hooks":[{"events":["*"],"phase":"both"}]"#;
        let catalog = catalog(&format!(
            r#"[{{"name":"b",{hook}}},{{"name":"a",{hook}}},{{"name":"z",{hook},"priorityHint":-5}},
                {{"name":"c",{hook},"priorityHint":{{"request":7}}}},
                {{"name":"v","type":"validation","hooks":[]}},{{"name":"s","type":"sink","hooks":[]}}]"#
        ))
        .unwrap();
        let names =
            |phase| catalog.mutators("x", phase).iter().map(|one| one.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(Phase::Request), ["z", "a", "b", "c"]);
        assert_eq!(names(Phase::Response), ["z", "a", "b", "c"]);
        assert_eq!(catalog.len(), 5, "what is of no known type is passed over");
    }

    #[test]
    fn a_list_that_makes_no_sense_is_refused() {
        for interceptors in [
            r#"[{"name":"a"}]"#,
            r#"[{"name":"a","type":"validation","hooks":[{"events":["*"],"phase":"later"}]}]"#,
            r#"[{"name":"a","type":"validation"},{"name":"a","type":"validation"}]"#,
            "{}",
        ] {
            assert!(catalog(interceptors).is_err(), "{interceptors}");
        }
    }
}
