//! The process group of a child: signals reach grandchildren too, and none of them outlives the child.

use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::guard::Guard;

const POLL: Duration = Duration::from_millis(10);

/// A group that is known to the guard until it is dropped; whoever is left in it then is killed.
#[derive(Debug)]
pub(super) struct Group {
    id: Pid,
    guard: Guard,
    /// Once it is empty its id may be given to strangers, so that no further signal is sent.
    is_empty: bool,
}

impl Group {
    pub(super) fn new(id: Pid, guard: Guard) -> Self {
        guard.add(id);
        Self { id, guard, is_empty: false }
    }

    pub(super) fn id(&self) -> Pid {
        self.id
    }

    pub(super) fn signal(&self, signal: Signal) {
        // The only failure is that nobody is left, which is what every signal of ours is for.
        let _nobody_left = rustix::process::kill_process_group(self.id, signal);
    }

    /// Ends those who are left after the leader was reaped: SIGTERM, a wait of at most `wait` or until `kill`, and
    /// SIGKILL by the drop.
    pub(super) async fn clear(mut self, wait: Duration, kill: &CancellationToken) {
        let deadline = Instant::now() + wait;
        self.is_empty = !self.has_members();
        if !self.is_empty {
            self.signal(Signal::TERM);
        }
        while !self.is_empty && Instant::now() < deadline {
            if kill.run_until_cancelled(sleep(POLL)).await.is_none() {
                break;
            }
            self.is_empty = !self.has_members();
        }
    }

    fn has_members(&self) -> bool {
        // Orphans are ours to reap where the proxy is the init of a container.
        while let Ok(Some(_)) = rustix::process::waitpgid(self.id, WaitOptions::NOHANG) {}
        rustix::process::test_kill_process_group(self.id).is_ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.is_empty {
            self.signal(Signal::KILL);
        }
        self.guard.remove(self.id);
    }
}
