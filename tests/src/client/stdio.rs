//! A client that starts its server and speaks to it over pipes.

use std::process::{Command, Stdio};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::process::Process;
use crate::wait::soon;

/// A client with its process.
pub struct StdioClient {
    // Closed before the process is asked to end.
    stdin: Option<pipe::Sender>,
    process: Process,
    _reading: JoinSet<()>,
}

impl StdioClient {
    pub(super) fn start(mut command: Command, inbox: mpsc::Sender<String>) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start(command);
        let stdin = process.stdin.take().expect("stdin is piped");
        let stdout = process.stdout.take().expect("stdout is piped");
        let stdin = pipe::Sender::from_owned_fd(stdin.into()).expect("a pipe");
        let stdout = pipe::Receiver::from_owned_fd(stdout.into()).expect("a pipe");
        let mut reading = JoinSet::new();
        reading.spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if inbox.send(line).await.is_err() {
                    return;
                }
            }
        });
        Self { stdin: Some(stdin), process, _reading: reading }
    }

    pub(super) async fn send(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        let line = format!("{text}\n");
        soon("room in the pipe", stdin.write_all(line.as_bytes())).await.expect("an open pipe");
    }

    pub(super) fn close(&mut self) {
        drop(self.stdin.take());
    }

    pub(super) fn process(&self) -> &Process {
        &self.process
    }
}
