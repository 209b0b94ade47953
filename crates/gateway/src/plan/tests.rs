//! Precedence, defaults, and what is refused.

use std::ffi::OsString;

use super::*;
use crate::config::Loaded;

fn variables(pairs: &[(&str, &str)]) -> Variables {
    pairs.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
}

fn resolve(flags: &Overrides, file: &str, environment: &[(&str, &str)]) -> Result<Plan, String> {
    let loaded = Loaded::parse("sc.yaml", file).unwrap();
    Plan::resolve(Face::Http, flags, &loaded, &variables(environment)).map_err(|errors| errors.to_string())
}

fn url(text: &str) -> Overrides {
    Overrides { upstream: Some(Target::Url(text.to_owned())), ..Overrides::default() }
}

fn listens_on(plan: &Plan) -> String {
    match &plan.listen {
        Listen::Http { address, .. } => address.to_string(),
        Listen::Stdio => "stdio".to_owned(),
    }
}

const FILE: &str = "listen: 127.0.0.1:3\ndata: /file\nupstream: {url: 'http://file/mcp'}\n\
                    timeouts: {request: 3s}\nlog: {level: warn}\n";
const ENVIRONMENT: [(&str, &str); 6] = [
    ("SHADOWCAT_LISTEN", "127.0.0.1:2"),
    ("SHADOWCAT_UPSTREAM", "http://environment/mcp"),
    ("SHADOWCAT_DATA", "/environment"),
    ("SHADOWCAT_RECORD", "/environment/record"),
    ("SHADOWCAT_REQUEST_TIMEOUT", "2s"),
    ("SHADOWCAT_LOG", "debug"),
];

#[test]
fn flags_win_over_variables_over_the_file_over_defaults() {
    let flags = Overrides {
        listen: Some("127.0.0.1:1".into()),
        data: Some("/flag".into()),
        record: Some("/flag/record".into()),
        request_timeout: Some("1s".into()),
        log_level: Some(Level::Trace),
        ..url("http://flag/mcp")
    };
    let told = |plan: Plan| {
        let Store::Sqlite(store) = plan.sessions.store.clone() else { return "no store".to_owned() };
        let record = plan.record.clone().map(|record| record.dir);
        format!(
            "{} {} {} {record:?} {:?} {:?}",
            listens_on(&plan),
            plan.upstream.name,
            store.display(),
            plan.timeouts.request,
            plan.log.level
        )
    };
    let all = resolve(&flags, FILE, &ENVIRONMENT).unwrap();
    assert_eq!(told(all), r#"127.0.0.1:1 flag /flag/sessions.db Some("/flag/record") 1s Trace"#);
    let environment = resolve(&Overrides::default(), FILE, &ENVIRONMENT).unwrap();
    assert_eq!(
        told(environment),
        r#"127.0.0.1:2 environment /environment/sessions.db Some("/environment/record") 2s Debug"#
    );
    let file = resolve(&Overrides::default(), FILE, &[]).unwrap();
    assert_eq!(told(file), "127.0.0.1:3 file /file/sessions.db None 3s Warn");
    let defaults = resolve(&url("http://h/mcp"), "", &[]).unwrap();
    assert_eq!(listens_on(&defaults), "127.0.0.1:8080");
    assert_eq!((defaults.sessions.store, defaults.record), (Store::Memory, None));
    assert_eq!(defaults.limits.body_bytes_max, 4 << 20);
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let plan = resolve(&Overrides::default(), FILE, &[("SHADOWCAT_LISTEN", "")]).unwrap();
    assert_eq!(listens_on(&plan), "127.0.0.1:3");
}

#[test]
fn an_address_beyond_the_loopback_is_refused_with_the_way_out() {
    for address in
        ["0.0.0.0:1", "[::]:1", "[::ffff:0.0.0.0]:1", "example.com:1", "unix:/run/sc.sock", "192.168.1.4:1"]
    {
        let flags = Overrides { listen: Some(address.into()), ..url("http://h/mcp") };
        let told = resolve(&flags, "", &[]).unwrap_err();
        assert!(told.starts_with("--listen: ") && told.contains("127.0.0.1"), "{address}: {told}");
    }
    for address in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "localhost:1"] {
        let flags = Overrides { listen: Some(address.into()), ..url("http://h/mcp") };
        assert!(resolve(&flags, "", &[]).is_ok(), "{address}");
    }
}

