//! `shadowcat reverse`: clients come over HTTP.

use std::ffi::OsString;

use shadowcat_gateway::Face;

use crate::failure::Failure;
use crate::plan_args::{PlanArgs, target};
use crate::process::Process;
use crate::run;

#[derive(Debug, clap::Args)]
#[command(
    override_usage = "shadowcat reverse [OPTIONS] --upstream URL\n       shadowcat reverse [OPTIONS] -- COMMAND [ARGS]..."
)]
pub(crate) struct Args {
    /// Where to listen; port 0 takes a free one [env: SHADOWCAT_LISTEN] [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// The server: http(s)://HOST/mcp, or sse+http(s)://HOST/sse for HTTP+SSE [env: SHADOWCAT_UPSTREAM]
    #[arg(long, value_name = "URL", conflicts_with = "command")]
    upstream: Option<String>,
    #[command(flatten)]
    plan: PlanArgs,
    /// The server as a program that speaks MCP on its standard input and output
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Args {
    pub(crate) fn run(self, process: &Process) -> Result<(), Failure> {
        let upstream = target(self.upstream, self.command);
        let plan = self.plan.plan(Face::Http, self.listen, upstream, process)?;
        run::Run { plan, tap: None, workers: self.plan.workers }.until_told(process, run::announce)
    }
}
