//! The example as a program, in front of a server.

use std::process::Command;

use rustix::process::Signal;
use shadowcat_tests::client::{Client, call};
use shadowcat_tests::process::Process;
use shadowcat_tests::server::{HttpServer, HttpSettings, path};
use shadowcat_tests::wait::{SOON, within};

#[tokio::test]
async fn a_program_with_a_proxy_inside_carries_calls_and_refuses_its_own() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_shadowcat-embedding"));
    command.arg(server.url());
    let program = Process::start(command);
    let url = program.says("clients come in at http://").await;
    let mut client = Client::http(url.strip_suffix("/mcp").unwrap().parse().unwrap());
    client.handshake("2025-11-25").await;
    let answer = client.request(&call("1", "echo", r#"{"n":9007199254740993}"#, "")).await;
    let arrived = path(&answer, &["result", "request", "params", "arguments", "n"]);
    assert_eq!(arrived.as_deref(), Some("9007199254740993"), "{answer}");
    let answer = client.request(&call("2", "shell", "{}", "")).await;
    assert_eq!(path(&answer, &["error", "code"]).as_deref(), Some("-31015"), "{answer}");
    assert_eq!(path(&answer, &["error", "message"]).as_deref(), Some("\"no shells here\""), "{answer}");
    program.signal(Signal::INT);
    program.says("ended in order").await;
    within(SOON, "the end of the program", program.ended()).await;
}
