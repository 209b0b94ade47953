//! What a result says of being kept (2026-07-28 server/utilities/caching).

use std::time::Duration;

use crate::span::Span;
use crate::{Id, Response, json, method};

/// A request whose result may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cacheable {
    /// What the server says of itself.
    Discover,
    /// A page of the list of tools.
    Tools,
    /// A page of the list of prompts.
    Prompts,
    /// A page of the list of resources.
    Resources,
    /// A page of the list of templates.
    Templates,
    /// A resource.
    Resource,
}

impl Cacheable {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Discover, Self::Tools, Self::Prompts, Self::Resources, Self::Templates, Self::Resource];

    /// What a request of this method asks for, if that may be kept.
    pub fn of(asked: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|what| what.method() == asked)
    }

    /// The method by which it is asked for.
    pub fn method(self) -> &'static str {
        match self {
            Self::Discover => method::DISCOVER,
            Self::Tools => method::TOOLS_LIST,
            Self::Prompts => method::PROMPTS_LIST,
            Self::Resources => method::RESOURCES_LIST,
            Self::Templates => method::RESOURCE_TEMPLATES_LIST,
            Self::Resource => method::RESOURCES_READ,
        }
    }

    /// The notification after which it is to be asked for again, if there is one.
    fn changed_by(self) -> Option<&'static str> {
        Some(match self {
            Self::Discover => return None,
            Self::Tools => method::TOOLS_CHANGED,
            Self::Prompts => method::PROMPTS_CHANGED,
            // Templates are what resources are made by, and have no notification of their own.
            Self::Resources | Self::Templates => method::RESOURCES_CHANGED,
            Self::Resource => method::RESOURCE_UPDATED,
        })
    }

    /// What is to be asked for again after this notification.
    pub fn changed(notification: &str) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |what| what.changed_by() == Some(notification))
    }

    /// Whether it comes in pages, all of which are for whom any of them is.
    pub fn has_pages(self) -> bool {
        !matches!(self, Self::Discover | Self::Resource)
    }
}

/// Whom a result may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Anybody.
    Public,
    /// Whoever has asked.
    Private,
}

impl Scope {
    /// The word for it in a result.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

/// What a complete result says of being kept. What is not said, or in other words than these, is the careful choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// For how long it holds from when it was received.
    pub ttl: Duration,
    /// Whom it may be told.
    pub scope: Scope,
}

impl Keeping {
    /// Reads a result; none if it is not complete.
    pub fn of(result: &str) -> Option<Self> {
        let (mut kind, mut ttl, mut scope) = (None, None, None);
        for (key, raw) in json::members(result) {
            match &*key {
                "resultType" => kind = json::string(raw),
                "ttlMs" => ttl = raw.parse().ok().map(Duration::from_millis),
                "cacheScope" => scope = json::string(raw),
                _ => {}
            }
        }
        let is_public = scope.is_some_and(|scope| scope == Scope::Public.as_str());
        let scope = if is_public { Scope::Public } else { Scope::Private };
        (kind? == "complete").then(|| Self { ttl: ttl.unwrap_or_default(), scope })
    }
}

/// A response that says for how long it holds, as it may be told again later.
#[derive(Clone, Debug)]
pub struct Lasting {
    response: Response,
    ttl: Span,
}

impl Lasting {
    /// None if its result does not say it in one place.
    pub fn of(response: &Response) -> Option<Self> {
        Some(Self { ttl: response.place_in_result("ttlMs")?, response: response.clone() })
    }

    /// The bytes of its text.
    pub fn bytes(&self) -> usize {
        self.response.text().len()
    }

    /// The same to another request, which is to hold for so many milliseconds.
    pub fn told(&self, id: &Id, ttl_ms: u64) -> Response {
        self.response.edited(self.ttl, &ttl_ms.to_string()).with_id(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_told_again_with_another_id_and_time_and_all_else_as_it_was() {
        let lasting = |result| Lasting::of(&Response::result(&Id::from_u64(1), result));
        let kept = lasting(r#"{ "a":{"ttlMs":7},"ttl\u004ds" : 60000 ,"b":1.0}"#).unwrap();
        let told = kept.told(&Id::parse_json("\"mine\"").unwrap(), 9);
        let result = r#"{ "a":{"ttlMs":7},"ttl\u004ds" : 9 ,"b":1.0}"#;
        assert_eq!((told.id().map(Id::as_json), told.result_json()), (Some("\"mine\""), Some(result)));
        for result in [r#"{"ttlMs":1,"ttlMs":2}"#, r#"{"a":{"ttlMs":7}}"#, "{}", "[]", "7"] {
            assert!(lasting(result).is_none(), "{result}");
        }
    }

    #[test]
    fn what_is_not_said_is_the_careful_choice() {
        let keeping = |ttl, scope| Some(Keeping { ttl: Duration::from_millis(ttl), scope });
        for (result, said) in [
            (r#"{"resultType":"complete","ttlMs":5,"cacheScope":"public"}"#, keeping(5, Scope::Public)),
            (r#"{"cacheScope":"pub\u006cic","resultType":"complete"}"#, keeping(0, Scope::Public)),
            (r#"{"resultType":"complete","ttlMs":-1,"cacheScope":"Public"}"#, keeping(0, Scope::Private)),
            (r#"{"resultType":"complete","ttlMs":"5","cacheScope":true}"#, keeping(0, Scope::Private)),
            (r#"{"resultType":"complete","ttlMs":1e3}"#, keeping(0, Scope::Private)),
            (r#"{"resultType":"input_required","ttlMs":5,"cacheScope":"public"}"#, None),
            (r#"{"resultType":"task","ttlMs":5}"#, None),
            (r#"{"ttlMs":5,"cacheScope":"public"}"#, None),
            (r#"{"x":{"resultType":"complete"}}"#, None),
            ("[]", None),
        ] {
            assert_eq!(Keeping::of(result), said, "{result}");
        }
    }
}
