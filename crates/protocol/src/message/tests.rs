//! Tests of how messages are read and edited.

use super::*;
use crate::{Id, meta};
use proptest::prelude::*;
use serde_json::{Value, json};

fn parse(text: &str) -> Result<Message, ParseError> {
    Message::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::default())
}

fn request(text: &str) -> Request {
    match parse(text) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn notification(text: &str) -> Notification {
    match parse(text) {
        Ok(Message::Notification(notification)) => notification,
        other => panic!("{other:?}"),
    }
}

fn response(text: &str) -> Response {
    match parse(text) {
        Ok(Message::Response(response)) => response,
        other => panic!("{other:?}"),
    }
}

fn kind(text: &str) -> ParseErrorKind {
    parse(text).unwrap_err().kind
}

fn id(raw: &str) -> Id {
    Id::parse_json(raw).unwrap()
}

fn text(message: &Bytes) -> &str {
    std::str::from_utf8(message).unwrap()
}

const CALL: &str = r#" {"params" : {"_meta":{"x":1.0,"progressToken":"t","a\/b":[1]},"arguments":{"id":7,"name":"no"},"name":"gr\u00fc\u00dfe"},
 "id": 9007199254740993 , "method":"tools\/call","jsonrpc":"2.0","extra":{"z":1e400}} "#;

#[test]
fn a_request_gives_what_routing_needs() {
    let call = request(CALL);
    assert_eq!(call.id().as_json(), "9007199254740993");
    assert_eq!(call.method(), "tools/call");
    assert_eq!(call.name().as_deref(), Some("grüße"));
    assert_eq!(call.progress_token(), Some("\"t\""));
    assert_eq!(call.meta("a/b"), Some("[1]"));
    assert_eq!(call.meta("y"), None);
    assert_eq!(text(call.text()), CALL);
}

