//! Which answer a message gets, in either era.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use shadowcat_pipeline::task::Tasks;
use shadowcat_protocol::{
    ErrorObject, Id, Message, Notification, Request, Response, Revision, codes, meta, method,
};
use tokio_util::sync::CancellationToken;

use super::peer::{Peer, Progress, meta_text};
use super::{offer, tools};

/// Requests answered at one time; one more is refused.
const CALLS_MAX: usize = 256;
const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// The result of a request, or why there is none.
pub(super) type Answer = Result<Value, ErrorObject>;

pub(super) struct Server {
    peer: Peer,
    tasks: Tasks,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    running: HashMap<Id, CancellationToken>,
    /// What a legacy client said once, for all that follows.
    can_elicit: bool,
    log_level: Option<String>,
}

impl Server {
    pub(super) fn new(peer: Peer, tasks: Tasks) -> Self {
        Self { peer, tasks, state: Arc::default() }
    }

    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    pub(super) async fn take(&self, message: Message) {
        match message {
            Message::Request(request) => self.answer(request).await,
            Message::Notification(note) => self.cancel(&note),
            Message::Response(response) => self.peer.answer(response),
        }
    }

    /// Ends every call.
    pub(super) async fn end(&self, deadline: Duration) {
        self.tasks.stop();
        for stop in lock(&self.state).running.values() {
            stop.cancel();
        }
        self.tasks.join(deadline).await;
    }

    fn cancel(&self, note: &Notification) {
        let id = (note.method() == method::CANCELLED).then(|| note.request_id()).flatten();
        if let Some(stop) = id.and_then(|id| lock(&self.state).running.remove(&id)) {
            stop.cancel();
        }
    }

    async fn answer(&self, request: Request) {
        let is_modern = request.meta(meta::VERSION).is_some();
        let immediate = match request.method() {
            method::TOOLS_CALL | method::LISTEN => match self.spawn(&request, is_modern) {
                Ok(()) => return,
                Err(refused) => Err(refused),
            },
            _ => self.immediate(&request, is_modern),
        };
        self.peer.send(respond(&request, is_modern, immediate).text()).await;
    }

    fn immediate(&self, request: &Request, is_modern: bool) -> Answer {
        let params = params(request);
        if is_modern {
            check_revision(request)?;
        }
        match (request.method(), is_modern) {
            (method::INITIALIZE, false) => Ok(self.initialize(&params)),
            (method::PING, false) => Ok(json!({})),
            (method::SET_LEVEL, false) => self.set_level(&params),
            (method::DISCOVER, true) => Ok(discover()),
            (method::TOOLS_LIST, _) => Ok(json!({"tools": offer::tools()})),
            (method::RESOURCES_LIST, _) => Ok(json!({"resources": offer::resources()})),
            (method::RESOURCE_TEMPLATES_LIST, _) => Ok(json!({"resourceTemplates": []})),
            (method::PROMPTS_LIST, _) => Ok(json!({"prompts": offer::prompts()})),
            (method::RESOURCES_READ, _) => read(&params, is_modern),
            (method::PROMPTS_GET, _) => prompt(&params),
            (other, _) => Err(error(codes::METHOD_NOT_FOUND, &format!("unknown method {other}"))),
        }
    }

    fn initialize(&self, params: &Value) -> Value {
        lock(&self.state).can_elicit = params.pointer("/capabilities/elicitation").is_some();
        let asked = params.get("protocolVersion").and_then(Value::as_str).and_then(Revision::parse);
        let revision = asked.filter(|revision| !revision.is_modern()).unwrap_or(Revision::NEWEST_LEGACY);
        json!({
            "protocolVersion": revision.as_str(),
            "capabilities": offer::capabilities(),
            "serverInfo": offer::server_info()
        })
    }

    fn set_level(&self, params: &Value) -> Answer {
        let level = params.get("level").and_then(Value::as_str).filter(|level| LEVELS.contains(level));
        let level = level.ok_or_else(|| invalid("level is none of the eight"))?;
        lock(&self.state).log_level = Some(level.to_owned());
        Ok(json!({}))
    }

    /// Answers in a task of its own, which a cancellation ends without an answer.
    fn spawn(&self, request: &Request, is_modern: bool) -> Result<(), ErrorObject> {
        if is_modern {
            check_revision(request)?;
        }
        let call = self.call(request, is_modern);
        let stop = self.register(request.id())?;
        let (peer, state, request) = (self.peer.clone(), Arc::clone(&self.state), request.clone());
        self.tasks.spawn(async move {
            let work = async {
                if request.method() == method::LISTEN {
                    listen(&call, &request).await
                } else {
                    tools::call(&call).await
                }
            };
            let answer = stop.run_until_cancelled(work).await;
            let was_running = lock(&state).running.remove(request.id()).is_some();
            if let Some(answer) = answer.filter(|_| was_running) {
                peer.send(respond(&request, is_modern, answer).text()).await;
            }
        });
        Ok(())
    }

    fn register(&self, id: &Id) -> Result<CancellationToken, ErrorObject> {
        let mut state = lock(&self.state);
        if state.running.contains_key(id) {
            return Err(error(codes::INVALID_REQUEST, "a request with this id is being answered"));
        }
        if state.running.len() >= CALLS_MAX {
            return Err(error(codes::INTERNAL_ERROR, "too many requests at one time"));
        }
        let stop = CancellationToken::new();
        state.running.insert(id.clone(), stop.clone());
        Ok(stop)
    }

