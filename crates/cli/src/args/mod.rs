//! The command line: one variant a command, and where each is carried out.

use clap::{Parser, Subcommand};

use crate::failure::Failure;
use crate::process::Process;
use crate::{
    check, completions, demo, demo_server, forward, guard, man, mock, pause, record, replay, reverse, rules,
    schema, sessions, tape, watch,
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

// Deferred, because what a start touches stays resident: a proxy needs the options of one command, not of all. So what a
// command is stands here, and the structs of options that commands share have no `///`: clap would take it for that.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
enum Command {
    /// Serve MCP over HTTP in front of one server
    ///
    /// Streamable HTTP at /mcp (every revision), the older HTTP+SSE pair at /sse and /messages, and /health, /ready and
    /// /metrics. One line on stderr says when it is ready. SIGTERM ends it in order.
    Reverse(reverse::Args),
    /// Stand between one client on standard input and output, and one server
    ///
    /// This is what goes into an editor's `mcpServers`. Nothing but MCP is written to standard output. It ends when the
    /// client closes its side.
    Forward(forward::Args),
    /// Answer clients from tapes, without the server
    ///
    /// On standard input and output, or with --listen over HTTP; in both eras, whatever the tapes were recorded on. A call is
    /// found by what it asks, and equal calls are answered in their order. One that is not on the tapes is an error that names
    /// the nearest that is. Later tapes stand over earlier ones.
    Mock(mock::Args),
    /// Record one conversation: like `forward`, onto a tape whose name is told at the end
    ///
    /// Stands between one client on standard input and output, and one server. The tape is in `.shadowcat/tapes` unless
    /// `--record DIR`, `--data DIR`, their variables or the configuration file name another directory.
    Record(record::Args),
    /// Try it out: a proxy in front of a built-in server, recording on
    ///
    /// Prints what to give a client and a request to paste, then one line for each message that passes.
    Demo(demo::Args),
    /// Read a configuration file and say what is wrong with it, or what it means
    ///
    /// Nothing is started. The environment counts as it does for `reverse`, so `${VAR}` has to be set here too.
    Check(check::Args),
    /// Print the JSON schema of the configuration file
    Schema,
    /// List, show and kill the sessions in a data directory
    ///
    /// Session ids are credentials: they are shown as an 8-digit tag, and a tag or an id is taken.
    Sessions(sessions::Args),
    /// List recordings, show what is on them, check them and make others of them
    Tape(tape::Args),
    /// See messages as they flow, in the terminal
    ///
    /// At a running proxy, where messages can be held, edited and answered too, or from tapes, also while they are written.
    /// Lists of messages and of sessions, a filter, and each message with its answer beside it. `?` shows all keys.
    Watch(watch::Args),
    /// Rules: are they right, and what would they have done?
    Rules(rules::Args),
    /// Look at messages that a running proxy holds, and let them go
    ///
    /// A message is held because it fits a breakpoint, because a rule says so, or because it needs an approval. It waits for
    /// as long as was said and then goes on or is refused. The proxy is the one that runs with the data directory and
    /// `--admin`.
    Pause(pause::Args),
    /// Make the calls of a tape again, as the clients that made them
    ///
    /// A client for each recorded session says what it said, at the times it said it, to any server on any transport and
    /// of either era. What the server asks is answered from the tape. With --verify its answers are compared with those on
    /// the tape.
    Replay(replay::Args),
    /// Make the calls of a tape to two servers, and compare their answers
    ///
    /// A server is a URL, or a command in quotes. With one server its answers are compared with the tape.
    DiffServers(replay::DiffArgs),
    /// Print the completion script for a shell
    Completions(completions::Args),
    /// Print a manual page, for `man -l -`
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
            Command::Watch(args) => args.run(process),
            Command::Rules(args) => args.run(process),
            Command::Pause(args) => args.run(process),
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
