//! `shadowcat diff-servers`: the same calls to two servers.

use std::ffi::OsString;
use std::path::PathBuf;

use shadowcat_gateway::{Face, Plan, Target};
use shadowcat_playback::Speed;
use shadowcat_playback::report::{Before, judge};

use super::terms::TermsArgs;
use super::{load, pace, play_to};
use crate::failure::Failure;
use crate::log;
use crate::plan_args::PlanArgs;
use crate::process::Process;
use crate::tape::files::TapeFiles;
use crate::tape::key_args::KeyArgs;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 the same, 1 something differs, 2 it could not be played.\n\nExample: shadowcat diff-servers a1b2c3 http://127.0.0.1:3001/mcp 'npx my-server@next stdio'"
)]
pub(crate) struct Args {
    /// The tape: a file, or the name of one in the directory, or a part of a name that only one has
    #[arg(value_name = "TAPE")]
    tape: PathBuf,
    /// The server as it was
    #[arg(value_name = "A")]
    first: String,
    /// The server as it is now
    #[arg(value_name = "B")]
    second: Option<String>,
    /// How fast: `original`, so many times as fast (`2`, `0.5`), or `max`, as fast as the server answers
    #[arg(long, value_name = "SPEED", default_value = "max")]
    speed: Speed,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    terms: TermsArgs,
    #[command(flatten, next_help_heading = "The way to the servers")]
    plan: PlanArgs,
}

impl Args {
    pub(crate) fn run(self, process: &Process) -> Result<(), Failure> {
        let paths = TapeFiles::of(vec![self.tape.clone()]).paths(None, &self.plan.data_args(), process)?;
        let mut terms = self.terms.terms()?;
        let mut plans = vec![self.plan_of(&self.first, process)?];
        if let Some(second) = &self.second {
            plans.push(self.plan_of(second, process)?);
        }
        let script = load(&paths, &self.keys.keys(&self.plan.data_args(), process)?)?;
        let mut runs = Vec::new();
        for plan in plans {
            if runs.is_empty() {
                log::start(plan.log, process);
            }
            let pace = pace(self.speed, false, &plan, &script);
            // One behind the other, so that neither slows the other down.
            runs.push(play_to(plan, &self.plan, &script, &pace, process)?);
        }
        "the tape".clone_into(&mut terms.after);
        let sides = [Some(&self.first), self.second.as_ref()].into_iter().flatten();
        let mut before = Before::Tape;
        let mut report = None;
        for (run, side) in runs.iter().zip(sides) {
            terms.before = std::mem::replace(&mut terms.after, side.clone());
            let judged = judge(&terms, &script, before, run);
            // A first server that gives no answer says nothing about the second.
            if judged.failure.is_some() {
                return self.terms.tell(&judged);
            }
            report = Some(judged);
            before = Before::Run(run);
        }
        report.map_or(Ok(()), |report| self.terms.tell(&report))
    }

    fn plan_of(&self, server: &str, process: &Process) -> Result<Plan, Failure> {
        let mut plan = self.plan.plan(Face::Stdio, None, Some(upstream(server)?), process)?;
        self.plan.quieten(&mut plan, process);
        Ok(plan)
    }
}

/// A URL, or the words of a command as a shell reads them.
pub(super) fn upstream(server: &str) -> Result<Target, Failure> {
    let scheme = server.split_once("://").map(|(scheme, _)| scheme);
    if scheme.is_some_and(|scheme| scheme.chars().all(|c| c.is_ascii_alphanumeric() || c == '+')) {
        return Ok(Target::Url(server.to_owned()));
    }
    match shlex::split(server) {
        Some(words) if !words.is_empty() => {
            Ok(Target::Command(words.into_iter().map(OsString::from).collect()))
        }
        _ => Err(Failure::usage(format!(
            "`{server}` is neither a URL nor a command: a quote in it is not closed"
        ))),
    }
}
