//! What the tapes say of the server to a client that comes, and what is said where they say nothing.

use std::sync::Arc;
use std::time::Duration;

use shadowcat_protocol::{Era, ErrorObject, Notification, Request, Response, Revision, codes, json, method};

use super::scene::{Act, Live, Scene, Step};
use super::shelf::{Recorded, Shelf};
use super::{Player, Turn};

/// What a server offers, by the methods that show it.
const OFFERS: [(&str, &str); 7] = [
    (method::TOOLS_LIST, "tools"),
    (method::TOOLS_CALL, "tools"),
    (method::PROMPTS_LIST, "prompts"),
    (method::PROMPTS_GET, "prompts"),
    (method::RESOURCES_LIST, "resources"),
    (method::RESOURCES_READ, "resources"),
    (method::COMPLETE, "completions"),
];

/// The request with which a client of this era begins.
pub(super) fn method_of(era: Era) -> &'static str {
    match era {
        Era::Legacy => method::INITIALIZE,
        Era::Modern => method::DISCOVER,
    }
}

impl Player {
    /// The recorded greeting of this revision, else the first there is, else what the calls on the tapes show. Another
    /// revision than the client asked for is told as it is: whether to go on is for the client to decide.
    pub(super) fn greet(&self, era: Era, request: &Request, live: Live) -> Turn {
        let known = self.shelf(era);
        if known.is_empty() {
            // What a server of the other era alone says; it brings the bridge into the path.
            let error = ErrorObject {
                code: codes::METHOD_NOT_FOUND,
                message: "the tapes have no client of this era".to_owned(),
                data: None,
            };
            return Turn::Ready(Response::error(Some(request.id()), &error));
        }
        let wanted = request.params().and_then(|params| json::get(params, &["protocolVersion"]));
        let is_wanted = |call: &Recorded| wanted.is_some() && call.result(&["protocolVersion"]) == wanted;
        let answered = || known.greetings().filter(|(_, call)| call.result(&[]).is_some());
        let recorded = answered().find(|(_, call)| is_wanted(call)).or_else(|| answered().next());
        match recorded {
            Some((index, call)) => {
                known.note_used(index);
                Turn::Scene(Arc::clone(&call.scene), live)
            }
            None => Turn::Ready(Response::result(request.id(), &offer(known, era, wanted))),
        }
    }

    /// What the server says of its revisions is cut to what the tapes can serve.
    pub(super) fn be_honest(&mut self) {
        if self.legacy.is_empty() {
            self.modern.change_greetings(|scene| scene.clone().with_answer(only_modern));
        }
    }
}

/// The answer to `server/discover` without the legacy revisions.
fn only_modern(answer: &Response) -> Response {
    const VERSIONS: &str = "supportedVersions";
    let Some(result) = answer.result_json() else { return answer.clone() };
    let members = json::members(result).map(|(name, value)| {
        let is_modern = |raw: &&str| {
            json::string(raw).and_then(|name| Revision::parse(&name)).is_none_or(Revision::is_modern)
        };
        let value = if name == VERSIONS {
            let kept: Vec<&str> = json::elements(value).filter(is_modern).collect();
            format!("[{}]", kept.join(","))
        } else {
            value.to_owned()
        };
        format!("{}:{value}", json::quote(&name))
    });
    answer.with_result(&format!("{{{}}}", members.collect::<Vec<_>>().join(",")))
}

/// What the calls on the tapes show of a server whose greeting is not on them.
fn offer(shelf: &Shelf, era: Era, wanted: Option<&str>) -> String {
    let methods = shelf.methods();
    let mut offered: Vec<&str> =
        OFFERS.iter().filter(|(method, _)| methods.contains(method)).map(|(_, name)| *name).collect();
    offered.dedup();
    let capabilities: Vec<String> = offered.iter().map(|name| format!("\"{name}\":{{}}")).collect();
    let capabilities = capabilities.join(",");
    match era {
        Era::Legacy => {
            let newest = json::quote(Revision::NEWEST_LEGACY.as_str());
            let is_legacy = |raw: &&str| {
                json::string(raw)
                    .and_then(|name| Revision::parse(&name))
                    .is_some_and(|known| !known.is_modern())
            };
            let version = wanted.filter(is_legacy).unwrap_or(&newest);
            format!(
                r#"{{"protocolVersion":{version},"capabilities":{{{capabilities}}},"serverInfo":{{"name":"tape","version":"0"}}}}"#
            )
        }
        Era::Modern => format!(
            r#"{{"resultType":"complete","supportedVersions":["{}"],"capabilities":{{{capabilities}}},"ttlMs":0,"cacheScope":"private","_meta":{{"io.modelcontextprotocol/serverInfo":{{"name":"tape","version":"0"}}}}}}"#,
            Revision::V2026_07_28.as_str()
        ),
    }
}

/// What any server answers, recorded or not: a subscription to changes that never come does no harm.
pub(super) fn without_tape(era: Era, request: &Request) -> Option<Turn> {
    let nothing = || Some(Turn::Ready(Response::result(request.id(), "{}")));
    match (era, request.method()) {
        (Era::Legacy, method::SET_LEVEL | method::RESOURCES_SUBSCRIBE | method::RESOURCES_UNSUBSCRIBE) => {
            nothing()
        }
        (Era::Modern, method::LISTEN) => Some(listen(request)),
        _ => None,
    }
}

fn listen(request: &Request) -> Turn {
    let wanted = request.params().and_then(|params| json::get(params, &["notifications"])).unwrap_or("{}");
    let params = format!(
        r#"{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{}}},"notifications":{wanted}}}"#,
        request.id().as_json()
    );
    let ack = Notification::new(method::LISTEN_ACKNOWLEDGED, Some(&params));
    let step = |act| Step { gap: Duration::ZERO, act };
    let scene = Scene { steps: vec![step(Act::Reply(ack)), step(Act::Silence)], ..Scene::default() };
    Turn::Scene(Arc::new(scene), Live::of(request, true))
}