#[test]
fn a_member_of_meta_is_found_wherever_it_is_and_however_it_is_written() {
    let with = |members: &str| {
        request(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"_meta":{members}}}}}"#))
    };
    let cases = [
        ("{}", None, None),
        (r#"{"progressToken":1,"x":2}"#, None, None),
        (r#"{"io.modelcontextprotocol/logLevel":"error"}"#, Some("\"error\""), None),
        (r#"{"io.modelcontextprotocol\/logLevel":"error","traceparent":3}"#, Some("\"error\""), Some("3")),
        (r#"{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"\u0074raceparent":3}"#, None, Some("3")),
    ];
    for (members, level, parent) in cases {
        let read = with(members);
        let changed = with("{}").with_params(&format!(r#"{{"_meta":{members}}}"#));
        let renamed = read.with_ids(&Id::from_u64(5), Some(77));
        for request in [&read, &changed, &renamed] {
            assert_eq!(
                (request.meta(meta::LOG_LEVEL), request.meta("traceparent")),
                (level, parent),
                "{members}"
            );
        }
    }
}

#[test]
fn new_ids_change_nothing_but_the_ids() {
    let edited = request(CALL).with_ids(&Id::from_u64(5), Some(77));
    let expected = CALL.replace("9007199254740993", "5").replace("\"t\"", "77");
    assert_eq!(text(edited.text()), expected);
    assert_eq!((edited.id().as_u64(), edited.progress_token()), (Some(5), Some("77")));
    assert_eq!((edited.method(), edited.name().as_deref()), ("tools/call", Some("grüße")));
    assert_eq!(edited.meta("a/b"), Some("[1]"));
    let back = edited.with_ids(&id("9007199254740993"), None);
    assert_eq!(text(back.text()), CALL.replace("\"t\"", "77"));
}

#[test]
fn a_token_is_not_added_where_there_was_none() {
    for meta in ["{}", r#"{"progressToken":null}"#, "3"] {
        let sent = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"_meta":{meta}}}}}"#);
        let edited = request(&sent).with_ids(&Id::from_u64(2), Some(9));
        assert_eq!(text(edited.text()), sent.replace("\"id\":1", "\"id\":2"));
    }
}

#[test]
fn the_name_is_the_member_that_the_method_works_on() {
    for (method, name) in [
        ("tools/call", Some("n")),
        ("prompts/get", Some("n")),
        ("resources/read", Some("u")),
        ("tasks/get", Some("t")),
        ("tasks/cancel", Some("t")),
        ("tools/list", None),
    ] {
        let params = r#"{"name":"n","uri":"u","taskId":"t"}"#;
        assert_eq!(Request::new(&id("1"), method, Some(params)).name().as_deref(), name, "{method}");
    }
}

#[test]
fn our_own_messages_are_read_as_they_were_meant() {
    let own = Request::new(&id("\"x\""), "a\"b/é", Some(r#" {"_meta":{"progressToken":3}} "#));
    let read = request(text(own.text()));
    assert_eq!(
        (own.method(), own.params(), own.progress_token()),
        (read.method(), read.params(), read.progress_token())
    );
    assert_eq!(read.method(), "a\"b/é");
    let own = Notification::new("notifications/cancelled", Some(r#"{"requestId":"7"}"#));
    assert_eq!(notification(text(own.text())).request_id(), own.request_id());
    let own = Response::result(&id("1"), r#"{"_meta":{"io.modelcontextprotocol/subscriptionId":4}}"#);
    assert_eq!(response(text(own.text())).subscription_id(), own.subscription_id());
    let error = ErrorObject { code: -5, message: "a\nb".into(), data: Some("[1]".into()) };
    let own = Response::error(None, &error);
    assert_eq!(
        text(own.text()),
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-5,"message":"a\nb","data":[1]}}"#
    );
    assert_eq!(response(text(own.text())).error_code(), Some(-5));
}

#[test]
fn params_are_put_in_the_place_of_the_old_or_behind_the_method() {
    let edited = request(CALL).with_params(r#"{"name":"b","_meta":{"progressToken":1}}"#);
    assert_eq!((edited.name().as_deref(), edited.progress_token()), (Some("b"), Some("1")));
    assert_eq!(edited.id().as_json(), "9007199254740993");
    assert_eq!(request(text(edited.text())).method(), "tools/call");
    let edited = request(r#"{"jsonrpc":"2.0","method":"tools/call","id":1}"#).with_params(r#"{"name":"b"}"#);
    let expected = r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"b"},"id":1}"#;
    assert_eq!(text(edited.text()), expected);
    let edited = edited.with_ids(&id("22"), None);
    assert_eq!((edited.name().as_deref(), edited.params()), (Some("b"), Some(r#"{"name":"b"}"#)));
    assert_eq!(text(edited.text()), expected.replace(":1}", ":22}"));
    let note = notification(r#"{"jsonrpc":"2.0","method":"n","params":null}"#);
    assert_eq!((note.params(), note.with_params("{}").params()), (None, Some("{}")));
}

#[test]
fn a_notification_is_edited_in_its_own_places() {
    let sent = r#"{"jsonrpc":"2.0","method":"notifications/x","params":{"requestId":1,"progressToken":"p","_meta":{"io.modelcontextprotocol\/subscriptionId":2}}}"#;
    let note = notification(sent);
    assert_eq!(note.subscription_id(), Some("2"));
    let edited =
        note.with_request_id(&id("\"long\"")).with_progress_token("44").with_subscription_id("\"s\"");
    assert_eq!(edited.request_id(), Some(id("\"long\"")));
    assert_eq!((edited.progress_token(), edited.subscription_id()), (Some("44"), Some("\"s\"")));
    assert_eq!(
        text(edited.text()),
        sent.replace(":1,", ":\"long\",").replace("\"p\"", "44").replace(":2}", ":\"s\"}")
    );
    let bare = notification(r#"{"jsonrpc":"2.0","method":"n"}"#);
    assert_eq!(bare.with_progress_token("1").text(), bare.text());
}

#[test]
fn a_response_is_given_another_id_and_subscription() {
    let sent = r#"{"id":"a","result":{"_meta":{"io.modelcontextprotocol/subscriptionId":"a"},"n":1.50},"jsonrpc":"2.0"}"#;
    let edited = response(sent).with_id(&Id::from_u64(12)).with_subscription_id("12");
    assert_eq!(text(edited.text()), sent.replace("\"a\"", "12"));
    assert_eq!((edited.id(), edited.subscription_id()), (Some(&Id::from_u64(12)), Some("12")));
    let edited = edited.with_result(r#"{"n":2}"#);
    assert_eq!((edited.result_json(), edited.subscription_id()), (Some(r#"{"n":2}"#), None));
    let nameless = response(r#" {"jsonrpc":"2.0","error":{"code":1,"message":"m"}}"#);
    let named = nameless.with_id(&id("3")).with_id(&id("44"));
    assert_eq!(text(named.text()), r#" {"id":44,"jsonrpc":"2.0","error":{"code":1,"message":"m"}}"#);
    assert_eq!(named.error_code(), Some(1));
}

#[test]
fn what_two_parsers_could_read_differently_is_refused() {
    let duplicate = |key: &str| ParseErrorKind::DuplicateKey { key: key.into() };
    let variant = |key: &str| ParseErrorKind::CaseVariantKey { key: key.into() };
    let escaped = |key: &str| ParseErrorKind::EscapedKey { key: key.into() };
    for (sent, expected) in [
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}"#, duplicate("method")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","Method":"b"}"#, variant("Method")),
        (r#"{"jsonrpc":"2.0","iD":1,"method":"a"}"#, variant("iD")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","PARAMS":{}}"#, variant("PARAMS")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","paramſ":{}}"#, variant("paramſ")),
        (r#"{"jsonrpc":"2.0","id":1,"m\u0065thod":"a"}"#, escaped(r#""m\u0065thod""#)),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","x":1,"\u0078":2}"#, duplicate("x")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","\ud800":2}"#, escaped(r#""\ud800""#)),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"name":1,"name":1}}"#, duplicate("name")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"Name":1}}"#, variant("Name")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"a":1,"a":2}}}"#, duplicate("a")),
        (
            r#"{"jsonrpc":"2.0","method":"a","params":{"_meta":{"progresstoken":1}}}"#,
            variant("progresstoken"),
        ),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"RESULT":{}}"#, variant("RESULT")),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"result":{}}"#, duplicate("result")),
    ] {
        assert_eq!(kind(sent), expected, "{sent}");
    }
}

#[test]
fn many_keys_are_told_apart_as_few_are() {
    let keys = |last: &str| {
        let many = (0..500).fold(String::new(), |keys, n| keys + &format!("\"k{n}\":0,"));
        format!(r#"{{"jsonrpc":"2.0","method":"m","params":{{{many}"{last}":0}}}}"#)
    };
    assert!(parse(&keys("k500")).is_ok());
    for repeated in ["k0", "k7", "k8", "k499", "k\\u0030", "k\\u00399"] {
        assert!(matches!(kind(&keys(repeated)), ParseErrorKind::DuplicateKey { .. }), "{repeated}");
    }
}

#[test]
fn a_text_that_is_no_message_says_why_and_keeps_the_id() {
    use ParseErrorKind::*;
    for (sent, expected, echoed) in [
        ("", NotJson { offset: 0 }, None),
        ("npm WARN old", NotJson { offset: 0 }, None),
        ("3", NotObject, None),
        ("[{}]", Batch, None),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a"} x"#, NotJson { offset: 38 }, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1}"#, NoMethod, Some("1")),
        (r#"{"id":"q","method":"a"}"#, BadJsonRpc, Some("\"q\"")),
        (r#"{"jsonrpc":"1.0","id":1,"method":"a"}"#, BadJsonRpc, Some("1")),
        (r#"{"jsonrpc":2.0,"id":1,"method":"a"}"#, BadJsonRpc, Some("1")),
        (r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#, BadId, None),
        (r#"{"jsonrpc":"2.0","id":[1],"method":"a"}"#, BadId, None),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, BadMethod, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","params":[1]}"#, BadParams, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","result":1}"#, Ambiguous, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{}}"#, Ambiguous, Some("1")),
        (r#"{"jsonrpc":"2.0","result":1}"#, BadId, None),
        (r#"{"jsonrpc":"2.0","id":null,"result":1}"#, BadId, None),
        (r#"{"jsonrpc":"2.0","id":1,"error":"x"}"#, BadError, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"a"}"#, DuplicateKey { key: "id".into() }, None),
        (
            r#"{"jsonrpc":"2.0","Method":"b","id":4,"method":"a"}"#,
            CaseVariantKey { key: "Method".into() },
            Some("4"),
        ),
    ] {
        let error = parse(sent).unwrap_err();
        assert_eq!((error.kind, error.id), (expected, echoed.map(id)), "{sent}");
    }
    assert_eq!(parse("x").unwrap_err().code(), -32700);
    assert_eq!(parse("[]").unwrap_err().code(), -32600);
    assert_eq!(Message::parse(Bytes::from_static(b"\xff"), &Limits::default()).unwrap_err().code(), -32700);
}

#[test]
fn a_message_within_its_limits_is_read_and_one_beyond_is_not() {
    let small = Limits { message_bytes_max: 64, depth_max: 3, id_bytes_max: 4, ..Limits::default() };
    let read =
        |sent: &str| Message::parse(Bytes::copy_from_slice(sent.as_bytes()), &small).map_err(|e| e.kind);
    assert!(read(r#"{"jsonrpc":"2.0","id":1234,"method":"a","params":{"a":[1]}}"#).is_ok());
    assert_eq!(read(&" ".repeat(65)).unwrap_err(), ParseErrorKind::TooLarge { limit: 64 });
    let deep = r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"a":[[]]}}"#;
    assert_eq!(read(deep).unwrap_err(), ParseErrorKind::TooDeep { limit: 3 });
    assert_eq!(read(r#"{"jsonrpc":"2.0","id":12345,"method":"a"}"#).unwrap_err(), ParseErrorKind::BadId);
}

#[test]
fn a_batch_is_split_without_copying() {
    let batch = Bytes::from_static(br#" [ {"a":[1,2]} , {"b":"]"} ] "#);
    let limits = Limits { batch_max: 2, ..Limits::default() };
    let parts = split_batch(&batch, &limits).unwrap();
    assert_eq!(parts, [&br#"{"a":[1,2]}"#[..], br#"{"b":"]"}"#]);
    assert!(batch.as_ptr_range().contains(&parts[1].as_ptr()));
    let kind =
        |text: &'static str| split_batch(&Bytes::from_static(text.as_bytes()), &limits).unwrap_err().kind;
    assert_eq!(kind("[ ]"), ParseErrorKind::EmptyBatch);
    assert_eq!(kind("[1,2,3]"), ParseErrorKind::BatchTooLong { limit: 2 });
    assert_eq!(kind("{}"), ParseErrorKind::NotBatch);
    assert_eq!(kind("[1,]"), ParseErrorKind::NotJson { offset: 3 });
}

#[test]
fn the_messages_of_a_text_are_read_one_by_one_and_so_are_the_faults() {
    let each = |text: &'static str| -> Vec<Result<String, ParseErrorKind>> {
        let read = Message::parse_each(&Bytes::from_static(text.as_bytes()), &Limits::default());
        read.map(|message| message.map(|it| it.method().unwrap().to_owned()).map_err(|it| it.kind)).collect()
    };
    assert_eq!(each(r#"{"jsonrpc":"2.0","method":"a"}"#), [Ok("a".to_owned())]);
    let batch = each(r#"[{"jsonrpc":"2.0","method":"a"},[],{"jsonrpc":"2.0","method":"b"}]"#);
    assert_eq!(batch, [Ok("a".to_owned()), Err(ParseErrorKind::Batch), Ok("b".to_owned())]);
    assert_eq!(each("[]"), [Err(ParseErrorKind::EmptyBatch)]);
}

#[test]
fn a_line_has_no_line_ends_and_the_same_meaning() {
    let pretty = "{\r\n \"jsonrpc\": \"2.0\",\n \"method\": \"a\\nb\"\n}\n";
    let line = parse(pretty).unwrap().to_line();
    assert_eq!(text(&line), "{ \"jsonrpc\": \"2.0\", \"method\": \"a\\nb\"}");
}

#[test]
fn messages_stay_small() {
    assert!(size_of::<Message>() <= 136, "{}", size_of::<Message>());
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,3}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// What a message says where others read it, and why it is none.
fn gist(sent: &str) -> Result<Vec<Option<String>>, (ParseErrorKind, Option<Id>)> {
    let told = |part: Option<&str>| part.map(str::to_owned);
    match parse(sent).map_err(|error| (error.kind, error.id))? {
        Message::Request(it) => {
            let name = it.name().map(Cow::into_owned);
            let seen = it.meta("progressToken").is_some().to_string();
            Ok(vec![
                told(Some(it.method())),
                told(Some(it.id().as_json())),
                name,
                told(it.progress_token()),
                Some(seen),
            ])
        }
        Message::Notification(it) => {
            let about = it.request_id().map(|id| id.to_string());
            Ok(vec![told(Some(it.method())), about, told(it.progress_token()), told(it.subscription_id())])
        }
        Message::Response(it) => {
            Ok(vec![it.id().map(Id::to_string), told(it.subscription_id()), Some(it.is_error().to_string())])
        }
    }
}

/// An object of these members, tight or with a blank at every place where one may be.
fn object(members: &[(String, String)], blank: &str) -> String {
    let members: Vec<_> =
        members.iter().map(|(key, value)| format!("{blank}\"{key}\"{blank}:{blank}{value}{blank}")).collect();
    format!("{{{}}}", members.join(","))
}

fn members(
    keys: &'static [&'static str],
    values: &'static [&'static str],
) -> impl Strategy<Value = Vec<(String, String)>> {
    let member = (prop::sample::select(keys), prop::sample::select(values));
    let member = member.prop_map(|(key, value)| (key.to_owned(), value.to_owned()));
    prop::collection::vec(member, 0..4)
}

const SOME_VALUES: &[&str] = &["1", "\"name\"", "{}", "\"longer than a word\"", "[0.5e1,null]"];

proptest! {
    #[test]
    fn blanks_around_keys_change_nothing(
        meta in members(&["progressToken", meta::SUBSCRIPTION, meta::VERSION, "io.modelcontextprotocol/x", "ProgressToken", "x"], SOME_VALUES),
        inner in members(
            &["name", "uri", "requestId", "progressToken", "arguments", "progress", "total", "Name", "nameſ", "tas\u{212a}id", "na\\u006de"],
            SOME_VALUES,
        ),
        outer in members(&["id", "result", "error", "x", "ID", "me\\/thod"], SOME_VALUES),
        method in prop::option::of(prop::sample::select(&["tools/call", "notifications/progress", "m"])), at: prop::sample::Index,
    ) {
        let written = |blank: &str| {
            let (mut inner, mut outer) = (inner.clone(), outer.clone());
            inner.push(("_meta".to_owned(), object(&meta, blank)));
            outer.insert(at.index(outer.len() + 1), ("jsonrpc".to_owned(), "\"2.0\"".to_owned()));
            if let Some(method) = method {
                outer.push(("method".to_owned(), format!("\"{method}\"")));
                outer.insert(at.index(outer.len() + 1), ("params".to_owned(), object(&inner, blank)));
            }
            object(&outer, blank)
        };
        prop_assert_eq!(gist(&written("")), gist(&written(" \n")), "{}", written(""));
    }

    #[test]
    fn a_splice_of_ids_changes_nothing_else(
        arguments in value(), raw_id in prop_oneof![any::<i64>().prop_map(Value::from), any::<String>().prop_map(Value::from)],
        token in prop::option::of(any::<String>()), pretty in any::<bool>(), new_id: u64, new_token: u64,
    ) {
        let mut sent = json!({"jsonrpc":"2.0","id":raw_id,"method":"tools/call","x":arguments,
            "params":{"name":"n","arguments":arguments,"_meta":{"k":arguments}}});
        if let Some(token) = &token {
            sent["params"]["_meta"]["progressToken"] = json!(token);
        }
        let written = if pretty { serde_json::to_string_pretty(&sent) } else { serde_json::to_string(&sent) }.unwrap();
        let edited = request(&written).with_ids(&Id::from_u64(new_id), Some(new_token));
        sent["id"] = json!(new_id);
        if token.is_some() {
            sent["params"]["_meta"]["progressToken"] = json!(new_token);
        }
        prop_assert_eq!(serde_json::from_slice::<Value>(edited.text()).unwrap(), sent.clone());
        prop_assert_eq!(serde_json::from_slice::<Value>(&Message::Request(edited).to_line()).unwrap(), sent);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let text = Bytes::from(bytes);
        prop_assert!(Message::parse(text.clone(), &Limits::default()).is_err() || !text.is_empty());
        let _ = split_batch(&text, &Limits::default());
    }
}
