//! `shadowcat record`: one conversation onto a tape.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::Path;

use shadowcat_gateway::{Face, TAPES_DIR};

use crate::failure::Failure;
use crate::plan_args::{PlanArgs, target};
use crate::process::Process;
use crate::run::Run;

/// Where tapes go if nobody says where.
pub(crate) const DATA_DIR: &str = ".shadowcat";

#[derive(Debug, clap::Args)]
#[command(
    override_usage = "shadowcat record [OPTIONS] URL\n       shadowcat record [OPTIONS] -- COMMAND [ARGS]..."
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
        let recorded = &Path::new(DATA_DIR).join(TAPES_DIR);
        let plan = self.plan.recording(Face::Stdio, upstream, recorded, process)?;
        let run = Run { plan, tap: None, workers: self.plan.workers };
        if let Some((path, messages)) = run.until_recorded(process, |_| ())? {
            let path = std::path::absolute(&path).unwrap_or(path);
            writeln!(io::stderr(), "shadowcat: recorded {messages} messages on {}", path.display()).ok();
        }
        Ok(())
    }
}
