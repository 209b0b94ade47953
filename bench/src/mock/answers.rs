//! What the mock answers to a message, in either era. No I/O.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::wire::{self, Answer, Era, LEGACY, MODERN};

/// Longest text a call may ask for.
const TEXT_BYTES_MAX: usize = 8 << 20;
/// Most notifications a call may ask for.
const EVENTS_MAX: usize = 100_000;

/// What goes back for one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answers {
    /// The messages, the response last.
    pub(crate) messages: Vec<String>,
    /// Whether HTTP sends them as an event stream.
    pub(crate) streaming: bool,
    /// Whether a session begins with this answer.
    pub(crate) opens_session: bool,
}

#[derive(Deserialize)]
struct Incoming<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<&'a str>,
    #[serde(borrow, default)]
    params: Params<'a>,
}

#[derive(Deserialize, Default)]
struct Params<'a> {
    name: Option<&'a str>,
    #[serde(rename = "protocolVersion")]
    version: Option<&'a str>,
    #[serde(borrow, default)]
    arguments: Arguments<'a>,
    #[serde(borrow, default, rename = "_meta")]
    meta: Meta<'a>,
}

#[derive(Deserialize, Default)]
struct Arguments<'a> {
    canary: Option<&'a str>,
    message: Option<&'a str>,
    text_bytes: Option<usize>,
    /// How many notifications come before the answer.
    events: Option<usize>,
}

#[derive(Deserialize, Default)]
struct Meta<'a> {
    #[serde(borrow, rename = "progressToken")]
    token: Option<&'a RawValue>,
    #[serde(rename = "io.modelcontextprotocol/protocolVersion")]
    version: Option<&'a str>,
}

/// The answer to one message of a mock that speaks one era, or both; `None` where none is due, as for notifications.
pub(crate) fn answer(text: &[u8], speaks: Option<Era>) -> Option<Answers> {
    let Ok(incoming) = serde_json::from_slice::<Incoming<'_>>(text) else {
        return Some(single(
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse error"}}"#.into(),
        ));
    };
    let (id, method) = (incoming.id?.get(), incoming.method?);
    Some(match method {
        "initialize" if speaks == Some(Era::Modern) => single(unsupported(id)),
        "server/discover" if speaks == Some(Era::Legacy) => single(error(id, -32601, "method not found")),
        "tools/call" => call(id, &incoming.params),
        "initialize" => Answers { opens_session: true, ..single(result(id, &initialize(&incoming.params))) },
        "server/discover" => single(result(id, &discover(speaks))),
        "tools/list" => single(result(id, &tools(era(&incoming.params)))),
        "ping" => single(result(id, "{}")),
        _ => single(error(id, -32601, "method not found")),
    })
}

fn call(id: &str, params: &Params<'_>) -> Answers {
    let tool = params.name.and_then(Answer::of_tool);
    if let (Some(Answer::Echo), Some(message)) = (tool, params.arguments.message) {
        let messages = vec![wire::echo(id, message, era(params))];
        return Answers { messages, streaming: true, opens_session: false };
    }
    let (Some(tool), Some(canary)) = (tool, params.arguments.canary) else {
        return single(error(id, -32602, "no such tool, or no canary"));
    };
    let text_bytes = params.arguments.text_bytes.unwrap_or(0).min(TEXT_BYTES_MAX);
    let mut messages = Vec::with_capacity(2);
    if let (Answer::Progress, Some(token)) = (tool, params.meta.token) {
        let events = params.arguments.events.unwrap_or(1).min(EVENTS_MAX);
        messages.extend((1..=events).map(|number| wire::progress(token.get(), canary, number)));
    }
    messages.push(wire::result(id, canary, text_bytes, era(params)));
    Answers { messages, streaming: tool != Answer::Json, opens_session: false }
}

fn era(params: &Params<'_>) -> Era {
    if params.meta.version.is_some() { Era::Modern } else { Era::Legacy }
}

fn initialize(params: &Params<'_>) -> String {
    let version = params.version.filter(|version| *version != MODERN).unwrap_or(LEGACY);
    format!(
        r#"{{"protocolVersion":"{version}","capabilities":{{"tools":{{"listChanged":true}}}},"serverInfo":{{"name":"mock","version":"1"}}}}"#
    )
}

fn discover(speaks: Option<Era>) -> String {
    let legacy = if speaks.is_none() { format!(r#","{LEGACY}""#) } else { String::new() };
    format!(
        r#"{{"supportedVersions":["{MODERN}"{legacy}],"capabilities":{{"tools":{{}}}},"resultType":"complete","ttlMs":0,"cacheScope":"private","_meta":{{"io.modelcontextprotocol/serverInfo":{{"name":"mock","version":"1"}}}}}}"#
    )
}

fn tools(era: Era) -> String {
    let tools = ["echo_json", "echo_sse", "progress"].map(|name| {
        format!(
            r#"{{"name":"{name}","description":"Sends the canary back.","inputSchema":{{"type":"object","properties":{{"canary":{{"type":"string"}},"text_bytes":{{"type":"integer"}}}},"required":["canary"]}}}}"#
        )
    });
    let hints = match era {
        Era::Legacy => "",
        Era::Modern => r#","resultType":"complete","ttlMs":0,"cacheScope":"private""#,
    };
    format!(r#"{{"tools":[{}]{hints}}}"#, tools.join(","))
}

fn result(id: &str, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

fn unsupported(id: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32022,"message":"unsupported protocol version","data":{{"supported":["{MODERN}"],"requested":"{LEGACY}"}}}}}}"#
    )
}

fn error(id: &str, code: i64, message: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"{message}"}}}}"#)
}

fn single(message: String) -> Answers {
    Answers { messages: vec![message], ..Answers::default() }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;
    use crate::wire::Call;

    #[test]
    fn every_call_gets_the_replies_it_expects() {
        for era in [Era::Legacy, Era::Modern] {
            for answer_kind in Answer::value_variants().iter().copied() {
                let call = Call {
                    id: 3,
                    canary: "c3".into(),
                    answer: answer_kind,
                    era,
                    bridged: false,
                    text_bytes: 40,
                };
                let answers = answer(call.request().as_bytes(), None).unwrap();
                assert_eq!(answers.messages, call.replies());
                assert_eq!(answers.streaming, answer_kind != Answer::Json);
            }
        }
    }

    #[test]
    fn notifications_and_responses_get_no_answer() {
        assert_eq!(answer(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, None), None);
        assert_eq!(answer(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#, None), None);
    }

    #[test]
    fn everything_it_says_is_json() {
        for method in ["initialize", "server/discover", "tools/list", "ping", "nonsense", "tools/call"] {
            let request = format!(r#"{{"jsonrpc":"2.0","id":"x","method":"{method}"}}"#);
            for speaks in [None, Some(Era::Legacy), Some(Era::Modern)] {
                for message in answer(request.as_bytes(), speaks).unwrap().messages {
                    serde_json::from_str::<serde_json::Value>(&message).unwrap();
                }
            }
        }
    }
}
