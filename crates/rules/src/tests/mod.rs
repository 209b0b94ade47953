//! Rules as people write them, and what comes of them.

mod actions;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use shadowcat_protocol::{Direction, Limits, Message};

use crate::written::Rule;
use crate::{Asked, Facts, Fault, Rules, Scene, Step, World};

/// A world in which nothing happens by chance.
pub(crate) struct Still;

impl World for Still {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    fn random(&self) -> [u8; 16] {
        [7; 16]
    }
}

pub(crate) fn message(text: &str) -> Message {
    Message::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::default()).unwrap()
}

pub(crate) fn compile(yaml: &str) -> Result<Rules, Vec<Fault>> {
    let written: Vec<Rule> = serde_saphyr::from_str(yaml).unwrap();
    Rules::compile(&written)
}

fn asked(text: &str) -> Asked {
    match message(text) {
        Message::Request(request) => Asked::new(request),
        other => panic!("{other:?} is no request"),
    }
}

const FACTS: Facts<'static> = Facts {
    session: Some("a1b2c3d4"),
    principal: Some("alice"),
    claims: None,
    server: Some("docs"),
    transport: "http",
    revision: "2025-11-25",
    era: "legacy",
    upstream: None,
    headers: &[],
};

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"shell_run","arguments":{"path":"/etc/passwd","n":3,"list":["a","b"]}}}"#;
const RESULT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":true}}"#;
const ERROR: &str = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no"}}"#;
const PROGRESS: &str =
    r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":5}}"#;

/// The rules that fire, and what the last one asks for.
fn fired(rules: &Rules, text: &str, direction: Direction, asked: Option<&Asked>) -> Vec<(String, Step)> {
    let scene = Scene { direction, facts: &FACTS, asked, took: Some(Duration::from_millis(150)) };
    let mut judgement = rules.judge(message(text), scene);
    std::iter::from_fn(|| judgement.next(&Still)).map(|fired| (fired.rule.to_owned(), fired.step)).collect()
}

/// A world that is out of order.
struct Broken;

impl World for Broken {
    fn now(&self) -> SystemTime {
        panic!("no clock")
    }

    fn random(&self) -> [u8; 16] {
        panic!("no dice")
    }
}

#[test]
fn a_panic_costs_what_the_rule_says_that_its_failures_cost() {
    for (fail, then) in [("closed", false), ("open", true)] {
        let yaml = format!(
            "[{{name: r, fail: {fail}, do: [{{tag: a}}, {{delay: {{from: 1s, to: 2s}}}}, {{tag: never}}]}},\n \
             {{name: share, fail: {fail}, when: {{share: 0.5}}, do: [{{tag: b}}]}},\n {{name: last, do: [{{block: x}}]}}]"
        );
        let rules = compile(&yaml).unwrap();
        for _ in 0..1_000 {
            let scene = Scene { direction: Direction::ToServer, facts: &FACTS, asked: None, took: None };
            let mut judgement = rules.judge(message(CALL), scene);
            let steps: Vec<_> = std::iter::from_fn(|| judgement.next(&Broken))
                .map(|fired| (fired.rule.to_owned(), fired.first, fired.step))
                .collect();
            let failed = |step: &Step| matches!(step, Step::Failed { open, .. } if *open == then);
            assert!(steps[0].1 && !steps[1].1 && failed(&steps[1].2), "{steps:?}");
            let shown: Vec<_> = steps.iter().map(|(rule, ..)| rule.as_str()).collect();
            assert_eq!(shown, if then { vec!["r", "r", "share", "last"] } else { vec!["r", "r"] });
        }
    }
}

/// Whether a rule with this condition fits: a call, its answer (a tool's own error), an error, progress on the way.
fn fits(when: &str) -> [bool; 4] {
    let rules = compile(&format!("[{{name: r, when: {when}, stop: true}}]")).unwrap();
    let asked = asked(CALL);
    let up = fired(&rules, CALL, Direction::ToServer, None);
    let down = |text| fired(&rules, text, Direction::ToClient, Some(&asked));
    [up, down(RESULT), down(ERROR), down(PROGRESS)].map(|fired| !fired.is_empty())
}

