//! A running child process: its three pipes, its process group, its end. Which child to start, and when, is decided in
//! `warm` and `backoff`; what the lines mean is none of this file's business.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use shadowcat_pipeline::task::Tasks;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::child_exit::{Exit, ExitWatch, STDERR_LINES_MAX};
use super::child_group::Group;
use super::child_stdin::{self, Queue, Writer};
use super::child_stdout::Lines;
use super::guard::Guard;
use super::spec::Command;
use super::stderr::{self, Tail};

/// How long the kernel may take to end a process that was sent SIGKILL.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// Bounds of one child.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest line taken from the child.
    pub line_bytes_max: usize,
    /// How much may wait to be written to the child.
    pub queue_bytes_max: u32,
    /// How long a writer waits for room in that queue.
    pub write_wait: Duration,
    /// From the end of its input to SIGTERM.
    pub grace: Duration,
    /// From SIGTERM to SIGKILL.
    pub term_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_bytes_max: 16 * 1024 * 1024,
            queue_bytes_max: 1024 * 1024,
            write_wait: Duration::from_secs(5),
            grace: Duration::from_secs(2),
            term_wait: Duration::from_secs(2),
        }
    }
}

/// Why a program could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// There is no such program or no such working directory (ENOENT).
    #[error("program or working directory not found")]
    NotFound(#[source] io::Error),
    /// The program may not be run (EACCES, EPERM).
    #[error("program may not be run")]
    PermissionDenied(#[source] io::Error),
    /// The system had another reason, such as no more processes or descriptors.
    #[error("the system refused to start the program")]
    Os(#[source] io::Error),
}

impl From<io::Error> for SpawnError {
    fn from(cause: io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::NotFound => Self::NotFound(cause),
            io::ErrorKind::PermissionDenied => Self::PermissionDenied(cause),
            _ => Self::Os(cause),
        }
    }
}

/// Owns the tasks of children and ends them together.
#[derive(Clone, Debug)]
pub struct Nursery {
    tasks: Tasks,
    guard: Guard,
    kill: CancellationToken,
}

impl Nursery {
    /// A nursery whose children are known to `guard`.
    pub fn new(guard: Guard) -> Self {
        Self { tasks: Tasks::new(), guard, kill: CancellationToken::new() }
    }

    /// Whether [`Nursery::shutdown`] has begun.
    pub fn is_stopping(&self) -> bool {
        self.tasks.stop_signal().is_cancelled()
    }

    pub(super) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Stops all children at the same time, in order for as long as `deadline` allows and by SIGKILL after that. Says
    /// whether all are gone.
    pub async fn shutdown(&self, deadline: Duration) -> bool {
        self.tasks.stop();
        if self.tasks.join(deadline).await {
            return true;
        }
        self.kill.cancel();
        self.tasks.join(KILL_WAIT).await
    }
}

/// A child that runs, with everything its one user needs.
#[derive(Debug)]
pub struct Child {
    /// Into its stdin.
    pub writer: Writer,
    /// Out of its stdout.
    pub lines: Lines,
    /// Its life.
    pub process: Process,
}

impl Child {
    /// Starts `command` in a process group of its own.
    ///
    /// `at_exit` is called once, before anybody else learns of the exit; what it returns is dropped when the group is
    /// empty. A permit that counts the child goes there.
    pub fn spawn<T: Send + 'static>(
        command: &Command,
        limits: &Limits,
        nursery: &Nursery,
        at_exit: impl FnOnce(&Exit) -> T + Send + 'static,
    ) -> Result<Self, SpawnError> {
        let mut process = command.to_process();
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = process.process_group(0).kill_on_drop(true).spawn()?;
        let no_pipe = || SpawnError::Os(io::ErrorKind::BrokenPipe.into());
        let id = process.id().and_then(|id| Pid::from_raw(id.cast_signed())).ok_or_else(no_pipe)?;
        let group = Group::new(id, nursery.guard.clone());
        let stdin = process.stdin.take().ok_or_else(no_pipe)?;
        let stdout = process.stdout.take().ok_or_else(no_pipe)?;
        let stderr = process.stderr.take().ok_or_else(no_pipe)?;

        let (writer, queue) = child_stdin::queue(limits.queue_bytes_max, limits.write_wait);
        let (exit_sender, exit) = ExitWatch::new();
        let stop = nursery.tasks.stop_signal().child_token();
        let gone = CancellationToken::new();
        let lines = Lines::new(stdout, limits.line_bytes_max, gone.clone());
        let tail = Arc::new(Tail::default());
        let served = Arc::<AtomicBool>::default();
        let life = Life {
            name: command.name.clone(),
            process,
            group,
            limits: limits.clone(),
            stop: stop.clone(),
            kill: nursery.kill.clone(),
            gone,
            tail: Arc::clone(&tail),
            served: Arc::clone(&served),
        };
        nursery.tasks.spawn(life.run(Pipes { stdin, queue, stderr }, exit_sender, at_exit));
        Ok(Self { writer, lines, process: Process { id, exit, tail, served, stop: stop.drop_guard() } })
    }
}

