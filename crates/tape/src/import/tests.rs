//! Recordings of other tools, and our own exports read back.

use proptest::prelude::*;
use shadowcat_pipeline::Direction;
use time::Duration;

use super::*;
use crate::calls::{Call, Calls};
use crate::export::{self, Export};
use crate::reader::Reader;
use crate::record::testing::frame;
use crate::record::{Action, Header, Kind, Record, UpstreamSide};

pub(super) const HAR: Format = Format::Har { url: None };
const OWN: Format = Format::Jsonl(None);

pub(super) fn settings(format: Format) -> Settings {
    Settings { format, skip_bad: false, redact: true }
}

pub(super) fn frames(format: Format, text: &str) -> Vec<Frame> {
    let mut frames = Vec::new();
    let done = read(text.as_bytes(), &settings(format), &mut |frame| {
        frames.push(frame);
        Ok(())
    });
    done.unwrap();
    frames
}

pub(super) fn fault(format: Format, text: &str) -> String {
    read(text.as_bytes(), &settings(format), &mut |_| Ok(())).unwrap_err().to_string()
}

/// What a frame is, in short.
fn short(frame: &Frame) -> String {
    let way = if frame.direction == Direction::ToServer { "->" } else { "<-" };
    let method = frame.method.as_deref().unwrap_or("answer");
    format!("{} {way} {method} x{} {}", frame.at_us / 1000, frame.exchange, frame.client.revision)
}

pub(super) fn shorts(frames: &[Frame]) -> Vec<String> {
    frames.iter().map(short).collect()
}

fn mapping() -> Mapping {
    Mapping {
        message: "data.message".to_owned(),
        direction: "dir".to_owned(),
        to_server: vec!["in".to_owned()],
        to_client: vec!["out".to_owned()],
        time: "ts".to_owned(),
        time_unit: TimeUnit::Millis,
        session: Some("sid".to_owned()),
        transport: "stdio".to_owned(),
    }
}

