//! What each method and each tool of the server does.
//!
//! | tool | behaviour |
//! | --- | --- |
//! | `echo` | answers with the text of the whole request |
//! | `chatter` | progress, a log message, a question to the client, then its answer as the result |
//! | `updated` | a `resources/updated` and a `tools/list_changed` that belong to no request, then the result |
//! | `hold` | answers only at `release` |
//! | `release` | answers all held calls, the last one first, then itself |
//! | `hang` | never answers |
//! | `late` | answers when it was cancelled |
//! | `endless` | progress for ever |
//! | `big` | as many bytes as its argument `bytes` says |
//! | `stray` | answers to requests nobody sent, then its own, twice |
//! | `crash` | a last word on stderr, then the end of the process with status 7 |
//! | `who` | process, connection, environment, working directory and descriptors |
//! | `garbage` | lines that are no messages, then the result |
//! | `longline` | a line over any limit, then the result |
//!
//! `hold`, `hang`, `late` and `endless` are parked calls. A call with the argument `after` waits until its connection
//! has had so many of them: then they are known to have arrived.

use std::time::Duration;

use super::{Connection, Fake, Out, SUBSCRIPTION, VERSION, member, path};

const TOOLS: &str = include_str!("tools.json");
const PACE: Duration = Duration::from_millis(50);

/// A request on its way to its answer.
pub(super) struct Call<'a> {
    pub(super) fake: &'a Fake,
    pub(super) connection: &'a Connection,
    pub(super) reply: &'a Out,
    pub(super) id: &'a str,
    pub(super) params: &'a str,
    pub(super) text: &'a str,
}

