//! MCP servers as child processes, spoken to over their stdio. Unix only: process groups are how nothing is left behind.
//!
//! `spec` says what to run, `child` runs it (`child_stdin`, `child_stdout`, `stderr` are its pipes, `child_group` its
//! process group, `child_exit` its end), `guard` ends children whose proxy was killed, `backoff` says when another may
//! be started, `warm` starts them for one upstream. All of it works on lines of bytes; messages are for those above.

mod backoff;
mod child;
mod child_exit;
mod child_group;
mod child_stdin;
mod child_stdout;
mod connector;
mod guard;
mod listener;
mod spec;
mod stderr;
mod warm;

pub use backoff::{Breaker, Policy};
pub use child::{Child, Limits, Nursery, Process, SpawnError};
pub use child_exit::{Exit, ExitWatch, STDERR_LINES_MAX};
pub use child_stdin::{WriteError, Writer};
pub use child_stdout::{Line, Lines};
pub use connector::StdioConnector;
pub use guard::{Guard, run as run_guard};
pub use listener::StdioListener;
pub use spec::{Command, Environment, INHERITED};
pub use warm::{LaunchError, Launcher, Settings, Stats};
