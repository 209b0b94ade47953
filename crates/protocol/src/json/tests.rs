//! Tests of the scanner and of what reads raw text.

use super::*;
use proptest::prelude::*;
use serde_json::value::RawValue;

/// What another parser that keeps raw text says.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

#[test]
fn only_what_the_grammar_allows_is_a_value() {
    for text in [
        "0",
        "-0",
        "1.5e-7",
        "1E+2",
        "\"\"",
        "\"\\u00e9\\ud83d\\ude00\"",
        "[]",
        "{}",
        " [1 , {\"a\" : [ ] } ] ",
        "true",
        "null",
        "\"\\ud83d\"",
    ] {
        assert!(is_value(text), "{text}");
    }
    for text in [
        "",
        " ",
        "01",
        "+1",
        ".5",
        "1.",
        "1e",
        "-",
        "\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"a\nb\"",
        "\"\u{0}\"",
        "\"0123456789abcdef0123456789\u{1}\"",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{,}",
        "{\"a\":1,}",
        "{\"a\"}",
        "{a:1}",
        "{\"a\":1 \"b\":2}",
        "[1}",
        "{\"a\":1]",
        "tru",
        "True",
        "nul",
        "1 2",
        "[",
        "{\"a\":",
        "\u{feff}1",
        "NaN",
    ] {
        assert!(!is_value(text), "{text}");
    }
}

#[test]
fn nesting_is_read_to_the_limit_and_no_further() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(Scanner::new(&nested(128), 128).value().is_ok());
    assert_eq!(Scanner::new(&nested(129), usize::MAX).value(), Err(Fault::TooDeep));
    assert_eq!(Scanner::new(&nested(3), 2).value(), Err(Fault::TooDeep));
    assert_eq!(Scanner::new(&"[".repeat(1_000_000), 128).value(), Err(Fault::TooDeep));
}

#[test]
fn a_path_leads_through_objects_to_the_raw_text() {
    let text = r#" {"a":{"b/c": [1, 2.0] ,"b\/c":"last"},"n":1} "#;
    assert_eq!(get(text, &["a", "b/c"]), Some("\"last\""));
    assert_eq!(get(text, &["n"]), Some("1"));
    assert_eq!(get(text, &["n", "x"]), None);
    assert_eq!(get(text, &["x"]), None);
    assert_eq!(get(" [1] ", &[]), Some("[1]"));
}

#[test]
fn elements_and_members_end_at_the_first_fault() {
    assert_eq!(elements("[1, \"a\" ,{}]").collect::<Vec<_>>(), ["1", "\"a\"", "{}"]);
    assert_eq!(elements("[1,,2]").collect::<Vec<_>>(), ["1"]);
    assert_eq!(elements("{}").count(), 0);
    let read: Vec<_> = members(r#"{"a":1,"\ud800":2,"\u0062":3,x}"#).collect();
    assert_eq!(read, [(Cow::Borrowed("a"), "1"), (Cow::Borrowed("b"), "3")]);
}

#[test]
fn half_a_surrogate_pair_is_no_text() {
    for raw in [r#""\ud83d""#, r#""\ude00""#, r#""\ud83d\ud83d""#, r#""\ud83dx""#, r#""\ud83d\n""#] {
        assert!(is_value(raw) && string(raw).is_none(), "{raw}");
    }
    assert_eq!(string(r#""\ud83d\ude00""#).as_deref(), Some("😀"));
}

fn json_like() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"a\"", "\"", "\\", "1", "-0.5e3", "true", "null", " ", "\n", "\\u00",
        "é",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_becomes_a_string_and_back(text in any::<String>()) {
        let quoted = quote(&text);
        prop_assert_eq!(string(&quoted).unwrap(), text.as_str());
        prop_assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);
    }

    #[test]
    fn another_parser_agrees_on_what_is_json(text in json_like()) {
        prop_assert_eq!(is_value(&text), is_json(&text), "{}", text);
    }

    #[test]
    fn another_parser_agrees_on_any_text(text in any::<String>()) {
        prop_assert_eq!(is_value(&text), is_json(&text));
    }
}

#[test]
fn a_byte_that_ends_plain_text_is_found_wherever_it_is() {
    for len in 0..120 {
        let plain = "ä~ !#[]\u{7f}x".chars().cycle().take(len).collect::<String>();
        assert_eq!(scan::plain_len(plain.as_bytes()), plain.len());
        for end in [0, 9, 31, b'"', b'\\'] {
            let text = [plain.as_bytes(), &[end], plain.as_bytes()].concat();
            assert_eq!(scan::plain_len(&text), plain.len(), "{end} behind {len} characters");
        }
    }
}
