//! `shadowcat pause`: messages of a running proxy that wait for a person, and which are to wait.

mod breaks;
pub(crate) mod decide;
pub(crate) mod edit;
mod show;

use clap::Subcommand;
use serde::Serialize;

use crate::admin_client::{Admin, AdminArgs};
use crate::failure::Failure;
use crate::output;
use crate::process::Process;
use crate::run;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    proxy: AdminArgs,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(show::ListArgs),
    Show(show::ShowArgs),
    Resume(decide::Resume),
    Edit(edit::Args),
    Answer(decide::Answer),
    Drop(decide::Drop),
    Block(decide::Block),
    /// Say which messages are to be held
    #[command(subcommand)]
    Break(breaks::Action),
    Approve(decide::Approve),
    Deny(decide::Deny),
}

impl Args {
    pub(crate) fn run(&self, process: &Process) -> Result<(), Failure> {
        run::wait_for(async {
            let admin = Admin::find(&self.proxy, process)?;
            match &self.action {
                Action::List(args) => args.run(&admin).await,
                Action::Show(args) => args.run(&admin).await,
                Action::Resume(args) => args.run(&admin).await,
                Action::Edit(args) => args.run(&admin, process).await,
                Action::Answer(args) => args.run(&admin).await,
                Action::Drop(args) => args.run(&admin).await,
                Action::Block(args) => args.run(&admin).await,
                Action::Break(action) => action.run(&admin).await,
                Action::Approve(args) => args.run(&admin).await,
                Action::Deny(args) => args.run(&admin).await,
            }
        })
    }
}

/// Prints something for programs.
fn print_json(said: &impl Serialize) -> Result<(), Failure> {
    let text =
        serde_json::to_string_pretty(said).map_err(|cause| Failure::caused("cannot be printed", cause))?;
    output::print(&format!("{text}\n"))
}

/// A number as part of a path: it is nothing else there.
fn path(before: &str, id: &str, behind: &str) -> Result<String, Failure> {
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(Failure::usage(format!(
            "`{id}` is no number such as h-1; `shadowcat pause list` shows them"
        )));
    }
    Ok(format!("/v1/{before}/{id}{behind}"))
}
