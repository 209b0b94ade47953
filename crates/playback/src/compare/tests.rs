//! What counts as a difference, and what does not.

use serde_json::json;

use super::*;

fn paths(rules: &Rules, before: &Value, after: &Value) -> Vec<String> {
    compare(rules, before, after).iter().map(|difference| difference.path.to_string()).collect()
}

fn by(by: Match) -> Rules {
    Rules { by, ..Rules::default() }
}

fn text(text: &str) -> Value {
    json!({"id": 1, "result": {"content": [{"type": "text", "text": text}]}})
}

const TEXT: &str = "$.result.content[0].text";

#[test]
fn what_belongs_to_one_run_is_no_difference() {
    let answer = |id: u64, cursor: &str, at: &str| json!({"jsonrpc": "2.0", "id": id, "result": {"nextCursor": cursor, "at": at, "ms": 1_700_000_000_000_u64 + id}});
    let (before, after) = (answer(1, "a", "2026-11-21T10:00:00Z"), answer(2, "b", "2026-12-01T11:11:11Z"));
    assert_eq!(paths(&by(Match::Values), &before, &after), [""; 0]);
    assert_eq!(paths(&by(Match::Exact), &before, &after), ["$.result.at", "$.result.ms"]);
    assert_eq!(paths(&by(Match::Values), &text("at 10:00:00"), &text("at 10:00:01")), [""; 0]);
}

#[test]
fn an_answer_that_is_another_one_is_named_by_its_path() {
    assert_eq!(paths(&by(Match::Values), &text("42"), &text("43")), [TEXT]);
    let error = json!({"id": 1, "error": {"code": -32602, "message": "no"}});
    assert_eq!(paths(&by(Match::Values), &text("42"), &error), ["$.result", "$.error"]);
}

#[test]
fn by_structure_only_shapes_and_verdicts_count() {
    let rules = by(Match::Structural);
    assert_eq!(paths(&rules, &text("a"), &text("b")), [""; 0]);
    let number = json!({"id": 1, "result": {"content": [{"type": "text", "text": 7}]}});
    assert_eq!(paths(&rules, &text("a"), &number), [TEXT]);
    let (before, after) =
        (json!({"result": {"isError": false, "n": 1}}), json!({"result": {"isError": true, "n": 2.5}}));
    assert_eq!(paths(&rules, &before, &after), ["$.result.isError"]);
    let image = json!({"id": 1, "result": {"content": [{"type": "image", "text": "a"}]}});
    assert_eq!(paths(&rules, &text("a"), &image), ["$.result.content[0].type"]);
}

#[test]
fn what_is_ignored_is_not_looked_at() {
    let ignored = Ignored::parse(&["$..text", "$.result.list[1]", "$.result.gone"]).unwrap();
    let rules = Rules { ignored, ..Rules::default() };
    assert_eq!(paths(&rules, &text("a"), &text("b")), [""; 0]);
    let (before, after) =
        (json!({"result": {"list": [1, 2, 3], "gone": 1}}), json!({"result": {"list": [1, 9, 4]}}));
    assert_eq!(paths(&rules, &before, &after), ["$.result.list[2]"]);
    let error = Ignored::parse(&["result.text"]).unwrap_err().to_string();
    assert!(error.contains("`result.text` is no JSONPath") && error.contains("$.."), "{error}");
}

#[test]
fn numbers_may_differ_by_the_tolerance() {
    let rules = Rules { tolerance: 0.5, ..Rules::default() };
    assert_eq!(paths(&rules, &json!({"n": 1.0, "m": 10}), &json!({"n": 1.4, "m": 11})), ["$.m"]);
    assert_eq!(paths(&Rules::default(), &json!({"n": 1.0, "m": 3}), &json!({"n": 1, "m": 4})), ["$.m"]);
}

#[test]
fn lists_of_named_things_are_compared_by_name_and_sets_as_sets() {
    let list = |tools: Value| json!({"result": {"tools": tools}});
    let tool = |name: &str, required: Value| json!({"name": name, "inputSchema": {"required": required}});
    let before = list(json!([tool("a", json!(["x", "y"])), tool("b", json!([]))]));
    let after = list(json!([tool("c", json!([])), tool("a", json!(["y", "x", "z"]))]));
    assert_eq!(
        paths(&Rules::default(), &before, &after),
        [
            "$.result.tools[?@.name=='a'].inputSchema.required",
            "$.result.tools[?@.name=='b']",
            "$.result.tools[?@.name=='c']"
        ]
    );
}

#[test]
fn json_in_a_text_is_compared_as_json() {
    let (before, after) = (text(r#"{"a":1,"b":[1,2]}"#), text(r#"{ "b": [1, 3], "a": 1 }"#));
    let path = format!("{TEXT} as JSON $.b[1]");
    assert_eq!(paths(&Rules::default(), &before, &after), [path]);
    assert_eq!(paths(&by(Match::Exact), &before, &after), [TEXT]);
}

#[test]
fn a_secret_on_tape_matches_what_stands_there_live() {
    let (before, after) =
        (json!({"result": {"token": "[redacted:0123456789ab]"}}), json!({"result": {"token": 17}}));
    assert_eq!(paths(&Rules::default(), &before, &after), [""; 0]);
}

#[test]
fn across_the_eras_what_a_bridge_adds_does_not_count() {
    let before = json!({"result": {"tools": []}});
    let after = json!({"result": {"tools": [], "resultType": "complete", "ttlMs": 0, "cacheScope": "private",
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "x"}}}});
    assert_eq!(paths(&Rules { across_eras: true, ..Rules::default() }, &before, &after), [""; 0]);
    assert_eq!(
        paths(&Rules::default(), &before, &after),
        ["$.result._meta", "$.result.cacheScope", "$.result.ttlMs"]
    );
}
