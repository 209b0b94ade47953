//! `shadowcat replay` and `shadowcat diff-servers`: a tape's calls made again, and their answers compared.

mod differ;
mod listing;
mod server;
mod stepper;
mod terms;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use shadowcat_gateway::{Face, Plan};
use shadowcat_playback::Speed;
use shadowcat_playback::replay::{Pace, Run, play};
use shadowcat_playback::report::{Before, judge};
use shadowcat_playback::script::Script;
use shadowcat_tape::Keys;

use self::server::Server;
use self::stepper::Terminal;
use self::terms::TermsArgs;
use crate::failure::Failure;
use crate::plan_args::{PlanArgs, target};
use crate::process::Process;
use crate::progress::Count;
use crate::tape::files::{self, TapeFiles};
use crate::tape::key_args::KeyArgs;
use crate::tape::played;
use crate::{log, output};

pub(crate) use differ::Args as DiffArgs;

/// What the proxy may add to its longest request before an answer is given up.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
#[command(
    override_usage = "shadowcat replay [OPTIONS] TAPE... --to URL\n       shadowcat replay [OPTIONS] TAPE... -- COMMAND [ARGS]...",
    after_help = "Exit codes: 0 done, 1 failed. With --verify: 0 the same, 1 something differs, 2 it could not be played."
)]
pub(crate) struct Args {
    #[command(flatten)]
    tapes: TapeFiles,
    #[command(flatten)]
    keys: KeyArgs,
    /// The server: http(s)://HOST/mcp, or sse+http(s)://HOST/sse for HTTP+SSE [env: SHADOWCAT_UPSTREAM]
    #[arg(long, value_name = "URL", conflicts_with = "command")]
    to: Option<String>,
    /// How fast: `original`, so many times as fast (`2`, `0.5`), or `max`, as fast as the server answers
    #[arg(long, value_name = "SPEED", default_value = "original")]
    speed: Speed,
    /// Ask on the terminal before each thing that is said
    #[arg(long, conflicts_with = "speed")]
    step: bool,
    /// Compare the answers with those on the tape
    #[arg(long)]
    verify: bool,
    #[command(flatten, next_help_heading = "With --verify")]
    terms: TermsArgs,
    #[command(flatten, next_help_heading = "The way to the server")]
    plan: PlanArgs,
    /// The server as a program that speaks MCP on its standard input and output
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Args {
    pub(crate) fn run(self, process: &Process) -> Result<(), Failure> {
        if !self.verify && self.terms.is_given() {
            return Err(Failure::usage("replay: nothing is compared; give --verify too"));
        }
        if self.step && !io::stdin().is_terminal() {
            return Err(Failure::usage("replay: --step asks on a terminal, and standard input is none"));
        }
        let paths = self.tapes.paths(None, &self.plan.data_args(), process)?;
        let mut terms = self.terms.terms()?;
        let upstream = target(self.to, self.command);
        let mut plan = self.plan.plan(Face::Stdio, None, upstream, process)?;
        self.plan.quieten(&mut plan, process);
        let script = load(&paths, &self.keys.keys(&self.plan.data_args(), process)?)?;
        let pace = pace(if self.step { Speed::Max } else { self.speed }, self.step, &plan, &script);
        "the tape".clone_into(&mut terms.before);
        terms.after = server::name(&plan);
        log::start(plan.log, process);
        let server = Server::new(plan, process)?;
        let runtime = self.plan.workers.runtime()?;
        let run = runtime.block_on(play(&script, &pace, &server));
        drop(pace);
        let report = judge(&terms, &script, Before::Tape, &run);
        if self.verify {
            self.terms.tell(&report)
        } else {
            output::print(&listing::text(&report, &run))?;
            done(&report)
        }
    }
}

/// A replay that nobody judges fails only when the server did not answer at all.
fn done(report: &shadowcat_playback::report::Report) -> Result<(), Failure> {
    report.failure.as_ref().map_or(Ok(()), |failure| Err(Failure::plain(failure.clone())))
}

fn pace(speed: Speed, step: bool, plan: &Plan, script: &Script) -> Pace {
    let patience = plan.timeouts.request_max + PATIENCE;
    if step {
        return Pace { speed, stepper: Some(Arc::new(Terminal::default())), watch: None, patience };
    }
    let progress = Count::of(script.calls(), "replaying");
    Pace { speed, stepper: None, watch: Some(Arc::new(move || progress.one())), patience }
}

/// What is on the tapes. Damage is a failure, because calls that are not said again would look like calls that agree.
fn load(paths: &[PathBuf], keys: &Keys) -> Result<Script, Failure> {
    let tapes = played::load(paths, keys).map_err(Failure::into_usage)?;
    Script::new(tapes).map_err(|cause| {
        let names: Vec<String> = paths.iter().map(|path| files::name(path)).collect();
        Failure::caused(format!("{}: cannot be played", names.join(", ")), cause).into_usage()
    })
}

/// Plays against one server, in a runtime of its own.
fn play_to(
    plan: Plan,
    args: &PlanArgs,
    script: &Script,
    pace: &Pace,
    process: &Process,
) -> Result<Run, Failure> {
    let server = Server::new(plan, process)?;
    Ok(args.workers.runtime()?.block_on(play(script, pace, &server)))
}