#[test]
fn each_condition_fits_what_it_says() {
    const NONE: [bool; 4] = [false; 4];
    const CALLS: [bool; 4] = [true, false, false, false];
    const ANSWERS: [bool; 4] = [false, true, true, false];
    const RESULTS: [bool; 4] = [false, true, false, false];
    const ERRORS: [bool; 4] = [false, false, true, false];
    const NOTES: [bool; 4] = [false, false, false, true];
    let table: &[(&str, [bool; 4])] = &[
        ("{}", CALLS),
        ("{on: answer}", ANSWERS),
        ("{on: [request, answer, notification]}", [true; 4]),
        ("{direction: to-server}", CALLS),
        ("{direction: to-client}", NONE),
        ("{on: answer, direction: to-client}", ANSWERS),
        ("{method: tools/call}", CALLS),
        ("{method: 'tools/*'}", CALLS),
        ("{method: /^TOOLS/i}", CALLS),
        ("{method: /^TOOLS/}", NONE),
        ("{method: [ping, tools/list]}", NONE),
        ("{on: answer, method: tools/call}", ANSWERS),
        ("{on: notification, method: notifications/progress}", NOTES),
        ("{tool: shell_run}", CALLS),
        ("{tool: 'shell_*'}", CALLS),
        ("{tool: [rm, 'shell_?un']}", CALLS),
        ("{tool: [rm, mv]}", NONE),
        ("{prompt: shell_run}", NONE),
        ("{resource: '*'}", NONE),
        ("{name: shell_run}", CALLS),
        ("{on: [answer, notification], tool: shell_run}", [false, true, true, true]),
        ("{on: notification, prompt: '*'}", NONE),
        ("{server: docs}", CALLS),
        ("{server: other}", NONE),
        ("{session: 'a1*'}", CALLS),
        ("{principal: [bob, alice]}", CALLS),
        ("{revision: '2025-*'}", CALLS),
        ("{transport: stdio}", NONE),
        ("{era: legacy}", CALLS),
        ("{era: modern}", NONE),
        ("{params: {$.arguments.path: /etc/passwd}}", CALLS),
        ("{params: {$.arguments.path: {matches: ^/etc}}}", CALLS),
        ("{params: {$.arguments.path: {contains: passwd}}}", CALLS),
        ("{params: {$.arguments.n: 3}}", CALLS),
        ("{params: {$.arguments.n: {above: 2, below: 4}}}", CALLS),
        ("{params: {$.arguments.n: {above: 3}}}", NONE),
        ("{params: {$.arguments.list: [a, b]}}", CALLS),
        ("{params: {$.arguments.list: {contains: b}}}", CALLS),
        ("{params: {'$..path': {exists: true}}}", CALLS),
        ("{params: {'$.arguments.list[*]': b}}", CALLS),
        ("{params: {$.arguments.dry_run: {exists: false}}}", CALLS),
        ("{params: {$.arguments.dry_run: null}}", NONE),
        ("{on: answer, params: {$.arguments.n: 3}}", ANSWERS),
        ("{on: answer, result: {$.isError: true}}", RESULTS),
        ("{on: answer, error: {$.code: -32602}}", ERRORS),
        ("{on: answer, error: {$.code: {below: -32602}}}", NONE),
        ("{size: {above: 100B}}", CALLS),
        ("{size: {above: 100B, below: 101B}}", NONE),
        ("{filter: ~t shell_run & ~to server}", CALLS),
        ("{on: answer, filter: ~e}", ANSWERS),
        ("{on: answer, filter: ~c tool}", RESULTS),
        ("{on: answer, filter: '~d >100ms'}", ANSWERS),
        ("{on: answer, filter: '~d >200ms'}", NONE),
        ("{filter: '~client http & ~session a1b2c3d4 & ~id 1'}", CALLS),
        ("{all: [{tool: '*_run'}, {params: {$.arguments.n: 3}}]}", CALLS),
        ("{any: [{tool: rm}, {method: 'tools/*'}]}", CALLS),
        ("{any: [{tool: rm}, {tool: mv}]}", NONE),
        ("{not: {tool: rm}}", CALLS),
        ("{not: {tool: shell_run}}", NONE),
        ("{any: [{on: request, tool: rm}, {on: answer, result: {$.isError: true}}]}", RESULTS),
        ("{not: {any: [{tool: rm}, {not: {principal: alice}}]}}", CALLS),
        ("{share: 0}", NONE),
        ("{share: 1}", CALLS),
        ("{after: 1}", NONE),
        ("{every: 2}", NONE),
    ];
    for (when, expected) in table {
        assert_eq!(fits(when), *expected, "{when}");
    }
}