#[test]
fn a_log_of_another_tool_is_read_by_the_names_of_its_members() {
    let log = r#"
{"ts":1700000000000,"dir":"in","sid":"s","data":{"message":{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}}}
{"ts":1700000000007.5,"dir":"out","sid":"s","data":{"message":"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"protocolVersion\":\"2025-03-26\"}}"}}
{"ts":1700000000009,"dir":"in","sid":"s","data":{"message":{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"x","_meta":{"progressToken":"p"}}}}}
{"ts":1700000000010,"dir":"out","sid":"s","data":{"message":{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p","progress":1}}}}
{"ts":1700000000011,"dir":"out","sid":"s","data":{"message":{"jsonrpc":"2.0","id":2,"method":"roots/list"}}}
{"ts":1700000000012,"dir":"in","sid":"s","data":{"message":{"jsonrpc":"2.0","id":2,"result":{"roots":[]}}}}
{"ts":1700000000020,"dir":"out","sid":"s","data":{"message":{"jsonrpc":"2.0","id":2,"result":{}}}}
"#;
    let frames = frames(Format::Jsonl(Some(mapping())), log);
    assert_eq!(
        shorts(&frames),
        [
            "0 -> initialize x1 2025-06-18",
            "7 <- answer x1 2025-03-26",
            "9 -> tools/call x2 2025-03-26",
            "10 <- notifications/progress x2 2025-03-26",
            "11 <- roots/list x3 2025-03-26",
            "12 -> answer x3 2025-03-26",
            "20 <- answer x2 2025-03-26",
        ]
    );
    assert_eq!(frames[6].took_us, Some(11_000));
    assert_eq!(frames[0].session.as_deref(), Some("043a7187"), "the first digits of its SHA-256");
}

#[test]
fn a_fault_names_the_line_and_the_way_out() {
    let good = r#"{"ts":1,"dir":"in","data":{"message":{"jsonrpc":"2.0","method":"x"}}}"#;
    for (bad, said) in [
        ("{", "no JSON"),
        (r#"{"ts":1,"dir":"in"}"#, "no `data.message`; name the right member with `--message`"),
        (r#"{"ts":1,"dir":"up","data":{"message":{}}}"#, "`--to-server`"),
        (r#"{"ts":"now","dir":"in","data":{"message":{}}}"#, "`--time-unit`"),
        (r#"{"ts":1,"dir":"in","data":{"message":{"id":1}}}"#, "no JSON-RPC message"),
    ] {
        let text = format!("{good}\n{bad}\n{good}\n");
        let told = fault(Format::Jsonl(Some(mapping())), &text);
        assert!(told.starts_with("line 2: ") && told.contains(said) && told.contains("--skip-bad"), "{told}");
        let skipping = Settings { skip_bad: true, ..settings(Format::Jsonl(Some(mapping()))) };
        let imported = read(text.as_bytes(), &skipping, &mut |_| Ok(())).unwrap();
        assert_eq!((imported.messages, imported.bad, imported.named[0].at.number()), (2, 1, 2));
    }
    assert!(fault(OWN, good).contains("--direction"), "{}", fault(OWN, good));
    assert!(fault(HAR, "[1]").contains("not a HAR"), "{}", fault(HAR, "[1]"));
    assert!(fault(HAR, r#"{"log":{}}"#).contains("log.entries"));
    assert!(fault(HAR, r#"{"log":{"entries":[{}]}}"#).starts_with("entry 1 (line 1): "));
    assert!(fault(HAR, r#"{"log":{"entries":["#).contains("cut"));
    let servers = r#"{"mcpServers":{}}"#;
    assert!(
        fault(Format::Inspector, servers).contains("protocol view"),
        "{}",
        fault(Format::Inspector, servers)
    );
}

/// An entry as a browser writes one.
fn entry(second: u32, method: &str, sent: &str, headers: &str, response: &str) -> String {
    let body = if sent.is_empty() {
        String::new()
    } else {
        let text = shadowcat_protocol::json::quote(sent);
        format!(r#","postData":{{"mimeType":"application/json","text":{text}}}"#)
    };
    format!(
        r#"{{"startedDateTime":"2026-11-21T13:00:{second:02}.000+01:00","time":500.5,"cache":{{}},
        "request":{{"method":"{method}","url":"https://h/mcp","headers":[{headers}]{body}}},
        "response":{response},"timings":{{"blocked":-1,"send":0,"wait":100,"receive":400.5}}}}"#
    )
}

fn response(status: u16, mime: &str, text: &str, encoding: &str) -> String {
    let text = shadowcat_protocol::json::quote(text);
    format!(
        r#"{{"status":{status},"headers":[{{"name":"MCP-Session-ID","value":"one"}}],
        "content":{{"size":1,"mimeType":"{mime}","text":{text}{encoding}}}}}"#
    )
}

#[test]
fn a_browsers_archive_has_sessions_streams_and_both_eras() {
    use base64::Engine as _;
    let stream = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{}}\n\n\
        id: 2\ndata: {\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"roots/list\"}\n\n\
        data: {\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}\n\n";
    let stream = base64::engine::general_purpose::STANDARD.encode(stream);
    let session = r#"{"name":"Mcp-Session-Id","value":"one"}"#;
    let modern = r#"{"jsonrpc":"2.0","id":"m","method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    let init = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
    let agreed = r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18"}}"#;
    let entries = [
        entry(0, "GET", "", "", &response(200, "text/html", "<html>", "")),
        entry(1, "POST", init, "", &response(200, "application/json", agreed, "")),
        entry(
            2,
            "POST",
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            session,
            &response(202, "", "", ""),
        ),
        entry(
            3,
            "POST",
            r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"x"}}"#,
            session,
            &response(200, "text/event-stream; charset=utf-8", &stream, r#","encoding":"base64""#),
        ),
        entry(
            4,
            "POST",
            modern,
            r#"{"name":"Mcp-Protocol-Version","value":"2026-07-28"}"#,
            r#"{"status":200,"content":{"size":0}}"#,
        ),
    ];
    let har = format!(r#"{{"log":{{"version":"1.2","entries":[{}]}}}}"#, entries.join(","));
    let mut found = Vec::new();
    let imported = read(har.as_bytes(), &settings(HAR), &mut |frame| {
        found.push(frame);
        Ok(())
    });
    let imported = imported.unwrap();
    assert_eq!((imported.foreign, imported.bodiless, imported.bad), (1, 1, 0));
    assert_eq!(
        shorts(&found),
        [
            "0 -> initialize x1 2025-11-25",
            "500 <- answer x1 2025-06-18",
            "1000 -> notifications/initialized x2 2025-06-18",
            "2000 -> tools/call x3 2025-06-18",
            "2100 <- notifications/message x3 2025-06-18",
            "2100 <- roots/list x4 2025-06-18",
            "2500 <- answer x3 2025-06-18",
            "3000 -> tools/list x5 2026-07-28",
        ]
    );
    assert_eq!(found[5].related, Some(3));
    assert_eq!(found[1].session, found[3].session);
    assert!(found[1].session.as_deref().is_some_and(|tag| tag.len() == 8 && tag != "one"));
    assert_eq!((found[7].client.era.as_str(), found[7].session.as_deref()), ("modern", None));
}

#[test]
fn answers_over_the_stream_of_http_sse_find_their_questions() {
    let stream = "event: endpoint\ndata: /messages?sessionId=s\n\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n\
        data: {\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}\n\n";
    let ask = |second, id| {
        let sent = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        entry(second, "POST", &sent, "", &response(202, "", "", "").replace("MCP-Session-ID", "x"))
            .replace("https://h/mcp", "https://h/messages?sessionId=s")
    };
    let entries = [
        entry(
            0,
            "GET",
            "",
            "",
            &response(200, "text/event-stream", stream, "").replace("MCP-Session-ID", "x"),
        ),
        ask(1, 1),
        ask(2, 2),
    ];
    let har = format!(r#"{{"log":{{"entries":[{}]}}}}"#, entries.join(","));
    let found = frames(HAR, &har);
    let ways: Vec<String> =
        found.iter().map(|frame| format!("{} x{}", short(frame), frame.client.transport)).collect();
    assert_eq!(ways.len(), 4, "{ways:?}");
    for (place, ends) in [(0, "ping x1"), (1, "answer x1"), (2, "ping x2"), (3, "answer x2")] {
        assert!(ways[place].contains(ends) && ways[place].ends_with("xsse"), "{ways:?}");
    }
}

#[test]
fn the_inspectors_protocol_view_is_a_conversation() {
    let export = r#"[
  { "id": "a", "timestamp": "2026-11-21T12:00:00.000Z", "direction": "request", "origin": "client",
    "message": { "jsonrpc": "2.0", "id": 0, "method": "tools/call", "params": { "name": "a b" } },
    "response": { "jsonrpc": "2.0", "id": 0, "result": {} }, "duration": 30 },
  { "id": "b", "timestamp": "2026-11-21T12:00:00.010Z", "direction": "notification", "origin": "server",
    "message": { "jsonrpc": "2.0", "method": "notifications/message" } },
  { "id": "c", "timestamp": "2026-11-21T12:00:00.020Z", "direction": "request", "origin": "server",
    "message": { "jsonrpc": "2.0", "id": 0, "method": "roots/list" },
    "response": { "jsonrpc": "2.0", "id": 0, "result": { "roots": [] } }, "duration": 2 }
]"#;
    let found = frames(Format::Inspector, export);
    assert_eq!(
        shorts(&found),
        [
            "0 -> tools/call x1 2025-11-25",
            "10 <- notifications/message x2 2025-11-25",
            "20 <- roots/list x3 2025-11-25",
            "22 -> answer x3 2025-11-25",
            "30 <- answer x1 2025-11-25",
        ]
    );
    assert_eq!(found[0].message, r#"{"jsonrpc":"2.0","id":0,"method":"tools/call","params":{"name":"a b"}}"#);
    let old = fault(Format::Inspector, r#"[{"timestamp":"2026-11-21T12:00:00Z","message":{}}]"#);
    assert!(old.starts_with("entry 1 (line 1): ") && old.contains("2.0"), "{old}");
}

#[test]
fn an_imported_tape_is_redacted_and_says_where_it_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let line = |secret: &str| {
        format!(
            r#"{{"ts":1700000000000,"dir":"in","data":{{"message":{{"jsonrpc":"2.0","method":"x","params":{{"password":"{secret}"}}}}}}}}"#
        )
    };
    let log = line("hunter2-canary") + "\n" + &line("[redacted:0123456789ab]");
    let path = dir.path().join("new.tape.jsonl");
    let imported = import(log.as_bytes(), &settings(Format::Jsonl(Some(mapping()))), &path).unwrap();
    assert_eq!((imported.messages, imported.redactions), (2, 1));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("canary") && text.contains("[redacted:0123456789ab]"), "{text}");
    let Some(Ok(Record::Header(header))) = Reader::new(text.as_bytes()).next() else { panic!("{text}") };
    assert_eq!((header.imported.as_deref(), header.redacted), (Some("jsonl"), true));

    let empty = dir.path().join("empty.tape.jsonl");
    assert!(matches!(import(&b""[..], &settings(OWN), &empty), Err(ImportError::Empty)));
    let cut = import(&log.as_bytes()[..150], &settings(Format::Jsonl(Some(mapping()))), &empty);
    assert!(matches!(cut, Err(ImportError::Bad(_))), "{cut:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left of what failed");
}

/// A frame of a conversation, as arbitrary as a recorder could have written it.
fn said() -> impl Strategy<Value = (u64, bool, u8, String, Option<String>, u64)> {
    let text = "[ a-zé\"\\\\\u{1}\u{2028}]{0,12}";
    (0..40_u64, any::<bool>(), 0..4_u8, text, prop::option::of("[0-9a-f]{8}"), 0..2_000_000_u64)
}

fn conversation(parts: Vec<(u64, bool, u8, String, Option<String>, u64)>) -> Vec<Frame> {
    let (mut at_us, mut made, mut exchange) = (0, Vec::new(), 0);
    for (id, to_server, kind, text, session, gap) in parts {
        let quoted = shadowcat_protocol::json::quote(&text);
        let (there, back) = if to_server {
            (Direction::ToServer, Direction::ToClient)
        } else {
            (Direction::ToClient, Direction::ToServer)
        };
        exchange += 1;
        let mut push = |direction, kind, method: Option<&str>, text: String| {
            at_us += gap;
            let mut made_frame = frame(direction, kind, method, &text);
            made_frame.time += Duration::microseconds(i64::try_from(at_us).unwrap());
            (made_frame.seq, made_frame.at_us) = (made.len() as u64 + 1, at_us);
            (made_frame.exchange, made_frame.session) = (exchange, session.clone());
            made_frame.took_us = (kind == Kind::Response).then_some(gap);
            made_frame.upstream = Some(UpstreamSide {
                name: "s".to_owned(),
                transport: "stdio".to_owned(),
                revision: "2025-11-25".to_owned(),
                era: "legacy".to_owned(),
            });
            made.push(made_frame);
        };
        let method = "some/method";
        if kind == 0 {
            let note = format!(r#"{{"jsonrpc":"2.0", "method":"{method}","params":{{"t":{quoted}}}}}"#);
            push(there, Kind::Notification, Some(method), note);
            continue;
        }
        let ask =
            format!(r#"{{ "jsonrpc":"2.0","id":{id}.0,"method":"{method}","params":{{"t":{quoted}}}}}"#);
        push(there, Kind::Request, Some(method), ask);
        if kind == 2 {
            push(back, Kind::Notification, Some("note"), r#"{"jsonrpc":"2.0","method":"note"}"#.to_owned());
        }
        push(
            back,
            Kind::Response,
            None,
            format!(r#"{{"jsonrpc":"2.0","id":{id}.0,"result":{{"t":{quoted}}}}}"#),
        );
    }
    made
}

fn exported(format: &export::Format, frames: &[Frame]) -> String {
    let mut export = Export::begin(format, None, Vec::new()).unwrap();
    export.tape("a").unwrap();
    let header = Header {
        major: 1,
        minor: 0,
        program: String::new(),
        tape: "00".to_owned(),
        created: frame(Direction::ToServer, Kind::Request, None, "").time,
        redacted: true,
        imported: None,
        previous: None,
        partial: false,
    };
    export.record(Record::Header(header)).unwrap();
    for frame in frames {
        export.record(Record::Frame(Box::new(frame.clone()))).unwrap();
    }
    String::from_utf8(export.end().unwrap()).unwrap()
}

/// What a call is, whatever its exchange is numbered.
fn essence(frames: &[Frame]) -> Vec<String> {
    let mut calls = Calls::at("edge");
    let mut ended: Vec<Call> = frames.iter().filter_map(|frame| calls.take(frame.clone())).collect();
    ended.extend(calls.rest());
    ended.sort_by_key(|call| (call.asked.time, call.asked.seq));
    let part = |frame: &Frame| {
        let refused = matches!(frame.action, Action::Refused { .. });
        format!("{:?} {} {:?} {} {refused}", frame.direction, frame.time, frame.session, frame.message)
    };
    let mut told: Vec<String> =
        ended.iter().map(|call| call.frames().map(part).collect::<Vec<_>>().join("\n")).collect();
    told.sort();
    told
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn from_tape_to_lines_and_back_nothing_changes(parts in prop::collection::vec(said(), 1..12)) {
        let before = conversation(parts);
        let after = frames(OWN, &exported(&export::Format::Jsonl, &before));
        prop_assert_eq!(before, after);
    }

    #[test]
    fn from_tape_to_archive_and_back_the_calls_are_the_same(parts in prop::collection::vec(said(), 1..12)) {
        let before = conversation(parts);
        let har = exported(&export::Format::Har, &before);
        let faults = export::har12::faults(&serde_json::from_str(&har).unwrap());
        prop_assert_eq!(faults, Vec::<String>::new());
        let after = frames(HAR, &har);
        prop_assert_eq!(essence(&before), essence(&after));
    }

    #[test]
    fn whatever_the_bytes_an_import_ends_and_its_frames_are_whole(text in "[\\[\\]{}\":,0-9a-z \n]{0,200}") {
        for format in [HAR, OWN, Format::Inspector, Format::Jsonl(Some(mapping()))] {
            let lenient = Settings { skip_bad: true, ..settings(format) };
            let _ = read(text.as_bytes(), &lenient, &mut |_| Ok(()));
        }
    }
}

#[test]
fn a_cut_archive_is_an_error_at_every_byte() {
    let frames =
        conversation(vec![(1, true, 2, "t".to_owned(), None, 5), (2, false, 1, "u".to_owned(), None, 5)]);
    let har = exported(&export::Format::Har, &frames);
    for cut in 0..har.trim_end().len() {
        let done = read(&har.as_bytes()[..cut], &settings(HAR), &mut |_| Ok(()));
        assert!(done.is_err(), "cut at {cut}");
    }
}
