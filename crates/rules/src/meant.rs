//! A condition without a rule around it, for whoever holds messages and not only edits them.

use shadowcat_filter::Filter;
use shadowcat_protocol::Message;

use crate::condition::{self, Condition};
use crate::counting::counts;
use crate::fault::{Fault, Faults, Place};
use crate::scene::Scene;
use crate::view::{Body, View};
use crate::world::World;
use crate::written::When;

/// Which messages are meant.
#[derive(Debug)]
pub struct Meant(Condition);

impl From<Filter> for Meant {
    /// Messages of any kind that fit the expression.
    fn from(filter: Filter) -> Self {
        Self(Condition::Filter(Box::new(filter)))
    }
}

impl Meant {
    /// Reads a condition as rules have it, without those that count. Its faults are at `place` and below.
    ///
    /// # Errors
    /// With everything that is wrong.
    pub fn compile(when: &When, place: &str) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let place = Place::Root(place);
        if counts(when) {
            faults.add(&place, "`every`, `after` and `share` are for rules only");
        }
        let condition = condition::compile(when, &place, &mut faults);
        faults.or(Self(condition))
    }

    /// Whether this message is.
    ///
    /// # Errors
    /// With a sentence, when it depends on content that two parsers could read differently.
    pub fn holds(&self, message: &Message, scene: &Scene<'_>, world: &dyn World) -> Result<bool, String> {
        let body = Body::new();
        let view = View::new(message, scene, scene.facts.headers, &body, world);
        self.0.holds(&view).map_err(|unreadable| unreadable.to_string())
    }
}
