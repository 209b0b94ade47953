//! What HTTP Archive 1.2 demands of a file (<http://www.softwareishard.com/blog/har-12-spec/>), for tests of ours.

use serde_json::Value;

/// What stands at a place.
enum Form {
    Text,
    /// An ISO 8601 time with its zone.
    Moment,
    /// An absolute address without a fragment.
    Address,
    Whole,
    /// Milliseconds, or -1 where they do not apply.
    Millis,
    Object(&'static [Member]),
    List(&'static [Member]),
}

/// The name, what stands there, and whether it has to.
type Member = (&'static str, Form, bool);

const PAIR: &[Member] = &[("name", Form::Text, true), ("value", Form::Text, true)];
const COOKIE: &[Member] = &[
    ("name", Form::Text, true),
    ("value", Form::Text, true),
    ("path", Form::Text, false),
    ("domain", Form::Text, false),
    ("expires", Form::Moment, false),
];
const POST_DATA: &[Member] =
    &[("mimeType", Form::Text, true), ("params", Form::List(PAIR), false), ("text", Form::Text, false)];
const CONTENT: &[Member] = &[
    ("size", Form::Whole, true),
    ("compression", Form::Whole, false),
    ("mimeType", Form::Text, true),
    ("text", Form::Text, false),
    ("encoding", Form::Text, false),
];
const REQUEST: &[Member] = &[
    ("method", Form::Text, true),
    ("url", Form::Address, true),
    ("httpVersion", Form::Text, true),
    ("cookies", Form::List(COOKIE), true),
    ("headers", Form::List(PAIR), true),
    ("queryString", Form::List(PAIR), true),
    ("postData", Form::Object(POST_DATA), false),
    ("headersSize", Form::Whole, true),
    ("bodySize", Form::Whole, true),
];
const RESPONSE: &[Member] = &[
    ("status", Form::Whole, true),
    ("statusText", Form::Text, true),
    ("httpVersion", Form::Text, true),
    ("cookies", Form::List(COOKIE), true),
    ("headers", Form::List(PAIR), true),
    ("content", Form::Object(CONTENT), true),
    ("redirectURL", Form::Text, true),
    ("headersSize", Form::Whole, true),
    ("bodySize", Form::Whole, true),
];
const TIMINGS: &[Member] = &[
    ("blocked", Form::Millis, false),
    ("dns", Form::Millis, false),
    ("connect", Form::Millis, false),
    ("send", Form::Millis, true),
    ("wait", Form::Millis, true),
    ("receive", Form::Millis, true),
    ("ssl", Form::Millis, false),
];
const ENTRY: &[Member] = &[
    ("pageref", Form::Text, false),
    ("startedDateTime", Form::Moment, true),
    ("time", Form::Millis, true),
    ("request", Form::Object(REQUEST), true),
    ("response", Form::Object(RESPONSE), true),
    ("cache", Form::Object(&[]), true),
    ("timings", Form::Object(TIMINGS), true),
    ("serverIPAddress", Form::Text, false),
    ("connection", Form::Text, false),
];
const CREATOR: &[Member] = &[("name", Form::Text, true), ("version", Form::Text, true)];
const LOG: &[Member] = &[
    ("version", Form::Text, true),
    ("creator", Form::Object(CREATOR), true),
    ("browser", Form::Object(CREATOR), false),
    ("entries", Form::List(ENTRY), true),
];
const ARCHIVE: &[Member] = &[("log", Form::Object(LOG), true)];

/// Everything that the format does not allow.
pub(crate) fn faults(archive: &Value) -> Vec<String> {
    let mut found = Vec::new();
    object("$", archive, ARCHIVE, &mut found);
    let entries = archive["log"]["entries"].as_array().map_or(&[][..], Vec::as_slice);
    for (place, entry) in entries.iter().enumerate() {
        let mut say = |what: &str| found.push(format!("$.log.entries[{place}]: {what}"));
        let parts = ["blocked", "dns", "connect", "send", "wait", "receive"];
        let parts = parts.iter().filter_map(|part| entry["timings"][part].as_f64());
        let sum: f64 = parts.filter(|ms| *ms > 0.0).sum();
        if (sum - entry["time"].as_f64().unwrap_or(f64::NAN)).abs() > 0.002 {
            say("its time is not the sum of its timings");
        }
        let post = &entry["request"]["postData"];
        if post.is_object() && post["text"].is_string() == post["params"].is_array() {
            say("what is posted has either a text or parameters");
        }
        let content = &entry["response"]["content"];
        if content["text"].as_str().map(|text| text.len() as u64) != content["size"].as_u64() {
            say("the size of its content is not that of the text");
        }
    }
    found
}

fn object(place: &str, value: &Value, members: &[Member], found: &mut Vec<String>) {
    let Some(own) = value.as_object() else { return found.push(format!("{place}: no object")) };
    for (name, form, is_due) in members {
        match own.get(*name) {
            Some(value) => form.look(&format!("{place}.{name}"), value, found),
            None if *is_due => found.push(format!("{place}.{name}: missing")),
            None => {}
        }
    }
    for name in own.keys() {
        let is_known = members.iter().any(|(known, ..)| known == name) || name == "comment";
        if !is_known && !name.starts_with('_') {
            found.push(format!("{place}.{name}: members of one's own begin with an underscore"));
        }
    }
}

impl Form {
    fn look(&self, place: &str, value: &Value, found: &mut Vec<String>) {
        let is_so = match self {
            Self::Text => value.is_string(),
            Self::Moment => value.as_str().is_some_and(|text| crate::clock::parse_rfc3339(text).is_some()),
            Self::Address => value.as_str().is_some_and(is_address),
            Self::Whole => value.as_i64().is_some_and(|number| number >= -1),
            Self::Millis => value.as_f64().is_some_and(|ms| ms >= 0.0 || value.as_i64() == Some(-1)),
            Self::Object(members) => return object(place, value, members, found),
            Self::List(members) => {
                for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                    object(&format!("{place}[{index}]"), value, members, found);
                }
                value.is_array()
            }
        };
        if !is_so {
            found.push(format!("{place}: not as it has to be: {value}"));
        }
    }
}

fn is_address(text: &str) -> bool {
    let scheme = text.split_once("://").is_some_and(|(scheme, rest)| {
        !scheme.is_empty()
            && scheme.bytes().all(|b| b.is_ascii_lowercase())
            && !rest.is_empty()
            && !rest.starts_with('/')
    });
    scheme && text.bytes().all(|b| b.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&b))
}

#[test]
fn the_check_of_archives_finds_what_is_wrong() {
    let archive = serde_json::json!({ "log": { "version": "1.2", "creator": { "name": "x", "version": 1 }, "entries": [{
        "startedDateTime": "yesterday", "time": 5, "request": { "url": "/mcp", "postData": { "mimeType": "x" } },
        "response": { "status": -2 }, "cache": {}, "timings": { "send": 0, "wait": 2, "receive": -1 }, "own": 1,
    }] } });
    let found = faults(&archive).join("\n");
    for said in [
        "$.log.creator.version: not as it has to be: 1",
        "$.log.entries[0].startedDateTime: not",
        "$.log.entries[0].request.url: not",
        "$.log.entries[0].request.method: missing",
        "$.log.entries[0].response.status: not",
        "$.log.entries[0].own: members of one's own",
        "$.log.entries[0]: its time is not the sum",
        "$.log.entries[0]: what is posted has either",
    ] {
        assert!(found.contains(said), "{said} in {found}");
    }
}
