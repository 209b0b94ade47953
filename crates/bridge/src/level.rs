//! Log levels: how loud a server has to be, and what one request wants to hear.

use shadowcat_protocol::{Notification, Request, json};

use crate::meta;

/// The levels there are (all revisions, logging), from the most talkative to the quietest.
const NAMES: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// A level; a lower one says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Level(usize);

impl Level {
    /// What a request wants to hear; nothing without it.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        Self::parse(request.meta(meta::LOG_LEVEL)?)
    }

    /// How important a log message is.
    pub(crate) fn of_message(note: &Notification) -> Option<Self> {
        Self::parse(json::get(note.params()?, &["level"])?)
    }

    /// The level of this name, as JSON.
    pub(crate) fn parse(raw: &str) -> Option<Self> {
        let name = json::string(raw)?;
        NAMES.iter().position(|known| *known == name).map(Self)
    }

    /// The name on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        NAMES.get(self.0).copied().unwrap_or("emergency")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lower_level_says_more() {
        let level = |name: &str| Level::parse(&json::quote(name)).unwrap();
        assert!(level("debug") < level("warning"));
        assert_eq!(level("emergency").as_str(), "emergency");
        assert_eq!(Level::parse("\"loud\""), None);
    }
}