#[test]
fn an_address_beyond_the_loopback_is_allowed_by_name() {
    let file = "listen: 0.0.0.0:1\nhttp: {i_accept_unauthenticated_remote_clients: true}\n";
    let plan = resolve(&url("http://h/mcp"), file, &[]).unwrap();
    assert!(matches!(plan.listen, Listen::Http { unauthenticated_remote: true, .. }));
}

#[test]
fn all_problems_are_told_at_once() {
    let file = "listen: nowhere\nupstream:\n  url: ftp://h/\n  warm: 1\n  headers:\n    Host: a\n    X-A: ${NONE}\n\
                sessions:\n  store: sqlite\n  idle: 2h\n  life: 1h\nrecord:\n  redact: true\n\
                limits:\n  depth: 500\n  connections: 0\n  in_flight_per_session: 9999999999999999999\n  message: 65MiB\n";
    let told = resolve(&Overrides::default(), file, &[("SHADOWCAT_LOG", "inof")]).unwrap_err();
    let expected = [
        "sc.yaml:1: listen: expected an IP address and a port",
        "sc.yaml:4: upstream.warm: has a meaning only beside `command`",
        "sc.yaml:6: upstream.headers.Host: is set by the proxy itself",
        "sc.yaml:7: upstream.headers.X-A: the variable NONE is not set",
        "sc.yaml:3: upstream.url: expected `http(s)://HOST/PATH`",
        "sc.yaml:9: sessions.store: sqlite needs a directory",
        "sc.yaml:11: sessions.life: is shorter",
        "sc.yaml:12: record: needs a directory",
        "sc.yaml:18: limits.message: expected at most 64MiB",
        "sc.yaml:15: limits.depth: expected at most 128",
        "sc.yaml:16: limits.connections: expected 1 or more",
        "sc.yaml:17: limits.in_flight_per_session: expected at most 1000000000",
        "SHADOWCAT_LOG: unknown word `inof`; did you mean `info`?",
    ];
    for (line, expected) in told.lines().zip(expected) {
        assert!(line.starts_with(expected), "{line}\n{expected}");
    }
    assert_eq!(told.lines().count(), expected.len(), "{told}");
}

#[test]
fn spans_go_to_the_path_that_collectors_have_for_them() {
    for (written, sent_to) in [
        ("http://c:4318", "http://c:4318/v1/traces"),
        ("https://c/", "https://c/v1/traces"),
        ("http://c/otlp/", "http://c/otlp/v1/traces"),
        ("http://c/v1/traces", "http://c/v1/traces"),
    ] {
        let file = format!("telemetry: {{otlp: '{written}'}}");
        let telemetry = resolve(&url("http://h/mcp"), &file, &[]).unwrap().telemetry.unwrap();
        assert_eq!(telemetry.collector.url.to_string(), sent_to);
        assert_eq!((&*telemetry.service, telemetry.sample), ("shadowcat", 1.0));
    }
    assert!(resolve(&url("http://h/mcp"), "", &[]).unwrap().telemetry.is_none());
}

