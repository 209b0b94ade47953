//! The client side: sends calls or holds event streams, and reports what came back. Trusts no answer it has not compared.

pub(crate) mod calls;
pub(crate) mod client;
pub(crate) mod events;
pub(crate) mod idle;
pub(crate) mod session;

use std::io::Write;

use serde::Serialize;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::error::BenchError;

/// Says on stdout that a step is reached, then waits for a line on stdin, or its end.
async fn wait_for_go(reached: &str) -> Result<(), BenchError> {
    say(reached)?;
    let mut line = String::new();
    BufReader::with_capacity(64, tokio::io::stdin()).read_line(&mut line).await?;
    Ok(())
}

fn say_json(value: &impl Serialize) -> Result<(), BenchError> {
    say(&serde_json::to_string(value).map_err(std::io::Error::from)?)
}

fn say(line: &str) -> Result<(), BenchError> {
    println!("{line}");
    Ok(std::io::stdout().flush()?)
}
