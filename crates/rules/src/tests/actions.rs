//! What rules make of messages.

use std::time::Duration;

use shadowcat_protocol::{Direction, ErrorObject, Message};

use super::{Still, compile, message};
use crate::{Asked, Facts, Outcome, Pause, Scene, Step, Then};

const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{ "name":"t", "arguments" : {"path":"/etc/passwd","big":12345678901234567890123,"list":[{"k":1},{"k":"two"}]}, "_meta":{"x":1}}}"#;
const ANSWER: &str =
    r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"secret 42, secret 43"}]}}"#;
const ERROR: &str = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"no such file"}}"#;
const NOTE: &str = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"hot"}}"#;

/// What one action, of a rule with this condition, makes of a message.
fn acted(when: &str, action: &str, text: &str) -> (Vec<Step>, String) {
    let rules = compile(&format!("[{{name: r, when: {when}, do: [{action}]}}]")).unwrap();
    let claims = serde_json::json!({"role": "admin", "teams": ["red"]});
    let facts = Facts {
        principal: Some("alice"),
        claims: Some(&claims),
        transport: "http",
        era: "legacy",
        ..Facts::default()
    };
    let Message::Request(request) = message(CALL) else { unreachable!() };
    let asked = Asked::new(request);
    let message = message(text);
    let is_call = matches!(message, Message::Request(_));
    let (direction, asked) =
        if is_call { (Direction::ToServer, None) } else { (Direction::ToClient, Some(&asked)) };
    let mut judgement = rules.judge(message, Scene { direction, facts: &facts, asked, took: None });
    let mut steps = Vec::new();
    while let Some(fired) = judgement.next(&Still) {
        steps.push(fired.step);
    }
    (steps, String::from_utf8(judgement.message().text().to_vec()).unwrap())
}

/// The one step that an action asks for.
fn step(when: &str, action: &str, text: &str) -> Step {
    let (mut steps, after) = acted(when, action, text);
    assert_eq!((steps.len(), after.as_str()), (1, text), "{action}: {steps:?}");
    steps.remove(0)
}

