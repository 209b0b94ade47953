//! What each format makes of a small conversation.

use super::*;
use crate::record::testing::frame;
use crate::record::{Kind, UpstreamSide};
use crate::redact::Secrets;
use proptest::prelude::*;
use serde_json::Value;
use shadowcat_pipeline::Direction;
use time::Duration;

const UP: Direction = Direction::ToServer;
const DOWN: Direction = Direction::ToClient;

fn header() -> Header {
    Header {
        major: 1,
        minor: 0,
        program: "0.1.0".to_owned(),
        tape: "00ff00ff00ff00ff".to_owned(),
        created: frame(UP, Kind::Request, None, "{}").time,
        redacted: true,
        imported: None,
        previous: None,
        partial: false,
    }
}

/// A frame so many milliseconds from the beginning.
fn at(ms: u64, exchange: u64, direction: Direction, method: Option<&str>, message: &str) -> Record {
    let is_answer = method.is_none();
    let kind = match (is_answer, message.contains(r#""id""#)) {
        (true, _) => Kind::Response,
        (false, true) => Kind::Request,
        (false, false) => Kind::Notification,
    };
    let mut frame = frame(direction, kind, method, message);
    frame.seq = ms + 1;
    frame.at_us = ms * 1000;
    frame.time += Duration::milliseconds(i64::try_from(ms).unwrap());
    frame.exchange = exchange;
    frame.upstream = Some(UpstreamSide {
        name: "every thing".to_owned(),
        transport: "stdio".to_owned(),
        revision: "2025-11-25".to_owned(),
        era: "legacy".to_owned(),
    });
    Record::Frame(Box::new(frame))
}

fn conversation() -> Vec<Record> {
    let text = r#"{"jsonrpc":"2.0","id":3,"result":{"content":[{"type":"text","text":"a\n```\n# b\u001b[2J\u202e"},{"type":"image","mimeType":"image/png","data":"QUJD"}],"structuredContent":{"n":1.0}}}"#;
    vec![
        Record::Header(header()),
        at(
            0,
            1,
            UP,
            Some("initialize"),
            r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#,
        ),
        at(
            12,
            1,
            DOWN,
            None,
            r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"}}}"#,
        ),
        at(
            13,
            2,
            UP,
            Some("notifications/initialized"),
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        ),
        at(
            14,
            3,
            UP,
            Some("tools/call"),
            r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"ec`ho","arguments":{"text":"hi"},"_meta":{"progressToken":1}}}"#,
        ),
        at(
            15,
            3,
            DOWN,
            Some("notifications/progress"),
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":0.5}}"#,
        ),
        at(
            16,
            4,
            DOWN,
            Some("elicitation/create"),
            r#"{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"Which?"}}"#,
        ),
        at(18, 4, UP, None, r#"{"jsonrpc":"2.0","id":"q","result":{"action":"accept"}}"#),
        at(20, 3, DOWN, None, text),
        Record::Lost(Lost { since: 22, count: 2, reason: "disk".to_owned() }),
        at(
            30,
            5,
            UP,
            Some("resources/read"),
            r#"{"jsonrpc":"2.0","id":5,"method":"resources/read","params":{"uri":"file:///a b"}}"#,
        ),
        at(
            32,
            5,
            DOWN,
            None,
            r#"{"jsonrpc":"2.0","id":5,"error":{"code":-32002,"message":"no\nsuch","data":{"uri":"file:///a b"}}}"#,
        ),
        at(40, 6, UP, Some("ping"), r#"{"jsonrpc":"2.0","id":6,"method":"ping"}"#),
    ]
}

fn exported(format: &Format, records: impl IntoIterator<Item = Record>) -> String {
    let mut export = Export::begin(format, None, Vec::new()).unwrap();
    export.tape("a.tape.jsonl").unwrap();
    records.into_iter().for_each(|record| export.record(record).unwrap());
    String::from_utf8(export.end().unwrap()).unwrap()
}

#[test]
fn a_transcript_reads_like_a_conversation() {
    insta::assert_snapshot!("markdown", exported(&Format::Markdown, conversation()));
}

#[test]
fn an_archive_has_an_entry_for_each_call() {
    let har = exported(&Format::Har, conversation());
    let har: Value = serde_json::from_str(&har).unwrap();
    assert_eq!(har12::faults(&har), Vec::<String>::new());
    let har = format!("{har:#}").replace(env!("CARGO_PKG_VERSION"), "VERSION");
    insta::assert_snapshot!("har", har);
}

#[test]
fn lines_say_what_the_tape_says_and_what_belongs_together() {
    insta::assert_snapshot!("jsonl", exported(&Format::Jsonl, conversation()));
}

#[test]
fn a_test_repeats_the_calls_in_each_language() {
    for (language, name) in
        [(Language::Pytest, "pytest"), (Language::Vitest, "vitest"), (Language::Rust, "rust")]
    {
        let format = Format::Test(language, vec!["tapes/a \"b\".tape.jsonl".into()]);
        insta::assert_snapshot!(name, exported(&format, conversation()));
    }
}

#[test]
fn several_tapes_make_one_document() {
    for format in [Format::Har, Format::Markdown, Format::Jsonl] {
        let mut export = Export::begin(&format, None, Vec::new()).unwrap();
        for name in ["a", "b"] {
            export.tape(name).unwrap();
            for record in conversation() {
                export.record(record).unwrap();
            }
        }
        let text = String::from_utf8(export.end().unwrap()).unwrap();
        let once = exported(&format, conversation());
        assert!(text.len() > 2 * once.len() - 200, "{format:?}");
        if format == Format::Har {
            let har: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(har["log"]["entries"].as_array().unwrap().len(), 12);
        }
    }
}

#[test]
fn no_secret_of_a_tape_that_was_recorded_openly_is_in_any_export() {
    let open = || Record::Header(Header { redacted: false, ..header() });
    let redacted = crate::redact::tests::PLANTED.into_iter().enumerate().flat_map(|(place, (name, secret))| {
        let (id, ms) = (u64::try_from(place).unwrap(), 2 * u64::try_from(place).unwrap());
        let call = format!(
            r#"{{"id":{id},"method":"tools/call","params":{{"name":"t","arguments":{{"{name}":"{secret}"}}}}}}"#
        );
        let answer = format!(
            r#"{{"id":{id},"result":{{"content":[{{"type":"text","text":"{name}={secret}"}}]}}}}"#
        );
        [at(ms, id, UP, Some("tools/call"), &call), at(ms + 1, id, DOWN, None, &answer)]
    });
    let records: Vec<Record> = redacted.collect();
    let asking = |language| Format::Test(language, vec!["a".into()]);
    for format in [
        Format::Har,
        Format::Jsonl,
        Format::Markdown,
        asking(Language::Pytest),
        asking(Language::Vitest),
        asking(Language::Rust),
    ] {
        // The header of the second tape is damaged, and says nothing.
        for header in [Some(open()), None] {
            let mut export =
                Export::begin(&format, Some(Redactor::new(&Secrets::default()).unwrap()), Vec::new())
                    .unwrap();
            export.tape("a").unwrap();
            header.into_iter().chain(records.clone()).for_each(|record| export.record(record).unwrap());
            assert_eq!(export.replaced(), 80, "{format:?}");
            let text = String::from_utf8(export.end().unwrap()).unwrap();
            for (_, secret) in crate::redact::tests::PLANTED {
                assert!(!text.contains(secret), "{secret} in {format:?}");
            }
        }
        let kept = exported(&format, [open()].into_iter().chain(records.clone()));
        assert!(kept.contains("hunter08canary"), "{format:?}");
    }
}

/// The peers of a transcript try to get out of it; a parser of fences says whether they did.
fn outside_of_fences(markdown: &str) -> String {
    let mut fence: Option<String> = None;
    let mut outside = String::new();
    for line in markdown.lines() {
        let ticks = line.len() - line.trim_start_matches('`').len();
        match &fence {
            Some(open) if ticks >= open.len() && line.trim_start_matches('`').trim().is_empty() => {
                fence = None;
            }
            Some(_) => {}
            None if ticks >= 3 => fence = Some("`".repeat(ticks)),
            None => outside.extend([line, "\n"]),
        }
    }
    assert!(fence.is_none(), "a fence is open at the end: {markdown}");
    outside
}

proptest! {
    #[test]
    fn no_text_of_a_peer_gets_out_of_its_fence(text in "([`\n\r\t #<>a]|\u{2028}|\u{202e}|\u{85}|\u{1b}){0,60}") {
        let quoted = json::quote(&text);
        let call = format!(r#"{{"id":1,"method":"tools/call","params":{{"name":{quoted},"arguments":{{"x":{quoted}}}}}}}"#);
        let answer = format!(r#"{{"id":1,"result":{{"content":[{{"type":"text","text":{quoted}}}]}}}}"#);
        let records = [
            Record::Header(header()),
            at(0, 1, UP, Some("tools/call"), &call),
            at(1, 1, DOWN, None, &answer),
        ];
        let markdown = exported(&Format::Markdown, records);
        let steers = markdown.contains(['\r', '\u{2028}', '\u{202e}', '\u{85}', '\u{1b}']);
        prop_assert!(!steers);
        let outside = outside_of_fences(&markdown);
        prop_assert_eq!(outside.lines().filter(|line| line.starts_with('#')).count(), 3, "{}", markdown);
    }

    #[test]
    fn a_line_keeps_the_message_and_its_members(message in "[a-z \"\\\\é\u{1}]{0,20}", session in "[a-f0-9]{8}") {
        let quoted = json::quote(&message);
        let text = format!(r#"{{ "id" : 1.0,"method":"x","params":{{"t":{quoted}}} }}"#);
        let Record::Frame(mut frame) = at(7, 9, UP, Some("x"), &text) else { unreachable!() };
        frame.session = Some(session);
        let line = exported(&Format::Jsonl, [Record::Header(header()), Record::Frame(frame.clone())]);
        let value: Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(value["session"].as_str(), frame.session.as_deref());
        let needle = format!(r#""message":{text}}}"#);
        prop_assert!(line.trim_end().ends_with(&needle), "{}", line);
    }
}
