use shadowcat_pipeline::Direction;
use time::OffsetDateTime;

use super::*;
use crate::record::{Action, End, Frame, Kind, Lost, Record, UpstreamSide, testing};
use crate::recorder::testing::CALL;

const TIME: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

fn read(line: &[u8]) -> Result<Option<Record>, LineError> {
    record(line.strip_suffix(b"\n").unwrap())
}

fn frame_of(message: &str) -> Frame {
    let side = |name: &str| UpstreamSide {
        name: name.to_owned(),
        transport: "stdio".to_owned(),
        revision: "2026-07-28".to_owned(),
        era: "modern".to_owned(),
    };
    let frame = testing::frame(Direction::ToServer, Kind::Request, Some("tools/call"), message);
    Frame { seq: 9, at_us: 1_000, time: TIME, upstream: Some(side("a \"b\"")), ..frame }
}

fn frame_line(message: &str) -> Vec<u8> {
    let mut out = Vec::new();
    frame(&FrameLine::of(&frame_of(message)), &mut out);
    out
}

/// A line as another writer would make it.
fn by_hand(body: &str) -> Vec<u8> {
    format!("{{\"crc\":\"{:08x}\",{body}\n", crc32fast::hash(body.as_bytes())).into_bytes()
}

#[test]
fn a_header_reads_as_it_was_written() {
    let written = testing::header();
    let mut line = Vec::new();
    header(&written, &mut line);
    assert_eq!(read(&line).unwrap(), Some(Record::Header(written)));
}

#[test]
fn a_frame_keeps_the_messages_own_text() {
    let odd = r#"{ "id" : 1.0,"jsonrpc":"2.0" ,"method":"tools\/call","params":{"n":12345678901234567890} }"#;
    let Some(Record::Frame(frame)) = read(&frame_line(odd)).unwrap() else { panic!("a frame") };
    assert_eq!(frame.message, odd);
    assert_eq!(*frame, frame_of(odd));
}

#[test]
fn a_frame_of_any_kind_reads_as_it_was_written() {
    let plain = frame_of("{}");
    let refused = Action::Refused { reason: "limit\n".to_owned() };
    for action in [Action::Passed, Action::Translated, refused, Action::Other("held".to_owned())] {
        let rich = Frame {
            action,
            related: Some(3),
            session: None,
            upstream: None,
            method: None,
            kind: Kind::Response,
            rules: vec!["no-\"shell\": tag a".to_owned(), "r: edit".to_owned()],
            took_us: Some(4),
            redactions: 2,
            unfolded: true,
            ..plain.clone()
        };
        let mut line = Vec::new();
        frame(&FrameLine::of(&rich), &mut line);
        assert_eq!(read(&line).unwrap(), Some(Record::Frame(Box::new(rich))));
    }
}

#[test]
fn a_frame_is_read_from_its_object_alone() {
    let line = frame_line(CALL);
    let line = std::str::from_utf8(&line).unwrap().trim_end();
    let without_checksum = format!("{{{}", &line[BODY..]);
    for object in [line, &without_checksum] {
        assert_eq!(Frame::parse(object).unwrap(), frame_of(CALL));
    }
    assert!(Frame::parse("{}").unwrap_err().to_string().contains("seq"));
}

#[test]
fn small_records_read_as_they_were_written() {
    let gap = Lost { since: 4, count: 2, reason: "queue".to_owned() };
    let mut line = Vec::new();
    lost(&gap, &mut line);
    assert_eq!(read(&line).unwrap(), Some(Record::Lost(gap)));
    let last = End { frames: 3, lost: 2 };
    line.clear();
    end(last, &mut line);
    assert_eq!(read(&line).unwrap(), Some(Record::End(last)));
}

#[test]
fn a_line_is_ordinary_json_with_its_checksum_first() {
    let line = frame_line(CALL);
    let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(value["message"]["params"]["name"], "echo");
    assert!(line.starts_with(br#"{"crc":""#));
    assert_eq!(value["crc"], format!("{:08x}", crc32fast::hash(&line[18..line.len() - 1])));
}

#[test]
fn what_a_newer_program_adds_is_passed_over() {
    assert_eq!(read(&by_hand(r#""record":"bookmark","seq":1}"#)).unwrap(), None);
    let known = read(&by_hand(r#""record":"end","frames":1,"mood":{"a":[1]},"lost":0}"#)).unwrap();
    assert_eq!(known, Some(Record::End(End { frames: 1, lost: 0 })));
    let text = String::from_utf8(frame_line(CALL)).unwrap();
    let body = text[18..].trim_end().replace(r#""action":"passed""#, r#""action":"paused""#);
    let Some(Record::Frame(frame)) = read(&by_hand(&body)).unwrap() else { panic!("a frame") };
    assert_eq!(frame.action, Action::Other("paused".to_owned()));
}

#[test]
fn a_newer_format_is_refused_whatever_its_header_holds() {
    let fault = read(&by_hand(r#""record":"header","format":"2.0","all":"new"}"#)).unwrap_err();
    assert_eq!(fault.to_string(), "the tape has format 2, this program reads up to 1: use a newer shadowcat");
}

#[test]
fn every_flipped_bit_is_seen() {
    let line = frame_line(CALL);
    let line = line.strip_suffix(b"\n").unwrap();
    for place in 0..line.len() {
        for bit in 0..8 {
            let mut flipped = line.to_vec();
            flipped[place] ^= 1 << bit;
            assert!(record(&flipped).is_err(), "byte {place} bit {bit}");
        }
    }
}
