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
}

impl Group {
    pub(super) fn new(id: Pid, guard: Guard) -> Self {
        guard.add(id);
        Self { id, guard }
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
    pub(super) async fn clear(self, wait: Duration, kill: &CancellationToken) {
        if !self.has_members() {
            return;
        }
        self.signal(Signal::TERM);
        let deadline = Instant::now() + wait;
        while self.has_members() && Instant::now() < deadline {
            if kill.run_until_cancelled(sleep(POLL)).await.is_none() {
                break;
            }
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
        self.signal(Signal::KILL);
        self.guard.remove(self.id);
    }
}
