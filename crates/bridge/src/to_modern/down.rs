//! What a modern server answers, as a legacy client is to read it.

use shadowcat_pipeline::{Refusal, RefusalKind};
use shadowcat_protocol::{ErrorObject, Id, Response, codes, json, method};

use crate::content::Reader;
use crate::meta;
use crate::object::Object;

/// What the modern revision has in its results and the legacy ones have not.
const MODERN_ONLY: [&str; 3] = ["resultType", "ttlMs", "cacheScope"];

/// How complete a result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResultType {
    Complete,
    /// The server wants something of the client first.
    InputRequired,
    /// The server runs a call as a task.
    Task,
    /// What no legacy client can have asked for.
    Unknown,
}

/// How complete this result is.
pub(super) fn result_type(result: &str) -> ResultType {
    // Servers of an earlier revision do not say, and their results are complete (2026-07-28 schema, Result).
    let Some(kind) = json::get(result, &["resultType"]) else { return ResultType::Complete };
    match json::string(kind).as_deref() {
        Some("complete") => ResultType::Complete,
        Some("input_required") => ResultType::InputRequired,
        Some("task") => ResultType::Task,
        _ => ResultType::Unknown,
    }
}

/// A complete result without what only the modern revision has, readable for the client's.
pub(super) fn result(reader: Reader<'_>, asked: &str, raw: &str, wraps: bool) -> String {
    let result = without_server(Object::parse(raw).without(&MODERN_ONLY));
    reader.result(asked, result, wraps).to_json()
}

