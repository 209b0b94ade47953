//! An agent's test with the server unplugged: `shadowcat mock` answers from a tape, over stdio.

use rmcp::RoleClient;
use rmcp::model::CallToolRequestParams;
use rmcp::service::{RunningService, ServiceError, ServiceExt as _};
use rmcp::transport::TokioChildProcess;
use serde_json::{Value, json};

type Memory = RunningService<RoleClient, ()>;

/// What the agent would be given in earnest: a client of its server.
async fn memory() -> Memory {
    let program = std::env::var_os("SHADOWCAT_BIN").unwrap_or_else(|| "shadowcat".into());
    let mut command = tokio::process::Command::new(program);
    command.args(["mock", "--strict", concat!(env!("CARGO_MANIFEST_DIR"), "/../memory.tape.jsonl")]);
    ().serve(TokioChildProcess::new(command).unwrap()).await.unwrap()
}

async fn call(memory: &Memory, tool: &'static str, arguments: Value) -> Result<Value, ServiceError> {
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    let result = memory.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments)).await?;
    let result = serde_json::to_value(result).unwrap();
    Ok(serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap())
}

async fn names(memory: &Memory) -> Result<Vec<String>, ServiceError> {
    let graph = call(memory, "read_graph", json!({})).await?;
    let entities = graph["entities"].as_array().unwrap().iter();
    Ok(entities.map(|entity| entity["name"].as_str().unwrap().to_owned()).collect())
}

/// The agent: adds who is missing, and says who is known.
async fn remember(memory: &Memory, name: &str, fact: &str) -> Result<Vec<String>, ServiceError> {
    if !names(memory).await?.iter().any(|known| known == name) {
        let entity = json!({"name": name, "entityType": "person", "observations": [fact]});
        call(memory, "create_entities", json!({"entities": [entity]})).await?;
    }
    names(memory).await
}

#[tokio::test]
async fn who_is_missing_is_added() {
    let memory = memory().await;
    assert_eq!(remember(&memory, "Ada", "writes programs").await.unwrap(), ["Ada"]);
    memory.cancel().await.unwrap();
}

#[tokio::test]
async fn what_is_not_on_the_tape_fails_by_name() {
    let memory = memory().await;
    let told = remember(&memory, "Bob", "writes programs").await.unwrap_err().to_string();
    assert!(told.contains(r#"recorded "Ada", asked "Bob""#), "{told}");
    memory.cancel().await.unwrap();
}
