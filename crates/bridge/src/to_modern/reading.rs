//! What a client of a legacy revision can read: beside content, members of later revisions become what it knows.

use std::borrow::Cow;

use shadowcat_protocol::{json, method};

use crate::content::{Reader, changed};
use crate::object::Object;

use super::schema;

impl Reader<'_> {
    /// A result without what the revision has no word for. `wraps` says that the tool's output schema is wrapped.
    pub(super) fn result<'a>(&self, asked: &str, result: Object<'a>, wraps: bool) -> Object<'a> {
        match asked {
            method::TOOLS_CALL => self.tool_result(result, wraps),
            method::PROMPTS_GET => self.readable(asked, result),
            _ => match method::list_member(asked) {
                Some(member) => list(result, member, |item| self.item(item)),
                None => result,
            },
        }
    }

    /// The result with content that the client can read.
    fn readable<'a>(&self, asked: &str, result: Object<'a>) -> Object<'a> {
        match self.content(asked, &result) {
            Some((member, content)) => result.with(member, content),
            None => result,
        }
    }

    /// A server's description of itself or of what it offers, without a title where there are none.
    pub(super) fn item<'a>(&self, item: Object<'a>) -> Object<'a> {
        if self.revision.has_structured_content() {
            return self.wrapped_schema(item);
        }
        let item = item.without(&["title", "outputSchema"]);
        // The arguments of a prompt; nothing else has a list of this name.
        list(item, "arguments", |argument| argument.without(&["title"]))
    }

    fn wrapped_schema<'a>(&self, tool: Object<'a>) -> Object<'a> {
        let schema = tool.get("outputSchema").filter(|raw| !self.takes_schema(raw)).map(schema::wrapped);
        match schema {
            Some(schema) => tool.with("outputSchema", schema),
            None => tool,
        }
    }

    fn takes_schema(&self, raw: &str) -> bool {
        self.revision.has_structured_values() || schema::is_of_object(raw)
    }

    fn tool_result<'a>(&self, result: Object<'a>, wraps: bool) -> Object<'a> {
        let result = self.readable(method::TOOLS_CALL, result);
        let Some(structured) = result.get("structuredContent").map(str::to_owned) else { return result };
        if !self.revision.has_structured_content() {
            self.counters.lose("structuredContent", self.exchange);
            return told(result.without(&["structuredContent"]), &structured);
        }
        if self.revision.has_structured_values() || (!wraps && structured.starts_with('{')) {
            return result;
        }
        result.with("structuredContent", format!(r#"{{"result":{structured}}}"#))
    }
}

/// Whether the structured content of a tool, as the list has it, is wrapped for clients that only take objects.
pub(super) fn is_wrapped(tool: &str) -> bool {
    json::get(tool, &["outputSchema"]).is_some_and(|raw| !schema::is_of_object(raw))
}

/// The result with each object of a list changed.
fn list<'a>(
    result: Object<'a>,
    member: &'a str,
    change: impl for<'b> Fn(Object<'b>) -> Object<'b>,
) -> Object<'a> {
    let elements = result.get(member).filter(|raw| raw.starts_with('['));
    let list = elements.and_then(|raw| {
        changed(raw, |raw| {
            if !raw.starts_with('{') {
                return Cow::Borrowed(raw);
            }
            let (before, after) = (Object::parse(raw), change(Object::parse(raw)));
            // What did not change keeps even its blanks.
            if before.members().eq(after.members()) {
                Cow::Borrowed(raw)
            } else {
                Cow::Owned(after.to_json())
            }
        })
    });
    match list {
        Some(list) => result.with(member, list),
        None => result,
    }
}

