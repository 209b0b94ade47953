//! The server as a client sees it: lines in, lines out.

use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf,
};

use super::*;

struct Client {
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    out: WriteHalf<DuplexStream>,
    tasks: Tasks,
}

impl Client {
    fn start() -> Self {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (input, output) = tokio::io::split(far);
        let tasks = Tasks::new();
        tasks.spawn(async move { serve(input, output).await.unwrap() });
        let (lines, out) = tokio::io::split(near);
        Self { lines: BufReader::new(lines).lines(), out, tasks }
    }

    async fn send(&mut self, message: Value) {
        self.out.write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }

    async fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next_line().await.unwrap().unwrap()).unwrap()
    }

    async fn ask(&mut self, id: u64, method: &str, params: Value) -> Value {
        self.send(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await;
        self.next().await
    }

    async fn initialize(&mut self, capabilities: Value) -> Value {
        self.ask(1, "initialize", json!({"protocolVersion": "2025-11-25", "capabilities": capabilities}))
            .await
    }
}

fn modern(mut params: Value) -> Value {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
        "progressToken": "p"
    });
    params.as_object_mut().unwrap().insert("_meta".into(), meta);
    params
}

fn text_of(response: &Value) -> &str {
    response.pointer("/result/content/0/text").and_then(Value::as_str).unwrap()
}

#[tokio::test]
async fn a_legacy_client_gets_its_revision_and_its_answers() {
    let mut client = Client::start();
    let hello = client.initialize(json!({})).await;
    assert_eq!(hello.pointer("/result/protocolVersion"), Some(&json!("2025-11-25")));
    let sum = client.ask(2, "tools/call", json!({"name": "add", "arguments": {"a": 2, "b": 3}})).await;
    assert_eq!(text_of(&sum), "5");
    assert!(sum.pointer("/result/resultType").is_none());
    let asked = client.ask(3, "tools/call", json!({"name": "ask", "arguments": {"question": "?"}})).await;
    assert_eq!(asked.pointer("/result/isError"), Some(&json!(true)));
    for (method, params) in [
        ("ping", json!({})),
        ("tools/list", json!({})),
        ("resources/read", json!({"uri": "demo://about"})),
        ("prompts/get", json!({"name": "greet", "arguments": {"name": "Kitty"}})),
    ] {
        assert!(client.ask(4, method, params).await.get("result").is_some(), "{method}");
    }
}

#[tokio::test]
async fn a_legacy_client_is_asked_by_a_request() {
    let mut client = Client::start();
    client.initialize(json!({"elicitation": {}})).await;
    let question =
        client.ask(2, "tools/call", json!({"name": "ask", "arguments": {"question": "Tea?"}})).await;
    assert_eq!(question["method"], "elicitation/create");
    let result = json!({"action": "accept", "content": {"answer": "yes"}});
    client.send(json!({"jsonrpc": "2.0", "id": question["id"], "result": result})).await;
    assert_eq!(text_of(&client.next().await), "You said: yes");
}

#[tokio::test]
async fn a_modern_client_is_asked_by_a_result() {
    let mut client = Client::start();
    let params = json!({"name": "ask", "arguments": {"question": "Tea?"}});
    let first = client.ask(1, "tools/call", modern(params.clone())).await;
    assert_eq!(first.pointer("/result/resultType"), Some(&json!("input_required")));
    let mut second = modern(params);
    second["inputResponses"] = json!({"answer": {"action": "accept", "content": {"answer": "yes"}}});
    let answered = client.ask(2, "tools/call", second).await;
    assert_eq!(text_of(&answered), "You said: yes");
    assert_eq!(answered.pointer("/result/resultType"), Some(&json!("complete")));
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_tells_its_progress() {
    let mut client = Client::start();
    let params = modern(json!({"name": "slow", "arguments": {"steps": 2}}));
    let first = client.ask(1, "tools/call", params).await;
    assert_eq!(first["params"], json!({"progressToken": "p", "progress": 1, "total": 2}));
    assert_eq!(client.next().await["params"]["progress"], 2);
    assert_eq!(text_of(&client.next().await), "done in 2 steps");
}

#[tokio::test]
async fn a_cancelled_call_is_not_answered() {
    let mut client = Client::start();
    let call = json!({"name": "slow", "arguments": {"steps": 100, "pause_ms": 5000}});
    client.send(json!({"jsonrpc": "2.0", "id": "s", "method": "tools/call", "params": call})).await;
    let cancel = json!({"requestId": "s"});
    client.send(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel})).await;
    assert_eq!(client.ask(2, "ping", json!({})).await["id"], 2);
    client.out.shutdown().await.unwrap();
    assert!(client.lines.next_line().await.unwrap().is_none());
    assert!(client.tasks.join(END_WAIT * 4).await);
}

#[tokio::test]
async fn log_messages_come_to_those_who_asked() {
    let mut client = Client::start();
    client.ask(1, "logging/setLevel", json!({"level": "info"})).await;
    let log = client.ask(2, "tools/call", json!({"name": "echo", "arguments": {"message": "hi"}})).await;
    assert_eq!(log["method"], "notifications/message");
    assert_eq!(text_of(&client.next().await), "hi");
}

#[tokio::test]
async fn a_modern_client_finds_out_what_is_there() {
    let mut client = Client::start();
    let found = client.ask(1, "server/discover", modern(json!({}))).await;
    assert_eq!(found.pointer("/result/supportedVersions"), Some(&json!(["2026-07-28"])));
    let subscribed = client.ask(2, "subscriptions/listen", modern(json!({"notifications": {}}))).await;
    assert_eq!(subscribed["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(client.ask(3, "ping", modern(json!({}))).await["error"]["code"], -32601);
    let mut old = modern(json!({}));
    old["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2099-01-01");
    assert_eq!(client.ask(4, "tools/list", old).await["error"]["code"], -32022);
}

#[tokio::test]
async fn what_is_no_message_is_answered_as_such() {
    let mut client = Client::start();
    client.out.write_all(b"{nonsense\n").await.unwrap();
    assert_eq!(client.next().await["error"]["code"], -32700);
}
