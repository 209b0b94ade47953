//! A connection to a server that runs as a child process: one child a connection.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Refusal, RefusalKind, Transport};
use shadowcat_protocol::Limits;
use tokio_util::sync::CancellationToken;

use super::{Child, ExitWatch, LaunchError, Launcher, Lines, Process, WriteError, Writer};
use crate::connector::{Connection, Connector, OpenConnection};
use crate::counters::Counters;
use crate::duplex::{Duplex, Incoming, Parts, Pipe};
use crate::pipe_connection::PipeConnection;

/// Lines of stderr a client is shown when the server died.
const STDERR_LINES_SHOWN: usize = 10;
/// How long the exit of a child is awaited after its output or its input ended, to be able to name it.
const EXIT_WAIT: Duration = Duration::from_millis(500);

/// Starts a child for each connection.
pub struct StdioConnector {
    name: Arc<str>,
    launcher: Launcher,
    limits: Limits,
    tasks: Tasks,
    counters: Arc<Counters>,
}

impl StdioConnector {
    /// Connections to children of this launcher, their tasks owned by `tasks`.
    pub fn new(
        name: Arc<str>,
        launcher: Launcher,
        limits: Limits,
        tasks: Tasks,
        counters: Arc<Counters>,
    ) -> Self {
        Self { name, launcher, limits, tasks, counters }
    }
}

#[async_trait]
impl Connector for StdioConnector {
    async fn open(&self, opening: OpenConnection) -> Result<Arc<dyn Connection>, Refusal> {
        let launched = self.launcher.launch().await;
        let Child { writer, lines, process } =
            launched.map_err(|error| refuse(error).with_upstream(&self.name))?;
        let exit = process.exit().clone();
        let served = process.served();
        let shut = writer.shut();
        let pipe = ChildPipe { writer, exit: exit.clone(), served, process: Mutex::new(Some(process)) };
        let tasks = self.tasks.child();
        let duplex = Duplex::new(Parts {
            name: Arc::clone(&self.name),
            transport: Transport::Stdio,
            revision: opening.revision,
            limits: self.limits,
            pipe: Box::new(pipe),
            back: opening.back,
            tasks: tasks.clone(),
            counters: Arc::clone(&self.counters),
        });
        tasks.spawn_until_stop(receive(Arc::clone(&duplex), lines, shut, exit));
        Ok(Arc::new(PipeConnection { duplex, tasks }))
    }
}

async fn receive(duplex: Arc<Duplex>, mut lines: Lines, shut: CancellationToken, exit: ExitWatch) {
    let mut deaf = pin!(is_deaf(&shut, &exit));
    while let Some(line) = tokio::select! {
        biased;
        () = &mut deaf => None,
        line = lines.next_line() => line,
    } {
        let incoming = match line {
            Ok(text) => Incoming::Text(text),
            Err(long) => Incoming::TooLong(long.bytes),
        };
        duplex.receive(incoming).await;
    }
    // The reason given to those who wait names the exit, so it is worth a moment.
    drop(tokio::time::timeout(EXIT_WAIT, exit.wait()).await);
    duplex.pipe().close().await;
    duplex.ended();
}

/// Waits until the child can be told nothing any more and lives on all the same. What one that is gone has written last
/// is still read.
async fn is_deaf(shut: &CancellationToken, exit: &ExitWatch) {
    shut.cancelled().await;
    if tokio::time::timeout(EXIT_WAIT, exit.wait()).await.is_ok() {
        std::future::pending::<()>().await;
    }
}

struct ChildPipe {
    writer: Writer,
    exit: ExitWatch,
    served: Arc<AtomicBool>,
    process: Mutex<Option<Process>>,
}

impl ChildPipe {
    fn process(&self) -> Option<Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[async_trait]
impl Pipe for ChildPipe {
    async fn send(&self, line: Bytes) -> Result<(), Refusal> {
        match self.writer.write_line(line).await {
            Ok(()) => Ok(()),
            Err(error @ WriteError::QueueFull { .. }) => {
                Err(Refusal::new(RefusalKind::LimitQueue).with_cause(error))
            }
            Err(error @ WriteError::Closed) => {
                drop(tokio::time::timeout(EXIT_WAIT, self.exit.wait()).await);
                Err(self.reason().with_cause(error))
            }
        }
    }

    fn reason(&self) -> Refusal {
        let refusal = Refusal::new(RefusalKind::UpstreamExited);
        let exit = match self.exit.now() {
            Some(exit) if !exit.asked => exit,
            // If it was stopped, then for that.
            _ if self.writer.shut().is_cancelled() => {
                return refusal.with_detail("the server's process closed its input");
            }
            Some(_) => return refusal.with_detail("the server's process was stopped"),
            None => return refusal.with_detail("the server's process closed its output"),
        };
        let mut detail = format!("the server's process ended with {exit}");
        let shown = exit.stderr.len().saturating_sub(STDERR_LINES_SHOWN);
        let words: Vec<&str> = exit.stderr.iter().skip(shown).map(AsRef::as_ref).collect();
        if !words.is_empty() {
            detail.push_str("; its last words: ");
            detail.push_str(&words.join("\n"));
        }
        refusal.with_detail(detail)
    }

    fn served(&self) {
        self.served.store(true, Ordering::Relaxed);
    }

    fn is_open(&self) -> bool {
        let owned = self.process.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        owned && self.exit.now().is_none()
    }

    async fn close(&self) {
        if let Some(process) = self.process() {
            process.stop().await;
        }
    }
}

fn refuse(error: LaunchError) -> Refusal {
    let kind = match &error {
        LaunchError::Spawn(_) => RefusalKind::UpstreamUnreachable,
        LaunchError::BreakerOpen { retry_after, .. } => {
            RefusalKind::BreakerOpen { retry_after: *retry_after }
        }
        LaunchError::Overloaded { .. } => RefusalKind::Overloaded { retry_after: Duration::from_secs(1) },
        LaunchError::ShuttingDown => RefusalKind::ShuttingDown,
    };
    // The system's own words (no such file, permission denied) are what a person needs, and name nothing private.
    let detail = match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    Refusal::new(kind).with_detail(detail).with_cause(error)
}
