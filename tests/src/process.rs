//! A child process of a test: what it says on stderr, how it ended, what it holds.

use std::io::BufReader;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::{found, until};

/// How long a program may let what is in flight finish before it is told a second time.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it may then take before it is killed.
const END_DEADLINE: Duration = Duration::from_secs(10);

/// A running program. Dropped, it gets SIGTERM, once more to end at once, and SIGKILL, with which the test fails.
pub struct Process {
    pid: u32,
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
    /// Its standard streams, where the command asked for pipes.
    pub stdin: Option<std::process::ChildStdin>,
    /// See `stdin`.
    pub stdout: Option<std::process::ChildStdout>,
}

#[derive(Default)]
struct State {
    stderr: Mutex<String>,
    exit: Mutex<Option<ExitStatus>>,
    ended: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Process {
    /// Starts a program; its stderr is collected.
    pub fn start(mut command: Command) -> Self {
        command.stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let state = Arc::<State>::default();
        let (pid, stdin, stdout) = (child.id(), child.stdin.take(), child.stdout.take());
        let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let threads = vec![collect(stderr, Arc::clone(&state)), reap(child, Arc::clone(&state))];
        Self { pid, state, threads, stdin, stdout }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        lock(&self.state.stderr).clone()
    }

    /// Waits for a line on stderr; gives what follows `start` in it.
    pub async fn says(&self, start: &str) -> String {
        found(format!("{start:?} on stderr"), || {
            // In this order: what it said last is collected before all it said is.
            let is_over = self.threads.iter().all(JoinHandle::is_finished);
            let said =
                lock(&self.state.stderr).lines().find_map(|line| line.strip_prefix(start).map(str::to_owned));
            if let (None, true, Some(status)) = (&said, is_over, self.exit_status()) {
                panic!("ended with {status} before it said {start:?}:\n{}", self.stderr());
            }
            said
        })
        .await
    }

    /// Waits until this stands somewhere on stderr.
    pub async fn says_somewhere(&self, text: &str) {
        until(format!("{text:?} on stderr"), || lock(&self.state.stderr).contains(text)).await;
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if self.exit_status().is_none() {
            let pid = Pid::from_raw(self.pid.try_into().expect("a pid")).expect("a pid");
            kill_process(pid, signal).ok();
        }
    }

    fn ends_at(&self, signal: Signal, deadline: Duration) -> bool {
        self.signal(signal);
        let exit = lock(&self.state.exit);
        let waited = self.state.ended.wait_timeout_while(exit, deadline, |exit| exit.is_none());
        waited.is_ok_and(|(_, timeout)| !timeout.timed_out())
    }

    /// How it ended, if it has.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        *lock(&self.state.exit)
    }

    /// Waits for its end.
    pub async fn ended(&self) -> ExitStatus {
        found(format!("the end of process {}", self.pid), || self.exit_status()).await
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        status_field(self.pid, "VmRSS:").map_or(0, |kib| kib * 1024)
    }

    /// Highest resident memory so far, in bytes.
    pub fn resident_bytes_peak(&self) -> u64 {
        status_field(self.pid, "VmHWM:").map_or(0, |kib| kib * 1024)
    }

    /// Its children, zombies among them.
    pub fn children(&self) -> Vec<u32> {
        let processes = std::fs::read_dir("/proc").expect("the processes").flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_mine = |pid: &u32| status_field(*pid, "PPid:") == Some(u64::from(self.pid));
        pids.filter(is_mine).collect()
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid)).map_or(0, Iterator::count)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let late = !self.ends_at(Signal::TERM, PATIENCE) && !self.ends_at(Signal::TERM, END_DEADLINE);
        if late {
            self.signal(Signal::KILL);
        }
        // The waiting thread ends with the process; the reading one may outlive it while a grandchild holds stderr.
        drop(self.threads.pop().map(JoinHandle::join));
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "shown with the failure of the test")]
            {
                eprintln!("--- stderr of process {} ---\n{}", self.pid, self.stderr());
            }
        } else {
            assert!(!late, "process {} did not end in order:\n{}", self.pid, self.stderr());
        }
    }
}

fn collect(mut stderr: impl std::io::BufRead + Send + 'static, state: Arc<State>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut line = Vec::new();
        while stderr.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            lock(&state.stderr).push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}

fn reap(mut child: Child, state: Arc<State>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        *lock(&state.exit) = child.wait().ok();
        state.ended.notify_all();
    })
}

fn status_field(pid: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(field))?;
    value.split_whitespace().next()?.parse().ok()
}

/// Whether a process runs: gone ones and zombies do not.
pub fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

/// Waits until none of these processes runs.
pub async fn gone(pids: &[u32]) {
    until(format!("processes {pids:?} are gone"), || !pids.iter().any(|pid| is_running(*pid))).await;
}