#[test]
fn what_is_wrong_about_traces_is_told_with_its_place() {
    for (written, told) in [
        ("otlp: 'ftp://c'", "sc.yaml:1: telemetry.otlp: expected `http(s)://HOST:PORT`"),
        ("otlp: 'sse+http://c'", "sc.yaml:1: telemetry.otlp: expected `http(s)://HOST:PORT`"),
        ("otlp: 'http://c/?a'", "sc.yaml:1: telemetry.otlp: expected `http(s)://HOST:PORT`"),
        ("otlp: 'http://c', headers: {a: '${NONE}'}", "sc.yaml:1: telemetry.headers.a: the variable"),
        ("otlp: 'http://c', sample: 1.5", "sc.yaml:1: telemetry.sample: expected a number from 0"),
        ("otlp: 'http://c', service: ''", "sc.yaml:1: telemetry.service: expected 1 to"),
    ] {
        let file = format!("telemetry: {{{written}}}");
        let error = resolve(&url("http://h/mcp"), &file, &[]).unwrap_err();
        assert!(error.starts_with(told), "{error}");
    }
}

#[test]
fn nothing_is_kept_unless_the_file_says_so() {
    let plan = |file| resolve(&url("http://h/mcp"), file, &[]);
    assert_eq!(plan("").unwrap().cache, None);
    let usual = plan("cache: {}\n").unwrap().cache.unwrap();
    assert_eq!((usual.entries_max, usual.bytes_max), (1_000, 32 << 20));
    assert_eq!(usual.ttl_max, Duration::from_hours(1));
    let said = plan("cache: {entries_max: 2, bytes_max: 1MiB, ttl_max: 5s}\n").unwrap().cache.unwrap();
    assert_eq!((said.entries_max, said.bytes_max, said.ttl_max), (2, 1 << 20, Duration::from_secs(5)));
    let told = plan("cache:\n  entries_max: 0\n").unwrap_err();
    assert!(told.contains("sc.yaml:2: cache.entries_max: expected 1 or more"), "{told}");
}

#[test]
fn an_upstream_is_a_url_or_a_command() {
    for (file, expected) in [
        ("", "no upstream"),
        ("upstream: {name: x}", "needs `url` or `command`"),
        ("upstream: {url: 'http://h/', command: [x]}", "both `url` and `command`"),
        ("upstream: {command: []}", "the command is empty"),
        ("upstream: {command: [x], headers: {A: b}}", "beside `url`"),
        ("upstream: {command: [x], warm: 2, children_max: 1}", "more than `children_max`"),
        ("upstream: {url: 'http://user:hunter2@h/'}", "holds a user name"),
        ("upstream: {url: 'http://h/#a'}", "fragment"),
        ("upstream: {url: 'h/mcp'}", "expected `http(s)://HOST/PATH`"),
        ("upstream: {url: '${NONE}'}", "NONE is not set"),
        ("upstream: {url: 'http://h/', headers: {A: \"a\\nb\"}}", "line end"),
        ("upstream: {url: 'http://h/', name: 'a b'}", "letters"),
    ] {
        let told = resolve(&Overrides::default(), file, &[]).unwrap_err();
        assert!(told.contains(expected) && !told.contains("hunter2"), "{file}: {told}");
    }
}

#[test]
fn sse_is_asked_for_by_the_scheme() {
    let plan = resolve(&url("sse+https://h/sse"), "", &[]).unwrap();
    let UpstreamTarget::Sse(remote) = plan.upstream.target else { panic!("not SSE") };
    assert_eq!(remote.url, "https://h/sse");
}

#[test]
fn a_named_upstream_does_not_get_the_secrets_of_the_written_one() {
    let file = "upstream: {url: 'https://h/', headers: {Authorization: hunter2}}";
    let plan = resolve(&url("http://other/mcp"), file, &[]).unwrap();
    let UpstreamTarget::Http(remote) = plan.upstream.target else { panic!("not HTTP") };
    assert!(remote.headers.is_empty());
}