/// The life of a child: to wait for its end or to bring it about. Dropping it stops the child in the background.
#[derive(Debug)]
pub struct Process {
    id: Pid,
    exit: ExitWatch,
    tail: Arc<Tail>,
    served: Arc<AtomicBool>,
    stop: DropGuard,
}

impl Process {
    /// The process id, which is the id of its group too.
    pub fn id(&self) -> i32 {
        self.id.as_raw_nonzero().get()
    }

    /// A handle that tells of the exit.
    pub fn exit(&self) -> &ExitWatch {
        &self.exit
    }

    /// Set by its user when the child has answered a request beyond the handshake.
    pub fn served(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.served)
    }

    /// Whether the child has not been seen to end.
    pub fn is_running(&self) -> bool {
        self.exit.now().is_none()
    }

    /// The last `count` lines it wrote to stderr so far.
    pub fn last_stderr(&self, count: usize) -> Vec<Box<str>> {
        self.tail.last_lines(count)
    }

    /// Closes the child's input, and after the waits of [`Limits`] sends SIGTERM and SIGKILL to its group; back when
    /// nothing of it is left.
    ///
    /// # Cancel safety
    /// The stop goes on in the background.
    pub async fn stop(self) -> Option<Arc<Exit>> {
        drop(self.stop);
        self.exit.cleared().await
    }
}

struct Pipes {
    stdin: tokio::process::ChildStdin,
    queue: Queue,
    stderr: tokio::process::ChildStderr,
}

/// What the child's task knows.
struct Life {
    name: Box<str>,
    process: tokio::process::Child,
    group: Group,
    limits: Limits,
    stop: CancellationToken,
    kill: CancellationToken,
    gone: CancellationToken,
    tail: Arc<Tail>,
    served: Arc<AtomicBool>,
}

impl Life {
    async fn run<T: Send>(
        mut self,
        pipes: Pipes,
        exit_sender: watch::Sender<Option<Arc<Exit>>>,
        at_exit: impl FnOnce(&Exit) -> T + Send,
    ) {
        let born = Instant::now();
        let (name, tail, stop, gone) =
            (self.name.clone(), Arc::clone(&self.tail), self.stop.clone(), self.gone.clone());
        let ((status, asked), (), ()) = tokio::join!(
            self.end(),
            pipes.queue.run(pipes.stdin, &stop, &gone),
            stderr::drain(pipes.stderr, &tail, &name, &gone),
        );
        let exit = Exit {
            status,
            asked,
            up: born.elapsed(),
            served: self.served.load(Ordering::Relaxed),
            stderr: tail.last_lines(STDERR_LINES_MAX),
        };
        tracing::debug!(target: "child", server = &*name, pid = %self.group.id(), %exit, asked, "child ended");
        let held = at_exit(&exit);
        exit_sender.send_replace(Some(Arc::new(exit)));
        self.group.clear(self.limits.term_wait, &self.kill).await;
        drop(held);
    }

    /// Waits for the exit or brings it about; says which of the two it was.
    async fn end(&mut self) -> (Option<ExitStatus>, bool) {
        let by_itself = tokio::select! {
            biased;
            status = self.process.wait() => Some(status.ok()),
            () = self.stop.cancelled() => None,
        };
        let ended = match by_itself {
            // Its input is closed by another future: a child may have ended of that before this one saw the stop.
            Some(status) => (status, self.stop.is_cancelled()),
            None => (self.stop_in_order().await, true),
        };
        self.gone.cancel();
        ended
    }

    /// stdio shutdown of the specification: end of input, SIGTERM, SIGKILL. The writer closes the input by itself.
    async fn stop_in_order(&mut self) -> Option<ExitStatus> {
        if let Some(status) = self.ends_within(self.limits.grace).await {
            return Some(status);
        }
        self.group.signal(Signal::TERM);
        if let Some(status) = self.ends_within(self.limits.term_wait).await {
            return Some(status);
        }
        self.group.signal(Signal::KILL);
        // A child that left its group is not reached by the line above; one that is gone cannot be killed, which is fine.
        let _already_gone = self.process.start_kill();
        timeout(KILL_WAIT, self.process.wait()).await.ok()?.ok()
    }

    async fn ends_within(&mut self, wait: Duration) -> Option<ExitStatus> {
        let kill = self.kill.clone();
        kill.run_until_cancelled(timeout(wait, self.process.wait())).await?.ok()?.ok()
    }
}

#[cfg(test)]
#[path = "child_tests.rs"]
mod tests;
