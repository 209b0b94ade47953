//! Official clients of one era before official servers of the other: they ask, answer and remember as if both were of one.

use serde_json::Value;
use shadowcat_tests::proxy::{Proxy, before_command, before_url, program};

use crate::peers::{node, peer, progress, python, serve, source, talk};

const MODERN: &str = "2026-07-28";

/// What a client answers: the names of both servers' forms, one model, one root.
const ANSWERS: [&str; 6] =
    ["--answer", r#"{"answer":"blue","response":"blue"}"#, "--sample", "Paris", "--root", "file:///peer"];

type Client = (&'static str, Vec<String>);

fn modern_clients() -> [Client; 2] {
    let modern = |words: [String; 2]| words.into_iter().chain(["--mode".into(), MODERN.into()]).collect();
    [
        ("Python 2", modern([python(), source("python/client.py")])),
        ("TypeScript 2", modern([node(), source("typescript/client.mjs")])),
    ]
}

fn legacy_clients() -> [Client; 3] {
    [
        ("Python 1", vec![peer("python-mcp1/bin/python"), source("python/client_v1.py")]),
        ("TypeScript 1", vec![node(), source("typescript/client-v1.mjs")]),
        ("TypeScript 2", vec![node(), source("typescript/client.mjs")]),
    ]
}

/// A server of one era: how it is started, and the names of its tools.
struct Server {
    words: Vec<String>,
    ask: [&'static str; 2],
    sample: &'static str,
    roots: &'static str,
    count: Option<&'static str>,
    progress: Option<&'static str>,
}

impl Server {
    fn python(words: Vec<String>) -> Self {
        let ask = ["ask", r#"{"question":"Which?"}"#];
        Self { words, ask, sample: "sample", roots: "roots", count: None, progress: Some("progress") }
    }

    fn python_1() -> Self {
        let words = vec![peer("python-mcp1/bin/python"), source("python/server_v1.py")];
        Self { count: Some("count"), ..Self::python(words) }
    }

    fn python_2() -> Self {
        Self::python(vec![python(), source("python/server.py"), "--modern".into()])
    }

    fn typescript(script: &str, flags: &[&str]) -> Self {
        let words = [node(), source(script)].into_iter().chain(flags.iter().map(|flag| (*flag).to_owned()));
        Self {
            words: words.collect(),
            ask: ["test_elicitation", r#"{"message":"Which?"}"#],
            sample: "test_sampling",
            roots: "test_input_required_result_list_roots",
            count: None,
            progress: None,
        }
    }

    fn typescript_1(flags: &[&str]) -> Self {
        let server = Self::typescript("conformance-server/legacy-server.mjs", flags);
        Self { count: Some("test_counter"), ..server }
    }

    fn typescript_2() -> Self {
        Self::typescript("conformance-server/server.mjs", &["--modern"])
    }

    /// The proxy in front of it, and the server where it is no child of the proxy's.
    async fn behind(&self, flag: &str) -> (Proxy, Option<tokio::process::Child>) {
        if flag == "--stdio" {
            let words: Vec<String> = self.words.iter().cloned().chain([flag.to_owned()]).collect();
            return (before_command(&words).start().await, None);
        }
        let (server, port) = serve(&self.words, flag).await;
        let url = match flag {
            "--sse" => format!("sse+http://127.0.0.1:{port}/sse"),
            _ => format!("http://127.0.0.1:{port}/mcp"),
        };
        (before_url(&url).start().await, Some(server))
    }

    /// All its tools, as a client is told to call them.
    fn calls(&self) -> Vec<&str> {
        let mut calls = vec!["--call", self.ask[0], self.ask[1]];
        calls.extend(["--call", self.sample, r#"{"prompt":"Capital?"}"#, "--call", self.roots, "{}"]);
        if let Some(count) = self.count {
            calls.extend(["--call", count, "{}", "--call", count, "{}"]);
        }
        if let Some(progress) = self.progress {
            calls.extend(["--call", progress, r#"{"steps":3}"#]);
        }
        calls
    }

    fn check(&self, said: &Value, case: &str) {
        let text = |at: usize| said["calls"][at]["text"].as_str().unwrap_or_default();
        assert!(text(0).contains("blue"), "{case}: {said}");
        assert!(text(1).contains("Paris"), "{case}: {said}");
        assert!(text(2).contains("file:///peer"), "{case}: {said}");
        assert_eq!(said["asked"][0], "Which?", "{case}: {said}");
        assert_eq!(said["asked"].as_array().unwrap().len(), 3, "{case}: {said}");
        if self.count.is_some() {
            // Clients of one principal that can do the same may meet one session, and count on.
            let [first, second] = [3, 4].map(|at| text(at).parse::<u32>().unwrap());
            assert_eq!(second, first + 1, "{case}: {said}");
        }
        if self.progress.is_some() {
            let last = said["calls"].as_array().unwrap().last().unwrap();
            assert_eq!(progress(last), [1.0, 2.0, 3.0], "{case}: {said}");
        }
    }
}

async fn serves(server: &Server, flag: &str, clients: &[Client], ways: &[&str]) {
    let (proxy, _server) = server.behind(flag).await;
    let options: Vec<&str> = ANSWERS.into_iter().chain(server.calls()).collect();
    for (name, client) in clients {
        for way in ways {
            let url = proxy.url(if *way == "--sse" { "/sse" } else { "/mcp" });
            let said = talk(client, &options, &[way, &url]).await;
            server.check(&said, &format!("{name} {way} to {flag}"));
            let is_modern = client.iter().any(|word| word == MODERN);
            assert_eq!(said["version"] == MODERN, is_modern, "{name}: {said}");
        }
    }
}

#[tokio::test]
async fn b1_modern_clients_use_a_python_1_server_on_every_transport() {
    for flag in ["--stdio", "--http", "--sse"] {
        serves(&Server::python_1(), flag, &modern_clients(), &["--http"]).await;
    }
}

#[tokio::test]
async fn b1_modern_clients_use_a_typescript_1_server_on_every_transport() {
    for flag in ["--stdio", "--http", "--sse"] {
        serves(&Server::typescript_1(&[]), flag, &modern_clients(), &["--http"]).await;
    }
}

#[tokio::test]
async fn b1_modern_clients_use_a_typescript_1_server_that_asks_on_its_standing_stream() {
    serves(&Server::typescript_1(&["--standing"]), "--http", &modern_clients(), &["--http"]).await;
}

#[tokio::test]
async fn b2_legacy_clients_use_a_python_2_server_that_speaks_the_modern_era_only() {
    serves(&Server::python_2(), "--http", &legacy_clients(), &["--http", "--sse"]).await;
}

#[tokio::test]
async fn b2_legacy_clients_use_a_typescript_2_server_that_speaks_the_modern_era_only() {
    for flag in ["--stdio", "--http"] {
        serves(&Server::typescript_2(), flag, &legacy_clients(), &["--http", "--sse"]).await;
    }
}

#[tokio::test]
async fn forward_puts_a_client_on_stdio_before_a_server_of_the_other_era() {
    let shadowcat = program().to_str().unwrap().to_owned();
    let [python, _] = modern_clients();
    let [_, typescript, _] = legacy_clients();
    for (server, (name, client)) in
        [(Server::typescript_1(&[]), python), (Server::typescript_2(), typescript)]
    {
        let (_server, port) = serve(&server.words, "--http").await;
        let url = format!("http://127.0.0.1:{port}/mcp");
        let options: Vec<&str> = ANSWERS.into_iter().chain(server.calls()).collect();
        let said = talk(&client, &options, &["--stdio", &shadowcat, "forward", &url]).await;
        server.check(&said, name);
    }
}
