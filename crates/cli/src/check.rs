//! `shadowcat check`: would it start?

use std::path::PathBuf;

use shadowcat_gateway::{Face, Overrides, Plan, UpstreamTarget};

use crate::config_file;
use crate::failure::Failure;
use crate::output;
use crate::process::Process;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration file [env: SHADOWCAT_CONFIG] [default: shadowcat.yaml]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(&self, process: &Process) -> Result<(), Failure> {
        let named = process.path(self.file.as_ref(), config_file::VARIABLE);
        let path = named.unwrap_or_else(|| PathBuf::from("shadowcat.yaml"));
        let loaded = config_file::read(&path)?;
        let plan = Plan::resolve(Face::Http, &Overrides::default(), &loaded, &process.variables())
            .and_then(|plan| plan.rules.check_files().map(|()| plan))
            .map_err(|errors| Failure::usage(errors.to_string()))?;
        output::print(&format!("{}: right; {}\n", path.display(), summary(&plan)))
    }
}

fn summary(plan: &Plan) -> String {
    let kind = match &plan.upstream.target {
        UpstreamTarget::Stdio(_) => "stdio",
        UpstreamTarget::Http(_) => "Streamable HTTP",
        UpstreamTarget::Sse(_) => "HTTP+SSE",
        UpstreamTarget::Tape(_) => "a tape",
    };
    let clients = plan.auth.as_ref().map_or_else(String::new, |auth| {
        let (tokens, issuers) = (auth.tokens.len(), auth.issuers.len());
        format!("; clients say who they are (tokens: {tokens}, issuers: {issuers})")
    });
    format!("the upstream is {} over {kind}{clients}", plan.upstream.name)
}
