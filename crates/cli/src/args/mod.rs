//! The command line: one variant a command, and where each is carried out.

use clap::{Parser, Subcommand};

use crate::failure::Failure;
use crate::process::Process;
use crate::{
    check, completions, demo, demo_server, forward, guard, man, mock, record, replay, reverse, schema,
    sessions, tape,
};

/// The proxy for the Model Context Protocol.
///
/// It stands between clients and a server, on any transport, and records what they say.
#[derive(Debug, Parser)]
#[command(name = "shadowcat", version, propagate_version = true, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong command line, environment or file.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Reverse(reverse::Args),
    Forward(forward::Args),
    Mock(mock::Args),
    Record(record::Args),
    Demo(demo::Args),
    Check(check::Args),
    /// Print the JSON schema of the configuration file
    Schema,
    Sessions(sessions::Args),
    Tape(tape::Args),
    Replay(replay::Args),
    DiffServers(replay::DiffArgs),
    Completions(completions::Args),
    Man(man::Args),
    /// Ends children whose proxy was killed; started by the proxy itself.
    #[command(hide = true)]
    Guard,
    /// The MCP server of `shadowcat demo`, on standard input and output.
    #[command(hide = true)]
    DemoServer,
}

impl Cli {
    pub(crate) fn run(self, process: &Process) -> Result<(), Failure> {
        match self.command {
            Command::Reverse(args) => args.run(process),
            Command::Forward(args) => args.run(process),
            Command::Mock(args) => args.run(process),
            Command::Record(args) => args.run(process),
            Command::Demo(args) => args.run(process),
            Command::Check(args) => args.run(process),
            Command::Schema => schema::run(),
            Command::Sessions(args) => args.run(process),
            Command::Tape(args) => args.run(process),
            Command::Replay(args) => args.run(process),
            Command::DiffServers(args) => args.run(process),
            Command::Completions(args) => args.run(),
            Command::Man(args) => args.run(),
            Command::Guard => {
                guard::run();
                Ok(())
            }
            Command::DemoServer => demo_server::run(),
        }
    }
}

#[cfg(test)]
mod tests;
