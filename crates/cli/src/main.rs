//! The binary `shadowcat`: reads the command line and the environment, once, and hands over to a command.

mod admin_client;
mod args;
mod check;
mod completions;
mod config_file;
mod data_args;
mod demo;
mod demo_server;
mod failure;
mod forward;
mod guard;
mod log;
mod man;
mod mock;
mod output;
mod pause;
mod plan_args;
mod process;
mod progress;
mod record;
mod replay;
mod reverse;
mod rules;
mod run;
mod schema;
mod sessions;
mod tape;
mod watch;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

// The system's allocator keeps what a burst of streams took; this one gives it back.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let process = process::Process::new(std::env::vars_os());
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, and go to standard output with code 0.
            error.print().ok();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match cli.run(&process) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            std::io::stderr().write_all(failure.told().as_bytes()).ok();
            failure.exit_code()
        }
    }
}