impl Call<'_> {
    pub(super) async fn answer(&self, method: &str) {
        match method {
            "initialize" => self.result(&self.handshake()).await,
            "server/discover" => self.result(DISCOVERED).await,
            "tools/list" => self.result(TOOLS.trim()).await,
            "tools/call" => self.tool().await,
            "subscriptions/listen" => self.listen().await,
            "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => {
                self.result("{}").await;
            }
            "resources/read" | "prompts/get" | "x/echo" => self.result(&self.echo()).await,
            _ => self.error(-32601, "no such method").await,
        }
    }

    async fn tool(&self) {
        let name = self.param("name");
        if let Some(count) = self.argument("after").and_then(|raw| raw.parse().ok()) {
            self.fake.wait_parked(self.connection, count).await;
        }
        if matches!(name.as_str(), "\"hang\"" | "\"late\"" | "\"endless\"") {
            self.fake.park(self.connection);
        }
        match name.as_str() {
            "\"chatter\"" => self.chatter().await,
            "\"updated\"" => {
                self.tell_changes().await;
                self.result(DONE).await;
            }
            "\"hold\"" => {
                self.fake.state().held.push((self.reply.clone(), self.id.to_owned()));
                self.fake.park(self.connection);
            }
            "\"release\"" => self.release().await,
            "\"hang\"" => std::future::pending().await,
            "\"late\"" => {
                self.fake.wait_cancelled(self.connection, self.id).await;
                self.result(DONE).await;
            }
            "\"endless\"" => self.endless().await,
            "\"big\"" => {
                let bytes = self.argument("bytes").and_then(|raw| raw.parse().ok()).unwrap_or(0);
                self.result(&format!(r#"{{"content":[],"fill":"{}"}}"#, "x".repeat(bytes))).await;
            }
            "\"stray\"" => self.stray().await,
            "\"crash\"" => crash(),
            "\"who\"" => self.result(&who(self.connection)).await,
            "\"garbage\"" => self.garbage().await,
            "\"longline\"" => {
                self.reply.send("x".repeat(20 << 20)).await;
                self.result(DONE).await;
            }
            _ => self.result(&self.echo()).await,
        }
    }

    fn param(&self, name: &str) -> String {
        member(self.params, name).unwrap_or_default()
    }

    fn argument(&self, name: &str) -> Option<String> {
        path(self.params, &["arguments", name])
    }

    fn is_modern(&self) -> bool {
        path(self.params, &["_meta", VERSION]).is_some()
    }

    fn handshake(&self) -> String {
        let version = self.param("protocolVersion");
        let offer =
            r#""capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":true},"logging":{}}"#;
        let info =
            r#""serverInfo":{"name":"fake","version":"1.0.0"},"x-unknown":[9007199254740993,1.0,1e400]"#;
        format!(r#"{{"protocolVersion":{version},{offer},{info}}}"#)
    }

    fn echo(&self) -> String {
        let kind = if self.is_modern() { r#""resultType":"complete","# } else { "" };
        format!(r#"{{{kind}"content":[],"request":{}}}"#, self.text)
    }

    async fn result(&self, result: &str) {
        let id = self.id;
        self.reply.send(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)).await;
    }

    async fn error(&self, code: i32, message: &str) {
        let (id, error) = (self.id, format!(r#"{{"code":{code},"message":"{message}"}}"#));
        self.reply.send(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)).await;
    }

    async fn notify(&self, out: &Out, method: &str, params: &str) -> bool {
        out.send(format!(r#"{{"jsonrpc":"2.0","method":"notifications/{method}","params":{params}}}"#)).await
    }

    async fn progress(&self, step: u64) -> bool {
        let Some(token) = path(self.params, &["_meta", "progressToken"]) else { return true };
        let params = format!(r#"{{"progressToken":{token},"progress":{step}.0,"x-unknown":1e400}}"#);
        self.notify(self.reply, "progress", &params).await
    }

    async fn chatter(&self) {
        self.progress(1).await;
        self.notify(self.reply, "message", r#"{"level":"info","data":{"n":9007199254740993}}"#).await;
        let question =
            r#"{"message":"Which?","requestedSchema":{"type":"object","properties":{}},"x-unknown":1.0}"#;
        let answer = self.fake.ask(self.connection, self.reply, "elicitation/create", question).await;
        self.progress(2).await;
        let answer = if answer.is_empty() { "null".to_owned() } else { answer };
        self.result(&format!(r#"{{"content":[],"answer":{answer}}}"#)).await;
    }

    async fn tell_changes(&self) {
        let listens = self.fake.state().listens.clone();
        for (out, id) in listens {
            let params = format!(r#"{{"_meta":{{"{SUBSCRIPTION}":{id}}}}}"#);
            self.notify(&out, "tools/list_changed", &params).await;
        }
        if !self.is_modern() {
            let standing = &self.connection.standing;
            let updated = r#"{"uri":"test://thing","x-unknown":9007199254740993}"#;
            self.notify(standing, "resources/updated", updated).await;
            self.notify(standing, "tools/list_changed", "{}").await;
        }
    }

    async fn listen(&self) {
        let id = self.id;
        let meta = format!(r#""_meta":{{"{SUBSCRIPTION}":{id}}}"#);
        let offered = path(self.params, &["notifications", "toolsListChanged"]).is_some();
        let accepted = if offered { r#"{"toolsListChanged":true}"# } else { "{}" };
        let params = format!(r#"{{"notifications":{accepted},{meta}}}"#);
        self.notify(self.reply, "subscriptions/acknowledged", &params).await;
        self.fake.state().listens.push((self.reply.clone(), id.to_owned()));
        self.fake.wait_cancelled(self.connection, id).await;
    }

    async fn release(&self) {
        let held = std::mem::take(&mut self.fake.state().held);
        for (out, id) in held.into_iter().rev() {
            out.send(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[],"upstream":{id}}}}}"#))
                .await;
        }
        self.result(DONE).await;
    }

    async fn endless(&self) {
        let mut step = 0;
        while self.progress(step).await {
            step += 1;
            tokio::time::sleep(PACE).await;
        }
    }

    async fn stray(&self) {
        for id in ["987654321", "\"nobody\"", "null", "-1"] {
            self.reply.send(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"wrong":true}}}}"#)).await;
        }
        self.result(DONE).await;
        self.reply.send(format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"wrong":true}}}}"#, self.id)).await;
    }

    async fn garbage(&self) {
        for line in ["npm WARN deprecated thing@1", "", "{", "[]", "42", "\u{feff}", "{\"jsonrpc\":\"2.0\"}"]
        {
            self.reply.send(line).await;
        }
        self.result(DONE).await;
    }
}

const DONE: &str = r#"{"resultType":"complete","content":[]}"#;
const DISCOVERED: &str = r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true}},"ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"fake","version":"1.0.0"}}}"#;

fn who(connection: &Connection) -> String {
    let environment: std::collections::BTreeMap<_, _> = std::env::vars().collect();
    let here = std::env::current_dir().unwrap_or_default();
    let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    serde_json::json!({
        "content": [],
        "pid": std::process::id(),
        "connection": &*connection.name,
        "environment": environment,
        "directory": here,
        "descriptors": descriptors,
    })
    .to_string()
}

#[expect(
    clippy::exit,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a server that dies in the middle of its work"
)]
fn crash() {
    eprintln!("fatal: out of cheese");
    std::process::exit(7)
}
