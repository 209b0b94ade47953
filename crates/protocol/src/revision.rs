//! The published revisions of the protocol and what each of them can do.
//!
//! This is the only file that compares revisions. A predicate is named for what it means, so that the place that asks
//! reads as a rule and a new revision is one column here.

use std::fmt;

use crate::{json, method};

/// A published revision.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Revision {
    /// The first: stdio and HTTP+SSE.
    V2024_11_05,
    /// Streamable HTTP, batches, authorization.
    V2025_03_26,
    /// Elicitation, structured content, the version header; no batches.
    V2025_06_18,
    /// Tasks, URL elicitation, priming events.
    V2025_11_25,
    /// No sessions: each request carries what it needs.
    V2026_07_28,
}

/// The two ways in which client and server come to terms.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Era {
    /// By the `initialize` handshake, once a session.
    Legacy,
    /// By metadata of each request.
    Modern,
}

impl Era {
    /// The word for it in logs, tapes and expressions.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }
}

impl Revision {
    /// All of them, oldest first.
    pub const ALL: [Self; 5] =
        [Self::V2024_11_05, Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];

    /// What a legacy server answers to a revision that it does not know.
    pub const NEWEST_LEGACY: Self = Self::V2025_11_25;

    /// What an HTTP request without a version header and without a session is taken for.
    pub const WITHOUT_HEADER: Self = Self::V2025_03_26;

    /// The revision of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.as_str() == name)
    }

    /// The revision in a handshake: that asked for in its parameters, or agreed on in its result.
    pub fn of_handshake(raw: &str) -> Option<Self> {
        json::get(raw, &["protocolVersion"]).and_then(json::string).and_then(|name| Self::parse(&name))
    }

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// How client and server come to terms.
    pub fn era(self) -> Era {
        match self {
            Self::V2026_07_28 => Era::Modern,
            _ => Era::Legacy,
        }
    }

    /// Whether each request carries its terms, and nothing is remembered between two.
    pub fn is_modern(self) -> bool {
        self.era() == Era::Modern
    }

    /// Whether several messages may come as one JSON array.
    pub fn has_batches(self) -> bool {
        self == Self::V2025_03_26
    }

    /// Whether its HTTP transport is the pair of an event stream and an endpoint to post to.
    pub fn has_two_endpoints(self) -> bool {
        self == Self::V2024_11_05
    }

    /// Whether HTTP requests may belong to a session named by a header.
    pub fn has_session_header(self) -> bool {
        !self.has_two_endpoints() && !self.is_modern()
    }

    /// Whether HTTP requests name the revision in a header.
    pub fn sends_version_header(self) -> bool {
        !matches!(self, Self::V2024_11_05 | Self::V2025_03_26)
    }

    /// Whether HTTP requests mirror parts of the body in headers.
    pub fn mirrors_body_in_headers(self) -> bool {
        self.is_modern()
    }

    /// Whether an event stream begins with an event that only carries an id.
    pub fn has_priming_events(self) -> bool {
        self == Self::V2025_11_25
    }

    /// Whether a broken event stream is taken up again where it broke.
    pub fn resumes(self) -> bool {
        self.has_session_header()
    }

    /// Whether the server may send requests to the client.
    pub fn has_server_requests(self) -> bool {
        !self.is_modern()
    }

    /// Whether closing the response of an HTTP request withdraws the request.
    pub fn disconnect_cancels(self) -> bool {
        self.is_modern()
    }

    /// Whether content may be sound.
    pub fn has_audio(self) -> bool {
        self != Self::V2024_11_05
    }

    /// Whether a server declares that it completes arguments: before, it may and has no word for it.
    pub fn declares_completions(self) -> bool {
        self != Self::V2024_11_05
    }

    /// Whether tool results may be structured, content may link to resources, and things have titles beside names.
    pub fn has_structured_content(self) -> bool {
        !matches!(self, Self::V2024_11_05 | Self::V2025_03_26)
    }

    /// Whether it has every kind of content that there is.
    pub fn has_all_content(self) -> bool {
        self.has_audio() && self.has_structured_content()
    }

    /// Whether structured content may be any value, and not only an object.
    pub fn has_structured_values(self) -> bool {
        self.is_modern()
    }

    /// Whether the user may be asked by a form.
    pub fn has_elicitation(self) -> bool {
        self.has_structured_content()
    }

    /// Whether the user may be sent to a URL, and forms may offer several choices at once.
    pub fn has_url_elicitation(self) -> bool {
        matches!(self, Self::V2025_11_25 | Self::V2026_07_28)
    }

    /// Whether the client's model may be given tools, and messages of several blocks.
    pub fn has_sampling_tools(self) -> bool {
        self.has_url_elicitation()
    }

    /// Whether this revision lets a peer use the method: one that no revision took away. Unknown methods may be an
    /// extension's, so that only their receiver can tell.
    pub fn keeps_method(self, name: &str) -> bool {
        !self.is_modern() || !TAKEN_AWAY.contains(&name)
    }
}