#[test]
fn what_a_credential_says_of_who_asks_is_looked_at_like_content() {
    let claims =
        serde_json::json!({"role": "admin", "teams": ["red", "blue"], "n": 3, "https://x/tier": {"a": 1}});
    let rules = |when: &str| compile(&format!("[{{name: r, when: {when}, stop: true}}]")).unwrap();
    let fits = |when: &str, claims| {
        let facts = Facts { claims, ..FACTS };
        let scene = Scene { direction: Direction::ToServer, facts: &facts, asked: None, took: None };
        rules(when).judge(message(CALL), scene).next(&Still).is_some()
    };
    for (when, of_admin, of_nobody) in [
        ("{claims: {$.role: admin}}", true, false),
        ("{claims: {$.role: guest}}", false, false),
        ("{claims: {$.role: {matches: '^ad'}}}", true, false),
        ("{claims: {$.teams: {contains: blue}}}", true, false),
        ("{claims: {'$.teams[*]': red}}", true, false),
        ("{claims: {$.teams: {contains: bl}}}", false, false),
        ("{claims: {$.n: {above: 2, below: 4}}}", true, false),
        ("{claims: {\"$['https://x/tier'].a\": 1}}", true, false),
        ("{claims: {$.role: {exists: true}}}", true, false),
        ("{claims: {$.other: {exists: false}}}", true, true),
        ("{claims: {$.role: {exists: false}}}", false, true),
        ("{not: {claims: {$.role: admin}}}", false, true),
        ("{tool: shell_run, claims: {$.role: admin, $.n: 3}}", true, false),
        ("{any: [{tool: rm}, {claims: {$.role: admin}}]}", true, false),
    ] {
        assert_eq!(fits(when, Some(&claims)), of_admin, "{when} of an admin");
        assert_eq!(fits(when, None), of_nobody, "{when} of nobody who is known");
    }
    for (when, told) in [
        ("{claims: {role: admin}}", "rules[0].when.claims.role"),
        ("{claims: {$.role: {}}}", "demands nothing"),
    ] {
        let faults = compile(&format!("[{{name: r, when: {when}, stop: true}}]")).unwrap_err();
        assert!(faults[0].to_string().contains(told), "{when}: {faults:?}");
    }
}

#[test]
fn headers_that_travel_with_a_message_are_conditions() {
    let headers = [("mcp-param-region".into(), "eu-west".into())];
    let facts = Facts { headers: &headers, ..FACTS };
    let fits = |when: &str| {
        let rules = compile(&format!("[{{name: r, when: {when}, stop: true}}]")).unwrap();
        let scene = Scene { direction: Direction::ToServer, facts: &facts, asked: None, took: None };
        rules.judge(message(CALL), scene).next(&Still).is_some()
    };
    assert!(fits("{header: {Mcp-Param-Region: 'eu*'}}"));
    assert!(!fits("{header: {Mcp-Param-Region: 'us*'}}"));
    assert!(!fits("{header: {Mcp-Param-Zone: '*'}}"));
}

#[test]
fn rules_are_looked_at_by_priority_and_then_in_order_until_one_stops() {
    let rules = compile(
        "- {name: late, priority: -1, do: [tag: z]}\n\
         - {name: first, do: [tag: a, log: one]}\n\
         - {name: second, do: [tag: b], stop: true}\n\
         - {name: urgent, priority: 10, do: [tag: u]}\n",
    )
    .unwrap();
    let order: Vec<String> =
        fired(&rules, CALL, Direction::ToServer, None).into_iter().map(|(rule, _)| rule).collect();
    assert_eq!(order, ["urgent", "first", "first", "second", "second"]);
    assert_eq!(rules.names().collect::<Vec<_>>(), ["urgent", "first", "second", "late"]);
}

#[test]
fn what_ends_a_message_is_the_last_that_is_asked_for() {
    for (action, last) in [
        ("block: because", Step::Block("because".to_owned())),
        ("drop: true", Step::Drop),
        ("fault: timeout", Step::Fault(crate::Broken::Timeout)),
    ] {
        let rules =
            compile(&format!("[{{name: r, do: [{action}, log: x]}}, {{name: s, stop: true}}]")).unwrap();
        let fired = fired(&rules, CALL, Direction::ToServer, None);
        assert_eq!(fired, [("r".to_owned(), last)], "{action}");
    }
}

