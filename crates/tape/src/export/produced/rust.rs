//! Repeats the calls of a recorded session and compares the answers with the recorded ones.
//!
//! Written by `shadowcat tape export test --lang rust`, to be put into `tests/`. It needs the official SDK and what that
//! stands on: `cargo add --dev rmcp --features client,elicitation,transport-child-process`, `cargo add --dev serde_json`,
//! `cargo add --dev tokio --features macros,rt-multi-thread,process`. The server is `shadowcat mock` with the tape; paths
//! are from the directory of the package. To ask another server, say how it is started:
//! `SERVER="target/debug/server --stdio" cargo test`

#![allow(deprecated, reason = "sampling and roots were recorded, whatever has become of them")]

use std::collections::HashMap;
use std::sync::Mutex;

use rmcp::model::{
    ClientRequest, CreateMessageRequestParams, CreateMessageResult, ElicitRequestParams, ElicitResult, ErrorData,
    ListRootsResult, ProtocolVersion, ServerResult,
};
use rmcp::service::{Peer, RequestContext, ServiceError};
use rmcp::transport::TokioChildProcess;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt as _, RoleClient};
use serde_json::{Value, json};

const TAPES: &[&str] = &[];
const MODE: &str = "auto";
/// What belongs to one run, or is for the SDK and not for those who use it.
const UNTOLD: [&str; 3] = ["_meta", "nextCursor", "resultType"];

/// What the tape holds.
#[derive(Default)]
struct Recorded {
    /// Session, method, parameters and answer of each call.
    calls: Vec<[&'static str; 4]>,
    /// What the client was asked, and what it answered.
    answers: Vec<[&'static str; 2]>,
}

fn recorded() -> Recorded {
    let mut recorded = Recorded::default();
//RECORDED
    recorded
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Answers as it did then, in order.
struct Client(Mutex<HashMap<&'static str, Vec<Value>>>);

impl Client {
    fn new(recorded: Vec<[&'static str; 2]>) -> Self {
        let mut answers = HashMap::<_, Vec<Value>>::new();
        for [method, answer] in recorded {
            answers.entry(method).or_default().push(parsed(answer));
        }
        Self(Mutex::new(answers))
    }

    fn next(&self, method: &str) -> Result<Value, ErrorData> {
        let mut answers = self.0.lock().unwrap();
        match answers.get_mut(method) {
            Some(left) if !left.is_empty() => Ok(left.remove(0)),
            _ => Err(ErrorData::internal_error(format!("{method} was not answered so often on the tape"), None)),
        }
    }
}

impl ClientHandler for Client {
    async fn create_elicitation(
        &self,
        _: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        self.next("elicitation/create").map(|answer| serde_json::from_value(answer).unwrap())
    }

    async fn create_message(
        &self,
        _: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        self.next("sampling/createMessage").map(|answer| serde_json::from_value(answer).unwrap())
    }

    async fn list_roots(&self, _: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        self.next("roots/list").map(|answer| serde_json::from_value(answer).unwrap())
    }

    fn get_info(&self) -> rmcp::model::ClientInfo {
        let has = |method| self.0.lock().unwrap().contains_key(method);
        let mut capabilities = json!({});
        for (method, name) in
            [("elicitation/create", "elicitation"), ("sampling/createMessage", "sampling"), ("roots/list", "roots")]
        {
            if has(method) {
                capabilities[name] = json!({});
            }
        }
        let mut info = rmcp::model::ClientInfo::default();
        info.capabilities = serde_json::from_value(capabilities).unwrap();
        info
    }
}

fn server() -> TokioChildProcess {
    let server = std::env::var("SERVER").unwrap_or_default();
    let mut words: Vec<String> = server.split_whitespace().map(str::to_owned).collect();
    if words.is_empty() {
        words = vec![std::env::var("SHADOWCAT_BIN").unwrap_or_else(|_| "shadowcat".to_owned()), "mock".to_owned()];
        words.extend(TAPES.iter().map(|tape| (*tape).to_owned()));
    }
    let mut command = tokio::process::Command::new(&words[0]);
    command.args(&words[1..]);
    TokioChildProcess::new(command).unwrap()
}

/// What is recorded has to be there; what is there besides is not looked at.
fn compare(recorded: &Value, live: &Value, path: &str, found: &mut Vec<String>) {
    match (recorded, live) {
        (Value::String(text), _) if text.contains("[redacted:") => {}
        (Value::Object(members), Value::Object(_)) => {
            for (name, value) in members {
                if !value.is_null() && !UNTOLD.contains(&name.as_str()) {
                    compare(value, live.get(name).unwrap_or(&Value::Null), &format!("{path}.{name}"), found);
                }
            }
        }
        (Value::Array(elements), Value::Array(others)) if elements.len() == others.len() => {
            for (place, (value, other)) in elements.iter().zip(others).enumerate() {
                compare(value, other, &format!("{path}[{place}]"), found);
            }
        }
        // 1 and 1.0 are one number, whatever a type on the way made of it.
        (Value::Number(one), Value::Number(other)) if one.as_f64() == other.as_f64() => {}
        _ if recorded == live => {}
        _ => found.push(format!("{path}: recorded {recorded}, got {live}")),
    }
}

/// What the SDK knows of a recorded answer: it leaves out what it does not.
fn as_known(recorded: &Value) -> Value {
    match recorded.get("result").cloned().map(serde_json::from_value::<ServerResult>) {
        Some(result) => json!({ "result": result.unwrap() }),
        None => recorded.clone(),
    }
}

async fn ask(peer: &Peer<RoleClient>, method: &str, params: &Value) -> Value {
    let request: ClientRequest = serde_json::from_value(json!({ "method": method, "params": params })).unwrap();
    match peer.send_request(request).await {
        Ok(result) => json!({ "result": result }),
        Err(ServiceError::McpError(error)) => json!({ "error": { "code": error.code.0, "message": error.message } }),
        Err(error) => panic!("{method}: {error}"),
    }
}

#[tokio::test]
async fn the_server_answers_as_recorded() {
    let Recorded { mut calls, answers } = recorded();
    let mode = match MODE {
        "legacy" => ClientLifecycleMode::Initialize,
        _ => ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] },
    };
    let client = Client::new(answers).serve_with_lifecycle(server(), mode).await.unwrap();
    let sessions: Vec<&str> = calls.iter().map(|call| call[0]).collect();
    calls.sort_by_key(|call| sessions.iter().position(|session| *session == call[0]));
    let (mut cursors, mut found) = (HashMap::new(), Vec::new());
    for [_, method, params, recorded] in calls {
        let (mut params, recorded) = (parsed(params), parsed(recorded));
        if let Some(cursor) = params.get("cursor").and_then(|cursor| cursors.get(&cursor.to_string())).cloned() {
            params["cursor"] = cursor;
        }
        let live = ask(&client, method, &params).await;
        if let Some(cursor) = recorded.pointer("/result/nextCursor") {
            cursors.insert(cursor.to_string(), live.pointer("/result/nextCursor").cloned().unwrap_or_default());
        }
        let mut differences = Vec::new();
        compare(&as_known(&recorded), &live, "$", &mut differences);
        found.extend(differences.into_iter().map(|text| format!("{method} {params}: {text}")));
    }
    client.cancel().await.unwrap();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
