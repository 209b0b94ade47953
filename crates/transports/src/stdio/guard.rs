//! Ends children whose proxy was killed so hard that it could not do so itself.
//!
//! One small process holds the read end of a pipe whose write end dies with the proxy, and knows the process groups of
//! the children. The kernel's own way, `PR_SET_PDEATHSIG`, needs unsafe code between fork and exec, is tied to the
//! thread that forked, and does not reach grandchildren.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use shadowcat_pipeline::task::Tasks;
use tokio::process::{Child, Command};
use tokio::sync::Notify;

/// From SIGTERM to SIGKILL when the proxy is gone; children are to be gone within 2 s in all.
const TERM_WAIT: Duration = Duration::from_millis(700);
const POLL: Duration = Duration::from_millis(20);
/// Before a guard that died is started again, so that one that cannot run does no harm.
const RESTART_WAIT: Duration = Duration::from_secs(1);

/// The proxy's side: tells the guard process which groups are alive. Clones share one guard.
#[derive(Clone, Debug)]
pub struct Guard(Option<Arc<Post>>);

#[derive(Debug)]
struct Post {
    program: PathBuf,
    args: Vec<OsString>,
    tasks: Tasks,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    live: HashSet<Pid>,
    pipe: Option<Pipe>,
}

#[derive(Debug)]
struct Pipe {
    file: File,
    /// Wakes the watcher to kill a guard that stopped reading.
    stuck: Arc<Notify>,
}

impl Guard {
    /// A guard that starts `program` with `args` at the first child. That program has to call [`run`] on its stdin.
    pub fn new(program: PathBuf, args: Vec<OsString>) -> Self {
        let (tasks, state) = (Tasks::new(), Mutex::default());
        Self(Some(Arc::new(Post { program, args, tasks, state })))
    }

    /// No guard: children outlive a proxy that is killed by SIGKILL.
    pub fn none() -> Self {
        Self(None)
    }

    /// Closes the guard process, which ends the groups that are still known to it. Says whether it was gone in time.
    pub async fn shutdown(&self, deadline: Duration) -> bool {
        let Some(post) = &self.0 else { return true };
        post.tasks.stop();
        post.lock().pipe = None;
        let gone = post.tasks.join(deadline).await;
        // What a guard would have found that died a moment ago, or hangs.
        end_now(&mut post.lock().live);
        gone
    }

    pub(super) fn add(&self, group: Pid) {
        let Some(post) = &self.0 else { return };
        let mut state = post.lock();
        state.live.insert(group);
        if state.pipe.is_some() {
            state.tell('+', group);
        } else {
            post.start(&mut state);
        }
    }

    pub(super) fn remove(&self, group: Pid) {
        let Some(post) = &self.0 else { return };
        let mut state = post.lock();
        state.live.remove(&group);
        state.tell('-', group);
    }
}

impl Post {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a guard process and tells it all that live. Without one the proxy works on; the next child tries again.
    fn start(self: &Arc<Self>, state: &mut State) {
        if self.tasks.stop_signal().is_cancelled() {
            return;
        }
        match self.spawn() {
            Ok((process, pipe)) => {
                self.tasks.spawn(watch(process, Arc::clone(&pipe.stuck), Arc::downgrade(self)));
                state.pipe = Some(pipe);
                for group in state.live.clone() {
                    state.tell('+', group);
                }
            }
            Err(cause) => {
                tracing::warn!(%cause, "no guard process; children would outlive a killed proxy");
            }
        }
    }

    fn spawn(&self) -> io::Result<(Child, Pipe)> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Its own group: an interrupt typed at the terminal is for the proxy, which the guard has to outlive.
        let mut process = command.process_group(0).spawn()?;
        let stdin = process.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?.into_owned_fd()?;
        // A guard that was stopped must not stop the proxy.
        rustix::fs::fcntl_setfl(&stdin, rustix::fs::fcntl_getfl(&stdin)? | OFlags::NONBLOCK)?;
        Ok((process, Pipe { file: File::from(stdin), stuck: Arc::default() }))
    }
}

impl State {
    /// One line, shorter than `PIPE_BUF` and therefore written whole or not at all.
    fn tell(&mut self, sign: char, group: Pid) {
        let Some(pipe) = &mut self.pipe else { return };
        let line = format!("{sign}{}\n", group.as_raw_nonzero());
        // A dead guard is noticed by its watcher as well, and its successor is told everything.
        if pipe.file.write_all(line.as_bytes()).is_err() {
            pipe.stuck.notify_one();
        }
    }
}

/// Waits for the end of a guard process and starts the next one, unless the end was wanted.
async fn watch(mut process: Child, stuck: Arc<Notify>, post: Weak<Post>) {
    let ended = tokio::select! {
        status = process.wait() => status,
        // Killed before its pipe is closed: seeing the end of the pipe, it would end every child.
        () = stuck.notified() => match process.kill().await {
            Ok(()) => process.wait().await,
            Err(cause) => Err(cause),
        },
    };
    let Some(post) = post.upgrade() else { return };
    post.lock().pipe = None;
    let stop = post.tasks.stop_signal();
    if stop.is_cancelled() {
        return;
    }
    tracing::warn!(?ended, "the guard process ended; starting another");
    stop.run_until_cancelled(tokio::time::sleep(RESTART_WAIT)).await;
    let mut state = post.lock();
    if state.pipe.is_none() {
        post.start(&mut state);
    }
}

/// The whole of the guard process: follows the lines `+<group>` and `-<group>` until they end, then ends the groups
/// that are left.
pub fn run(commands: impl BufRead) {
    let mut left = HashSet::new();
    for line in commands.lines().map_while(Result::ok) {
        follow(&line, &mut left);
    }
    end(left);
}

fn follow(line: &str, groups: &mut HashSet<Pid>) {
    let Some((sign, group)) = line.split_at_checked(1) else { return };
    // Group 1 is init's; no child of ours can have it.
    let Some(group) = group.parse().ok().filter(|&id: &i32| id > 1).and_then(Pid::from_raw) else { return };
    match sign {
        "+" => groups.insert(group),
        "-" => groups.remove(&group),
        _ => false,
    };
}

fn end(mut groups: HashSet<Pid>) {
    let deadline = Instant::now() + TERM_WAIT;
    groups.retain(|&group| kill_process_group(group, Signal::TERM).is_ok());
    while !groups.is_empty() && Instant::now() < deadline {
        pause();
        groups.retain(|&group| test_kill_process_group(group).is_ok());
    }
    end_now(&mut groups);
}

fn end_now(groups: &mut HashSet<Pid>) {
    groups.retain(|&group| kill_process_group(group, Signal::KILL).is_ok());
}

#[expect(clippy::disallowed_methods, reason = "the guard process has one thread and no runtime to hold up")]
fn pause() {
    std::thread::sleep(POLL);
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
