//! `shadowcat mock`: tapes in the place of a server.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shadowcat_gateway::config::Loaded;
use shadowcat_gateway::{Face, Overrides, Plan, Playing, Store};
use shadowcat_playback::player::{Player, Settings};
use shadowcat_playback::{Ignored, Speed};

use crate::data_args::DataArgs;
use crate::failure::Failure;
use crate::plan_args::{LogArgs, target};
use crate::process::Process;
use crate::run::{self, Run, Workers};
use crate::tape::files::TapeFiles;
use crate::tape::key_args::KeyArgs;
use crate::tape::played;

#[derive(Debug, clap::Args)]
#[command(
    override_usage = "shadowcat mock [OPTIONS] TAPE...\n       shadowcat mock [OPTIONS] TAPE... --fallback URL\n       shadowcat mock [OPTIONS] TAPE... -- COMMAND [ARGS]..."
)]
pub(crate) struct Args {
    #[command(flatten)]
    tapes: TapeFiles,
    #[command(flatten)]
    keys: KeyArgs,
    /// Serve HTTP here instead of standard input and output; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// How fast what a server said comes: `original`, `max`, or how many times as fast
    #[arg(long, default_value = "max")]
    speed: Speed,
    /// Leave this out when calls are compared, such as `$.params.arguments.now` or `$..traceId`; may be given again
    #[arg(long, value_name = "JSONPATH")]
    ignore: Vec<String>,
    /// Call no tool more often than the tapes do, and fail in the end unless clients asked exactly what is on them
    #[arg(long)]
    strict: bool,
    /// Ask this server for what is not on the tapes, and record its answers on a new tape
    #[arg(long, value_name = "URL", conflicts_with = "command")]
    fallback: Option<String>,
    /// Directory of new tapes [env: SHADOWCAT_RECORD] [default: with a fallback, that of the last tape]
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// Serve the admin API here, such as 127.0.0.1:0; `shadowcat pause` finds it by --data [env: SHADOWCAT_ADMIN]
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin: Option<String>,
    /// End a request when it is silent for this long, such as 30s [env: SHADOWCAT_REQUEST_TIMEOUT]
    #[arg(long, value_name = "TIME")]
    request_timeout: Option<String>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    workers: Workers,
    /// The fallback as a program that speaks MCP on its standard input and output
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Args {
    pub(crate) fn run(self, process: &Process) -> Result<(), Failure> {
        let paths = self.tapes.paths(self.record.as_ref(), &self.data, process)?;
        let ignored =
            Ignored::parse(&self.ignore).map_err(|error| Failure::usage(format!("--ignore: {error}")))?;
        let settings = Settings { ignored, is_strict: self.strict };
        let player = Player::new(played::load(&paths, &self.keys.keys(&self.data, process)?)?, settings);
        let player = Arc::new(player.map_err(|error| Failure::plain(error.to_string()))?);
        let fallback = target(self.fallback, self.command);
        let beside = paths.last().and_then(|path| path.parent()).map(Path::to_owned);
        let record = match (&fallback, process.path(self.record.as_ref(), "SHADOWCAT_RECORD")) {
            (Some(_), None) => beside,
            (_, named) => named,
        };
        let flags = Overrides {
            upstream: fallback,
            tape: Some(Playing { player: Arc::clone(&player), speed: self.speed, beyond: None }),
            record,
            request_timeout: self.request_timeout,
            admin: self.admin,
            log_level: self.log.log_level,
            log_format: self.log.log_format,
            listen: self.listen,
            data: self.data.named(process)?,
            rules: Vec::new(),
            breaks: Vec::new(),
        };
        let face = if flags.listen.is_some() { Face::Http } else { Face::Stdio };
        let mut plan = Plan::resolve(face, &flags, &Loaded::default(), &process.variables())
            .map_err(|errors| Failure::usage(errors.to_string()))?;
        // The data directory is that of the tapes and of the admin API. A place on a tape is not kept, so no session is.
        plan.sessions.store = Store::Memory;
        Run { plan, tap: None, workers: self.workers }.until_told(process, run::announce)?;
        conclude(&player, self.strict)
    }
}

/// Says what was played and what was not; where that matters, it is a failure.
fn conclude(player: &Player, is_strict: bool) -> Result<(), Failure> {
    let report = player.report();
    let told = report.to_string();
    if is_strict && !report.is_complete() {
        return Err(Failure::plain([vec![told], report.lines()].concat().join("\n")));
    }
    writeln!(io::stderr(), "shadowcat: {told}").ok();
    Ok(())
}