#[test]
fn an_edit_changes_what_it_names_and_no_other_byte() {
    let table: &[(&str, &[(&str, &str)])] = &[
        ("set: {$.arguments.path: /tmp/x}", &[("/etc/passwd", "/tmp/x")]),
        ("set: {$.arguments.dry_run: true}", &[(r#""two"}]}"#, r#""two"}],"dry_run":true}"#)]),
        ("set: {'$.arguments.list[*].k': null}", &[(r#""k":1"#, r#""k":null"#), (r#""two""#, "null")]),
        ("set: {$._meta.a.b: [1]}", &[(r#"{"x":1}"#, r#"{"x":1,"a":{"b":[1]}}"#)]),
        (
            "set: {'$.arguments.copy': '{{ request.params.arguments.big }}'}",
            &[(r#""two"}]}"#, r#""two"}],"copy":12345678901234567890123}"#)],
        ),
        (
            "set: {'$.arguments.list[1].k': '{{ request.params.arguments.list | length }}'}",
            &[(r#""two""#, "2")],
        ),
        (
            "set: {'$.name': '{{ principal }}/{{ request.name | upper }}'}",
            &[(r#""name":"t""#, r#""name":"alice/T""#)],
        ),
        (
            "set: {'$.name': '{{ claims.role }} of {{ claims.teams | join }}'}",
            &[(r#""name":"t""#, r#""name":"admin of red""#)],
        ),
        (
            "set: {'$.name': '{{ request.params.arguments.path | hash }}'}",
            &[(
                r#""name":"t""#,
                r#""name":"74acf31844532670be412c65b8251ee55d072549080b1cffdbea6b1a192230a0""#,
            )],
        ),
        ("remove: $.arguments.big", &[(r#","big":12345678901234567890123"#, "")]),
        ("remove: ['$..k', $._meta]", &[(r#"{"k":1},{"k":"two"}"#, "{},{}"), (r#", "_meta":{"x":1}"#, "")]),
        ("rename: {$.arguments.path: file}", &[(r#""path""#, r#""file""#)]),
        (
            "replace: {$.arguments.path: {find: '^/etc/(.*)', with: '/safe/$1'}}",
            &[("/etc/passwd", "/safe/passwd")],
        ),
        ("replace: {'$.arguments.*': {find: passwd, with: x}}", &[("passwd", "x")]),
        (
            "patch: [{op: test, path: /name, value: t}, {op: add, path: /arguments/list/0, value: '{{ request.name }}'}]",
            &[("[{", r#"["t",{"#)],
        ),
        (
            "patch: [{op: move, from: /arguments/big, path: /big}]",
            &[
                (r#","big":12345678901234567890123"#, ""),
                (r#""_meta":{"x":1}"#, r#""_meta":{"x":1},"big":12345678901234567890123"#),
            ],
        ),
        (
            "patch: [{op: copy, from: /_meta/x, path: /arguments/list/-}]",
            &[(r#"{"k":"two"}]"#, r#"{"k":"two"},1]"#)],
        ),
        (
            "patch: [{op: replace, path: /_meta, value: {}}, {op: remove, path: /arguments/path}]",
            &[(r#"{"x":1}"#, "{}"), (r#""path":"/etc/passwd","#, "")],
        ),
    ];
    for (action, changes) in table {
        let after = changes.iter().fold(CALL.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{action}: {from}");
            text.replacen(from, to, 1)
        });
        assert_eq!(acted("{}", action, CALL), (vec![Step::Edited], after), "{action}");
    }
}

#[test]
fn answers_and_notifications_are_edited_in_their_own_content() {
    let (steps, after) =
        acted("{on: answer}", "replace: {'$.content[*].text': {find: '[0-9]+', with: '#'}}", ANSWER);
    assert_eq!((steps, after), (vec![Step::Edited], ANSWER.replace("42", "#").replace("43", "#")));
    let (steps, after) =
        acted("{on: notification}", "set: {$.data: '{{ notification.params.data | title }}'}", NOTE);
    assert_eq!((steps, after), (vec![Step::Edited], NOTE.replace("hot", "Hot")));
}

#[test]
fn what_is_not_there_is_neither_removed_nor_renamed_nor_replaced() {
    for action in [
        "remove: $.arguments.nothing",
        "remove: '$.nothing[0]'",
        "remove: '$.arguments.path[0].x'",
        "rename: {$.nothing: x}",
        "replace: {$.arguments.list: {find: a, with: b}}",
        "replace: {$.arguments.path: {find: nothing, with: b}}",
    ] {
        assert_eq!(step("{}", action, CALL), Step::Unchanged, "{action}");
    }
    assert_eq!(
        step("{on: answer}", "set: {$.content: []}", ERROR),
        Step::Unchanged,
        "an error has no result"
    );
}

#[test]
fn an_action_that_cannot_be_carried_out_says_why() {
    for (action, why) in [
        ("set: {$.arguments.path.x: 1}", "at \"/arguments/path\": neither an object nor a list"),
        ("set: {'$.nothing[0]': 1}", "at /nothing: no list"),
        ("set: {'$.arguments.list[7]': 1}", "at \"/arguments/list/7\": no place of this list"),
        (
            "set: {$.name: '{{ request.params.arguments.nothing }}'}",
            "arguments.nothing is not in the message",
        ),
        ("set: {$.name: 'a {{ request.params.nothing.more }}'}", "undefined value"),
        ("set: {$: '{{ request.name }}'}", "must stay an object"),
        ("patch: [{op: remove, path: /nothing}]", "at \"/nothing\": nothing is there"),
        ("patch: [{op: add, path: /nothing/x, value: 1}]", "at \"/nothing\": nothing is there"),
        ("patch: [{op: test, path: /name, value: u}]", "at \"/name\": the test fails"),
        (
            "log: '{% for a in range(9999) %}{% for b in range(9999) %}.{% endfor %}{% endfor %}'",
            "too many steps",
        ),
        ("headers: {set: {x-a: \"a\\n{{ request.name }}\"}}", "visible ASCII"),
    ] {
        match step("{}", action, CALL) {
            Step::Failed { sentence, open: false } => assert!(sentence.contains(why), "{action}: {sentence}"),
            other => panic!("{action}: {other:?}"),
        }
    }
}

#[test]
fn an_edit_that_fails_leaves_the_message_as_it_was_before_it() {
    let (steps, after) = acted(
        "{}",
        "set: {$.a: 1}, patch: [{op: add, path: /b, value: 1}, {op: remove, path: /nothing}], drop: true",
        CALL,
    );
    assert!(matches!(&steps[..], [Step::Edited, Step::Failed { open: false, .. }]), "{steps:?}");
    assert!(after.contains(r#""a":1"#) && !after.contains(r#""b""#), "{after}");
}

#[test]
fn a_later_rule_sees_what_an_earlier_one_made_of_the_message() {
    let rules = compile(
        "- {name: a, do: [set: {$.arguments.level: 5}]}\n\
         - {name: b, when: {params: {$.arguments.level: {above: 4}}}, do: [tag: seen]}\n\
         - {name: c, when: {params: {$.arguments.level: {exists: false}}}, do: [drop: true]}\n",
    )
    .unwrap();
    let facts = Facts::default();
    let scene = Scene { direction: Direction::ToServer, facts: &facts, asked: None, took: None };
    let mut judgement = rules.judge(message(CALL), scene);
    let order: Vec<(&str, bool)> =
        std::iter::from_fn(|| judgement.next(&Still)).map(|fired| (fired.rule, fired.first)).collect();
    assert_eq!(order, [("a", true), ("b", true)]);
}

#[test]
fn answers_of_a_rules_own_are_made_of_what_is_known() {
    let action = "mock: {result: {content: [{type: text, text: 'no {{ request.params.arguments.path }} for {{ principal }}'}], n: 1}}";
    let json = r#"{"content":[{"text":"no /etc/passwd for alice","type":"text"}],"n":1}"#;
    assert_eq!(step("{}", action, CALL), Step::Mock(Outcome::Result(json.to_owned())));
    let action = "mock: {error: {code: -1, message: '{{ response.error.message | upper }}', data: {was: '{{ response.error.code }}', asked: '{{ request.params.arguments.big }}'}}}";
    let error = ErrorObject {
        code: -1,
        message: "NO SUCH FILE".to_owned(),
        data: Some(r#"{"asked":12345678901234567890123,"was":-32602}"#.to_owned()),
    };
    assert_eq!(step("{on: answer}", action, ERROR), Step::Mock(Outcome::Error(error)));
}

#[test]
fn steps_that_take_time_or_leave_a_mark_are_for_the_caller() {
    let ms = Duration::from_millis;
    assert_eq!(step("{}", "delay: 200ms", CALL), Step::Delay(ms(200)));
    let Step::Delay(some) = step("{}", "delay: {from: 1s, to: 2s}", CALL) else { unreachable!() };
    assert!((ms(1_000)..ms(2_000)).contains(&some));
    let pause = |held_for, then| Step::Pause(Pause { held_for, then });
    assert_eq!(
        step("{}", "pause: {for: 30s, then: block}", CALL),
        pause(Some(ms(30_000)), Some(Then::Block))
    );
    assert_eq!(step("{}", "pause: {}", CALL), pause(None, None));
    assert_eq!(step("{}", "tag: [a, b]", CALL), Step::Tag(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(
        step("{}", "log: '{{ request.method }} at {{ now() }}'", CALL),
        Step::Log("tools/call at 2023-11-14T22:13:20.000Z".to_owned())
    );
    assert_eq!(step("{}", "block: 'no {{ request.name }} here'", CALL), Step::Block("no t here".to_owned()));
    assert_eq!(step("{}", "log: 'a } brace, {a brace'", CALL), Step::Log("a } brace, {a brace".to_owned()));
}

#[test]
fn each_call_of_uuid_gives_another() {
    let Step::Log(line) = step("{}", "log: '{{ uuid() }} {{ uuid() }}'", CALL) else { unreachable!() };
    let (one, other) = line.split_once(' ').unwrap();
    assert!(one != other && one.len() == 36 && one.as_bytes()[14] == b'4', "{line}");
}

#[test]
fn headers_are_set_and_removed_but_for_those_of_the_proxy() {
    let rules = compile(
        "- {name: a, do: [headers: {set: {X-Tenant: '{{ principal }}'}, remove: [x-old]}]}\n\
         - {name: b, when: {header: {x-tenant: alice}}, do: [tag: seen]}\n",
    )
    .unwrap();
    let pair = |name: &str, value: &str| (Box::from(name), Box::from(value));
    let headers = [pair("x-old", "1"), pair("x-tenant", "bob"), pair("mcp-param-a", "2")];
    let facts = Facts { principal: Some("alice"), headers: &headers, ..Facts::default() };
    let scene = Scene { direction: Direction::ToServer, facts: &facts, asked: None, took: None };
    let mut judgement = rules.judge(message(CALL), scene);
    assert_eq!(judgement.headers(), None);
    assert_eq!(judgement.next(&Still).unwrap().step, Step::Headers);
    assert_eq!(judgement.headers().unwrap(), [pair("mcp-param-a", "2"), pair("x-tenant", "alice")]);
    assert_eq!(judgement.next(&Still).unwrap().rule, "b");
}

#[test]
fn actions_that_cannot_be_meant_are_told_with_their_place() {
    let told = |when: &str, action: &str| -> String {
        let faults = compile(&format!("[{{name: r, when: {when}, do: [{action}]}}]")).unwrap_err();
        faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    for (when, action, fault) in [
        ("{}", "set: {arguments: 1}", "rules[0].do[0].set.arguments: `arguments` is no JSONPath"),
        ("{}", "set: {$: 1}", "rules[0].do[0].set.$: the whole must stay an object"),
        ("{}", "remove: $", "rules[0].do[0].remove.$: expected a path to something inside"),
        (
            "{}",
            "replace: {$.a: {find: '(', with: ''}}",
            "rules[0].do[0].replace.$.a.find: this regular expression is wrong",
        ),
        (
            "{}",
            "patch: [{op: add, path: a, value: 1}]",
            "rules[0].do[0].patch[0].path: expected a JSON Pointer",
        ),
        ("{}", "patch: [{op: add, path: /a}]", "rules[0].do[0].patch[0].value: is missing"),
        ("{}", "patch: [{op: remove, path: /a, value: 1}]", "rules[0].do[0].patch[0].value: does not belong"),
        ("{}", "patch: [{op: move, path: /a}]", "rules[0].do[0].patch[0].from: is missing"),
        (
            "{}",
            "headers: {set: {Mcp-Name: x}}",
            "rules[0].do[0].headers.set.Mcp-Name: is written by the proxy",
        ),
        ("{}", "headers: {set: {'a b': x}}", "rules[0].do[0].headers.set.a b: is no name of a header"),
        ("{}", "headers: {}", "rules[0].do[0].headers: does nothing"),
        ("{}", "mock: {result: text}", "rules[0].do[0].mock.result: a result is an object"),
        ("{on: notification}", "mock: {result: {}}", "rules[0].do[0].mock: a notification has no answer"),
        ("{on: [request, notification]}", "fault: cut", "rules[0].do[0].fault: a notification has no answer"),
        ("{}", "delay: {from: 2s, to: 1s}", "rules[0].do[0].delay: `from` is longer"),
        (
            "{}",
            "log: '{{ reqest.name }}'",
            "rules[0].do[0].log: the template uses `reqest`, which is not known; did you mean `request`?",
        ),
        ("{}", "log: '{{ request.name '", "rules[0].do[0].log: the template fails: syntax error"),
        (
            "{}",
            "log: '{{ request.name | hush }}'",
            "rules[0].do[0].log: there is no filter `hush` for templates; did you mean `hash`?",
        ),
        (
            "{}",
            "log: '{{ response.result }}'",
            "rules[0].do[0].log: `response` is there only in rules `on: answer`",
        ),
        ("{}", "set: {$.a: '{{ 1 + }}'}", "rules[0].do[0].set.$.a: the template fails: syntax error"),
        (
            "{}",
            "set: {$.arguments.id: '{{ uuid() }}'}",
            "rules[0].do[0].set.$.arguments.id: `uuid()` differs each time",
        ),
        (
            "{tool: t}",
            "patch: [{op: add, path: /arguments/at, value: '{{ now() }}'}]",
            "rules[0].do[0].patch[0]: `now()` differs each time",
        ),
        ("{method: tools/list, tool: t}", "drop: true", "rules[0].when: no message can ever fit this"),
    ] {
        let told = told(when, action);
        assert!(told.contains(fault), "{action} is told as {told}");
    }
    for (when, action) in [
        ("{}", "set: {$._meta.id: '{{ uuid() }}'}"),
        ("{method: tools/list}", "set: {$.id: '{{ uuid() }}'}"),
        ("{on: answer}", "set: {$.id: '{{ uuid() }}'}"),
        ("{on: answer}", "log: '{{ response }}'"),
    ] {
        assert!(compile(&format!("[{{name: r, when: {when}, do: [{action}]}}]")).is_ok(), "{action}");
    }
}
