//! What Shadowcat is measured with: one program, a process for each role. `all` starts the others and prints the table;
//! it holds no opinion on how a role works.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its output is its purpose")]
#![expect(clippy::cast_precision_loss, reason = "figures for a table, far below 2^52")]

mod error;
mod load;
mod mock;
mod process;
mod relay;
mod rules;
mod server;
mod suite;
mod tape;
mod wire;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::BenchError;

/// Measures Shadowcat beside a direct connection and a relay that parses nothing.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Run every measurement and print the tables.
    All(suite::Settings),
    /// Be the MCP server behind the proxies.
    Mock(mock::Settings),
    /// Be an HTTP/1.1 relay that looks at nothing.
    Relay(relay::Settings),
    /// Send calls and check every answer. Prints `warm`, waits for a line on stdin, measures, prints JSON.
    Load(load::calls::Settings),
    /// Open idle event streams. Prints `open`, waits for a line on stdin, closes them, prints JSON.
    Hold(load::idle::Settings),
    /// Write and read tapes, and print a table.
    Tape(tape::Settings),
    /// Show calls to a thousand rules, measure a proxy with and without rules, and print tables.
    Rules(rules::Settings),
    /// Note which functions run at the start and with the first messages, for the linker; needs valgrind.
    Layout(suite::layout::Settings),
    /// Read a tape in one way, and say what that took.
    #[command(hide = true)]
    TapeRead(tape::Reading),
}

fn main() -> ExitCode {
    match run(Arguments::parse().role) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("shadowcat-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One thread for each role, so that its CPU time is one number and a pinned core is all it can use.
fn run(role: Role) -> Result<ExitCode, BenchError> {
    raise_descriptor_limit();
    if let Role::Mock(mock::Settings { stdio: true, out_of_order, speaks, .. }) = role {
        mock::stdio::run(out_of_order, speaks)?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match role {
            Role::All(settings) => return suite::run(settings).await,
            Role::Mock(settings) => {
                mock::http::run(settings.http, settings.post_only, settings.speaks).await?;
            }
            Role::Relay(settings) => relay::run(settings).await?,
            Role::Load(settings) => load::calls::run(settings).await?,
            Role::Hold(settings) => load::idle::run(settings).await?,
            Role::Tape(settings) => tape::run(settings).await?,
            Role::Rules(settings) => rules::run(settings).await?,
            Role::Layout(settings) => suite::layout::run(settings).await?,
            Role::TapeRead(reading) => tape::be_a_reader(&reading)?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// 5,000 proxied streams are 10,000 descriptors in the proxy, which inherits this limit. Where the system allows no
/// more, the measurement itself fails and says so.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    if let Err(error) = raised {
        eprintln!("shadowcat-bench: the descriptor limit stays at {:?}: {error}", limit.current);
    }
}
