//! What is held until somebody decides.

use std::sync::Arc;
use std::time::Duration;

use shadowcat_filter::Filter;
use shadowcat_interceptors::external::Limits;
use shadowcat_interceptors::pause::{Approval, BREAKPOINTS_MAX, Settings, Terms};
use shadowcat_protocol::method;
use shadowcat_rules::{Meant, Then};

use super::resolve::Sources;
use super::webhook::{self, Webhook, Written};
use crate::config::{self, ByteSize, Span};

/// People look at what they are asked later, and the caller tries again later still.
const GRANT_FOR: Duration = Duration::from_mins(10);
/// The call waits in any case, and an endpoint that asks others takes its time.
const QUESTION_MAX: Duration = Duration::from_secs(10);

/// What is held until somebody decides.
#[derive(Clone, Debug)]
pub struct Pause {
    /// How.
    pub settings: Settings,
    /// Which messages, from the start: filter expressions, and for how long.
    pub breakpoints: Vec<(String, Terms)>,
    /// Who is asked about calls that need an approval.
    pub approvers: Vec<Approver>,
}

/// An HTTP endpoint that is asked whether held calls may go on.
#[derive(Clone, Debug)]
pub struct Approver {
    /// The name of the approval that they need.
    pub approval: Arc<str>,
    /// How much it is asked.
    pub limits: Limits,
    /// The endpoint.
    pub webhook: Webhook,
}

impl Sources<'_> {
    pub(super) fn pause(&mut self, limits: shadowcat_protocol::Limits) -> Pause {
        let written = &self.file().pause;
        let usual = Settings::default();
        let settings = Settings {
            deadline: written.deadline.map_or(usual.deadline, Span::get),
            then: written.verdict.unwrap_or(usual.then),
            held_max: self.count("pause.held_max", written.held_max, usual.held_max),
            bytes_max: written.bytes_max.map_or(usual.bytes_max, ByteSize::bytes),
            limits,
            approvals: self.approvals(),
        };
        let flags = self.flags.breaks.iter();
        let flags = flags.map(|filter| ("--break".to_owned(), filter.clone(), Terms::default()));
        let listed = written.breakpoints.iter().enumerate().map(|(number, breakpoint)| {
            let place = self.place(&format!("pause.breakpoints[{number}].filter"));
            let terms = Terms { held_for: breakpoint.deadline.map(Span::get), then: breakpoint.verdict };
            (place, breakpoint.filter.clone(), terms)
        });
        let all: Vec<_> = flags.chain(listed).collect();
        if all.len() > BREAKPOINTS_MAX {
            let place = self.place("pause.breakpoints");
            self.problems.add(place, format!("more than {BREAKPOINTS_MAX} breakpoints"));
        }
        let mut breakpoints = Vec::with_capacity(all.len());
        for (place, filter, terms) in all {
            if self.problems.take(place, filter.parse::<Filter>()).is_some() {
                breakpoints.push((filter, terms));
            }
        }
        let approvers = self.approvers();
        Pause { settings, breakpoints, approvers }
    }

    fn approvals(&mut self) -> Vec<Approval> {
        let mut approvals: Vec<Approval> = Vec::new();
        for (number, written) in self.file().approvals.iter().enumerate() {
            let key = format!("approvals[{number}]");
            if written.name.trim().is_empty() || approvals.iter().any(|other| *other.name == *written.name) {
                let place = self.place(&format!("{key}.name"));
                self.problems.add(place, "expected a name that no other approval has");
            }
            approvals.extend(self.approval(&key, written));
        }
        approvals
    }

    fn approvers(&mut self) -> Vec<Approver> {
        let mut approvers = Vec::new();
        for (number, approval) in self.file().approvals.iter().enumerate() {
            let Some(written) = &approval.approver else { continue };
            let at = format!("approvals[{number}].approver");
            let reading = webhook::Reading { at, loaded: self.loaded, variables: self.variables };
            let config::Approver { webhook, timeout, concurrency, breaker } = written;
            let limits = Written { timeout: *timeout, concurrency: *concurrency, breaker };
            let limits = reading.limits(&limits, QUESTION_MAX, &mut self.problems);
            if let Some(webhook) = reading.webhook(webhook, &mut self.problems) {
                approvers.push(Approver { approval: approval.name.as_str().into(), limits, webhook });
            }
        }
        approvers
    }

    fn approval(&mut self, key: &str, written: &config::Approval) -> Option<Approval> {
        let key = format!("{key}.when");
        let mut when = written.when.clone();
        for (name, is_there) in [("on", !when.on.0.is_empty()), ("direction", when.direction.is_some())] {
            if is_there {
                let place = self.place(&format!("{key}.{name}"));
                self.problems.add(place, "approvals are of requests to the server; leave it out");
            }
        }
        if when.method.0.is_empty() {
            if !when.prompt.0.is_empty() || !when.resource.0.is_empty() {
                let place = self.place(&key);
                self.problems.add(place, "calls of tools are meant where no `method` is; add `method`");
                return None;
            }
            when.method.0.push(method::TOOLS_CALL.to_owned());
        }
        match Meant::compile(&when, &key) {
            Ok(meant) => Some(Approval {
                name: written.name.as_str().into(),
                meant: Arc::new(meant),
                terms: Terms {
                    held_for: written.deadline.map(Span::get),
                    // Not as `pause.verdict` has it: what goes on when nobody says no needs no approval.
                    then: Some(written.verdict.unwrap_or(Then::Block)),
                },
                grant_for: written.grant_for.map_or(GRANT_FOR, Span::get),
                // Nobody is reached by what is only planned.
                approver: None,
            }),
            Err(faults) => {
                for fault in faults {
                    let place = self.place(&fault.place);
                    let is_of_all = fault.place == key && written.when.method.0.is_empty();
                    let hint = if is_of_all { "; calls of tools are meant where no `method` is" } else { "" };
                    self.problems.add(place, format!("{}{hint}", fault.sentence));
                }
                None
            }
        }
    }
}
