//! What goes and what stays. The secrets here are made up and open no door.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

/// One for all: making one compiles its patterns.
static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| Redactor::new(&Secrets::default()).unwrap());

fn redactor() -> &'static Redactor {
    &REDACTOR
}

fn json(text: &str) -> String {
    let redacted = redactor().json(text).text.into_owned();
    serde_json::from_str::<serde_json::Value>(&redacted)
        .unwrap_or_else(|fault| panic!("{fault}: {redacted}"));
    redacted
}

/// The text with every mark written as `*`.
fn starred(text: &str) -> String {
    let mark = regex::Regex::new(r"\[redacted:[0-9a-f]{12}\]").unwrap();
    mark.replace_all(text, "*").into_owned()
}

fn check(input: &str, expected: &str) {
    assert_eq!(starred(&json(input)), expected, "from {input}");
}

#[test]
fn what_goes_under_a_secrets_name_goes_as_a_whole() {
    check(r#"{"password":"x","user":"u"}"#, r#"{"password":"*","user":"u"}"#);
    check(r#"{"a":{"API-Key" : [1,{"b":"}"}] },"c":1}"#, r#"{"a":{"API-Key" : "*" },"c":1}"#);
    check(r#"{"accessToken":{"v":"]"},"pin":2}"#, r#"{"accessToken":"*","pin":2}"#);
    check(r#"{"password":123456,"x":[{"secret":-1.5e3}]}"#, r#"{"password":"*","x":[{"secret":"*"}]}"#);
    check(r#"{"p\u0061ssword":"x\"y"}"#, r#"{"p\u0061ssword":"*"}"#);
    check(r#"{"requestState":"abc","mcp-session-id":"s"}"#, r#"{"requestState":"*","mcp-session-id":"*"}"#);
}

#[test]
fn what_tells_nothing_stays() {
    for text in [
        r#"{"password":null,"secret":true,"token":"","cookies":[]}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"progressToken":"abc"}}}"#,
        r#"{"nextCursor":"abc","tokenCount":5,"maxTokens":100,"max_tokens":7,"usage":{"input_tokens":3}}"#,
        r#"{"error":{"code":-32602,"message":"The password is wrong"}}"#,
        r#"{"text":"task-force disk-usage https://example.com/a?page=2&q=bearer of news"}"#,
        r#"{"text":"Basic understanding of a Bearer token"}"#,
        r#"{"text":"password: string; token: undefined"}"#,
        r#"{"url":"http://localhost:8080/a@b","mail":"a:b@c.d"}"#,
        r#"{"text":"tests pass: 10, assertion: left is right; connection: a"}"#,
    ] {
        assert_eq!(redactor().json(text), Redacted { text: text.into(), count: 0 });
    }
}

#[test]
fn a_tools_schema_may_speak_of_secrets() {
    check(
        r#"{"inputSchema":{"properties":{"password":{"type":"string","default":"hunter2"}},"required":["password"]}}"#,
        r#"{"inputSchema":{"properties":{"password":{"type":"string","default":"*"}},"required":["password"]}}"#,
    );
    check(r#"{"properties":{"password":"hunter2"}}"#, r#"{"properties":{"password":"*"}}"#);
}

#[test]
fn a_value_beside_the_name_of_a_header_goes() {
    check(
        r#"{"env":[{"name":"OPENAI_API_KEY","value":"v"},{"name":"HOME","value":"/root"}]}"#,
        r#"{"env":[{"name":"OPENAI_API_KEY","value":"*"},{"name":"HOME","value":"/root"}]}"#,
    );
}

#[test]
fn json_inside_strings_is_followed() {
    check(r#"{"text":"{\"a\":1,\"password\":\"x\"}"}"#, r#"{"text":"{\"a\":1,\"password\":\"*\"}"}"#);
    check(
        r#"{"text":"got {\"password\": \"x y\", \"n\": 1}"}"#,
        r#"{"text":"got {\"password\": \"*\", \"n\": 1}"}"#,
    );
    check(
        r#"{"t":"{\"t\":\"{\\\"secret\\\":\\\"x\\\"}\"}"}"#,
        r#"{"t":"{\"t\":\"{\\\"secret\\\":\\\"*\\\"}\"}"}"#,
    );
}

#[test]
fn what_is_not_touched_keeps_its_bytes() {
    check(
        r#"{ "big":12345678901234567890 , "u":"\u00e9\/" ,"token":"x" }"#,
        r#"{ "big":12345678901234567890 , "u":"\u00e9\/" ,"token":"*" }"#,
    );
}

fn marks(text: &str) -> Vec<String> {
    let mark = regex::Regex::new(r"\[redacted:[0-9a-f]{12}\]").unwrap();
    mark.find_iter(text).map(|found| found.as_str().to_owned()).collect()
}

#[test]
fn equal_secrets_stay_equal_in_one_tape_and_differ_between_tapes() {
    let text = r#"{"token":"abc123XYZ","h":"Authorization: Bearer abc123XYZ","authorization":"Bearer abc123XYZ","password":"other"}"#;
    let first = redactor();
    let one = marks(&first.json(text).text);
    assert_eq!(one.len(), 4);
    assert!(one[0] == one[1] && one[1] == one[2] && one[2] != one[3]);
    assert_eq!(one, marks(&first.json(text).text));
    assert_ne!(one, marks(&Redactor::new(&Secrets::default()).unwrap().json(text).text));
}

#[test]
fn no_text_is_made_invalid() {
    for text in [
        r#"{"a":"\ud800 token=abc"}"#,
        r#"["-----BEGIN PRIVATE KEY-----\nMIIB\n"]"#,
        r#""sk-""#,
        "12",
        r#"{"":""}"#,
    ] {
        json(text);
    }
}

/// Forty kinds of secret: the name each goes under, and what must not be seen.
pub(crate) const PLANTED: [(&str, &str); 40] = [
    ("token", "plain-Canary-Token-01"),
    ("access_token", "canaryaccesstoken02"),
    ("refresh_token", "1//0canary-refresh-03"),
    ("id_token", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlMDQ"),
    ("secret", "canarysecret05"),
    ("client_secret", "GOCSPX-canary-06"),
    ("clientSecret", "canaryclientsecret07"),
    ("password", "hunter08canary"),
    ("passwd", "canarypasswd09"),
    ("Authorization", "canaryauthorization10"),
    ("api_key", "canaryapikey11"),
    ("apikey", "canaryapikey12"),
    ("X-API-Key", "canaryapikey13"),
    ("cookie", "canarycookie14"),
    ("Set-Cookie", "canarycookie15"),
    ("private_key", "canaryprivatekey16"),
    ("Mcp-Session-Id", "canary-session-17"),
    ("requestState", "canary.state.18"),
    ("openai_api_key", "sk-proj-Canary19Canary19Canary19"),
    ("anthropic_api_key", "sk-ant-api03-Canary20Canary20"),
    ("stripe_secret_key", "sk_live_Canary21Canary21"),
    ("github_token", "ghp_Canary22Canary22Canary22Canary22"),
    ("GH_TOKEN", "gho_Canary23Canary23Canary23Canary23"),
    ("GITHUB_PAT_TOKEN", "github_pat_Canary24Canary24Canary24"),
    ("slack_bot_token", "xoxb-canary25-canary25"),
    ("slack_app_token", "xapp-canary26-canary26"),
    ("AWS_ACCESS_KEY_ID", "AKIACANARY27CANARY27"),
    ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+canary28"),
    ("AWS_SESSION_TOKEN", "ASIACANARY29CANARY29"),
    ("google_api_key", "AIzaSyCanary30Canary30Canary30Canary"),
    ("google_access_token", "ya29.Canary31Canary31Canary31"),
    ("gitlab_token", "glpat-Canary32Canary32"),
    ("npm_token", "npm_Canary33Canary33Canary33Canary33"),
    ("pypi_token", "pypi-Canary34Canary34Canary34"),
    ("hf_token", "hf_Canary35Canary35Canary35"),
    ("digitalocean_token", "dop_v1_0c0a0c0a0c0a0c0a36"),
    ("shopify_password", "shpat_0c0a0c0a0c0a0c0a37"),
    ("vault_token", "hvs.Canary38Canary38Canary38"),
    ("sendgrid_api_key", "SG.Canary39Canary39.Canary39Canary39"),
    ("code_verifier", "canary-verifier-40"),
];

#[test]
fn forty_kinds_of_secret_are_found_in_six_places() {
    let redactor = redactor();
    for (name, secret) in PLANTED {
        let inner = format!(r#"{{"ok":1,"{name}":"{secret}"}}"#);
        let places = [
            format!(r#"{{"params":{{"arguments":{{"{name}":"{secret}"}}}}}}"#),
            format!(r#"{{"result":{{"content":[{{"type":"text","text":{}}}]}}}}"#, serde_json::json!(inner)),
            format!(r#"{{"params":{{"data":"env: HOME=/root {name}={secret} LANG=C"}}}}"#),
            format!(r#"{{"params":{{"uri":"https://example.com/cb?a=1&{name}={secret}&b=2"}}}}"#),
            format!(r#"{{"error":{{"code":-32603,"message":"request failed: {name}: {secret}"}}}}"#),
            format!(
                r#"{{"result":{{"text":{}}}}}"#,
                serde_json::json!(format!("event: x\ndata: {inner}\n\n"))
            ),
        ];
        for place in places {
            let redacted = redactor.json(&place).text;
            assert!(!redacted.contains(secret), "{secret} in {redacted}");
            serde_json::from_str::<serde_json::Value>(&redacted).unwrap();
        }
    }
}

#[test]
fn a_shape_alone_gives_a_secret_away() {
    let pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIBcanary\n-----END RSA PRIVATE KEY-----";
    let starts = [
        "eyJ",
        "sk-",
        "sk_live_",
        "gh",
        "github_pat_",
        "xox",
        "xapp-",
        "AKIA",
        "ASIA",
        "AIza",
        "ya29.",
        "glpat-",
        "npm_",
        "pypi-",
        "hf_",
        "dop_",
        "shpat_",
        "hvs.",
        "SG.",
    ];
    let shaped = PLANTED.iter().map(|(_, secret)| *secret);
    let shaped: Vec<_> =
        shaped.filter(|secret| starts.iter().any(|start| secret.starts_with(start))).collect();
    assert_eq!(shaped.len(), 21);
    for secret in shaped.iter().chain([&pem]) {
        let text = serde_json::json!({ "text": format!("I found {secret}, is it yours?") }).to_string();
        check(&text, r#"{"text":"I found *, is it yours?"}"#);
    }
    for secret in shaped {
        check(&format!(r#"{{"{secret}":1}}"#), r#"{"*":1}"#);
    }
    check(r#"["postgres://me:pa55w@db/x"]"#, r#"["postgres://me:*@db/x"]"#);
    check(r#"["postgres:\/\/me:pa55w@db\/x"]"#, r#"["postgres://me:*@db/x"]"#);
    check(r#"["curl -H 'Authorization: Bearer abc.def1'"]"#, r#"["curl -H 'Authorization: Bearer *'"]"#);
    check(r#"["https://x/cb?code=4/abc&state=xyz&page=2"]"#, r#"["https://x/cb?code=*&state=*&page=2"]"#);
}

/// Pieces of text that come close to what is looked for.
fn piece() -> impl Strategy<Value = String> {
    let near = prop::sample::select(vec![
        "password",
        "token",
        "=",
        ": ",
        "\"",
        "'",
        "\\",
        "{",
        "}",
        "[",
        "]",
        ",",
        "\n",
        "é",
        "sk-aaaaaaaaaaaaaaaaaaaa",
        "Bearer ",
        "x1y2z3a4",
        "://",
        "a:b@c",
        "?key=",
        "-----BEGIN PRIVATE KEY-----",
        "[redacted:0123456789ab]",
        "\u{1F600}",
        "eyJhbGciOi.",
    ]);
    prop::collection::vec(near, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn whatever_the_text_the_result_is_json_and_the_rest_stays(
        key in piece(), text in piece(), inner in piece(), blank in "[ \t]{0,2}",
    ) {
        let inner = serde_json::json!({ "secret": inner, "t": text }).to_string();
        let key = serde_json::json!(format!("k{key}"));
        let text = serde_json::json!(text);
        let inner = serde_json::json!(inner);
        let message = format!("{{{blank}{key}{blank}:{blank}[{text}{blank},{inner}],\"n\":1.50}}");
        let first = redactor().json(&message).text.into_owned();
        let value: serde_json::Value = serde_json::from_str(&first).unwrap();
        prop_assert_eq!(value.as_object().unwrap().len(), 2);
        let untouched = r#","n":1.50}"#;
        prop_assert!(first.ends_with(untouched));
    }
}

/// Prints figures and asserts none: `cargo test --release -p shadowcat-tape -- --nocapture speed`.
#[test]
fn speed_of_redaction() {
    const BYTES: usize = 4_000_000;
    let redactor = redactor();
    let words = "all is well ".repeat(15);
    for (what, text) in [
        ("nothing to find", format!(r#"{{"params":{{"name":"echo","text":"{words}","progressToken":1}}}}"#)),
        ("a word that is suspect", format!(r#"{{"params":{{"name":"echo","text":"{words} tokens"}}}}"#)),
        ("a secret", format!(r#"{{"params":{{"name":"echo","text":"{words}","password":"x"}}}}"#)),
        ("100 kB, suspect", format!(r#"{{"text":"{} tokens"}}"#, words.repeat(550))),
    ] {
        let rounds = u32::try_from(BYTES / text.len()).unwrap();
        let begun = std::time::Instant::now();
        for _ in 0..rounds {
            std::hint::black_box(redactor.json(std::hint::black_box(&text)));
        }
        println!("{what}: {} bytes in {:?}", text.len(), begun.elapsed() / rounds);
    }
}

/// What an operator names besides; starred.
fn own(names: &[&str], paths: &[&str], patterns: &[&str], text: &str) -> String {
    let mut secrets = Secrets::default();
    let added = names.iter().try_for_each(|name| secrets.add_name(name));
    let added = added.and_then(|()| paths.iter().try_for_each(|path| secrets.add_path(path)));
    added.and_then(|()| patterns.iter().try_for_each(|pattern| secrets.add_pattern(pattern))).unwrap();
    let redactor = Redactor::new(&secrets).unwrap();
    let once = redactor.json(text).text.into_owned();
    serde_json::from_str::<serde_json::Value>(&once).unwrap_or_else(|fault| panic!("{fault}: {once}"));
    assert_eq!(redactor.json(&once).text, once, "a second time changes nothing");
    starred(&once)
}

#[test]
fn an_operators_names_count_wherever_names_do() {
    let text = r#"{"id":1,"params":{"SSN":{"a":1},"myssn":2,"internalId":3,"text":"internal-id: 44, ssn=5 and ssn: '6 7'","url":"http://h/?internal_id=8","headers":[{"name":"X-SSN","value":9},{"name":"ssn","value":"10"}],"nested":"{\"ssn\":\"11\"}"}}"#;
    assert_eq!(
        own(&["ssn", "internal_id"], &[], &[], text),
        r#"{"id":1,"params":{"SSN":"*","myssn":2,"internalId":"*","text":"internal-id: *, ssn=* and ssn: '*'","url":"http://h/?internal_id=*","headers":[{"name":"X-SSN","value":9},{"name":"ssn","value":"*"}],"nested":"{\"ssn\":\"*\"}"}}"#
    );
    let envelope = r#"{"jsonrpc":"2.0","id":7,"method":"ping","params":{"id":7,"method":"x"}}"#;
    assert_eq!(
        own(&["id", "method", "jsonrpc", "params"], &[], &[], envelope),
        r#"{"jsonrpc":"2.0","id":7,"method":"ping","params":{"id":"*","method":"*"}}"#
    );
}

#[test]
fn what_stands_at_a_path_goes_whatever_it_is() {
    let text = r#"{ "id":1, "params": {"card": {"n":[1,2]}, "list":[ {"ssn":true,"x":"keep"}, {"ssn":null} ], "a/b~c":"s", "c\u0061rd":7 } }"#;
    assert_eq!(
        own(&[], &["$.params.card", "$..ssn", "$.params['a/b~c']", "$.params.list[0].missing"], &[], text),
        r#"{ "id":1, "params": {"card": "*", "list":[ {"ssn":"*","x":"keep"}, {"ssn":null} ], "a/b~c":"*", "c\u0061rd":"*" } }"#
    );
    assert_eq!(
        own(&[], &["$.*"], &[], r#"{"jsonrpc":"2.0","id":1,"result":{"a":1}}"#),
        r#"{"jsonrpc":"2.0","id":1,"result":"*"}"#
    );
    assert_eq!(
        own(
            &[],
            &["$.params.list[?@.of=='me'].v"],
            &[],
            r#"{"params":{"list":[{"of":"me","v":1},{"of":"you","v":2}]}}"#
        ),
        r#"{"params":{"list":[{"of":"me","v":"*"},{"of":"you","v":2}]}}"#
    );
    let deep = format!(r#"{{"id":1,"params":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
    let redactor = {
        let mut secrets = Secrets::default();
        secrets.add_path("$..x").unwrap();
        Redactor::new(&secrets).unwrap()
    };
    assert_eq!(
        starred(&redactor.json(&deep).text),
        r#"{"id":1,"params":"*"}"#,
        "what cannot be looked through goes"
    );
}

#[test]
fn what_fits_a_pattern_goes_in_texts_keys_and_numbers() {
    let text = r#"{"id":4111111111111111,"params":{"n":4111111111111111,"m":-4111111111111111.5,"4111111111111111":"a\n4111111111111111 b","k":41}}"#;
    assert_eq!(
        own(&[], &[], &[r"\b4\d{15}\b"], text),
        r#"{"id":4111111111111111,"params":{"n":"*","m":"*","*":"a\n* b","k":41}}"#
    );
    assert_eq!(
        own(&[], &[], &["ticket ([A-Z]+)"], r#"["a ticket ABC","ticket 1"]"#),
        r#"["a ticket *","ticket 1"]"#
    );
    assert_eq!(own(&[], &[], &["[a-f0-9]{6}"], r#"{"a":"token=x1y2z3 bcdef0"}"#), r#"{"a":"token=* *"}"#);
    assert_eq!(own(&[], &[], &["(?s)a.*z"], r#"{"a":"a token=x1y2z3, z!"}"#), r#"{"a":"*!"}"#);
}

#[test]
fn equal_secrets_stay_equal_however_they_were_found() {
    let mut secrets = Secrets::default();
    secrets.add_name("ssn").unwrap();
    secrets.add_path("$.params.at").unwrap();
    secrets.add_pattern("abc-[0-9]+").unwrap();
    let redacted = Redactor::new(&secrets)
        .unwrap()
        .json(r#"{"params":{"at":"abc-7","ssn":"abc-7","text":"abc-7","password":"abc-7","other":"abc-8"}}"#)
        .text
        .into_owned();
    let marks = marks(&redacted);
    assert!(
        marks.len() == 5 && marks[..4].iter().all(|mark| *mark == marks[0]) && marks[4] != marks[0],
        "{redacted}"
    );
}
