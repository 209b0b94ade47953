//! The headers of the 2026-07-28 revision that mirror a message, and what has to be known to write them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use memchr::memmem;
use shadowcat_pipeline::{Envelope, Transport};
use shadowcat_protocol::{Request, Response, Revision, headers, json, meta, method};

use crate::names;
use crate::remote::insert;

/// Tools whose annotations are remembered.
const TOOLS_MAX: usize = 10_000;
const ANNOTATION: &str = "x-mcp-header";

/// Writes mirrored headers. Learns from each tool list that passes which arguments are mirrored too.
#[derive(Default)]
pub(super) struct Stamp {
    tools: Mutex<HashMap<Box<str>, Vec<headers::ParamHeader>>>,
}

impl Stamp {
    /// The headers for this request.
    pub(super) fn headers(&self, request: &Request, envelope: &Envelope) -> HeaderMap {
        let mut fields = HeaderMap::new();
        let claimed = request.meta(meta::VERSION).and_then(json::string);
        let version = claimed.as_deref().unwrap_or(Revision::V2026_07_28.as_str());
        insert(&mut fields, &names::PROTOCOL_VERSION, version);
        insert(&mut fields, &names::METHOD, &headers::encode_value(request.method()));
        if let Some(name) = request.name() {
            insert(&mut fields, &names::NAME, &headers::encode_value(&name));
        }
        for (name, value) in self.params(request, envelope) {
            let name = HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
                fields.append(name, value);
            }
        }
        fields
    }

    /// What mirrors the arguments. A client on HTTP has done so itself, and unknown headers must be passed on as they are;
    /// what it mirrored of a message that was changed since may not be so any more.
    fn params(&self, request: &Request, envelope: &Envelope) -> Vec<(String, String)> {
        let sent = envelope.headers.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        if envelope.origin.transport == Transport::Http && !envelope.is_changed {
            return sent.collect();
        }
        let tools = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
        let called = request.name().filter(|_| request.method() == method::TOOLS_CALL);
        let Some(annotated) = called.and_then(|name| tools.get(&*name)) else { return sent.collect() };
        let known: Vec<String> = annotated.iter().map(headers::ParamHeader::header).collect();
        let arguments = request.params().and_then(|params| json::get(params, &["arguments"]));
        let anew = headers::build_params(annotated, arguments.unwrap_or("{}"));
        sent.filter(|(name, _)| !known.contains(name)).chain(anew).collect()
    }

    /// Reads the annotations of a tool list and takes the tools out whose annotations are wrong: a client of an HTTP
    /// server must not offer them (2026-07-28 streamable-http, schema extension).
    pub(super) fn learn(&self, response: Response) -> Response {
        if memmem::find(response.text(), ANNOTATION.as_bytes()).is_none() {
            return response;
        }
        let Some(result) = response.result_json() else { return response };
        let Some(list) = json::get(result, &["tools"]) else { return response };
        let mut kept = Vec::new();
        let mut dropped = 0_usize;
        for tool in json::elements(list) {
            if self.learn_tool(tool) { kept.push(tool) } else { dropped += 1 }
        }
        if dropped == 0 {
            return response;
        }
        let tools = format!("[{}]", kept.join(","));
        let members = json::members(result).map(|(key, raw)| {
            let raw = if key == "tools" { tools.as_str() } else { raw };
            format!("{}:{raw}", json::quote(&key))
        });
        let result = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
        response.with_result(&result)
    }

    /// Whether the tool may be offered.
    fn learn_tool(&self, tool: &str) -> bool {
        let name = json::get(tool, &["name"]).and_then(json::string).unwrap_or_default();
        let schema = json::get(tool, &["inputSchema"]).unwrap_or("{}");
        match headers::param_headers(schema) {
            Ok(annotated) => {
                let mut tools = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
                if annotated.is_empty() {
                    tools.remove(&*name);
                } else if tools.len() < TOOLS_MAX {
                    tools.insert(name.into(), annotated);
                }
                true
            }
            Err(error) => {
                tracing::warn!(tool = %name, %error, "a tool with a wrong x-mcp-header annotation is not offered");
                false
            }
        }
    }
}
