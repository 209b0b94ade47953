//! A condition without a rule around it, for whoever holds messages and not only edits them.

use shadowcat_filter::Filter;
use shadowcat_protocol::{Direction, Message};

use crate::condition::{self, Condition};
use crate::counting::counts;
use crate::fault::{Fault, Faults, Place};
use crate::rules::could_fit;
use crate::scene::{Kind, Scene};
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
    /// Reads a condition of requests to the server as rules have it, without those that count. Its faults are at `place` and
    /// below.
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
        if faults.count() == 0 && !could_fit(&condition, Kind::Request, &[Direction::ToServer]) {
            let sentence = "no request to a server can ever fit this: its conditions contradict each other";
            faults.add(&place, sentence);
        }
        faults.or(Self(condition))
    }

    /// Whether this message is.
    ///
    /// # Errors
    /// With a sentence, when it depends on content that two parsers could read differently.
    pub fn holds(&self, message: &Message, scene: &Scene<'_>, world: &dyn World) -> Result<bool, String> {
        let body = Body::default();
        let view = View::new(message, scene, scene.facts.headers, &body, world);
        self.0.holds(&view).map_err(ToString::to_string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(when: &str) -> Vec<String> {
        let when = serde_json::from_str(when).unwrap();
        let faults = Meant::compile(&when, "when").err().unwrap_or_default();
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_no_request_can_ever_fit_is_refused() {
        for when in [
            r#"{"method":"tools/call","prompt":"x"}"#,
            r#"{"method":"tools/call","all":[{"on":"answer"}]}"#,
            r#"{"method":"tools/call","all":[{"direction":"to-client"}]}"#,
            r#"{"method":"tools/call","filter":"~m prompts/get"}"#,
            r#"{"method":"tools/call","filter":"~t rm & (~s | ~e)"}"#,
            r#"{"method":"tools/call","filter":"!~q"}"#,
            r#"{"method":"tools/call","filter":"~d >1s"}"#,
        ] {
            let faults = faults(when);
            assert!(faults.len() == 1 && faults[0].starts_with("when: no request to a server can ever fit"));
        }
        for when in [
            r#"{"method":"tools/call","tool":"x"}"#,
            r#"{"method":"tools/call","filter":"~m tools/* & ~t x"}"#,
            r#"{"method":"tools/call","filter":"~m prompts/get | ~b rm"}"#,
            r#"{"method":"tools/call","filter":"!~e & ~z >1kB"}"#,
            r#"{"method":["tools/call","prompts/get"],"filter":"~m prompts/get"}"#,
        ] {
            assert_eq!(faults(when), Vec::<String>::new(), "{when}");
        }
    }
}
