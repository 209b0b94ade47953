//! What is read, what is refused and how, on a subject made of words.

use super::*;
use crate::subject::{Heard, Subject};

/// A call of the tool `echo` that failed.
struct Failed;

impl Subject for Failed {
    fn is(&self, flag: Flag) -> bool {
        matches!(flag, Flag::Failed | Flag::Request | Flag::Answer | Flag::ToServer)
    }

    fn any(&self, field: Field, test: &mut dyn FnMut(&str) -> bool) -> bool {
        let texts: &[&str] = match field {
            Field::Method => &["tools/call"],
            Field::Name => &["echo"],
            Field::Code => &["-32602", "tool"],
            Field::Text => &[r#"{"a":"x y"}"#, r#"{"b":"no such\nfile"}"#],
            Field::AskedText => &[r#"{"a":"x y"}"#],
            Field::AnswerText => &[r#"{"b":"no such\nfile"}"#],
            Field::Id => &["7"],
            Field::Client => &["http", "2025-11-25", "legacy"],
            Field::Session | Field::Principal | Field::Upstream => &[],
        };
        texts.iter().any(|text| test(text))
    }

    fn amount(&self, quantity: Quantity) -> Option<u64> {
        match quantity {
            Quantity::Took => Some(120_000),
            Quantity::Size => Some(2_000),
            Quantity::Time => None,
        }
    }
}

#[track_caller]
fn matches(text: &str) -> bool {
    parse(text).unwrap().matches(&Failed)
}

#[track_caller]
fn wrong(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn parts_are_joined_with_and_before_or() {
    for (text, expected) in [
        ("~m tools/call & ~t echo & ~e", true),
        ("~m tools/list | ~t echo", true),
        ("~t nope & ~e | ~q", true),
        ("~t nope & (~e | ~q)", false),
        ("!~t nope & !(~n | ~m ping)", true),
        ("!!~e", true),
        (" ( ~e )&~q|~n ", true),
    ] {
        assert_eq!(matches(text), expected, "{text}");
    }
}

#[test]
fn a_word_fits_the_whole_and_a_wildcard_any_part() {
    for (text, expected) in [
        ("~m tools", false),
        ("~m tools/*", true),
        ("~m tools/cal?", true),
        ("~m t*/*l", true),
        ("~m TOOLS/CALL", false),
        (r#"~m "tools/*""#, false),
        ("~m /^tools/", true),
        ("~m /CALL$/", false),
        ("~m /CALL$/i", true),
        (r"~m /tools\/call/", true),
        ("~c tool", true),
        ("~client legacy & ~client http", true),
    ] {
        assert_eq!(matches(text), expected, "{text}");
    }
}

#[test]
fn a_text_is_looked_for_within_a_message() {
    for (text, expected) in [
        ("~b such", true),
        (r#"~b "x y""#, true),
        ("~b 'x y'", true),
        ("~b no*file", true),
        (r#"~b "such\nfile""#, true),
        (r#"~b "\"a\"""#, true),
        (r#"~b "\\n""#, true),
        ("~bq such", false),
        ("~bs such", true),
    ] {
        assert_eq!(matches(text), expected, "{text}");
    }
}

#[test]
fn amounts_are_compared() {
    for (text, expected) in [
        ("~d >100ms", true),
        ("~d > 100ms", true),
        ("~d >=120ms", true),
        ("~d <120ms", false),
        ("~d <=0.12s", true),
        ("~z >1kB & ~z <=2000", true),
    ] {
        assert_eq!(matches(text), expected, "{text}");
    }
}

#[test]
fn what_is_not_known_fits_nothing() {
    assert!(!matches("~session a*") && matches("!~session a*"));
    assert!(!matches("~at >2026-01-01") && !matches("~at <2026-01-01"));
}

#[test]
fn a_mistake_is_told_with_its_column_and_the_way_out() {
    const CASES: [(&str, &str); 27] = [
        ("", "column 1: expected an operator, such as `~m tools/call`, `!` or `(`"),
        (
            "echo",
            "column 1: expected an operator, such as `~m tools/call`, `!` or `(`, found `echo`; to look for a text write `~b echo`, for a name `~t echo`",
        ),
        (
            "~e & ~tool echo",
            "column 6: there is no operator `~tool`; did you mean `~t` (the tool or prompt by name, the resource by URI, the task by id)?",
        ),
        (
            "~xyzzy",
            "column 1: there is no operator `~xyzzy`; there are ~m ~t ~e ~c ~q ~n ~s ~to ~b ~bq ~bs ~d ~z ~at ~id ~session ~principal ~client ~upstream",
        ),
        (
            "~ m",
            "column 1: expected the name of an operator behind `~`; there are ~m ~t ~e ~c ~q ~n ~s ~to ~b ~bq ~bs ~d ~z ~at ~id ~session ~principal ~client ~upstream",
        ),
        ("~m", "column 3: `~m` needs a pattern, such as `~m tools/call`, found the end"),
        ("~m & ~e", "column 4: `~m` needs a pattern, such as `~m tools/call`, found `&`"),
        ("~m ~e", "column 4: `~m` needs a pattern, such as `~m tools/call`, found `~e`"),
        ("~e ~q", "column 4: expected `&`, `|` or the end, found `~q`"),
        ("~e and ~q", "column 4: expected `&`, `|` or the end, found `and`; and is written `&`"),
        (
            "not ~q",
            "column 1: expected an operator, such as `~m tools/call`, `!` or `(`, found `not`; not is written `!`",
        ),
        (
            "~e && ~q",
            "column 5: expected an operator, such as `~m tools/call`, `!` or `(`, found one sign too many",
        ),
        ("~e &", "column 5: expected an operator, such as `~m tools/call`, `!` or `(`"),
        ("(~e | ~q", "column 1: this `(` has no `)`"),
        ("(~e ~q)", "column 5: expected `&`, `|` or `)`, found `~q`"),
        ("~e)", "column 3: this `)` has no `(`"),
        (
            "~ex",
            "column 1: there is no operator `~ex`; did you mean `~e` (failed: a JSON-RPC error, a tool's own error, a refusal by the proxy)?",
        ),
        ("~e\"x\"", "column 3: expected a blank, found `\"x\"`"),
        ("~b \"x", "column 4: this text does not end: its closing \" is missing"),
        ("~b \"x\"y", "column 7: expected a blank behind the text, found `y`"),
        (
            "~t /home",
            "column 4: this regular expression does not end: its closing `/` is missing; a text that begins with `/` is put in quotes",
        ),
        (
            "~t /home/me",
            "column 4: this pattern is followed by `me`; only `i`, for upper and lower case alike, may stick to it, and a text that begins with `/` is put in quotes",
        ),
        ("~t /(/", "column 4: this pattern is wrong: unclosed group"),
        ("~to srver", "column 5: expected `~to server` or `~to client`"),
        ("~d 100ms", "column 4: expected a comparison with `<`, `<=`, `>` or `>=`, such as `~d >100ms`"),
        (
            "~d >100",
            "column 5: expected a time with its unit, such as 500us, 100ms, 2s or 1m30s, found `100`",
        ),
        ("~z =>1kB", "column 4: expected a comparison with `<`, `<=`, `>` or `>=`, such as `~z >=10kB`"),
    ];
    for (text, expected) in CASES {
        assert_eq!(wrong(text), expected, "{text}");
    }
}

#[test]
fn columns_count_characters_and_not_bytes() {
    assert!(wrong("~b 'äöü' ~e").starts_with("column 10: "));
}

#[test]
fn what_is_too_long_too_deep_or_too_costly_is_refused() {
    let deep = |count: usize| format!("{}~e{}", "(".repeat(count), ")".repeat(count));
    assert!(parse(&deep(DEPTH_MAX)).is_ok());
    assert!(wrong(&deep(DEPTH_MAX + 1)).contains("within each other"));
    assert!(wrong(&format!("{}~e", "!".repeat(DEPTH_MAX + 1))).contains("within each other"));
    assert!(wrong(&" ".repeat(TEXT_BYTES_MAX + 1)).contains("bytes"));
    assert!(wrong(&vec!["~m a*"; COMPILED_MAX + 1].join("|")).contains("wildcards"));
    assert!(wrong(r"~m /(\w{100}){100}/").contains("too large"));
}

#[test]
fn what_is_settled_before_the_answer_stays_so() {
    for (text, by_asker, by_question) in [
        ("~m tools/call", None, Some(true)),
        ("~m tools/list & ~e", None, Some(false)),
        ("~m tools/list | ~e", None, None),
        ("~m tools/call | ~e", None, Some(true)),
        ("~m tools/call & !~e", None, None),
        ("~client http", Some(true), Some(true)),
        ("!~client http & ~d >1s", Some(false), Some(false)),
        ("!~session a | ~bs x", Some(true), Some(true)),
        ("~to server & ~q & ~bq x & ~id 7", None, Some(true)),
        ("~upstream *", None, None),
    ] {
        let filter = parse(text).unwrap();
        assert_eq!(filter.settled(&Failed, Heard::Asker), by_asker, "{text}");
        assert_eq!(filter.settled(&Failed, Heard::Question), by_question, "{text}");
        for settled in [by_asker, by_question].into_iter().flatten() {
            assert_eq!(filter.matches(&Failed), settled, "{text}");
        }
    }
}
