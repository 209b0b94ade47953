//! A small legacy server in two versions: each argument names one thing in which the new one differs from the old.

use std::io::{BufRead as _, Write as _};
use std::time::Duration;

use serde_json::{Map, Value, json};

/// How much longer the slower tool takes.
const SLOWER: Duration = Duration::from_millis(150);

struct Changes(Vec<String>);

impl Changes {
    fn has(&self, change: &str) -> bool {
        self.0.iter().any(|known| known == change)
    }

    fn tools(&self) -> Value {
        let tool = |name: &str, description: &str, arguments: &[&str]| {
            let properties: Map<String, Value> = arguments
                .iter()
                .map(|argument| ((*argument).to_owned(), json!({"type": "string"})))
                .collect();
            json!({"name": name, "description": description, "inputSchema": {
                "type": "object", "properties": properties, "required": arguments
            }})
        };
        let described = if self.has("description") { "Says hello, warmly" } else { "Says hello" };
        let transfer: &[&str] = if self.has("required") { &["to", "currency"] } else { &["to"] };
        json!([
            tool("greet", described, &["name"]),
            tool("count", "Counts letters", &["text"]),
            tool("transfer", "Moves money", transfer)
        ])
    }

    fn call(&self, params: &Value) -> Value {
        let given = |name: &str| params.get("arguments").and_then(|arguments| arguments.get(name));
        let argument = |name: &str| given(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let text = |text: String| json!({"content": [{"type": "text", "text": text}]});
        match string(params, "name") {
            "greet" => text(format!("hello {}", argument("name"))),
            "count" => {
                if self.has("slow") {
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "this is the slowness, in a program of one thread"
                    )]
                    std::thread::sleep(SLOWER);
                }
                let letters = argument("text").len() + usize::from(self.has("answer"));
                text(json!({"letters": letters, "id": uuid(), "at": "2026-11-21T10:00:00Z"}).to_string())
            }
            _ if self.has("required") && given("currency").is_none() => {
                json!({"isError": true, "content": [{"type": "text", "text": "currency is missing"}]})
            }
            _ => text(format!("sent to {}", argument("to"))),
        }
    }
}

fn string<'a>(object: &'a Value, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Another one in each process.
fn uuid() -> String {
    format!("0f0e0d0c-1111-4222-8333-{:012x}", std::process::id())
}

fn main() {
    let changes = Changes(std::env::args().skip(1).collect());
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
        let Some(id) = message.get("id") else { continue };
        let result = match string(&message, "method") {
            "initialize" => json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                "serverInfo": {"name": "altered", "version": "1"}}),
            "tools/list" => json!({"tools": changes.tools()}),
            "tools/call" => changes.call(message.get("params").unwrap_or(&Value::Null)),
            _ => json!({}),
        };
        let answer = json!({"jsonrpc": "2.0", "id": id, "result": result});
        if writeln!(std::io::stdout(), "{answer}").is_err() {
            return;
        }
    }
}
