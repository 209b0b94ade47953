//! The blanks between the tokens of JSON: none of them, or as many as read well. Every token stays as it was written.

/// The same value without blanks between its tokens. The text has to be valid JSON.
pub fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((token, behind)) = token(rest) {
        out.push_str(token);
        rest = behind;
    }
    out
}

/// The same value with a line for each member and element, indented by two blanks a level. The text has to be valid
/// JSON.
pub fn indented(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 2);
    let (mut rest, mut depth) = (text, 0_usize);
    while let Some((first, behind)) = token(rest) {
        rest = behind;
        match first {
            "{" | "[" => {
                out.push_str(first);
                if let Some((close @ ("}" | "]"), behind)) = token(rest) {
                    out.push_str(close);
                    rest = behind;
                } else {
                    depth += 1;
                    break_line(depth, &mut out);
                }
            }
            "}" | "]" => {
                depth = depth.saturating_sub(1);
                break_line(depth, &mut out);
                out.push_str(first);
            }
            "," => {
                out.push(',');
                break_line(depth, &mut out);
            }
            ":" => out.push_str(": "),
            _ => out.push_str(first),
        }
    }
    out
}

fn break_line(depth: usize, out: &mut String) {
    out.push('\n');
    for _ in 0..depth {
        out.push_str("  ");
    }
}

/// The next token, and what is behind it: a bracket, a comma, a colon, a string, or a word or number.
fn token(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\r']);
    let end = match text.bytes().next()? {
        b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
        b'"' => string_end(text),
        _ => text.find(['{', '}', '[', ']', ',', ':', '"', ' ', '\t', '\n', '\r']).unwrap_or(text.len()),
    };
    text.split_at_checked(end)
}

/// Where the string is over that the text begins with.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn tokens_stay_as_they_were_written() {
        let text = " {\"a\" : [1.0 ,2e3, [] , {}],\r\n\"b\\\"c\":\"x, y: {z}\\\\\" , \"n\":null}\n";
        assert_eq!(compact(text), r#"{"a":[1.0,2e3,[],{}],"b\"c":"x, y: {z}\\","n":null}"#);
        let lines = "{\n  \"a\": [\n    1.0,\n    2e3,\n    [],\n    {}\n  ],\n  \"b\\\"c\": \"x, y: {z}\\\\\",\n  \"n\": null\n}";
        assert_eq!(indented(text), lines);
        assert_eq!(indented("7"), "7");
        assert_eq!(compact(""), "");
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("\\PC*", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_layout_changes_no_value(value in json()) {
            let (short, long) = (value.to_string(), format!("{value:#}"));
            prop_assert_eq!(compact(&long), short.clone());
            prop_assert_eq!(indented(&short), long);
        }

        #[test]
        fn text_that_is_no_json_does_no_harm(text in "[\\[\\]{}:,\"\\\\a1 é\n]*") {
            compact(&text);
            indented(&text);
        }
    }
}