#[test]
fn a_message_that_can_be_read_in_two_ways_is_not_judged_by_its_content() {
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"path":"a","path":"b"}}}"#;
    let rule = |fail: &str| {
        let yaml = format!(
            "[{{name: r, fail: {fail}, when: {{params: {{$.arguments.path: b}}}}, do: [drop: true]}}, {{name: s, stop: true}}]"
        );
        fired(&compile(&yaml).unwrap(), call, Direction::ToServer, None)
    };
    assert!(matches!(&rule("closed")[..], [(_, Step::Failed { open: false, .. })]));
    assert!(matches!(&rule("open")[..], [(_, Step::Failed { open: true, .. }), (_, Step::Stop)]));
}

#[test]
fn what_is_counted_is_what_fits_all_else() {
    let times = |when: &str| -> Vec<usize> {
        let rules = compile(&format!("[{{name: r, when: {when}, stop: true}}]")).unwrap();
        let other = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        (1..=8)
            .filter(|_| {
                assert!(fired(&rules, other, Direction::ToServer, None).is_empty());
                !fired(&rules, CALL, Direction::ToServer, None).is_empty()
            })
            .collect()
    };
    assert_eq!(times("{method: tools/call, every: 3}"), [3, 6]);
    assert_eq!(times("{method: tools/call, after: 5}"), [6, 7, 8]);
    assert_eq!(times("{method: tools/call, after: 2, every: 3}"), [5, 8]);
    let seeded = times("{method: tools/call, share: 0.5, seed: 7}");
    assert_eq!(seeded, times("{method: tools/call, share: 0.5, seed: 7}"));
    assert!(!seeded.is_empty() && seeded.len() < 8, "{seeded:?}");
    assert_ne!(seeded, times("{method: tools/call, share: 0.5, seed: 8}"));
}

#[test]
fn what_is_wrong_is_told_with_its_place_all_at_once() {
    let told =
        |yaml: &str| -> Vec<String> { compile(yaml).unwrap_err().iter().map(ToString::to_string).collect() };
    let yaml = "- {name: a, when: {tool: /(/, params: {path: x}, filter: '~x'}, stop: true}\n\
                - {name: a, do: [drop: false]}\n\
                - {name: c, when: {any: [{every: 2}], result: {$.a: {exists: false, equals: 1}}, share: 2}}\n";
    let places = [
        "rules[0].when.tool: this pattern is wrong",
        "rules[0].when.params.path: `path` is no JSONPath",
        "rules[0].when.filter: column 1: there is no operator",
        "rules[1].name: another rule has the name \"a\" already",
        "rules[1].do[0].drop: does nothing",
        "rules[2].do: the rule does nothing",
        "rules[2].when.any[0]: `every`, `after` and `share` count",
        "rules[2].when.result.$.a.exists: what is not there",
        "rules[2].when: `result` and `error` are of answers",
        "rules[2].when.share: expected a part from 0 to 1",
    ];
    let told = told(yaml);
    for place in places {
        assert!(told.iter().any(|fault| fault.starts_with(place)), "{place} is not in {told:#?}");
    }
}

#[test]
fn only_messages_that_a_rule_could_fit_are_its_concern() {
    use Direction::{ToClient, ToServer};

    use crate::Kind::{Answer, Notification, Request};

    let rules = compile(
        "- {name: a, when: {tool: [rm, mv]}, do: [drop: true]}\n\
         - {name: b, when: {on: answer, tool: 'shell_*'}, do: [drop: true]}\n",
    )
    .unwrap();
    assert!(rules.concerns(Request, ToServer, Some("tools/call")));
    assert!(!rules.concerns(Request, ToServer, Some("tools/list")));
    assert!(rules.concerns(Answer, ToClient, Some("tools/call")));
    assert!(!rules.concerns(Notification, ToClient, Some("notifications/progress")));
    assert!(rules.concerns_replies(asked(CALL).request(), ToServer));
    let list = asked(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    assert!(!rules.concerns_replies(list.request(), ToServer));
    assert!(!Rules::default().concerns(Request, ToServer, None));
}

#[test]
fn the_examples_of_the_guide_are_right() {
    #[derive(serde::Deserialize)]
    struct File {
        rules: Vec<Rule>,
    }
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rules.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let examples: Vec<&str> =
        guide.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 6);
    for example in examples {
        let file: File = serde_saphyr::from_str(example).unwrap();
        assert_eq!(Rules::compile(&file.rules).err(), None, "{example}");
    }
}
