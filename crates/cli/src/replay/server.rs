//! The way to a server: an ordinary proxy whose client on stdio is within this process.

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use shadowcat_gateway::{Host, Pipe, Plan, Running, UpstreamTarget, start};
use shadowcat_playback::replay::{Closing, Line, Target};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::process::Process;

/// Bytes on their way between the client and the proxy.
const PIPE_BYTES: usize = 256 * 1024;
/// How long the proxy may take to see that its client is gone.
const GONE_MAX: Duration = Duration::from_secs(10);

/// A server, and the proxy before it for each client.
pub(super) struct Server {
    plan: Plan,
    program: PathBuf,
    environment: Vec<(OsString, OsString)>,
}

impl Server {
    pub(super) fn new(plan: Plan, process: &Process) -> Result<Self, Failure> {
        Ok(Self { plan, program: Process::program()?, environment: process.environment() })
    }
}

/// What reports call the server of a plan.
pub(super) fn name(plan: &Plan) -> String {
    match &plan.upstream.target {
        UpstreamTarget::Http(remote) | UpstreamTarget::Sse(remote) => remote.url.to_string(),
        _ => plan.upstream.name.to_string(),
    }
}

#[async_trait]
impl Target for Server {
    async fn open(&self) -> Result<Line, String> {
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let (input, output) = tokio::io::split(theirs);
        let host = Host {
            guard_program: Some(self.program.clone()),
            environment: self.environment.clone(),
            pipe: Some(Pipe { input: Box::new(input), output: Box::new(output) }),
            ..Host::default()
        };
        let running = start(self.plan.clone(), host).await.map_err(|error| causes(&error))?;
        let (input, output) = tokio::io::split(ours);
        Ok(Line { input: Box::new(input), output: Box::new(output), closing: Box::new(Proxy(running)) })
    }
}

fn causes(error: &dyn Error) -> String {
    let mut told = format!("the way to the server cannot be opened: {error}");
    let mut cause = error.source();
    while let Some(current) = cause {
        told.push_str(": ");
        told.push_str(&current.to_string());
        cause = current.source();
    }
    told
}

struct Proxy(Running);

#[async_trait]
impl Closing for Proxy {
    async fn close(self: Box<Self>) -> bool {
        let has_bridged = self.0.has_bridged();
        let force = CancellationToken::new();
        if tokio::time::timeout(GONE_MAX, self.0.finished()).await.is_err() {
            force.cancel();
        }
        self.0.shutdown(force).await;
        has_bridged
    }
}
