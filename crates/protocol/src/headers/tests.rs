//! Tests of the header rules, by the names of their cases in the protocol's test plan.

use super::*;
use crate::{Id, Request};
use proptest::prelude::*;

type Headers<'a> = &'a [(&'a str, &'a str)];

const META: &str = r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
const GOOD: (&str, &str) = (PROTOCOL_VERSION, "2026-07-28");

fn lookup<'h>(headers: Headers<'h>) -> impl Fn(&str) -> Vec<&'h [u8]> {
    move |name| headers.iter().filter(|(key, _)| *key == name).map(|(_, value)| value.as_bytes()).collect()
}

fn check(method: &str, params: &str, headers: Headers<'_>) -> Result<Revision, HeaderFault> {
    let request = Request::new(&Id::from_u64(1), method, Some(params));
    check_modern(&request, lookup(headers), &[Revision::V2026_07_28])
}

fn code(method: &str, params: &str, headers: Headers<'_>) -> i64 {
    check(method, params, headers).map_or_else(|fault| fault.code, |_| 0)
}

fn with_meta(member: &str) -> String {
    format!(r#"{{"_meta":{META}{member}}}"#)
}

fn list(version: Option<&str>, meta: &str) -> Result<Revision, HeaderFault> {
    let mut headers = vec![(METHOD, "tools/list")];
    headers.extend(version.map(|version| (PROTOCOL_VERSION, version)));
    check("tools/list", &format!(r#"{{"_meta":{meta}}}"#), &headers)
}

#[test]
fn t04_to_t09_metadata_and_version() {
    let version = |name: &str| META.replace("2026-07-28", name);
    let code = |result: Result<Revision, HeaderFault>| result.map_or_else(|fault| fault.code, |_| 0);
    assert_eq!(code(list(Some("2026-07-28"), META)), 0);
    assert_eq!(code(list(Some("2026-07-28"), "{}")), codes::INVALID_PARAMS, "T04");
    let no_capabilities = r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
    assert_eq!(code(list(Some("2026-07-28"), no_capabilities)), codes::INVALID_PARAMS, "T05");
    assert_eq!(code(list(Some("2025-11-25"), META)), codes::HEADER_MISMATCH, "T06");
    assert_eq!(code(list(Some("2026-07-28"), &version("1900-01-01"))), codes::HEADER_MISMATCH, "T07");
    let fault = list(Some("1900-01-01"), &version("1900-01-01")).unwrap_err();
    assert_eq!(fault.code, codes::UNSUPPORTED_VERSION, "T08");
    assert_eq!(fault.data.as_deref(), Some(r#"{"supported":["2026-07-28"],"requested":"1900-01-01"}"#));
    assert_eq!(code(list(None, META)), codes::HEADER_MISMATCH, "T09");
    assert_eq!(code(list(Some("2025-11-25"), &version("2025-11-25"))), codes::UNSUPPORTED_VERSION);
}

#[test]
fn t10_to_t16_method_and_name() {
    let list = |headers: Headers<'_>| code("tools/list", &with_meta(""), headers);
    assert_eq!(list(&[GOOD]), codes::HEADER_MISMATCH, "T10");
    assert_eq!(list(&[GOOD, (METHOD, "TOOLS/LIST")]), codes::HEADER_MISMATCH, "T11");
    assert_eq!(list(&[GOOD, (METHOD, " \ttools/list ")]), 0, "T11 with blanks");
    assert_eq!(list(&[GOOD, (METHOD, "tools/list"), (METHOD, "tools/list")]), codes::HEADER_MISMATCH);
    let call = |name: &str, headers: &[(&str, &str)]| {
        let params = with_meta(&format!(r#","name":{}"#, json::quote(name)));
        let headers: Vec<_> = [&[GOOD, (METHOD, "tools/call")], headers].concat();
        code("tools/call", &params, &headers)
    };
    assert_eq!(call("a", &[(NAME, "b")]), codes::HEADER_MISMATCH, "T12");
    assert_eq!(call("a", &[]), codes::HEADER_MISMATCH, "T13");
    assert_eq!(call("Grüße", &[(NAME, "=?base64?R3LDvMOfZQ==?=")]), 0, "T14");
    assert_eq!(call("Grüße", &[(NAME, "=?base64?R3LDvMOfZQ=?=")]), codes::HEADER_MISMATCH, "T15");
    assert_eq!(call("Grüße", &[(NAME, "Grüße")]), codes::HEADER_MISMATCH);
    assert_eq!(call("=?BASE64?eA==?=", &[(NAME, "=?BASE64?eA==?=")]), 0, "T16");
    assert_eq!(call("=?base64?eA==?=", &[(NAME, "=?base64?eA==?=")]), codes::HEADER_MISMATCH, "T16");
    assert_eq!(call("=?base64?eA==?=", &[(NAME, "=?base64?PT9iYXNlNjQ/ZUE9PT89?=")]), 0, "T16");
}

const REGION: &str = r#"{"properties":{"loc":{"properties":{"region":{"type":"string","x-mcp-header":"Region"}}},
    "n":{"type":"integer","x-mcp-header":"N"},"b":{"type":"boolean","x-mcp-header":"B"}}}"#;

fn params_code(arguments: &str, headers: Headers<'_>) -> i64 {
    let params = param_headers(REGION).unwrap();
    check_params(&params, arguments, lookup(headers)).map_or_else(|fault| fault.code, |()| 0)
}

#[test]
fn t17_to_t20_mirrored_arguments() {
    let eu = r#"{"loc":{"region":"eu"}}"#;
    assert_eq!(params_code(eu, &[("mcp-param-region", "us")]), codes::HEADER_MISMATCH, "T17");
    assert_eq!(params_code(eu, &[("mcp-param-region", "eu")]), 0);
    assert_eq!(params_code(eu, &[]), codes::HEADER_MISMATCH, "T18");
    assert_eq!(params_code(r#"{"loc":{"region":null}}"#, &[]), 0, "T18 null");
    assert_eq!(params_code("{}", &[]), 0, "T18 absent");
    assert_eq!(params_code("{}", &[("mcp-param-region", "eu")]), codes::HEADER_MISMATCH);
    assert_eq!(params_code(r#"{"n":42}"#, &[("mcp-param-n", "42.0")]), 0, "T19");
    assert_eq!(params_code(r#"{"n":42}"#, &[("mcp-param-n", "43")]), codes::HEADER_MISMATCH);
    assert_eq!(params_code(r#"{"n":42}"#, &[("mcp-param-n", "inf")]), codes::HEADER_MISMATCH);
    assert_eq!(params_code(r#"{"b":true}"#, &[("mcp-param-b", "True")]), codes::HEADER_MISMATCH);
    assert_eq!(params_code("{}", &[("mcp-param-foo", "x")]), 0, "T20");
}

#[test]
fn t21_and_t22_methods_that_are_not_there() {
    let call = |method: &str| code(method, &with_meta(""), &[GOOD, (METHOD, method)]);
    assert_eq!(call("foo/bar"), 0, "T21 is for the server to say");
    for method in ["ping", "logging/setLevel", "resources/subscribe", "initialize"] {
        assert_eq!(call(method), codes::METHOD_NOT_FOUND, "T22 {method}");
    }
}

#[test]
fn a_legacy_version_header_may_be_absent_but_not_wrong() {
    let version = |headers: Headers<'_>| legacy_version(lookup(headers)).map_err(|fault| fault.code);
    assert_eq!(version(&[]), Ok(None));
    assert_eq!(version(&[(PROTOCOL_VERSION, "2025-06-18")]), Ok(Some(Revision::V2025_06_18)));
    assert_eq!(version(&[(PROTOCOL_VERSION, "bogus")]), Err(codes::INVALID_REQUEST));
}

#[test]
fn headers_are_built_from_the_arguments() {
    let params = param_headers(REGION).unwrap();
    let built = build_params(&params, r#"{"loc":{"region":"Grüße"},"n":-7.0,"b":false}"#);
    let expected = [("region", "=?base64?R3LDvMOfZQ==?="), ("n", "-7"), ("b", "false")];
    assert_eq!(built, expected.map(|(name, value)| (format!("mcp-param-{name}"), value.to_owned())));
    assert_eq!(build_params(&params, r#"{"n":9007199254740992,"loc":{"region":null}}"#), []);
}

#[test]
fn annotations_are_only_where_headers_can_follow() {
    let property = |inner: &str| format!(r#"{{"properties":{{"a":{inner}}}}}"#);
    for (schema, expected) in [
        (property(r#"{"type":"number","x-mcp-header":"A"}"#), BadAnnotation::Type("A".into())),
        (property(r#"{"type":"string","x-mcp-header":"a b"}"#), BadAnnotation::Name),
        (property(r#"{"type":"string","x-mcp-header":""}"#), BadAnnotation::Name),
        (property(r#"{"items":{"type":"string","x-mcp-header":"A"}}"#), BadAnnotation::Unreachable),
        (property(r#"{"anyOf":[{"type":"string","x-mcp-header":"A"}]}"#), BadAnnotation::Unreachable),
        (r#"{"type":"string","x-mcp-header":"A"}"#.to_owned(), BadAnnotation::Unreachable),
        (
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}}"#
                .to_owned(),
            BadAnnotation::Repeated("a".into()),
        ),
    ] {
        assert_eq!(param_headers(&schema), Err(expected), "{schema}");
    }
    assert_eq!(param_headers(&property(r#"{"default":{"x-mcp-header":1}}"#)), Ok(vec![]));
    assert_eq!(param_headers(r#"{"properties":{"x-mcp-header":{"type":"string"}}}"#), Ok(vec![]));
}

proptest! {
    #[test]
    fn any_text_survives_a_header(text: String) {
        let encoded = encode_value(&text);
        prop_assert!(encoded.bytes().all(|byte| matches!(byte, b' '..=b'~')));
        prop_assert_eq!(decode_value(encoded.as_bytes()).unwrap(), text.as_str());
    }

    #[test]
    fn no_value_makes_it_panic(value: Vec<u8>) {
        let _ = decode_value(&value);
    }
}
