//! A small legacy server in two versions: each argument names one thing in which the new one differs from the old.

use std::io::{BufRead as _, Write as _};
use std::time::Duration;

use serde_json::{Value, json};

/// How much longer the slower tool takes.
const SLOWER: Duration = Duration::from_millis(150);

struct Changes(Vec<String>);

impl Changes {
    fn has(&self, change: &str) -> bool {
        self.0.iter().any(|known| known == change)
    }

    fn tools(&self) -> Value {
        let tool = |name: &str, description: &str, argument: &str| {
            json!({"name": name, "description": description, "inputSchema": {
                "type": "object", "properties": {argument: {"type": "string"}}, "required": [argument]
            }})
        };
        let described = if self.has("description") { "Says hello, warmly" } else { "Says hello" };
        let mut transfer = tool("transfer", "Moves money", "to");
        if self.has("required") {
            transfer["inputSchema"]["properties"]["currency"] = json!({"type": "string"});
            transfer["inputSchema"]["required"] = json!(["to", "currency"]);
        }
        json!([tool("greet", described, "name"), tool("count", "Counts letters", "text"), transfer])
    }

    fn call(&self, name: &str, arguments: &Value) -> Value {
        let argument = |name: &str| arguments[name].as_str().unwrap_or_default().to_owned();
        let text = |text: String| json!({"content": [{"type": "text", "text": text}]});
        match name {
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
            _ if self.has("required") && arguments.get("currency").is_none() => {
                json!({"isError": true, "content": [{"type": "text", "text": "currency is missing"}]})
            }
            _ => text(format!("sent to {}", argument("to"))),
        }
    }
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
        let params = &message["params"];
        let result = match message["method"].as_str().unwrap_or_default() {
            "initialize" => json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                "serverInfo": {"name": "altered", "version": "1"}}),
            "tools/list" => json!({"tools": changes.tools()}),
            "tools/call" => changes.call(params["name"].as_str().unwrap_or_default(), &params["arguments"]),
            _ => json!({}),
        };
        let answer = json!({"jsonrpc": "2.0", "id": id, "result": result});
        if writeln!(std::io::stdout(), "{answer}").is_err() {
            return;
        }
    }
}
