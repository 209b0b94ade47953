//! What a legacy client agreed on when its session began, and what each of its requests carries for it upstream.

use shadowcat_protocol::trace::{TRACEPARENT, TRACESTATE, TraceContext};
use shadowcat_protocol::{Revision, json};

use crate::declared::Declared;
use crate::meta;
use crate::object::Object;

/// What one client agreed on.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) revision: Revision,
    info: Option<String>,
    /// The client's capabilities as a modern server reads them.
    capabilities: String,
    /// What of them the client can be asked for.
    pub(super) declared: Declared,
}

impl Terms {
    /// The terms that the parameters of `initialize` ask for.
    pub(super) fn asked(params: Option<&str>) -> Self {
        let params = Object::of(params);
        let named = params.get("protocolVersion").and_then(json::string).unwrap_or_default();
        let known = Revision::parse(&named).filter(|revision| !revision.is_modern());
        Self::with(&params, known.unwrap_or(Revision::NEWEST_LEGACY))
    }

    /// The terms of a handshake that an earlier process has seen.
    pub(super) fn agreed(params: &str, result: &str) -> Self {
        let asked = Self::asked(Some(params));
        let named = json::get(result, &["protocolVersion"]).and_then(json::string).unwrap_or_default();
        match Revision::parse(&named).filter(|revision| !revision.is_modern()) {
            Some(revision) => Self::with(&Object::parse(params), revision),
            None => asked,
        }
    }

    fn with(params: &Object<'_>, revision: Revision) -> Self {
        let info = params.get("clientInfo").filter(|raw| raw.starts_with('{')).map(str::to_owned);
        let capabilities = modern(params.get("capabilities"), revision);
        let declared = Declared::of(&capabilities);
        Self { revision, info, capabilities, declared }
    }

    /// The parameters of a request as a modern server has to get them. Members that only the proxy may set are taken
    /// out or written over, whatever the client put there. The span of ours that it is sent in is said here at the latest: the
    /// `_meta` of a legacy client's request is left as it is.
    pub(super) fn stamped(
        &self,
        params: Option<&str>,
        level: Option<&str>,
        span: Option<&TraceContext>,
    ) -> String {
        let mut params = Object::of(params).without(&["task", "inputResponses", "requestState"]);
        let sent = params.remove("_meta");
        let kept = Object::of(sent.as_deref()).without(&[meta::CLIENT_INFO, meta::LOG_LEVEL]);
        let mut stamped = kept
            .with(meta::VERSION, json::quote(Revision::V2026_07_28.as_str()))
            .with(meta::CAPABILITIES, self.capabilities.as_str());
        if let Some(info) = &self.info {
            stamped.set(meta::CLIENT_INFO, info.as_str());
        }
        if let Some(level) = level {
            stamped.set(meta::LOG_LEVEL, json::quote(level));
        }
        if let Some(TraceContext { parent, state }) = span {
            stamped.set(TRACEPARENT, json::quote(&parent.to_string()));
            if let Some(state) = state {
                stamped.set(TRACESTATE, json::quote(state));
            }
        }
        params.with("_meta", stamped.to_json()).to_json()
    }
}

/// Capabilities without what the modern revision has no word for, or the client's revision.
fn modern(raw: Option<&str>, revision: Revision) -> String {
    let mut capabilities = Object::of(raw).without(&["tasks"]);
    trim(&mut capabilities, "roots", &["listChanged"]);
    trim(&mut capabilities, "extensions", &[meta::TASKS]);
    if !revision.has_elicitation() {
        capabilities.remove("elicitation");
    }
    if !revision.has_url_elicitation() {
        trim(&mut capabilities, "elicitation", &["url"]);
    }
    if !revision.has_sampling_tools() {
        trim(&mut capabilities, "sampling", &["tools"]);
    }
    capabilities.to_json()
}

fn trim(capabilities: &mut Object<'_>, of: &'static str, members: &[&str]) {
    let Some(raw) = capabilities.get(of).filter(|raw| raw.starts_with('{')) else { return };
    let trimmed = Object::parse(raw).without(members).to_json();
    capabilities.set(of, trimmed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn terms(version: &str, capabilities: &Value) -> Terms {
        let params =
            json!({"protocolVersion": version, "capabilities": capabilities, "clientInfo": {"name": "c"}});
        Terms::asked(Some(&params.to_string()))
    }

    fn stamped(terms: &Terms, params: &str, level: Option<&str>) -> Value {
        serde_json::from_str(&terms.stamped(Some(params), level, None)).unwrap()
    }

    #[test]
    fn t66_a_revision_without_a_handshake_cannot_be_agreed_on_by_one() {
        for (asked, agreed) in [
            ("2025-06-18", "2025-06-18"),
            ("2024-11-05", "2024-11-05"),
            ("2026-07-28", "2025-11-25"),
            ("1999-01-01", "2025-11-25"),
        ] {
            assert_eq!(terms(asked, &json!({})).revision.as_str(), agreed);
        }
        assert_eq!(Terms::asked(None).revision, Revision::V2025_11_25);
    }

    #[test]
    fn reserved_members_of_the_client_are_never_trusted() {
        let terms = terms("2025-11-25", &json!({"tasks": {}, "roots": {"listChanged": true}}));
        let sent = r#"{"name":"t","task":{"ttl":1},"requestState":"x","inputResponses":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"9","io.modelcontextprotocol/clientCapabilities":{"sampling":{}},"io.modelcontextprotocol/clientInfo":{"name":"other"},"io.modelcontextprotocol/logLevel":"debug","progressToken":1,"traceparent":"t"}}"#;
        assert_eq!(
            stamped(&terms, sent, None),
            json!({"name": "t", "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {"roots": {}},
                "io.modelcontextprotocol/clientInfo": {"name": "c"},
                "progressToken": 1, "traceparent": "t"
            }})
        );
    }

    #[test]
    fn the_sessions_level_is_on_each_request() {
        let terms = terms("2025-11-25", &json!({}));
        assert_eq!(
            stamped(&terms, "{}", Some("debug"))["_meta"]["io.modelcontextprotocol/logLevel"],
            "debug"
        );
    }

    #[test]
    fn t70_a_client_is_only_taken_for_what_its_revision_has() {
        let declared =
            json!({"elicitation": {"form": {}, "url": {}}, "sampling": {"tools": {}}, "x": {"y": 1}});
        for (version, expected) in [
            ("2025-03-26", json!({"sampling": {}, "x": {"y": 1}})),
            ("2025-06-18", json!({"elicitation": {"form": {}}, "sampling": {}, "x": {"y": 1}})),
            ("2025-11-25", declared.clone()),
        ] {
            let capabilities: Value = serde_json::from_str(&terms(version, &declared).capabilities).unwrap();
            assert_eq!(capabilities, expected, "{version}");
        }
    }
}
