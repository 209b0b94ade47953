//! The output schema of a tool whose result is no object, made one for clients that only know those.

use std::borrow::Cow;

use shadowcat_protocol::json;

use crate::object::Object;

/// Where a wrapped schema has what was the whole.
const INSIDE: &str = "#/properties/result";
/// Keywords whose value is data and no schema.
const DATA: [&str; 4] = ["const", "enum", "default", "examples"];
/// Keywords whose value is an object of schemas, under names that are no keywords.
const NAMED: [&str; 5] = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];
/// Keywords that refer to another place.
const REFERENCES: [&str; 2] = ["$ref", "$dynamicRef"];

/// Whether a schema says that it describes an object, as legacy revisions demand.
pub(super) fn is_of_object(raw: &str) -> bool {
    json::get(raw, &["type"]).and_then(json::string).is_some_and(|kind| kind == "object")
}

/// A schema of an object whose one member `result` is described by this schema.
pub(super) fn wrapped(raw: &str) -> String {
    let mut whole = Object::default();
    let mut inner = Object::parse(raw);
    if let Some(dialect) = inner.remove("$schema") {
        whole.set("$schema", dialect.into_owned());
    }
    // A schema may also be `true` or `false`.
    let inner = if raw.starts_with('{') { schema(&inner.to_json()) } else { raw.to_owned() };
    whole
        .with("type", r#""object""#)
        .with("properties", format!(r#"{{"result":{inner}}}"#))
        .with("required", r#"["result"]"#)
        .to_json()
}

/// A schema whose references to places within the document find them one level deeper.
fn schema(raw: &str) -> String {
    let schema = Object::parse(raw);
    if schema.get("$id").is_some() {
        // A document of its own: its references begin at itself (JSON Schema 2020-12, 8.2.1).
        return raw.to_owned();
    }
    changed(&schema, |key, value| match value.as_bytes().first() {
        Some(b'"') if REFERENCES.contains(&key) => moved(value),
        Some(b'{') if NAMED.contains(&key) => {
            Cow::Owned(changed(&Object::parse(value), |_, value| inside(value)))
        }
        _ if DATA.contains(&key) => Cow::Borrowed(value),
        _ => inside(value),
    })
}

fn changed(object: &Object<'_>, change: impl for<'b> Fn(&str, &'b str) -> Cow<'b, str>) -> String {
    let mut out = Object::default();
    for (key, value) in object.members() {
        out.set(key, change(key, value));
    }
    out.to_json()
}

/// The value of a keyword that may be or hold schemas.
fn inside(value: &str) -> Cow<'_, str> {
    match value.as_bytes().first() {
        Some(b'{') => Cow::Owned(schema(value)),
        Some(b'[') => {
            let elements: Vec<Cow<'_, str>> = json::elements(value).map(inside).collect();
            Cow::Owned(format!("[{}]", elements.join(",")))
        }
        _ => Cow::Borrowed(value),
    }
}

fn moved(reference: &str) -> Cow<'_, str> {
    let text = json::string(reference).unwrap_or_default();
    match text.strip_prefix('#') {
        Some(pointer) if pointer.is_empty() || pointer.starts_with('/') => {
            Cow::Owned(json::quote(&format!("{INSIDE}{pointer}")))
        }
        _ => Cow::Borrowed(reference),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dialect_is_hoisted_and_local_references_go_one_deeper() {
        let raw = r##"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"array","items":{"$ref":"#/$defs/n"},"$defs":{"n":{"anyOf":[{"type":"number","maximum":1.50},{"$ref":"#"}]}}}"##;
        assert_eq!(
            wrapped(raw),
            r##"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{"result":{"type":"array","items":{"$ref":"#/properties/result/$defs/n"},"$defs":{"n":{"anyOf":[{"type":"number","maximum":1.50},{"$ref":"#/properties/result"}]}}}},"required":["result"]}"##
        );
    }

    #[test]
    fn only_references_of_this_document_are_changed() {
        for kept in [
            r##"{"$ref":"#anchor"}"##,
            r#"{"$ref":"other.json#/a"}"#,
            r##"{"$id":"urn:x","items":{"$ref":"#/$defs/a"}}"##,
            r##"{"const":{"$ref":"#/a"}}"##,
            r##"{"enum":[{"$ref":"#/a"}]}"##,
            "true",
        ] {
            let whole =
                format!(r#"{{"type":"object","properties":{{"result":{kept}}},"required":["result"]}}"#);
            assert_eq!(wrapped(kept), whole);
        }
    }

    #[test]
    fn a_property_may_be_called_like_a_keyword() {
        let raw =
            r##"{"type":"array","items":{"properties":{"const":{"$ref":"#/a"},"$ref":{"type":"string"}}}}"##;
        let whole = wrapped(raw);
        assert!(whole.contains(r##""const":{"$ref":"#/properties/result/a"}"##), "{whole}");
        assert!(whole.contains(r#""$ref":{"type":"string"}"#), "{whole}");
    }

    #[test]
    fn an_object_is_what_says_so() {
        assert!(is_of_object(r#"{"type":"object"}"#));
        for other in [r#"{"type":["object","null"]}"#, r#"{"type":"array"}"#, r#"{"oneOf":[]}"#, "true"] {
            assert!(!is_of_object(other), "{other}");
        }
    }
}
