//! What people read of a tape, as it is printed into a pipe.

use clap::Parser;
use shadowcat_pipeline::Direction;
use shadowcat_tape::{Action as Done, ClientSide, Frame, Kind, TapeFile, UpstreamSide};
use time::{Duration, OffsetDateTime};

use super::super::*;
use super::{Paint, Progress, Reading};

/// Half an hour before midnight.
fn begun() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_795_303_800).unwrap()
}

const NOTE: &str = r#"{"method":"notifications/message","params":{"level":"info"}}"#;

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    action: Action,
}

/// A message of an exchange, so many milliseconds after the beginning; an answer to what was asked before.
fn said(seq: u64, exchange: u64, ms: i64, direction: Direction, message: &str) -> Frame {
    let member = |name: &str| serde_json::from_str::<Value>(message).unwrap().get(name).cloned();
    let method = member("method").map(|method| method.as_str().unwrap().to_owned());
    let kind = match (&method, member("id")) {
        (Some(_), Some(_)) => Kind::Request,
        (Some(_), None) => Kind::Notification,
        (None, _) => Kind::Response,
    };
    let side = |transport: &str| (transport.to_owned(), "2025-11-25".to_owned(), "legacy".to_owned());
    let ((transport, revision, era), upstream) = (side("http"), side("stdio"));
    Frame {
        seq,
        at_us: u64::try_from(ms * 1_000).unwrap(),
        time: begun() + Duration::milliseconds(ms),
        hop: "edge".to_owned(),
        direction,
        exchange,
        related: None,
        session: Some("a1b2c3d4".to_owned()),
        client: ClientSide { transport, revision, era },
        upstream: Some(UpstreamSide {
            name: "docs".to_owned(),
            transport: upstream.0,
            revision: upstream.1,
            era: upstream.2,
        }),
        kind,
        method,
        action: Done::Passed,
        took_us: (kind == Kind::Response).then_some(1_234 * seq),
        rules: Vec::new(),
        redactions: 0,
        unfolded: false,
        message: message.to_owned(),
    }
}