#[test]
fn debug_output_of_a_plan_holds_no_secret() {
    for file in [
        "upstream: {url: 'https://h/', headers: {Authorization: 'Bearer ${TOKEN}'}}",
        "upstream: {command: [x, --token=hunter2], env: {set: {TOKEN: '${TOKEN}'}}}",
    ] {
        let shown = format!("{:?}", resolve(&Overrides::default(), file, &[("TOKEN", "hunter2")]).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn an_approver_is_asked_within_its_own_limits() {
    let file = "approvals:\n  - name: a\n    when: {tool: rm}\n    approver: {webhook: {url: 'http://h:1/x', secret: '${HOOK}'}, \
                concurrency: 3, breaker: {failures: 9, pause: 1m}}\n  - {name: b, approver: {webhook: {url: 'http://h'}, timeout: 1s}}\n";
    let plan = resolve(&url("http://up/mcp"), file, &[("HOOK", "0123456789abcdef")]).unwrap();
    let [first, second] = &plan.pause.approvers[..] else { panic!("{:?}", plan.pause.approvers) };
    let (limits, breaker) = (first.limits, first.limits.breaker);
    assert_eq!((&*first.approval, limits.timeout, limits.concurrency_max), ("a", Duration::from_secs(10), 3));
    assert_eq!((breaker.failures_max, breaker.pause), (9, Duration::from_mins(1)));
    assert!(first.webhook.secret.is_some() && second.webhook.secret.is_none());
    assert_eq!((&*second.approval, second.limits.timeout), ("b", Duration::from_secs(1)));
}

#[test]
fn forward_listens_on_stdio_and_keeps_no_sessions() {
    let loaded = Loaded::parse("sc.yaml", "listen: 0.0.0.0:1\ndata: /d").unwrap();
    let flags =
        Overrides { upstream: Some(Target::Command(vec!["x".into(), "y".into()])), ..Overrides::default() };
    let plan = Plan::resolve(Face::Stdio, &flags, &loaded, &Variables::default()).unwrap();
    assert_eq!((plan.listen, plan.sessions.store), (Listen::Stdio, Store::Memory));
    let UpstreamTarget::Stdio(program) = plan.upstream.target else { panic!("not stdio") };
    assert_eq!((program.program, program.args), ("x".into(), vec!["y".into()]));
}

#[test]
fn clients_before_a_command_leave_room_for_others_children() {
    let per_client = |file: &str| {
        let plan = resolve(&Overrides::default(), file, &[]).unwrap();
        plan.bridge.unwrap().sessions_per_client
    };
    assert_eq!(per_client("upstream: {url: 'http://a/mcp'}"), 1_000);
    assert_eq!(per_client("upstream: {url: 'http://a/mcp'}\nbridge: {sessions_max: 8}"), 8);
    assert_eq!(per_client("upstream: {command: [x]}"), 16);
    assert_eq!(per_client("upstream: {command: [x], children_max: 1}"), 1);
    assert_eq!(per_client("upstream: {command: [x]}\nbridge: {sessions_per_client: 3}"), 3);
}

#[test]
fn an_approval_that_is_never_asked_for_is_refused_with_the_way_out() {
    let refused = |when: &str| {
        let file = format!("approvals:\n  - name: a\n    when: {when}\n");
        resolve(&url("http://a/mcp"), &file, &[]).unwrap_err()
    };
    let prompt = refused("{prompt: deploy}");
    assert!(prompt.contains("approvals[0].when") && prompt.contains("add `method`"), "{prompt}");
    let answer = refused("{all: [{on: answer}]}");
    assert!(answer.contains("approvals[0].when"), "{answer}");
    let filter = refused("{filter: '~m prompts/get'}");
    assert!(
        filter.starts_with("sc.yaml:3: approvals[0].when: no request to a server can ever fit"),
        "{filter}"
    );
    assert!(filter.contains("calls of tools are meant where no `method` is"), "{filter}");
    let file = "approvals:\n  - name: a\n    when: {method: prompts/get, prompt: deploy}\n";
    assert!(resolve(&url("http://a/mcp"), file, &[]).is_ok());
}