/// What 2026-07-28 took away.
const TAKEN_AWAY: &[&str] = &[
    method::INITIALIZE,
    method::PING,
    method::SET_LEVEL,
    method::RESOURCES_SUBSCRIBE,
    method::RESOURCES_UNSUBSCRIBE,
];

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn those(predicate: fn(Revision) -> bool) -> Vec<&'static str> {
        Revision::ALL.into_iter().filter(|revision| predicate(*revision)).map(Revision::as_str).collect()
    }

    #[test]
    fn a_name_is_read_back_and_no_other_text_is_a_revision() {
        for revision in Revision::ALL {
            assert_eq!(Revision::parse(revision.as_str()), Some(revision));
        }
        for name in ["", "2025-11-25 ", "1900-01-01", "2026-7-28", "draft"] {
            assert_eq!(Revision::parse(name), None);
        }
    }

    #[test]
    fn each_revision_can_do_what_its_text_says() {
        assert_eq!(those(Revision::is_modern), ["2026-07-28"]);
        assert_eq!(those(Revision::has_batches), ["2025-03-26"]);
        assert_eq!(those(Revision::has_two_endpoints), ["2024-11-05"]);
        assert_eq!(those(Revision::has_session_header), ["2025-03-26", "2025-06-18", "2025-11-25"]);
        assert_eq!(those(Revision::sends_version_header), ["2025-06-18", "2025-11-25", "2026-07-28"]);
        assert_eq!(those(Revision::has_priming_events), ["2025-11-25"]);
        assert_eq!(those(Revision::resumes), ["2025-03-26", "2025-06-18", "2025-11-25"]);
        assert_eq!(those(Revision::mirrors_body_in_headers), ["2026-07-28"]);
        assert_eq!(those(Revision::disconnect_cancels), ["2026-07-28"]);
        assert_eq!(those(Revision::has_audio), ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"]);
        assert_eq!(those(Revision::has_all_content), ["2025-06-18", "2025-11-25", "2026-07-28"]);
        assert_eq!(those(Revision::has_structured_content), ["2025-06-18", "2025-11-25", "2026-07-28"]);
        assert_eq!(those(Revision::has_structured_values), ["2026-07-28"]);
        assert_eq!(those(Revision::has_elicitation), ["2025-06-18", "2025-11-25", "2026-07-28"]);
        assert_eq!(those(Revision::has_url_elicitation), ["2025-11-25", "2026-07-28"]);
        assert_eq!(those(Revision::has_sampling_tools), ["2025-11-25", "2026-07-28"]);
        assert!(those(Revision::has_server_requests).starts_with(&["2024-11-05"]));
        assert!(!Revision::V2026_07_28.has_server_requests());
        assert_eq!(Revision::NEWEST_LEGACY.era(), Era::Legacy);
    }

    #[test]
    fn the_modern_revision_took_methods_away() {
        assert!(!Revision::V2026_07_28.keeps_method("ping"));
        assert!(Revision::V2026_07_28.keeps_method("vendor/new"));
        assert!(Revision::V2025_11_25.keeps_method("ping"));
    }
}
