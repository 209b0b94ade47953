//! What is held until somebody decides.

use shadowcat_filter::Filter;
use shadowcat_interceptors::pause::{BREAKPOINTS_MAX, Settings, Terms};

use super::resolve::Sources;
use crate::config::{ByteSize, Span};

/// What is held until somebody decides.
#[derive(Clone, Debug)]
pub struct Pause {
    /// How.
    pub settings: Settings,
    /// Which messages, from the start: filter expressions, and for how long.
    pub breakpoints: Vec<(String, Terms)>,
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
        Pause { settings, breakpoints }
    }
}
