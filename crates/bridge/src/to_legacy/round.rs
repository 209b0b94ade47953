//! One request of a modern client: what it says about itself, and what of it a legacy server gets.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use shadowcat_pipeline::{Origin, Principal};
use shadowcat_protocol::{Id, Request, json, method};

use crate::declared::Declared;
use crate::level::Level;
use crate::meta;
use crate::object::Object;

/// What a modern request says of itself in `_meta`; in a session it is said once, or elsewhere.
const REQUEST_META: [&str; 4] = [meta::VERSION, meta::CLIENT_INFO, meta::CAPABILITIES, meta::LOG_LEVEL];
const INPUT_RESPONSES: &str = "inputResponses";
pub(super) const REQUEST_STATE: &str = "requestState";
/// What makes a legacy server run a call as a task: for the bridge to say.
const TASK: &str = "task";

/// One request of the client. A call that is asked back takes several.
#[derive(Clone, Debug)]
pub(super) struct Round {
    pub(super) request: Request,
    pub(super) origin: Arc<Origin>,
    pub(super) principal: Option<Principal>,
    pub(super) declared: Declared,
    pub(super) level: Option<Level>,
    /// Whether the client takes a task for an answer.
    pub(super) takes_tasks: bool,
}

impl Round {
    pub(super) fn new(request: Request, origin: Arc<Origin>) -> Self {
        let capabilities = request.meta(meta::CAPABILITIES).unwrap_or_default();
        let (declared, level) = (Declared::of(capabilities), Level::of(&request));
        let tasks = json::get(capabilities, &["extensions", meta::TASKS]);
        let takes_tasks = tasks.is_some_and(|raw| raw.starts_with('{'));
        let principal = origin.principal.clone();
        Self { request, origin, principal, declared, level, takes_tasks }
    }

    pub(super) fn id(&self) -> &Id {
        self.request.id()
    }

    /// Whether a server may ask something in the middle of this.
    pub(super) fn takes_questions(&self) -> bool {
        method::takes_questions(self.request.method())
    }

    /// Whether the answer may be a question: the method allows it, and the client declared that it can be asked.
    pub(super) fn may_be_asked(&self) -> bool {
        self.takes_questions() && !self.declared.is_empty()
    }

    /// The state that this request brings back, if its method can have one.
    pub(super) fn state(&self) -> Option<String> {
        if !self.takes_questions() {
            return None;
        }
        // What is no string was never sealed here either.
        let raw = json::get(self.request.params()?, &[REQUEST_STATE])?;
        Some(json::string(raw).unwrap_or_default().into_owned())
    }

    /// The client's answer to a question, as JSON. What is no object answers nothing.
    pub(super) fn response(&self, key: &str) -> Option<&str> {
        json::get(self.request.params()?, &[INPUT_RESPONSES, key]).filter(|raw| raw.starts_with('{'))
    }

    /// The same request as a legacy server takes it.
    pub(super) fn to_legacy(&self) -> Request {
        let Some(raw) = self.request.params() else { return self.request.clone() };
        let mut params = Object::parse(raw);
        if self.takes_questions() {
            params = params.without(&[INPUT_RESPONSES, REQUEST_STATE, TASK]);
        }
        if let Some(meta) = json::get(raw, &["_meta"]) {
            let kept = Object::parse(meta).without(&REQUEST_META);
            if kept.is_empty() {
                params.remove("_meta");
            } else {
                params.set("_meta", kept.to_json());
            }
        }
        self.request.with_params(&params.to_json())
    }

    /// What a state is bound to: who asks, and for what. A retry with other parameters is another call.
    pub(super) fn binding(&self) -> [String; 4] {
        let params = Object::of(self.request.params()).without(&["_meta", INPUT_RESPONSES, REQUEST_STATE]);
        let params = params.to_json();
        // Where two readers could take it for two things, as it is written.
        let same = json::canonical(&params).unwrap_or(params);
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(same));
        ["state".to_owned(), owner(self.principal.as_ref()), self.request.method().to_owned(), digest]
    }
}

/// A name for whoever asks that no principal can have who is somebody else.
pub(super) fn owner(principal: Option<&Principal>) -> String {
    principal.map_or_else(String::new, |principal| format!("={}", principal.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use shadowcat_pipeline::{PeerId, Transport};
    use shadowcat_protocol::Revision;

    fn round(method: &str, params: &str) -> Round {
        let origin = Origin::new(PeerId::next(), Transport::Http, Revision::V2026_07_28);
        Round::new(Request::new(&Id::from_u64(1), method, Some(params)), Arc::new(origin))
    }

    #[test]
    fn what_a_modern_request_says_of_itself_does_not_reach_the_server_and_the_rest_does() {
        let meta = r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","progressToken":1.0,"traceparent":"00-a"}"#;
        let params = format!(r#"{{"name":"a","arguments":{{"n": 1.50}},"_meta":{meta},"requestState":"s"}}"#);
        let legacy = round("tools/call", &params).to_legacy();
        assert_eq!(
            legacy.params().unwrap(),
            r#"{"name":"a","arguments":{"n": 1.50},"_meta":{"progressToken":1.0,"traceparent":"00-a"}}"#
        );
        let only_modern = r#"{"_meta":{"io.modelcontextprotocol/clientCapabilities":{}}}"#;
        assert_eq!(round("tools/list", only_modern).to_legacy().params(), Some("{}"));
    }

    #[test]
    fn a_binding_sees_every_parameter_and_not_how_it_is_spelled() {
        let call = |params: &str| round("tools/call", params).binding();
        let one = call(r#"{"name":"a","arguments":{"x":1,"y":["b",true]}}"#);
        assert_eq!(
            one,
            call(r#"{"arguments":{"y":[ "\u0062", true ],"x":1},"name":"a","requestState":"s"}"#)
        );
        for other in [
            r#"{"name":"a","arguments":{"x":1,"y":["b",false]}}"#,
            r#"{"name":"a","arguments":{"x":2,"y":["b",true]}}"#,
            r#"{"name":"a","arguments":{"x":1,"y":[["b"],true]}}"#,
            r#"{"name":"b","arguments":{"x":1,"y":["b",true]}}"#,
        ] {
            assert_ne!(one, call(other), "{other}");
        }
        let doubtful = r#"{"name":"a","arguments":{"x":1,"x":2}}"#;
        assert_eq!(call(doubtful), call(doubtful));
        assert_ne!(call(doubtful), call(r#"{"name":"a","arguments":{"x":2,"x":1}}"#));
        assert_ne!(one, round("prompts/get", r#"{"name":"a","arguments":{"x":1,"y":["b",true]}}"#).binding());
    }
}
