//! What a handshake agreed on, and the answers of the modern revision that follow from it.

use shadowcat_pipeline::{Refusal, RefusalKind};
use shadowcat_protocol::capabilities::offers;
use shadowcat_protocol::{ErrorObject, Id, Response, Revision, codes, json, method};

use super::round::Round;
use crate::meta::{self, SERVER_INFO};
use crate::object::Object;

const RESULT_TYPE: &str = "resultType";
const COMPLETE: &str = r#""complete""#;

/// The result of one handshake.
#[derive(Debug)]
pub(super) struct Agreed {
    pub(super) revision: Revision,
    /// The result of `initialize`, as JSON.
    pub(super) result: Box<str>,
    server: Option<Box<str>>,
    /// Whether a tool of the server can run as a task; asked with every call.
    runs_tasks: bool,
}

impl Agreed {
    /// Reads the answer to `initialize`.
    pub(super) fn read(response: &Response) -> Result<Self, Refusal> {
        let protocol = |detail: String| Refusal::new(RefusalKind::UpstreamProtocol).with_detail(detail);
        let Some(result) = response.result_json() else {
            let message = response.error_json().and_then(|error| json::get(error, &["message"]));
            let message = message.and_then(json::string).unwrap_or_default();
            return Err(protocol(format!("the server refused the handshake: {message}")));
        };
        let version = json::get(result, &["protocolVersion"]).and_then(json::string).unwrap_or_default();
        let revision = Revision::parse(&version)
            .filter(|revision| !revision.is_modern())
            .ok_or_else(|| protocol(format!("the server speaks the unknown revision {version:?}")))?;
        let server = json::get(result, &["serverInfo"]).map(Into::into);
        let agreed = Self { revision, result: result.into(), server, runs_tasks: false };
        let runs_tasks = agreed.can(&["tools"]) && agreed.can(&["tasks", "requests", "tools", "call"]);
        Ok(Self { runs_tasks, ..agreed })
    }

    /// Whether the server declared this capability.
    pub(super) fn can(&self, capability: &[&str]) -> bool {
        let all = json::get(&self.result, &["capabilities"]).unwrap_or_default();
        offers(all, capability)
    }

    /// Whether a tool of the server can run as a task.
    pub(super) fn runs_tasks(&self) -> bool {
        self.runs_tasks
    }

    /// The result of `server/discover`.
    pub(super) fn discovered(&self) -> String {
        let mut capabilities =
            Object::of(json::get(&self.result, &["capabilities"])).without(&["tasks", "extensions"]);
        if !self.revision.declares_completions() && capabilities.get("completions").is_none() {
            capabilities.set("completions", "{}");
        }
        if self.runs_tasks() {
            capabilities.set("extensions", Object::default().with(meta::TASKS, "{}").to_json());
        }
        let versions = format!("[{}]", json::quote(Revision::V2026_07_28.as_str()));
        let mut result = Object::default()
            .with(RESULT_TYPE, COMPLETE)
            .with("supportedVersions", versions)
            .with("capabilities", capabilities.to_json());
        if let Some(instructions) = json::get(&self.result, &["instructions"]) {
            result.set("instructions", instructions);
        }
        self.signed(with_cache_terms(result)).to_json()
    }

    /// A result of the server as the modern revision has it.
    pub(super) fn complete(&self, asked: &str, result: &str) -> String {
        let mut object = Object::parse(result).with(RESULT_TYPE, COMPLETE);
        if is_cacheable(asked) {
            object = with_cache_terms(object);
        }
        self.signed(object).to_json()
    }