/// A tool's result whose content tells what its structured content said, if it tells nothing else.
fn told<'a>(result: Object<'a>, structured: &str) -> Object<'a> {
    let tells = result.get("content").is_some_and(|raw| json::elements(raw).next().is_some());
    if tells {
        return result;
    }
    result.with("content", format!(r#"[{{"type":"text","text":{}}}]"#, json::quote(structured)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Counters;
    use shadowcat_protocol::Revision;

    const LEGACY: [Revision; 4] =
        [Revision::V2024_11_05, Revision::V2025_03_26, Revision::V2025_06_18, Revision::V2025_11_25];

    fn read(revision: Revision, asked: &str, result: &str) -> String {
        let counters = Counters::default();
        Reader { revision, counters: &counters, exchange: None }
            .result(asked, Object::parse(result), false)
            .to_json()
    }

    #[test]
    fn sound_becomes_a_note_only_for_those_who_have_none() {
        let result = r#"{"content":[{"type":"audio","data":"AAAA","mimeType":"audio/wav","annotations":{"priority":1.0}},{"type":"text","text":"x"}]}"#;
        let told = read(Revision::V2024_11_05, "tools/call", result);
        assert_eq!(
            told,
            r#"{"content":[{"type":"text","text":"[audio audio/wav, about 3 bytes, which this version of the protocol cannot carry]","annotations":{"priority":1.0}},{"type":"text","text":"x"}]}"#
        );
        assert_eq!(read(Revision::V2025_03_26, "tools/call", result), result);
    }

    #[test]
    fn a_link_becomes_a_text_with_its_uri() {
        let result = r#"{"messages":[{"role":"user","content":{"type":"resource_link","uri":"file:///a","name":"a","description":"b"}}]}"#;
        for revision in [Revision::V2024_11_05, Revision::V2025_03_26] {
            assert_eq!(
                read(revision, "prompts/get", result),
                r#"{"messages":[{"role":"user","content":{"type":"text","text":"[a](file:///a): b"}}]}"#
            );
        }
        assert_eq!(read(Revision::V2025_06_18, "prompts/get", result), result);
    }

    #[test]
    fn t72_structured_content_that_is_no_object_is_wrapped_or_left_out() {
        let result = r#"{"content":[],"structuredContent":[1,2.0]}"#;
        for revision in [Revision::V2025_06_18, Revision::V2025_11_25] {
            assert_eq!(
                read(revision, "tools/call", result),
                r#"{"content":[],"structuredContent":{"result":[1,2.0]}}"#
            );
        }
        for revision in [Revision::V2024_11_05, Revision::V2025_03_26] {
            assert_eq!(
                read(revision, "tools/call", result),
                r#"{"content":[{"type":"text","text":"[1,2.0]"}]}"#
            );
        }
    }

    #[test]
    fn t72_a_schema_of_no_object_is_wrapped_or_left_out() {
        let list = r#"{"tools":[{"name":"a","title":"A","inputSchema":{"type":"object"},"outputSchema":{"type":"array","items":{"type":"number"}}}],"nextCursor":"c"}"#;
        for revision in [Revision::V2025_06_18, Revision::V2025_11_25] {
            assert_eq!(
                read(revision, "tools/list", list),
                r#"{"tools":[{"name":"a","title":"A","inputSchema":{"type":"object"},"outputSchema":{"type":"object","properties":{"result":{"type":"array","items":{"type":"number"}}},"required":["result"]}}],"nextCursor":"c"}"#
            );
        }
        for revision in [Revision::V2024_11_05, Revision::V2025_03_26] {
            assert_eq!(
                read(revision, "tools/list", list),
                r#"{"tools":[{"name":"a","inputSchema":{"type":"object"}}],"nextCursor":"c"}"#
            );
        }
    }

    #[test]
    fn a_wrapped_schema_wraps_every_value() {
        let counters = Counters::default();
        let reader = Reader { revision: Revision::V2025_11_25, counters: &counters, exchange: None };
        let result = Object::parse(r#"{"content":[],"structuredContent":{"a":1}}"#);
        let told = reader.result("tools/call", result, true).to_json();
        assert_eq!(told, r#"{"content":[],"structuredContent":{"result":{"a":1}}}"#);
        for (tool, wrapped) in [
            (r#"{"outputSchema":{"oneOf":[]}}"#, true),
            (r#"{"outputSchema":{"type":"object"}}"#, false),
            ("{}", false),
        ] {
            assert_eq!(is_wrapped(tool), wrapped, "{tool}");
        }
    }

    #[test]
    fn titles_go_only_where_a_revision_has_none() {
        let list =
            r#"{"prompts":[{"name":"p","title":"P","arguments":[{"name":"x","title":"X"}, {"name": "y"}]}]}"#;
        assert_eq!(
            read(Revision::V2025_03_26, "prompts/list", list),
            r#"{"prompts":[{"name":"p","arguments":[{"name":"x"},{"name": "y"}]}]}"#
        );
        assert_eq!(read(Revision::V2025_06_18, "prompts/list", list), list);
    }

    #[test]
    fn what_everybody_can_read_stays_as_it_was_written() {
        let result = r#"{"content":[ {"type":"text", "text":"\u00e9"} ],"x":1.0,"isError":false}"#;
        for revision in LEGACY {
            assert_eq!(read(revision, "tools/call", result), result);
            assert_eq!(read(revision, "resources/read", result), result);
        }
    }
}
