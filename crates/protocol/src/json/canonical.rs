//! One text for all that mean the same.

use super::{DEPTH_MAX, Scanner, is_value, key_text, next_member, quote, string, trim};

/// The value in one form: names in order, no blanks, texts escaped in one way. Numbers stay as they are written, so that none
/// is taken for its neighbour. None if it is no JSON, or an object in it repeats a name, of which one reader takes the
/// first and another the last.
pub fn canonical(raw: &str) -> Option<String> {
    let mut out = String::with_capacity(raw.len());
    is_value(raw).then(|| write(raw, &mut out))??;
    Some(out)
}

/// Of a text that is a value.
fn write(raw: &str, out: &mut String) -> Option<()> {
    let raw = trim(raw);
    match raw.as_bytes().first()? {
        b'{' => object(raw, out),
        b'[' => {
            out.push('[');
            for (number, element) in super::elements(raw).enumerate() {
                out.push_str(if number == 0 { "" } else { "," });
                write(element, out)?;
            }
            out.push(']');
            Some(())
        }
        b'"' => {
            // Half a surrogate pair is no text: it stays as it is written.
            out.push_str(&string(raw).map_or_else(|| raw.to_owned(), |text| quote(&text)));
            Some(())
        }
        _ => {
            out.push_str(raw);
            Some(())
        }
    }
}

fn object(raw: &str, out: &mut String) -> Option<()> {
    let mut scanner = Scanner::new(raw, DEPTH_MAX);
    scanner.enter(b'{').ok()?;
    let mut members = Vec::new();
    while let Some((key, value)) = next_member(&mut scanner, members.is_empty()) {
        members.push((key_text(raw, key)?, value.of(raw)));
    }
    members.sort_by(|(one, _), (other, _)| one.cmp(other));
    if members.windows(2).any(|pair| matches!(pair, [(one, _), (other, _)] if one == other)) {
        return None;
    }
    out.push('{');
    for (number, (key, value)) in members.iter().enumerate() {
        out.push_str(if number == 0 { "" } else { "," });
        out.push_str(&quote(key));
        out.push(':');
        write(value, out)?;
    }
    out.push('}');
    Some(())
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn what_means_the_same_is_one_text_and_what_does_not_is_another() {
        let one = canonical(r#" {"b" : [1, {"y":"\u0041\/","x":null}], "a":9007199254740993 }"#);
        assert_eq!(one.as_deref(), Some(r#"{"a":9007199254740993,"b":[1,{"x":null,"y":"A/"}]}"#));
        assert_eq!(canonical(r#"{"a":9007199254740993,"b":[1,{"x":null,"y":"A/"}]}"#), one);
        for (one, other) in [
            ("123456789012345678901234", "123456789012345678901235"),
            (r#"{"a":1}"#, r#"{"a":"1"}"#),
            ("[1,2]", "[2,1]"),
            (r#""\ud800""#, r#""\ud801""#),
        ] {
            assert_ne!(canonical(one), canonical(other));
        }
        for bad in ["", "{", r#"{"a":1,"\u0061":2}"#, r#"{"\ud800":1}"#, "1 2"] {
            assert_eq!(canonical(bad), None, "{bad}");
        }
    }
}