    /// A task, in the place of a result.
    pub(super) fn task(&self, task: Object<'_>) -> String {
        self.signed(task.with(RESULT_TYPE, r#""task""#)).to_json()
    }

    /// The result that ends a subscription.
    pub(super) fn subscription_end(&self, id: &Id) -> String {
        let meta = Object::default().with(meta::SUBSCRIPTION, id.as_json()).to_json();
        self.signed(Object::default().with(RESULT_TYPE, COMPLETE).with("_meta", meta)).to_json()
    }

    /// A question to the client, in the place of a result.
    pub(super) fn input_required(&self, requests: String, state: &str) -> String {
        let result = Object::default()
            .with(RESULT_TYPE, r#""input_required""#)
            .with("inputRequests", requests)
            .with("requestState", json::quote(state));
        self.signed(result).to_json()
    }

    /// With the server's name, which a modern server puts under every result.
    fn signed<'a>(&self, mut result: Object<'a>) -> Object<'a> {
        let Some(server) = &self.server else { return result };
        let meta = result.remove("_meta");
        let mut meta = Object::of(meta.as_deref());
        if meta.get(SERVER_INFO).is_none() {
            meta.set(SERVER_INFO, &**server);
        }
        result.with("_meta", meta.to_json())
    }
}

/// Whether results say for how long and for whom they hold.
fn is_cacheable(asked: &str) -> bool {
    method::list_member(asked).is_some() || asked == method::RESOURCES_READ
}

/// Nobody but the operator can say how long a legacy server's answer holds.
fn with_cache_terms(mut result: Object<'_>) -> Object<'_> {
    if result.get("ttlMs").is_none() {
        result.set("ttlMs", "0");
    }
    if result.get("cacheScope").is_none() {
        result.set("cacheScope", r#""private""#);
    }
    result
}

/// An error of the server as the modern revision has it. All but these pass as they are.
pub(super) fn modern_error(agreed: &Agreed, round: &Round, response: &Response) -> Response {
    match response.error_code() {
        Some(codes::RESOURCE_NOT_FOUND) => not_found(round, response),
        // Some servers have said so before they had to. There is no other parameter that could be wrong.
        Some(codes::INVALID_PARAMS) if round.request.method() == method::RESOURCES_READ => {
            not_found(round, response)
        }
        // What the modern revision has for this stands in a result, and only for some methods.
        Some(codes::URL_ELICITATION) if !round.declared.has_url() => {
            missing_capability(round.id(), r#"{"elicitation":{"url":{}}}"#)
        }
        // 2025-11-25 basic/utilities/tasks: so a tool is refused that only runs as a task.
        Some(codes::METHOD_NOT_FOUND) if asks_for_task(agreed, round) => needs_tasks(round.id()),
        Some(codes::URL_ELICITATION) => {
            Response::error(Some(round.id()), &with_code(response, codes::INTERNAL_ERROR))
        }
        _ => response.with_id(round.id()),
    }
}

fn asks_for_task(agreed: &Agreed, round: &Round) -> bool {
    round.request.method() == method::TOOLS_CALL && !round.takes_tasks && agreed.runs_tasks()
}

/// 2026-07-28 server/resources: a missing resource is a wrong parameter, and the data of the error name it.
fn not_found(round: &Round, response: &Response) -> Response {
    let mut error = with_code(response, codes::INVALID_PARAMS);
    let uri = round.request.params().and_then(|params| json::get(params, &["uri"]));
    error.data = error.data.or_else(|| uri.map(|uri| format!(r#"{{"uri":{uri}}}"#)));
    Response::error(Some(round.id()), &error)
}

fn with_code(response: &Response, code: i64) -> ErrorObject {
    let error = response.error_json().unwrap_or_default();
    let message = json::get(error, &["message"]).and_then(json::string).unwrap_or_default().into_owned();
    let data = json::get(error, &["data"]).map(str::to_owned);
    ErrorObject { code, message, data }
}

/// The request is for a client that declares the tasks extension.
pub(super) fn needs_tasks(id: &Id) -> Response {
    missing_capability(id, &format!(r#"{{"extensions":{{"{}":{{}}}}}}"#, meta::TASKS))
}

/// The request needs what its client did not declare.
pub(super) fn missing_capability(id: &Id, required: &str) -> Response {
    let error = ErrorObject {
        code: codes::MISSING_CAPABILITY,
        message: "the server needs a capability that this request does not declare".to_owned(),
        data: Some(format!(r#"{{"requiredCapabilities":{required}}}"#)),
    };
    Response::error(Some(id), &error)
}

#[cfg(test)]
mod tests {
    use shadowcat_pipeline::{Origin, PeerId, Transport};
    use shadowcat_protocol::Request;

    use super::*;

    fn agreed() -> Agreed {
        let result = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true},"tasks":{}},"serverInfo":{"name":"s","version":"1"},"instructions":"be kind"}"#;
        Agreed::read(&Response::result(&Id::from_u64(1), result)).unwrap()
    }

    #[test]
    fn discovery_tells_what_the_handshake_agreed_on() {
        let agreed = agreed();
        let value: serde_json::Value = serde_json::from_str(&agreed.discovered()).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "resultType": "complete",
                "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {"listChanged": true}},
                "instructions": "be kind",
                "ttlMs": 0,
                "cacheScope": "private",
                "_meta": {SERVER_INFO: {"name": "s", "version": "1"}},
            })
        );
        assert!(agreed.can(&["tools", "listChanged"]) && !agreed.can(&["resources", "subscribe"]));
    }

    #[test]
    fn a_server_of_a_revision_without_the_word_is_taken_to_complete_arguments() {
        let said = |version: &str, capabilities: &str| {
            let result = format!(r#"{{"protocolVersion":"{version}","capabilities":{capabilities}}}"#);
            let agreed = Agreed::read(&Response::result(&Id::from_u64(1), &result)).unwrap();
            json::get(&agreed.discovered(), &["capabilities"]).unwrap().to_owned()
        };
        assert_eq!(said("2024-11-05", r#"{"prompts":{}}"#), r#"{"prompts":{},"completions":{}}"#);
        assert_eq!(said("2024-11-05", r#"{"completions":{"x":1}}"#), r#"{"completions":{"x":1}}"#);
        for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
            assert_eq!(said(version, r#"{"prompts":{}}"#), r#"{"prompts":{}}"#, "{version}");
        }
    }

    #[test]
    fn a_result_says_that_it_is_complete_and_a_list_for_how_long_it_holds() {
        let agreed = agreed();
        assert_eq!(
            agreed.complete("tools/call", r#"{"content":[],"n":1.0,"_meta":{"a":1}}"#),
            format!(
                r#"{{"content":[],"n":1.0,"resultType":"complete","_meta":{{"a":1,"{SERVER_INFO}":{{"name":"s","version":"1"}}}}}}"#
            )
        );
        let list = agreed.complete("tools/list", r#"{"tools":[]}"#);
        assert!(list.contains(r#""ttlMs":0,"cacheScope":"private""#), "{list}");
    }

    #[test]
    fn a_missing_resource_is_named_even_if_the_server_did_not_name_it() {
        let request = Request::new(&Id::from_u64(1), method::RESOURCES_READ, Some(r#"{"uri":"a:b"}"#));
        let origin = Origin::new(PeerId::next(), Transport::Http, Revision::V2026_07_28);
        let round = Round::new(request, std::sync::Arc::new(origin));
        for (data, expected) in [(None, r#"{"uri":"a:b"}"#), (Some(r#"{"uri":"A:b"}"#), r#"{"uri":"A:b"}"#)] {
            for code in [codes::RESOURCE_NOT_FOUND, codes::INVALID_PARAMS] {
                let error = ErrorObject { code, message: "none".to_owned(), data: data.map(str::to_owned) };
                let answer = modern_error(&agreed(), &round, &Response::error(Some(round.id()), &error));
                assert_eq!(answer.error_code(), Some(codes::INVALID_PARAMS));
                assert_eq!(json::get(answer.error_json().unwrap(), &["data"]), Some(expected));
            }
        }
    }

    #[test]
    fn a_handshake_that_agrees_on_nothing_known_is_refused() {
        for result in [r#"{"protocolVersion":"2030-01-01"}"#, r#"{"protocolVersion":"2026-07-28"}"#, "{}"] {
            assert!(Agreed::read(&Response::result(&Id::from_u64(1), result)).is_err(), "{result}");
        }
    }
}
