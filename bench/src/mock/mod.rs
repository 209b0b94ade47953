//! The MCP server behind the proxies: echoes a canary as JSON or as an event stream, over HTTP or over stdio. What it
//! says is decided in [`answers`]; the two carriers only move it.

pub(crate) mod answers;
pub(crate) mod http;
pub(crate) mod stdio;

use crate::wire::Era;

/// How the mock is reached.
#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// Port on 127.0.0.1; 0 picks one and prints it.
    #[arg(long, default_value_t = 0, conflicts_with = "stdio")]
    pub(crate) http: u16,
    /// Refuse GET with 405, as servers that never speak first do.
    #[arg(long, conflicts_with = "stdio")]
    pub(crate) post_only: bool,
    /// Speak this era only; else both.
    #[arg(long, value_enum)]
    pub(crate) speaks: Option<Era>,
    /// Speak over stdin and stdout instead.
    #[arg(long)]
    pub(crate) stdio: bool,
    /// With --stdio: answer the lines that are already there last one first.
    #[arg(long, requires = "stdio")]
    pub(crate) out_of_order: bool,
}
