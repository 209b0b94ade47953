//! What a modern server wants to know of a client, as a question of the client's own revision.

use shadowcat_protocol::{json, method};

use crate::content::Reader;
use crate::declared::is_url;
use crate::object::Object;

/// The parameters of a question as the client's revision has them; `None` if it has no way to ask this. `elicitation`
/// names an elicitation by URL, where the revision wants a name for it.
pub(super) fn readable(reader: Reader<'_>, asked: &str, raw: &str, elicitation: &str) -> Option<String> {
    let params = Object::parse(raw);
    match asked {
        method::ELICITATION if is_url(Some(raw)) => {
            Some(params.with("elicitationId", json::quote(elicitation)).to_json())
        }
        method::ELICITATION if !reader.revision.has_url_elicitation() => plain_form(params),
        method::SAMPLING => Some(prompt(reader, &params)),
        _ => Some(raw.to_owned()),
    }
}

/// A form of 2025-06-18: without a mode, and its choices as bare values with their names beside them.
fn plain_form(params: Object<'_>) -> Option<String> {
    let params = params.without(&["mode"]);
    let schema = Object::of(params.get("requestedSchema"));
    let fields = Object::of(schema.get("properties"));
    let mut plain = Object::default();
    for (name, raw) in fields.members() {
        plain.set(name, plain_field(raw)?);
    }
    let schema = schema.clone().with("properties", plain.to_json()).to_json();
    Some(params.clone().with("requestedSchema", schema).to_json())
}

fn plain_field(raw: &str) -> Option<String> {
    let field = Object::parse(raw);
    let kind = field.get("type").and_then(json::string);
    if kind.is_some_and(|kind| kind == "array") {
        // Several choices at once: there is nothing like it.
        return None;
    }
    let Some(choices) = field.get("oneOf") else { return Some(raw.to_owned()) };
    let part = |member: &'static str, other: &'static str| {
        let parts = json::elements(choices).filter_map(|choice| {
            json::get(choice, &[member]).or_else(|| json::get(choice, &[other])).map(str::to_owned)
        });
        format!("[{}]", parts.collect::<Vec<_>>().join(","))
    };
    let (values, names) = (part("const", "title"), part("title", "const"));
    Some(field.clone().without(&["oneOf"]).with("enum", values).with("enumNames", names).to_json())
}

/// A prompt for the client's model, each message with one block of content where a revision has no more.
fn prompt(reader: Reader<'_>, params: &Object<'_>) -> String {
    let Some(messages) = params.get("messages").filter(|_| !reader.revision.has_sampling_tools()) else {
        return params.to_json();
    };
    let mut plain = Vec::new();
    for message in json::elements(messages) {
        let content = json::get(message, &["content"]).unwrap_or("{}");
        let blocks: Vec<&str> =
            if content.starts_with('[') { json::elements(content).collect() } else { vec![content] };
        for block in blocks {
            plain.push(Object::parse(message).with("content", reader.block(block)).to_json());
        }
    }
    let plain = format!("[{}]", plain.join(","));
    params.clone().with("messages", plain).to_json()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Counters;
    use serde_json::{Value, json};
    use shadowcat_protocol::Revision;

    fn asked(revision: Revision, method: &str, params: &Value) -> Option<Value> {
        let counters = Counters::default();
        let reader = Reader { revision, counters: &counters, exchange: None };
        let raw = readable(reader, method, &params.to_string(), "e-1")?;
        Some(serde_json::from_str(&raw).unwrap())
    }

    #[test]
    fn a_url_gets_a_name_where_the_revision_wants_one() {
        let params = json!({"mode": "url", "url": "https://a", "message": "m"});
        let told = asked(Revision::V2025_11_25, "elicitation/create", &params).unwrap();
        assert_eq!(told, json!({"mode": "url", "url": "https://a", "message": "m", "elicitationId": "e-1"}));
    }

    #[test]
    fn choices_become_bare_values_with_names_and_several_at_once_cannot_be_asked() {
        let one = json!({"type": "string", "oneOf": [{"const": "a", "title": "A"}, {"const": "b"}]});
        let form = |field: &Value| json!({"mode": "form", "message": "m", "requestedSchema": {"type": "object", "properties": {"f": field}}});
        let told = asked(Revision::V2025_06_18, "elicitation/create", &form(&one)).unwrap();
        let plain = json!({"type": "string", "enum": ["a", "b"], "enumNames": ["A", "b"]});
        assert_eq!(
            told,
            json!({"message": "m", "requestedSchema": {"type": "object", "properties": {"f": plain}}})
        );
        let several = form(&json!({"type": "array", "items": {"enum": ["a"]}}));
        assert_eq!(asked(Revision::V2025_06_18, "elicitation/create", &several), None);
        for same in [form(&one), several] {
            assert_eq!(asked(Revision::V2025_11_25, "elicitation/create", &same), Some(same));
        }
    }

    #[test]
    fn several_blocks_become_several_messages_where_a_message_has_one() {
        let text = json!({"type": "text", "text": "t"});
        let sound = json!({"type": "audio", "data": "AAAA", "mimeType": "audio/wav"});
        let params = json!({"messages": [{"role": "user", "content": [text, sound]}], "maxTokens": 1});
        let told = asked(Revision::V2025_06_18, "sampling/createMessage", &params).unwrap();
        assert_eq!(
            told,
            json!({"messages": [{"role": "user", "content": text}, {"role": "user", "content": sound}], "maxTokens": 1})
        );
        let told = asked(Revision::V2024_11_05, "sampling/createMessage", &params).unwrap();
        assert_eq!(told["messages"][1]["content"]["type"], "text");
        assert_eq!(asked(Revision::V2025_11_25, "sampling/createMessage", &params), Some(params));
    }
}
