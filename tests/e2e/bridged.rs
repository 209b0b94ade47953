//! What the tests of both bridges are made of: servers of one era on each transport, modern calls round by round.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::value::RawValue;
use shadowcat_tests::client::Client;
use shadowcat_tests::process::{Process, gone};
use shadowcat_tests::proxy::{Proxy, Reverse, before_command, before_url, configured, program};
use shadowcat_tests::raw::{Ask, Events};
use shadowcat_tests::server::{HttpServer, HttpSettings, Speaks, SseServer, member, path};
use shadowcat_tests::wait::{found, soon};
use tempfile::TempDir;

use crate::harness::child;
use crate::modern::envelope;

/// The capabilities of a client that can be asked for a form.
pub(crate) const FORMS: &str = r#"{"elicitation":{"form":{}}}"#;
/// The capabilities of a client that can be asked for anything.
pub(crate) const ALL: &str = r#"{"elicitation":{"form":{},"url":{}},"sampling":{},"roots":{}}"#;

/// A server of one era.
pub(crate) enum Server {
    Http(HttpServer),
    Sse(SseServer),
    Child(TempDir),
}

/// The transports of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    Http,
    Sse,
    Stdio,
}

/// Those a legacy server may have.
pub(crate) const LEGACY: [On; 3] = [On::Http, On::Sse, On::Stdio];
/// Those a modern server may have.
pub(crate) const MODERN: [On; 2] = [On::Http, On::Stdio];

/// A proxy before a server of one era.
pub(crate) struct Bridged {
    pub(crate) proxy: Proxy,
    pub(crate) server: Server,
}

impl Server {
    /// A server that speaks this era only, and a proxy that can be started before it.
    pub(crate) async fn start(on: On, speaks: Speaks) -> (Self, Reverse) {
        match on {
            On::Http => {
                let server = HttpServer::start(HttpSettings { speaks, ..HttpSettings::default() }).await;
                let reverse = before_url(&server.url());
                (Self::Http(server), reverse)
            }
            On::Sse => {
                assert_eq!(speaks, Speaks::Legacy, "this transport is a legacy one");
                let server = SseServer::start().await;
                let reverse = before_url(&server.url());
                (Self::Sse(server), reverse)
            }
            On::Stdio => {
                let directory = tempfile::tempdir().unwrap();
                write_era(&directory, speaks);
                let reverse = before_command(&command(&directory));
                (Self::Child(directory), reverse)
            }
        }
    }

    /// A legacy server on stdio, of which so many may run.
    pub(crate) fn start_children(children_max: usize) -> (Self, Reverse) {
        let directory = tempfile::tempdir().unwrap();
        write_era(&directory, Speaks::Legacy);
        let words = serde_json::to_string(&command(&directory)).unwrap();
        let yaml = format!("upstream:\n  command: {words}\n  children_max: {children_max}\n");
        (Self::Child(directory), configured(&yaml))
    }

    /// A client on standard input and output of `shadowcat forward`, before this server.
    pub(crate) fn forwarded(&self) -> Client {
        let mut forward = Command::new(program());
        forward.arg("forward");
        match self {
            Self::Http(server) => forward.arg(server.url()),
            Self::Sse(server) => forward.arg(server.url()),
            Self::Child(directory) => forward.arg("--").args(command(directory)),
        };
        Client::stdio(forward)
    }

    /// Puts a version of it in its place that speaks these eras. Of the old one, behind this process, nothing is left.
    pub(crate) async fn becomes(&self, speaks: Speaks, behind: &Process) {
        match self {
            Self::Http(server) => server.becomes(speaks),
            Self::Sse(_) => panic!("this transport is a legacy one"),
            Self::Child(directory) => {
                write_era(directory, speaks);
                kill_servers(behind, &child()).await;
            }
        }
    }

    /// Starts it anew: it knows nothing of its sessions.
    pub(crate) async fn restarts(&self, behind: &Process) {
        match self {
            Self::Http(server) => server.forget(),
            Self::Sse(server) => server.upstream.cut_all(),
            Self::Child(_) => kill_servers(behind, &child()).await,
        }
    }

    /// The messages that have reached it, in their order.
    pub(crate) fn seen(&self) -> Vec<String> {
        let upstream = match self {
            Self::Http(server) => &server.upstream,
            Self::Sse(server) => &server.upstream,
            Self::Child(directory) => {
                let text = std::fs::read_to_string(log(directory)).unwrap_or_default();
                return text.lines().map(str::to_owned).collect();
            }
        };
        upstream.seen().into_iter().map(|seen| seen.body).filter(|body| !body.is_empty()).collect()
    }

    /// Those with this method.
    pub(crate) fn calls(&self, method: &str) -> Vec<String> {
        let quoted = Some(format!("\"{method}\""));
        self.seen().into_iter().filter(|text| member(text, "method") == quoted).collect()
    }

    /// Waits for the first with this method.
    pub(crate) async fn call(&self, method: &str) -> String {
        found(format!("{method} at the server"), || self.calls(method).into_iter().next()).await
    }

    /// The responses that have reached it.
    pub(crate) fn responses(&self) -> Vec<String> {
        self.seen().into_iter().filter(|text| member(text, "method").is_none()).collect()
    }
}

/// A server on stdio that writes down what reaches it.
fn command(directory: &TempDir) -> [String; 5] {
    let [era, log] = [era(directory), log(directory)].map(|path| path.display().to_string());
    [child(), "--speaks-as".into(), era, "--log".into(), log]
}

