//! A proxy from its start to its end in order: the runtime, the ready line, the signals.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use shadowcat_gateway::{Host, Plan, Running, StartError, start};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::log;
use crate::process::Process;

/// More threads than this gain nothing before they cost memory.
const WORKERS_DEFAULT_MAX: usize = 4;
/// A blocked read of standard input cannot be ended, and is left behind.
const RUNTIME_END_WAIT: Duration = Duration::from_millis(200);

// How many threads carry the traffic.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Workers {
    /// Threads that carry the traffic [default: the number of cores, at most 4]
    #[arg(long = "workers", value_name = "COUNT")]
    count: Option<NonZeroUsize>,
}

impl Workers {
    pub(crate) fn runtime(&self) -> Result<Runtime, Failure> {
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let count = self.count.map_or_else(|| cores().min(WORKERS_DEFAULT_MAX), NonZeroUsize::get);
        Builder::new_multi_thread()
            .worker_threads(count)
            .enable_all()
            .build()
            .map_err(|cause| Failure::caused(format!("cannot start {count} threads"), cause))
    }
}

/// Waits on this thread, for commands that ask something and are done.
pub(crate) fn wait_for<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|cause| Failure::caused("cannot start", cause))?.block_on(work)
}

/// What is to run.
pub(crate) struct Run {
    pub(crate) plan: Plan,
    pub(crate) tap: Option<shadowcat_tape::Tap>,
    pub(crate) workers: Workers,
}

impl Run {
    /// Runs until the client on stdio is gone or a signal comes; `ready` is told the address.
    pub(crate) fn until_told(self, process: &Process, ready: impl FnOnce(SocketAddr)) -> Result<(), Failure> {
        self.until_recorded(process, ready).map(drop)
    }

    /// The same; says where the tape is and how many messages were recorded, if any were to be.
    pub(crate) fn until_recorded(
        self,
        process: &Process,
        ready: impl FnOnce(SocketAddr),
    ) -> Result<Option<(PathBuf, u64)>, Failure> {
        log::start(self.plan.log, process);
        let environment = process.environment();
        let guard_program = Some(Process::program()?);
        let host = Host { guard_program, environment, tap: self.tap, ..Host::default() };
        let runtime = self.workers.runtime()?;
        let ended = runtime.block_on(serve(self.plan, host, ready));
        runtime.shutdown_timeout(RUNTIME_END_WAIT);
        ended
    }
}

async fn serve(
    plan: Plan,
    host: Host,
    ready: impl FnOnce(SocketAddr),
) -> Result<Option<(PathBuf, u64)>, Failure> {
    // Before anything is started, so that no signal finds the process half made.
    let mut signals = Signals::new()?;
    let running = start(plan, host).await.map_err(not_started)?;
    if let Some(address) = running.address() {
        ready(address);
    }
    tokio::select! {
        () = running.finished() => tracing::debug!("the client is gone"),
        () = signals.next() => tracing::info!("told to end; a second signal ends it at once"),
    }
    end(running, &mut signals).await
}

fn not_started(cause: StartError) -> Failure {
    match cause {
        // As it is told of what is written anywhere else.
        StartError::Plan(errors) => Failure::usage(errors.to_string()),
        cause => Failure::caused("cannot start", cause),
    }
}

async fn end(running: Running, signals: &mut Signals) -> Result<Option<(PathBuf, u64)>, Failure> {
    let force = CancellationToken::new();
    let mut shutdown = std::pin::pin!(running.shutdown(force.clone()));
    let ended = tokio::select! {
        ended = &mut shutdown => ended,
        () = signals.next() => {
            force.cancel();
            shutdown.await
        }
    };
    if ended.saved {
        return Ok(ended.recorded);
    }
    Err(Failure::plain("the last sessions or messages could not be written to the disk; the log says why"))
}

/// The ready line that scripts wait for.
pub(crate) fn announce(address: SocketAddr) {
    writeln!(io::stderr(), "shadowcat: ready on http://{address}/mcp").ok();
}

/// What a terminal or a supervisor sends to end a process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|cause| Failure::caused("cannot listen to signals", cause));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => (),
            _ = self.interrupt.recv() => (),
        }
    }
}
