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
//! | `burst` | as many `events` of progress as its argument says, each of so many `bytes`, without a pause |
//! | `big` | as many bytes as its argument `bytes` says |
//! | `stray` | answers to requests nobody sent, then its own, twice |
//! | `crash` | a last word on stderr, then the end of the process with status 7 |
//! | `who` | process, connection, environment, working directory and descriptors |
//! | `garbage` | lines that are no messages, then the result |
//! | `longline` | a line over any limit, then the result |
//! | `count` | how often it was called on this connection |
//! | `log` | a log message of each level, as far as they are wanted, then the result |
//! | `array` | structured content that is no object |
//! | `ask` | legacy: asks for all of `kinds` and answers with the `answers`; `together`, on the `standing` stream, `afterwards`, under an `id` of its own, or `late`, which is when it was cancelled, if the arguments say so |
//! | `input` | modern: asks for all of `kinds`, in so many `rounds`; answers with what the last one brought, and its own id |
//! | `visited` | legacy: says that a page was visited, then the result |
//! | `url` | legacy: refuses its first call with -32042, which names a page to go to |
//!
//! `hold`, `hang`, `late` and `endless` are parked calls. A call with the argument `after` waits until its connection
//! has had so many of them: then they are known to have arrived.

use std::time::Duration;

use super::era::Speaks;
use super::{Client, Connection, Fake, Listen, Out, SUBSCRIPTION, VERSION, member, path};

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
        if let Some(refused) = self.fake.speaks.refuses(method, self.params) {
            let code = self.fake.discover_code.filter(|_| method == "server/discover");
            return self.error_with(code.unwrap_or(refused.code), refused.message, refused.data).await;
        }
        match method {
            "initialize" => self.result(&self.handshake()).await,
            "server/discover" => self.result(&self.discovered()).await,
            "tools/list" | "resources/read" if self.keeping().is_some() => self.kept().await,
            "tools/list" => self.result(TOOLS.trim()).await,
            "tools/call" => self.tool().await,
            "subscriptions/listen" => self.listen().await,
            "logging/setLevel" => {
                let level = self.param("level");
                self.client(|client| client.log_level = Some(level));
                self.result("{}").await;
            }
            "ping" | "resources/subscribe" | "resources/unsubscribe" => self.result("{}").await,
            "resources/list" => self.page().await,
            "resources/read" if self.param("uri") == MISSING => self.missing().await,
            "resources/read" if self.param("uri") == CHANGES => {
                self.tell_changes().await;
                self.result(&self.echo()).await;
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
            "\"ask\"" => self.ask_in_the_middle().await,
            "\"input\"" => self.ask_by_result().await,
            "\"url\"" => self.send_to_page().await,
            "\"visited\"" => {
                self.notify(self.reply, "elicitation/complete", r#"{"elicitationId":"e-1"}"#).await;
                self.result(DONE).await;
            }
            "\"log\"" => self.log().await,
            "\"array\"" => self.result(ARRAY).await,
            "\"media\"" => self.result(MEDIA).await,
            "\"count\"" => {
                let count = self.fake.count(self.connection, "count");
                self.result(&format!(r#"{{"content":[],"count":{count}}}"#)).await;
            }
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
            "\"burst\"" => self.burst().await,
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

    pub(super) fn param(&self, name: &str) -> String {
        member(self.params, name).unwrap_or_default()
    }

    pub(super) fn argument(&self, name: &str) -> Option<String> {
        path(self.params, &["arguments", name])
    }

    fn is_modern(&self) -> bool {
        self.fake.speaks != Speaks::Legacy && path(self.params, &["_meta", VERSION]).is_some()
    }

    fn client(&self, change: impl FnOnce(&mut Client)) {
        change(self.fake.state().clients.entry(std::sync::Arc::clone(&self.connection.name)).or_default());
    }

    fn discovered(&self) -> String {
        let legacy = if self.fake.speaks == Speaks::Both { r#""2025-11-25","# } else { "" };
        DISCOVERED.replacen('[', &format!("[{legacy}"), 1)
    }

    fn handshake(&self) -> String {
        let capabilities = self.param("capabilities");
        self.client(|client| client.capabilities = capabilities);
        let version = self.param("protocolVersion");
        if self.fake.speaks == Speaks::Legacy {
            return HANDSHAKE_LEGACY.replace("VERSION", &version);
        }
        let offer =
            r#""capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":true},"logging":{}}"#;
        let info =
            r#""serverInfo":{"name":"fake","version":"1.0.0"},"x-unknown":[9007199254740993,1.0,1e400]"#;
        format!(r#"{{"protocolVersion":{version},{offer},{info}}}"#)
    }

    pub(super) fn echo(&self) -> String {
        let kind = if self.is_modern() { r#""resultType":"complete","# } else { "" };
        format!(r#"{{{kind}"content":[],"request":{}}}"#, self.text)
    }

    /// Answers, in the words of the only era the server speaks.
    pub(super) async fn result(&self, result: &str) {
        let id = self.id;
        let result = match self.fake.speaks {
            Speaks::Both => result.to_owned(),
            Speaks::Legacy => result.replacen(COMPLETE, "", 1).replacen(CACHING, "", 1),
            Speaks::Modern if result.contains(r#""resultType":"#) => result.to_owned(),
            Speaks::Modern => result.replacen('{', &format!("{{{COMPLETE}"), 1),
        };
        self.reply.send(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)).await;
    }

    pub(super) async fn error(&self, code: i32, message: &str) {
        self.error_with(code, message, None).await;
    }

    pub(super) async fn error_with(&self, code: i32, message: &str, data: Option<&str>) {
        let data = data.map(|data| format!(r#","data":{data}"#)).unwrap_or_default();
        let (id, error) = (self.id, format!(r#"{{"code":{code},"message":"{message}"{data}}}"#));
        self.reply.send(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)).await;
    }

    async fn notify(&self, out: &Out, method: &str, params: &str) -> bool {
        out.send(format!(r#"{{"jsonrpc":"2.0","method":"notifications/{method}","params":{params}}}"#)).await
    }

    pub(super) async fn progress(&self, step: u64) -> bool {
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

    async fn log(&self) {
        let session =
            self.fake.state().clients.get(&self.connection.name).and_then(|of| of.log_level.clone());
        let level = if self.is_modern() { path(self.params, &["_meta", LOG_LEVEL]) } else { session };
        let wanted = LEVELS.iter().position(|name| level == Some(format!("\"{name}\"")));
        let from = wanted.unwrap_or(if self.is_modern() { LEVELS.len() } else { 0 });
        for name in LEVELS.iter().skip(from) {
            let params = format!(r#"{{"level":"{name}","data":{{"n":9007199254740993}}}}"#);
            self.notify(self.reply, "message", &params).await;
        }
        self.result(DONE).await;
    }

    /// For how long a page or a resource may be kept, and by whom, as whoever asks for it wants to be told: `keep=600000:public`
    /// at the end of the cursor or the URI.
    fn keeping(&self) -> Option<String> {
        let named = [self.param("cursor"), self.param("uri")].concat();
        Some(named.trim_matches('"').split_once("keep=")?.1.to_owned())
    }

    async fn kept(&self) {
        let keeping = self.keeping().unwrap_or_default();
        let (ttl, scope) = keeping.split_once(':').unwrap_or_default();
        let caching = format!(r#""ttlMs" : {ttl},"cacheScope":"{scope}""#);
        let listed = r#""tools":[{"name":"echo","inputSchema":{"type":"object"}}],"contents":[]"#;
        self.result(&format!(
            r#"{{"resultType":"complete",{listed},{caching},"x-unknown":9007199254740993}}"#
        ))
        .await;
    }

    /// The second page says of which connection it is, and what it was asked by.
    async fn page(&self) {
        let (name, cursor) = (&self.connection.name, self.param("cursor"));
        let told = if cursor.is_empty() {
            r#""nextCursor":"2""#.to_owned()
        } else {
            format!(r#""cursor":{cursor},"connection":"{name}""#)
        };
        self.result(&format!(r#"{{"resources":[],{told}}}"#)).await;
    }

    async fn missing(&self) {
        let code = if self.is_modern() { -32602 } else { -32002 };
        let data = format!(r#"{{"uri":{MISSING},"x-unknown":1e400}}"#);
        self.error_with(code, "Resource not found", Some(&data)).await;
    }

    async fn tell_changes(&self) {
        let listens = self.fake.state().listens.clone();
        for Listen { out, id, resources } in listens {
            let meta = format!(r#""_meta":{{"{SUBSCRIPTION}":{id}}}"#);
            if resources.is_some_and(|resources| resources.contains("test://thing")) {
                let params = format!(r#"{{"uri":"test://thing",{meta}}}"#);
                self.notify(&out, "resources/updated", &params).await;
            }
            self.notify(&out, "tools/list_changed", &format!("{{{meta}}}")).await;
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
        let resources = path(self.params, &["notifications", "resourceSubscriptions"]);
        let tools = offered.then(|| r#""toolsListChanged":true"#.to_owned());
        let uris = resources.as_ref().map(|uris| format!(r#""resourceSubscriptions":{uris}"#));
        let accepted = tools.into_iter().chain(uris).collect::<Vec<_>>().join(",");
        let params = format!(r#"{{"notifications":{{{accepted}}},{meta}}}"#);
        self.notify(self.reply, "subscriptions/acknowledged", &params).await;
        let listen = Listen { out: self.reply.clone(), id: id.to_owned(), resources };
        self.fake.state().listens.push(listen);
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

    async fn burst(&self) {
        let number =
            |name: &str| self.argument(name).and_then(|raw| raw.parse::<usize>().ok()).unwrap_or_default();
        let fill = "x".repeat(number("bytes"));
        let token = path(self.params, &["_meta", "progressToken"]).unwrap_or_default();
        for step in 0..number("events") {
            let params = format!(r#"{{"progressToken":{token},"progress":{step},"message":"{fill}"}}"#);
            self.notify(self.reply, "progress", &params).await;
        }
        self.result(DONE).await;
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

const COMPLETE: &str = r#""resultType":"complete","#;
const CACHING: &str = r#","ttlMs":0,"cacheScope":"private""#;
const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
/// As the tool `updated`, but no tool: who calls one may read the list of tools first.
const CHANGES: &str = "\"test://changes\"";
const MISSING: &str = "\"test://missing\"";
pub(super) const DONE: &str = r#"{"resultType":"complete","content":[]}"#;
const MEDIA: &str = r#"{"content":[{"type":"audio","data":"AAAA","mimeType":"audio/wav"},{"type":"resource_link","uri":"a:b","name":"n"},{"type":"text","text":"x"}]}"#;
const ARRAY: &str =
    r#"{"resultType":"complete","content":[{"type":"text","text":"[1,2]"}],"structuredContent":[1,2]}"#;
const HANDSHAKE_LEGACY: &str = r#"{"protocolVersion":VERSION,"capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":true},"logging":{},"tasks":{"list":{}}},"serverInfo":{"name":"fake","version":"1.0.0"},"instructions":"be kind","x-unknown":[9007199254740993,1.0,1e400]}"#;
const DISCOVERED: &str = r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":true},"logging":{}},"instructions":"be kind","ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"fake","version":"1.0.0"}}}"#;

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