/// A conversation over midnight in which everything happens that a line can say.
fn conversation(path: &Path) {
    let (up, down) = (Direction::ToServer, Direction::ToClient);
    let frames = [
        (1, 0, up, r#"{"id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#),
        (1, 12, down, r#"{"id":0,"result":{"protocolVersion":"2025-11-25"}}"#),
        (2, 20, up, r#"{"id":1,"method":"tools/call","params":{"name":"echo","arguments":{"a":[1]}}}"#),
        (3, 21, down, r#"{"id":"q","method":"elicitation/create","params":{"message":"Which?"}}"#),
        (2, 22, down, NOTE),
        (2, 23, down, NOTE),
        (3, 24, up, r#"{"id":"q","result":{"action":"accept"}}"#),
        (2, 25, down, r#"{"id":1,"result":{"content":[{"type":"text","text":"hi"}]}}"#),
        (4, 30, up, r#"{"id":2,"method":"resources/read","params":{"uri":"file:///etc/hosts"}}"#),
        (4, 40, down, r#"{"id":2,"error":{"code":-32002,"message":"no such resource"}}"#),
        (5, 1_900_000, up, r#"{"id":3,"method":"tools/call","params":{"name":"search_files"}}"#),
        (
            5,
            1_900_090,
            down,
            r#"{"id":3,"result":{"isError":true,"content":[{"type":"text","text":"no disk"}]}}"#,
        ),
        (6, 1_900_100, up, r#"{"id":4,"method":"tools/call","params":{"name":"echo"}}"#),
    ];
    let mut tape = TapeFile::create(path, begun(), true).unwrap();
    for (seq, (exchange, ms, direction, message)) in (1..).zip(frames) {
        tape.frame(&said(seq, exchange, ms, direction, message)).unwrap();
    }
    tape.lost(2, "queue").unwrap();
    tape.finish().unwrap();
}

fn printed(line: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tape.jsonl");
    conversation(&path);
    of(path, line)
}

/// What is printed of one tape.
fn of(path: PathBuf, line: &str) -> String {
    let (tapes, paint) = ([path], Paint::of(&Process::new([])));
    let (mut reading, mut out) = (Reading::new(Keys::default(), Progress::over(0, "reading")), Vec::new());
    let words = shlex::split(line).unwrap();
    let done = match Line::try_parse_from(std::iter::once("tape".to_owned()).chain(words)).unwrap().action {
        Action::Show(args) => args.tapes(&tapes, paint, &mut reading, &mut out),
        Action::Search(args) => args.tapes(&tapes, paint, &mut reading, &mut out).map(drop),
        Action::Stats(args) => args.tapes(&tapes, &mut reading, &mut out),
        other => panic!("{other:?}"),
    };
    reading.end("standard output", done).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_tape_is_a_timeline_of_calls() {
    insta::assert_snapshot!("show", printed("show"));
    insta::assert_snapshot!("show_messages", printed("show --messages"));
    insta::assert_snapshot!("show_full", printed("show --full --filter '~t echo & ~s'"));
}

#[test]
fn what_rules_did_stands_with_the_call_and_on_each_message() {
    let (up, down) = (Direction::ToServer, Direction::ToClient);
    let (asked, answer) =
        (r#"{"id":1,"method":"tools/call","params":{"name":"a"}}"#, r#"{"id":1,"result":{}}"#);
    let note = r#"{"method":"notifications/roots/list_changed"}"#;
    let frame = |seq, exchange, direction, hop: &str, rules: &[&str], message| Frame {
        hop: hop.to_owned(),
        rules: rules.iter().map(|rule| (*rule).to_owned()).collect(),
        ..said(seq, exchange, 0, direction, message)
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tape.jsonl");
    let mut tape = TapeFile::create(&path, begun(), true).unwrap();
    for frame in [
        frame(1, 1, up, "edge", &[], asked),
        frame(2, 1, up, "wire", &["safe: edit", "slow: delay"], asked),
        frame(3, 2, up, "edge", &[], note),
        frame(4, 2, up, "wire", &["slow: delay"], note),
        frame(5, 1, down, "wire", &[], answer),
        frame(6, 1, down, "edge", &["slow: delay", "more: edit"], answer),
    ] {
        tape.frame(&frame).unwrap();
    }
    tape.finish().unwrap();
    insta::assert_snapshot!("show_rules", of(path.clone(), "show"));
    insta::assert_snapshot!("show_rules_messages", of(path.clone(), "show --messages"));
    let found = of(path, "search '~t a' --json");
    assert!(found.contains(r#""rules":["safe: edit","slow: delay","slow: delay","more: edit"]"#), "{found}");
}

#[test]
fn a_part_of_a_tape_is_shown_as_far_as_it_goes() {
    insta::assert_snapshot!("show_part", printed("show --from 8 --to 11"));
    insta::assert_snapshot!("show_tail", printed("show --tail 3"));
}

#[test]
fn calls_that_are_found_stand_below_their_tape() {
    insta::assert_snapshot!("search", printed("search '~e'"));
    insta::assert_snapshot!("search_json", printed("search '~t echo & ~s' --json"));
    assert_eq!(printed("search '~t none'"), "");
}

#[test]
fn figures_of_a_tape_are_tables() {
    insta::assert_snapshot!("stats", printed("stats"));
    insta::assert_snapshot!("stats_filter", printed("stats --filter '~m tools/call'"));
}

#[test]
fn a_part_that_is_cut_out_has_the_calls_that_fit_and_their_handshake() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, part) = (dir.path().join("a.tape.jsonl"), dir.path().join("b.tape.jsonl"));
    conversation(&whole);
    let line = ["tape", "cut", "--filter", "~e & ~t search_*", "-o", part.to_str().unwrap()];
    let Action::Cut(args) = Line::try_parse_from(line).unwrap().action else { panic!() };
    args.run(&[whole], &Keys::default()).unwrap();
    let shown = of(part, "show");
    let calls: Vec<&str> =
        shown.lines().filter_map(|line| line.split_once("  -> ")).map(|(_, asked)| asked).collect();
    assert!(calls.len() == 2 && calls[0].starts_with("initialize"), "{shown}");
    assert!(calls[1].starts_with("tools/call search_files"), "{shown}");
}
