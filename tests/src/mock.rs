//! `shadowcat mock` as a process: on a pair of pipes, and behind a port.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::process::Process;
use crate::proxy::program;

/// A running `shadowcat mock --listen`.
pub struct Mock {
    /// The process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
}

/// The command line of a mock of this tape, on standard input and output.
pub fn mock(tape: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.arg("mock").arg(tape).args(arguments);
    command
}

impl Mock {
    /// Starts one behind a port of its own.
    pub async fn start(tape: &Path, arguments: &[&str]) -> Self {
        let mut command = mock(tape, &["--listen", "127.0.0.1:0"]);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        let process = Process::start(command);
        let url = process.says("shadowcat: ready on http://").await;
        let address = url.split('/').next().and_then(|address| address.parse().ok());
        Self { address: address.unwrap_or_else(|| panic!("no address in {url:?}")), process }
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}
