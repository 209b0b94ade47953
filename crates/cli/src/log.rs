//! The program's own log: on stderr, because standard output belongs to a client or to a reader of results.

use std::io::IsTerminal as _;

use shadowcat_gateway::{Level, Log, LogFormat};
use tracing_subscriber::filter::LevelFilter;

use crate::process::Process;

/// Starts the log; once in a process.
pub(crate) fn start(log: Log, process: &Process) {
    // https://no-color.org
    let is_colored = std::io::stderr().is_terminal() && process.variable("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(is_colored)
        .with_max_level(filter(log.level));
    match log.format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}