fn without_server(mut result: Object<'_>) -> Object<'_> {
    let Some(raw) = result.get("_meta").map(str::to_owned) else { return result };
    let mut inner = Object::parse(&raw);
    if inner.remove(meta::SERVER_INFO).is_none() {
        return result;
    }
    if inner.is_empty() {
        result.remove("_meta");
        return result;
    }
    result.with("_meta", inner.to_json())
}

/// An error of the server. Codes that only the modern revision has become what a legacy client knows.
pub(super) fn error(asked: &str, id: &Id, response: &Response) -> Response {
    let raw = response.error_json().unwrap_or("{}");
    let data = json::get(raw, &["data"]);
    let said = json::get(raw, &["message"]).and_then(json::string).unwrap_or_default();
    let with_code = |code| {
        let error = ErrorObject { code, message: said.clone().into_owned(), data: data.map(str::to_owned) };
        Response::error(Some(id), &error)
    };
    match response.error_code() {
        Some(codes::INVALID_PARAMS)
            if asked == method::RESOURCES_READ
                && data.is_some_and(|data| json::get(data, &["uri"]).is_some()) =>
        {
            with_code(codes::RESOURCE_NOT_FOUND)
        }
        Some(codes::MISSING_CAPABILITY) if asked == method::TOOLS_CALL => failed(asked, id, &said),
        Some(codes::HEADER_MISMATCH | codes::MISSING_CAPABILITY | codes::UNSUPPORTED_VERSION) => {
            with_code(codes::INTERNAL_ERROR)
        }
        _ => response.with_id(id),
    }
}

/// The end of a call that cannot go on: a tool says so in its result, everything else by an error.
pub(super) fn failed(asked: &str, id: &Id, why: &str) -> Response {
    if asked == method::TOOLS_CALL {
        let text = json::quote(why);
        let result = format!(r#"{{"content":[{{"type":"text","text":{text}}}],"isError":true}}"#);
        return Response::result(id, &result);
    }
    fault(id, codes::INTERNAL_ERROR, why)
}

/// An error of ours.
pub(super) fn fault(id: &Id, code: i64, why: &str) -> Response {
    Response::error(Some(id), &ErrorObject { code, message: why.to_owned(), data: None })
}

/// A refusal on its way to a legacy client. What is wrong with a message would have a status of the modern revision,
/// and to a client with a session 404 means that the session is gone.
pub(super) fn refused(id: &Id, refusal: Refusal) -> Result<Response, Refusal> {
    match &refusal.kind {
        RefusalKind::BadMessage { .. } => Ok(refusal.response(Some(id))),
        _ => Err(refusal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Counters;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use shadowcat_protocol::Revision;

    fn down(revision: Revision, asked: &str, raw: &str) -> String {
        let counters = Counters::default();
        result(Reader { revision, counters: &counters, exchange: None }, asked, raw, false)
    }

    fn answer(code: i64, data: Option<&str>) -> Response {
        let data = data.map(str::to_owned);
        Response::error(Some(&Id::from_u64(9)), &ErrorObject { code, message: "so".into(), data })
    }

    fn told(asked: &str, code: i64, data: Option<&str>) -> String {
        let response = error(asked, &Id::parse_json(r#""a""#).unwrap(), &answer(code, data));
        String::from_utf8(response.text().to_vec()).unwrap()
    }

    #[test]
    fn modern_members_go_and_all_others_stay() {
        let raw = r#"{"resultType":"complete","tools":[],"ttlMs":1,"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{},"x":1.0}}"#;
        assert_eq!(down(Revision::V2025_11_25, "tools/list", raw), r#"{"tools":[],"_meta":{"x":1.0}}"#);
        let raw = r#"{"_meta":{"io.modelcontextprotocol/serverInfo":{}}}"#;
        assert_eq!(down(Revision::V2025_11_25, "tools/list", raw), "{}");
    }

    #[test]
    fn only_a_named_type_makes_a_result_incomplete() {
        assert_eq!(result_type("{}"), ResultType::Complete);
        assert_eq!(result_type(r#"{"resultType":"complete"}"#), ResultType::Complete);
        assert_eq!(result_type(r#"{"resultType":"input_required"}"#), ResultType::InputRequired);
        assert_eq!(result_type(r#"{"resultType":"task"}"#), ResultType::Task);
        assert_eq!(result_type(r#"{"resultType":1}"#), ResultType::Unknown);
    }

    #[test]
    fn codes_a_legacy_client_does_not_know_are_translated_and_others_pass() {
        assert!(told("resources/read", -32602, Some(r#"{"uri":"x"}"#)).contains(r#""code":-32002"#));
        assert!(told("resources/read", -32602, None).contains(r#""code":-32602"#));
        assert!(told("prompts/get", -32602, Some(r#"{"uri":"x"}"#)).contains(r#""code":-32602"#));
        for code in [-32020, -32021, -32022] {
            assert_eq!(
                told("prompts/get", code, Some(r#"{"a":1.0}"#)),
                r#"{"jsonrpc":"2.0","id":"a","error":{"code":-32603,"message":"so","data":{"a":1.0}}}"#
            );
        }
        assert_eq!(told("x/y", -7, None), r#"{"jsonrpc":"2.0","id":"a","error":{"code":-7,"message":"so"}}"#);
    }

    #[test]
    fn t70_a_missing_capability_is_the_failure_of_a_tool() {
        assert_eq!(
            told("tools/call", -32021, Some(r#"{"requiredCapabilities":{"elicitation":{}}}"#)),
            r#"{"jsonrpc":"2.0","id":"a","result":{"content":[{"type":"text","text":"so"}],"isError":true}}"#
        );
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z\"\\\\é]{0,6}".prop_map(Value::from),
            Just(json!({"type": "audio", "data": "AAAA", "mimeType": "audio/wav"})),
            Just(json!({"type": "resource_link", "uri": "a:b", "name": "n"})),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            let keys = prop_oneof![
                "[a-c]",
                prop::sample::select(vec![
                    "content",
                    "structuredContent",
                    "resultType",
                    "ttlMs",
                    "cacheScope",
                    "_meta",
                    "title",
                    "tools",
                    "outputSchema",
                    "type",
                    "messages",
                    "arguments",
                    meta::SERVER_INFO,
                ])
                .prop_map(str::to_owned),
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(keys, inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn any_result() -> impl Strategy<Value = Value> {
        let members = prop::sample::select(vec![
            "content",
            "structuredContent",
            "resultType",
            "ttlMs",
            "cacheScope",
            "_meta",
            "tools",
            "prompts",
            "x",
        ]);
        prop::collection::hash_map(members.prop_map(str::to_owned), any_json(), 0..6)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    }

    fn methods() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "tools/call",
            "tools/list",
            "prompts/get",
            "prompts/list",
            "resources/read",
            "x",
        ])
    }

    fn revisions() -> impl Strategy<Value = Revision> {
        prop::sample::select(
            Revision::ALL.into_iter().filter(|revision| !revision.is_modern()).collect::<Vec<_>>(),
        )
    }

    proptest! {
        #[test]
        fn a_result_that_passes_twice_is_the_result_that_passed_once(
            raw in any_result(), asked in methods(), revision in revisions(),
        ) {
            let once = down(revision, asked, &raw.to_string());
            prop_assert_eq!(&down(revision, asked, &once), &once);
        }

        #[test]
        fn nothing_but_the_named_members_changes(raw in any_result(), revision in revisions()) {
            let text = raw.to_string();
            let mut expected = raw;
            for member in MODERN_ONLY {
                expected.as_object_mut().unwrap().remove(member);
            }
            if let Some(Value::Object(inner)) = expected.get_mut("_meta")
                && inner.remove(meta::SERVER_INFO).is_some() && inner.is_empty()
            {
                expected.as_object_mut().unwrap().remove("_meta");
            }
            // A method whose results hold nothing that revisions read differently.
            let passed: Value = serde_json::from_str(&down(revision, "completion/complete", &text)).unwrap();
            prop_assert_eq!(passed, expected);
        }
    }
}
