//! MCP clients that send what a test writes and show what arrives, whichever way it came.

mod http;
mod sse;
mod stdio;

use std::net::SocketAddr;
use std::process::Command;

use tokio::sync::mpsc;

use crate::server::{member, path};
use crate::wait::soon;

pub use http::{HttpClient, read_to_the_response};
pub use sse::SseClient;
pub use stdio::StdioClient;

const INBOX_MAX: usize = 4096;

/// A client on any transport.
pub struct Client {
    way: Way,
    inbox: mpsc::Receiver<String>,
    /// What was passed over while something else was awaited.
    passed: Vec<String>,
}

enum Way {
    Http(HttpClient),
    Sse(SseClient),
    Stdio(StdioClient),
}

/// The answer to `initialize` of this revision.
pub fn initialize(id: &str, revision: &str) -> String {
    let capabilities =
        r#"{"elicitation":{},"roots":{"listChanged":true},"x-unknown":{"n":9007199254740993}}"#;
    let info = r#"{"name":"test","version":"1"}"#;
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"initialize","params":{{"protocolVersion":"{revision}","capabilities":{capabilities},"clientInfo":{info},"x-unknown":1.0}}}}"#
    )
}

/// A call of a tool; `more` are further members of the params.
pub fn call(id: &str, tool: &str, arguments: &str, more: &str) -> String {
    let more = if more.is_empty() { String::new() } else { format!(",{more}") };
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}{more}}}}}"#
    )
}

/// The notification that ends the handshake.
pub const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

impl Client {
    /// On Streamable HTTP.
    pub fn http(address: SocketAddr) -> Self {
        let (sender, inbox) = mpsc::channel(INBOX_MAX);
        Self { way: Way::Http(HttpClient::new(address, sender)), inbox, passed: Vec::new() }
    }

    /// On HTTP+SSE.
    pub async fn sse(address: SocketAddr) -> Self {
        let (sender, inbox) = mpsc::channel(INBOX_MAX);
        Self { way: Way::Sse(SseClient::open(address, sender).await), inbox, passed: Vec::new() }
    }

    /// On the standard input and output of a command.
    pub fn stdio(command: Command) -> Self {
        let (sender, inbox) = mpsc::channel(INBOX_MAX);
        Self { way: Way::Stdio(StdioClient::start(command, sender)), inbox, passed: Vec::new() }
    }

    /// Sends a message.
    pub async fn send(&mut self, text: &str) {
        match &mut self.way {
            Way::Http(client) => client.send(text).await,
            Way::Sse(client) => client.send(text).await,
            Way::Stdio(client) => client.send(text).await,
        }
    }

    /// The next message for which `wanted` holds; others are kept for later.
    pub async fn find(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        if let Some(at) = self.passed.iter().position(|text| wanted(text)) {
            return self.passed.remove(at);
        }
        let (inbox, passed) = (&mut self.inbox, &mut self.passed);
        let found = soon(format!("{what} at the client"), async {
            while let Some(text) = inbox.recv().await {
                if wanted(&text) {
                    return Some(text);
                }
                passed.push(text);
            }
            None
        });
        found.await.unwrap_or_else(|| {
            panic!("the connection ended before {what} came; there were {:?}", self.passed)
        })
    }

    /// The response with this id, which is compared as text.
    pub async fn response(&mut self, id: &str) -> String {
        let wanted =
            |text: &str| member(text, "method").is_none() && member(text, "id").as_deref() == Some(id);
        self.find(&format!("the response to {id}"), wanted).await
    }

    /// The next message with this method.
    pub async fn message(&mut self, method: &str) -> String {
        let quoted = format!("\"{method}\"");
        self.find(method, |text| member(text, "method").as_ref() == Some(&quoted)).await
    }

    /// What has arrived and was not asked for.
    pub fn left(&mut self) -> Vec<String> {
        while let Ok(text) = self.inbox.try_recv() {
            self.passed.push(text);
        }
        std::mem::take(&mut self.passed)
    }

    /// Sends a request and waits for its response.
    pub async fn request(&mut self, text: &str) -> String {
        let id = member(text, "id").expect("a request has an id");
        self.send(text).await;
        self.response(&id).await
    }

    /// Does the handshake of a revision; gives the response to `initialize`.
    pub async fn handshake(&mut self, revision: &str) -> String {
        let answer = self.request(&initialize("0", revision)).await;
        assert!(path(&answer, &["result", "protocolVersion"]).is_some(), "no handshake: {answer}");
        self.send(INITIALIZED).await;
        if let Way::Http(client) = &mut self.way {
            client.listen().await;
        }
        answer
    }

    /// The session's id on Streamable HTTP.
    pub fn session(&self) -> String {
        match &self.way {
            Way::Http(client) => client.session().expect("a session"),
            Way::Sse(_) | Way::Stdio(_) => panic!("this transport shows no session id"),
        }
    }

    /// The process of a stdio client.
    pub fn process(&self) -> &crate::process::Process {
        match &self.way {
            Way::Stdio(client) => client.process(),
            Way::Http(_) | Way::Sse(_) => panic!("this transport has no process"),
        }
    }

    /// Closes a stdio client's way out; what still comes in is received.
    pub fn close(&mut self) {
        match &mut self.way {
            Way::Stdio(client) => client.close(),
            Way::Http(_) | Way::Sse(_) => panic!("this transport has no such end"),
        }
    }

    /// Leaves without a word: every connection closes.
    pub fn leave(self) {
        drop(self);
    }
}
