//! `shadowcat forward`: one client, on standard input and output.

use std::ffi::OsString;

use shadowcat_gateway::Face;

use crate::failure::Failure;
use crate::plan_args::{PlanArgs, target};
use crate::process::Process;
use crate::run;

#[derive(Debug, clap::Args)]
#[command(
    override_usage = "shadowcat forward [OPTIONS] URL\n       shadowcat forward [OPTIONS] -- COMMAND [ARGS]..."
)]
pub(crate) struct Args {
    /// The server: http(s)://HOST/mcp, or sse+http(s)://HOST/sse for HTTP+SSE [env: SHADOWCAT_UPSTREAM]
    #[arg(value_name = "URL", conflicts_with = "command")]
    url: Option<String>,
    #[command(flatten)]
    plan: PlanArgs,
    /// The server as a program that speaks MCP on its standard input and output
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Args {
    pub(crate) fn run(self, process: &Process) -> Result<(), Failure> {
        let upstream = target(self.url, self.command);
        let plan = self.plan.plan(Face::Stdio, None, upstream, process)?;
        run::Run { plan, tap: None, workers: self.plan.workers }.until_told(process, |_| ())
    }
}
