//! Recordings as the tools write them: archives of Chrome, Firefox and mitmproxy, and an export of the MCP Inspector.

use super::tests::{HAR, fault, frames, settings, shorts};
use super::*;

const CHROME: &str = include_str!("samples/chrome.har");
const FIREFOX: &str = include_str!("samples/firefox.har");
const MITMPROXY: &str = include_str!("samples/mitmproxy.har");
const INSPECTOR: &str = include_str!("samples/inspector.json");

fn imported(format: Format, text: &str) -> Imported {
    read(text.as_bytes(), &settings(format), &mut |_| Ok(())).unwrap()
}

#[test]
fn chromes_archive_of_a_page_is_a_conversation() {
    let found = frames(HAR, CHROME);
    insta::assert_snapshot!("chrome", shorts(&found).join("\n"));
    assert!(found[10].message.contains(r"Zo\u00eb"));
    let done = imported(HAR, CHROME);
    // The page, the preflight and the end of the session; and a call whose body Chrome did not keep.
    assert_eq!((done.foreign, done.bodiless, done.bad), (3, 1, 0));
}

#[test]
fn firefoxs_archive_says_the_era_and_what_it_did_not_keep() {
    let found = frames(HAR, FIREFOX);
    insta::assert_snapshot!("firefox", shorts(&found).join("\n"));
    assert_eq!(crate::clock::rfc3339(found[0].time), "2026-11-21T12:00:00.000000Z", "in UTC");
    assert_eq!(imported(HAR, FIREFOX).bodiless, 1);
}

#[test]
fn mitmproxys_archive_of_http_sse_has_its_answers() {
    let found = frames(HAR, MITMPROXY);
    insta::assert_snapshot!("mitmproxy", shorts(&found).join("\n"));
    assert!(found.iter().all(|frame| frame.client.transport == "sse" && frame.session == found[0].session));
}

#[test]
fn the_inspectors_export_keeps_both_sides_apart_that_use_one_id() {
    let found = frames(Format::Inspector, INSPECTOR);
    insta::assert_snapshot!("inspector", shorts(&found).join("\n"));
}

#[test]
fn no_credential_of_a_sample_gets_onto_the_tape() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tape.jsonl");
    import(MITMPROXY.as_bytes(), &settings(HAR), &path).unwrap();
    assert!(!std::fs::read_to_string(path).unwrap().contains("canary"));
}

#[test]
fn a_damaged_archive_names_the_entry_its_line_and_the_member() {
    let told = fault(HAR, &CHROME.replacen("\"method\": \"OPTIONS\"", "\"method\": 7", 1));
    let said =
        "entry 2 (line 121): no entry of a HAR: request.method: invalid type: integer `7`, expected a string";
    assert!(told.starts_with(said) && told.ends_with("`--skip-bad`"), "{told}");
    let told = fault(HAR, &CHROME.replacen("2026-11-21T12:00:01.010Z", "just now", 1));
    assert!(told.starts_with("entry 3 (line ") && told.contains("\"just now\" is no time"), "{told}");
}

#[test]
fn what_was_read_of_a_cut_archive_is_kept_by_those_who_pass_bad_entries_over() {
    let cut = &CHROME[..CHROME.len() / 2];
    let told = fault(HAR, cut);
    assert!(told.contains("it is cut: EOF while parsing") && told.ends_with("`--skip-bad`"), "{told}");
    let lenient = Settings { skip_bad: true, ..settings(HAR) };
    let done = read(cut.as_bytes(), &lenient, &mut |_| Ok(())).unwrap();
    assert!(done.messages >= 3 && done.bad == 1, "{done:?}");
}

#[test]
fn what_is_something_else_is_told_what_it_is() {
    for (format, bytes, said) in [
        (HAR, &b"\xff\xfe{\0"[..], "UTF-16"),
        (HAR, b"\x1f\x8b\x08\x00", "compressed: unpack it"),
        (Format::Jsonl(None), br#"{"crc":"b48ddbb4","record":"header","format":"1.1"}"#, "a tape already"),
        (HAR, b"<html>", "not a HAR in JSON, or is cut: expected value at line 1 column 1"),
        (
            Format::Inspector,
            br#"[{"id":"1","timestamp":"2026-11-21T12:00:00Z","method":"POST"}]"#,
            "protocol view",
        ),
    ] {
        let told = read(bytes, &settings(format), &mut |_| Ok(())).unwrap_err().to_string();
        assert!(told.contains(said), "{told}");
    }
    let marked = format!("\u{feff}{FIREFOX}");
    assert_eq!(frames(HAR, &marked), frames(HAR, FIREFOX));
}
