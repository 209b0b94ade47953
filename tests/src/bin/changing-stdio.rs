//! Stands before a server on standard input and output, and makes another version of it: the next words of its command line
//! say of which tool the description, the answers, the speed and the required arguments are other ones.
//!
//!     changing-stdio DESCRIBED ANSWERED SLOWED DEMANDING COMMAND...

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

/// How much longer the slower tool takes.
const SLOWER: Duration = Duration::from_millis(150);

struct Changes {
    described: String,
    answered: String,
    slowed: String,
    demanding: String,
    /// The calls whose answers are other ones.
    calls: Mutex<HashSet<String>>,
}

impl Changes {
    /// A message of the client.
    fn asked(&self, message: &Value) {
        let Some(tool) = message.pointer("/params/name").and_then(Value::as_str) else { return };
        if message.get("method").is_none_or(|method| method != "tools/call") {
            return;
        }
        if tool == self.slowed {
            #[expect(clippy::disallowed_methods, reason = "this is the slowness, in a thread of its own")]
            std::thread::sleep(SLOWER);
        }
        if tool == self.answered
            && let Some(id) = message.get("id")
        {
            self.calls.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_string());
        }
    }

    /// A message of the server.
    fn said(&self, message: &mut Value) {
        let id = message.get("id").map(Value::to_string).unwrap_or_default();
        let is_answer = message.get("method").is_none()
            && self.calls.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if is_answer && let Some(text) = message.pointer_mut("/result/content/0/text") {
            *text = json!(format!("{} And more.", text.as_str().unwrap_or_default()));
        }
        let tools = message.pointer_mut("/result/tools").and_then(Value::as_array_mut);
        for tool in tools.into_iter().flatten() {
            let name = tool.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            if name == self.described
                && let Some(description) = tool.get_mut("description")
            {
                *description = json!("Something else");
            }
            if name == self.demanding
                && let Some(schema) = tool.get_mut("inputSchema").and_then(Value::as_object_mut)
            {
                let properties = schema.entry("properties").or_insert_with(|| json!({}));
                if let Some(properties) = properties.as_object_mut() {
                    properties.insert("currency".to_owned(), json!({"type": "string"}));
                }
                let required = schema.entry("required").or_insert_with(|| json!([]));
                if let Some(required) = required.as_array_mut() {
                    required.push(json!("currency"));
                }
            }
        }
    }
}

fn main() {
    let mut words = std::env::args().skip(1);
    let mut word = || words.next().unwrap_or_default();
    let changes = Arc::new(Changes {
        described: word(),
        answered: word(),
        slowed: word(),
        demanding: word(),
        calls: Mutex::default(),
    });
    let command = word();
    let child = Command::new(command).args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else { return };
    if let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) {
        let asking = Arc::clone(&changes);
        let asked = move |message: &mut Value| asking.asked(message);
        std::thread::spawn(move || pass(std::io::stdin().lock(), input, asked));
        pass(BufReader::new(output), std::io::stdout(), |message| changes.said(message));
    }
    child.wait().ok();
}

/// Passes messages on until one side is closed.
fn pass(from: impl BufRead, mut to: impl Write, change: impl Fn(&mut Value)) {
    for line in from.lines().map_while(Result::ok) {
        let Ok(mut message) = serde_json::from_str::<Value>(&line) else { continue };
        change(&mut message);
        if writeln!(to, "{message}").and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}