/// Kills the children of a process that run this program.
pub(crate) async fn kill_servers(behind: &Process, program: &str) {
    let is_server = |pid: &u32| {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(program.as_bytes()))
    };
    let mut servers = behind.children();
    servers.retain(is_server);
    for pid in &servers {
        // One that ends at this moment is as good as killed.
        kill_process(Pid::from_raw((*pid).try_into().unwrap()).unwrap(), Signal::KILL).ok();
    }
    gone(&servers).await;
}

fn write_era(directory: &TempDir, speaks: Speaks) {
    let word = match speaks {
        Speaks::Both => "both",
        Speaks::Legacy => "legacy",
        Speaks::Modern => "modern",
    };
    std::fs::write(era(directory), word).unwrap();
}

fn era(directory: &TempDir) -> PathBuf {
    directory.path().join("era")
}

fn log(directory: &TempDir) -> PathBuf {
    directory.path().join("log")
}

/// A proxy before a server of this era only.
pub(crate) async fn bridged(on: On, speaks: Speaks, config: &str) -> Bridged {
    let (server, reverse) = Server::start(on, speaks).await;
    Bridged { proxy: reverse.config(config).start().await, server }
}

/// A proxy before a server of the legacy eras.
pub(crate) async fn before_legacy(on: On, config: &str) -> Bridged {
    bridged(on, Speaks::Legacy, config).await
}

impl Bridged {
    /// Sends a modern request; gives its response.
    pub(crate) async fn ask(&self, asked: Ask) -> String {
        asked.send(self.proxy.address).await.message().await
    }

    /// Waits until a figure has this value.
    pub(crate) async fn metric_is(&self, name: &str, value: f64) {
        soon(format!("{name} is {value}"), async {
            while (self.proxy.metric(name).await - value).abs() > 0.1 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Opens a subscription; gives what the server has accepted and what follows.
    pub(crate) async fn listen(&self, id: &str, filter: &str) -> (String, Events) {
        let members = format!(r#""notifications":{filter},"#);
        let asked = modern(id, "subscriptions/listen", None, &members, "{}", "");
        let mut events = asked.send(self.proxy.address).await.events();
        let first = events.message().await;
        assert_eq!(
            member(&first, "method").as_deref(),
            Some(r#""notifications/subscriptions/acknowledged""#)
        );
        assert_eq!(subscription(&first).as_deref(), Some(id), "{first}");
        (path(&first, &["params", "notifications"]).unwrap(), events)
    }
}

/// The subscription a notification belongs to.
pub(crate) fn subscription(text: &str) -> Option<String> {
    path(text, &["params", "_meta", "io.modelcontextprotocol/subscriptionId"])
}

/// A modern request of a client with these capabilities; `members` and `meta` end with a comma.
pub(crate) fn modern(
    id: &str,
    method: &str,
    name: Option<&str>,
    members: &str,
    capabilities: &str,
    meta: &str,
) -> Ask {
    let prefix = "io.modelcontextprotocol";
    let stamp =
        format!(r#""{prefix}/protocolVersion":"2026-07-28","{prefix}/clientCapabilities":{capabilities}"#);
    let params = format!(r#"{{{members}"_meta":{{{meta}{stamp}}}}}"#);
    envelope(method, name, &format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#))
}

/// A modern call of a tool by a client with these capabilities.
pub(crate) fn call_of(id: &str, tool: &str, arguments: &str, capabilities: &str) -> Ask {
    let members = format!(r#""name":"{tool}","arguments":{arguments},"#);
    modern(id, "tools/call", Some(tool), &members, capabilities, "")
}

/// What a call wants to know before it goes on.
#[derive(Debug)]
pub(crate) struct Round {
    /// As JSON text.
    pub(crate) state: String,
    pub(crate) requests: BTreeMap<String, Box<RawValue>>,
}

impl Round {
    /// Reads it off a response that has to be one.
    pub(crate) fn of(answer: &str) -> Self {
        let kind = path(answer, &["result", "resultType"]);
        assert_eq!(kind.as_deref(), Some("\"input_required\""), "{answer}");
        let requests = path(answer, &["result", "inputRequests"]).unwrap_or_else(|| "{}".into());
        let state = path(answer, &["result", "requestState"]).expect("a state");
        Self { state, requests: serde_json::from_str(&requests).expect("requests by key") }
    }

    /// The only request, as JSON text.
    pub(crate) fn request(&self) -> &str {
        assert_eq!(self.requests.len(), 1, "{self:?}");
        self.requests.values().next().unwrap().get()
    }

    /// The members of the retry in which every request is answered by `answer`; they end with a comma.
    pub(crate) fn answered(&self, answer: impl Fn(&str) -> String) -> String {
        let answers: Vec<_> =
            self.requests.iter().map(|(key, asked)| format!(r#""{key}":{}"#, answer(asked.get()))).collect();
        format!(r#""inputResponses":{{{}}},"requestState":{},"#, answers.join(","), self.state)
    }

    /// The retry of a call of a tool in which every request is answered by `answer`.
    pub(crate) fn retry(
        &self,
        id: &str,
        tool: &str,
        arguments: &str,
        capabilities: &str,
        answer: &str,
    ) -> Ask {
        let answered = self.answered(|_| answer.to_owned());
        let members = format!(r#""name":"{tool}","arguments":{arguments},{answered}"#);
        modern(id, "tools/call", Some(tool), &members, capabilities, "")
    }
}

/// The code of the error a response is.
pub(crate) fn code(answer: &str) -> Option<i64> {
    path(answer, &["error", "code"])?.parse().ok()
}

/// The type of a result.
pub(crate) fn kind(answer: &str) -> Option<String> {
    path(answer, &["result", "resultType"])
}