    fn call(&self, request: &Request, is_modern: bool) -> Call {
        let state = lock(&self.state);
        let declared =
            request.meta(meta::CAPABILITIES).and_then(|raw| serde_json::from_str::<Value>(raw).ok());
        let elicits_now = declared.is_some_and(|declared| declared.get("elicitation").is_some());
        Call {
            name: request.name().map(std::borrow::Cow::into_owned).unwrap_or_default(),
            params: params(request),
            is_modern,
            can_elicit: if is_modern { elicits_now } else { state.can_elicit },
            log_level: if is_modern { meta_text(request, meta::LOG_LEVEL) } else { state.log_level.clone() },
            progress: Progress::of(&self.peer, request),
        }
    }
}

/// One call of a tool.
pub(super) struct Call {
    pub(super) name: String,
    pub(super) params: Value,
    pub(super) is_modern: bool,
    pub(super) can_elicit: bool,
    pub(super) progress: Progress,
    log_level: Option<String>,
}

impl Call {
    pub(super) fn argument(&self, name: &str) -> Option<&Value> {
        self.params.get("arguments")?.get(name)
    }

    pub(super) async fn log(&self, level: &str, sentence: &str) {
        let rank = |level: &str| LEVELS.iter().position(|known| *known == level);
        if self.log_level.as_deref().is_some_and(|least| rank(level) >= rank(least)) {
            let params = json!({"level": level, "logger": "demo", "data": sentence});
            self.progress.peer.notify(method::LOG_MESSAGE, &params).await;
        }
    }

    /// A client that shows no forms cannot be asked: an error with a code of its own in the newest revision, a result
    /// for the model before.
    pub(super) fn without_elicitation(&self) -> Answer {
        const SENTENCE: &str = "this tool needs a client that supports elicitation";
        if !self.is_modern {
            return Ok(tools::mistake(SENTENCE));
        }
        let data = json!({"requiredCapabilities": {"elicitation": {"form": {}}}});
        Err(ErrorObject {
            code: codes::MISSING_CAPABILITY,
            message: SENTENCE.to_owned(),
            data: Some(data.to_string()),
        })
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn params(request: &Request) -> Value {
    request.params().and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default()
}

fn check_revision(request: &Request) -> Result<(), ErrorObject> {
    let named = meta_text(request, meta::VERSION).unwrap_or_default();
    if request.meta(meta::CAPABILITIES).is_none() {
        return Err(invalid("params._meta has no client capabilities"));
    }
    if Revision::parse(&named).is_some_and(Revision::is_modern) {
        return Ok(());
    }
    let data = json!({"supported": modern_revisions(), "requested": named});
    Err(ErrorObject {
        code: codes::UNSUPPORTED_VERSION,
        message: "unsupported protocol version".to_owned(),
        data: Some(data.to_string()),
    })
}

fn modern_revisions() -> Vec<&'static str> {
    Revision::ALL.into_iter().filter(|revision| revision.is_modern()).map(Revision::as_str).collect()
}

fn discover() -> Value {
    json!({
        "supportedVersions": modern_revisions(),
        "capabilities": offer::capabilities(),
        "_meta": {"io.modelcontextprotocol/serverInfo": offer::server_info()}
    })
}

fn read(params: &Value, is_modern: bool) -> Answer {
    let uri = params.get("uri").and_then(Value::as_str).unwrap_or_default();
    if uri == offer::RESOURCE_URI {
        return Ok(
            json!({"contents": [{"uri": uri, "mimeType": "text/plain", "text": offer::RESOURCE_TEXT}]}),
        );
    }
    let code = if is_modern { codes::INVALID_PARAMS } else { codes::RESOURCE_NOT_FOUND };
    Err(error(code, "no such resource"))
}

fn prompt(params: &Value) -> Answer {
    if params.get("name").and_then(Value::as_str) != Some(offer::PROMPT) {
        return Err(invalid("no such prompt"));
    }
    let name = params.pointer("/arguments/name").and_then(Value::as_str);
    let name = name.ok_or_else(|| invalid("the argument name is missing"))?;
    let text = format!("Greet {name} in one friendly sentence.");
    Ok(json!({"messages": [{"role": "user", "content": {"type": "text", "text": text}}]}))
}

/// A subscription to what never happens here: acknowledged with nothing in it, and open until it is cancelled.
async fn listen(call: &Call, request: &Request) -> Answer {
    if !call.is_modern {
        return Err(error(codes::METHOD_NOT_FOUND, "unknown method subscriptions/listen"));
    }
    let id: Value = serde_json::from_str(request.id().as_json()).unwrap_or_default();
    let params = json!({"_meta": {(meta::SUBSCRIPTION): id}, "notifications": {}});
    call.progress.peer.notify(method::LISTEN_ACKNOWLEDGED, &params).await;
    std::future::pending().await
}

fn respond(request: &Request, is_modern: bool, answer: Answer) -> Response {
    match answer {
        Ok(result) if is_modern => {
            Response::result(request.id(), &modern(request.method(), result).to_string())
        }
        Ok(result) => Response::result(request.id(), &result.to_string()),
        Err(error) => Response::error(Some(request.id()), &error),
    }
}

/// Adds what every result of the newest revision says of itself.
fn modern(method: &str, mut result: Value) -> Value {
    let Some(members) = result.as_object_mut() else { return result };
    members.entry("resultType").or_insert_with(|| "complete".into());
    if method != method::TOOLS_CALL && method != method::PROMPTS_GET {
        members.insert("ttlMs".to_owned(), 60_000.into());
        members.insert("cacheScope".to_owned(), "public".into());
    }
    result
}

fn error(code: i64, sentence: &str) -> ErrorObject {
    ErrorObject { code, message: sentence.to_owned(), data: None }
}

pub(super) fn invalid(sentence: &str) -> ErrorObject {
    error(codes::INVALID_PARAMS, sentence)
}
