//! What the server has: its names, tools, resource and prompt, as the lists a client reads.

use serde_json::{Value, json};

pub(super) const RESOURCE_URI: &str = "demo://about";
pub(super) const RESOURCE_TEXT: &str = "A built-in server to try Shadowcat with. It has a tool that echoes, one that \
                                        adds, one that takes its time, and one that asks you something.";
pub(super) const PROMPT: &str = "greet";

pub(super) fn server_info() -> Value {
    json!({"name": "shadowcat-demo", "version": env!("CARGO_PKG_VERSION")})
}

pub(super) fn capabilities() -> Value {
    json!({"tools": {}, "resources": {}, "prompts": {}, "logging": {}})
}

pub(super) fn tools() -> Value {
    json!([
        tool("echo", "Says what it was told.", &json!({"message": {"type": "string"}}), &["message"]),
        tool(
            "add",
            "Adds two numbers.",
            &json!({"a": {"type": "number"}, "b": {"type": "number"}}),
            &["a", "b"]
        ),
        tool(
            "slow",
            "Takes its time and tells its progress.",
            &json!({
                "steps": {"type": "integer", "minimum": 1, "maximum": 100, "default": 5},
                "pause_ms": {"type": "integer", "minimum": 0, "maximum": 5000, "default": 200}
            }),
            &[],
        ),
        tool("ask", "Asks the user a question.", &json!({"question": {"type": "string"}}), &["question"]),
    ])
}

fn tool(name: &str, description: &str, properties: &Value, required: &[&str]) -> Value {
    json!({
        "name": name,
        "description": description,
        "inputSchema": {"type": "object", "properties": properties, "required": required}
    })
}

pub(super) fn resources() -> Value {
    json!([{"uri": RESOURCE_URI, "name": "about", "mimeType": "text/plain"}])
}

pub(super) fn prompts() -> Value {
    json!([{
        "name": PROMPT,
        "description": "A greeting for somebody.",
        "arguments": [{"name": "name", "required": true}]
    }])
}

/// The form that `ask` shows to the user.
pub(super) fn form(question: &str) -> Value {
    json!({
        "mode": "form",
        "message": question,
        "requestedSchema": {
            "type": "object",
            "properties": {"answer": {"type": "string"}},
            "required": ["answer"]
        }
    })
}
