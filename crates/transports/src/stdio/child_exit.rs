//! How a child ended, and the handle on which everybody concerned waits for it.

use std::fmt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// How many of the last stderr lines an exit carries.
pub const STDERR_LINES_MAX: usize = 10;

/// How long the pipes of a child that is gone are still waited for: whoever writes to them now is not the child, and
/// what the child wrote is already in the pipe.
pub(super) const AFTER_EXIT_WAIT: Duration = Duration::from_millis(100);

/// The largest pipe an ordinary user can have. What comes beyond it after the exit was not written by the child.
pub(super) const AFTER_EXIT_BYTES_MAX: usize = 1024 * 1024;

/// The end of a child.
#[derive(Clone, Debug)]
pub struct Exit {
    /// What the kernel said; nothing if even SIGKILL did not end it in time.
    pub status: Option<ExitStatus>,
    /// Whether we asked for it; such an exit says nothing about the server's health.
    pub asked: bool,
    /// How long the child lived.
    pub up: Duration,
    /// Whether it had answered a request beyond the handshake.
    pub served: bool,
    /// Its last stderr lines, oldest first; at most [`STDERR_LINES_MAX`].
    pub stderr: Vec<Box<str>>,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.status {
            Some(status) => status.fmt(f),
            None => f.write_str("exit status unknown"),
        }
    }
}

/// Tells when a child has ended. Clones watch the same child.
#[derive(Clone, Debug)]
pub struct ExitWatch(watch::Receiver<Option<Arc<Exit>>>);

impl ExitWatch {
    pub(super) fn new() -> (watch::Sender<Option<Arc<Exit>>>, Self) {
        let (sender, receiver) = watch::channel(None);
        (sender, Self(receiver))
    }

    /// The exit, if it has happened.
    pub fn now(&self) -> Option<Arc<Exit>> {
        self.0.borrow().clone()
    }

    /// Waits for the exit. Nothing comes back only where the runtime took the child's task away.
    ///
    /// # Cancel safety
    /// Can be dropped and asked again at any point.
    pub async fn wait(&self) -> Option<Arc<Exit>> {
        let mut receiver = self.0.clone();
        let exit = receiver.wait_for(Option::is_some).await.ok();
        exit.and_then(|exit| exit.clone())
    }

    /// Waits until the child's group is empty as well and all that belonged to it is given back.
    pub(super) async fn cleared(&self) -> Option<Arc<Exit>> {
        let mut receiver = self.0.clone();
        while receiver.changed().await.is_ok() {}
        self.now()
    }
}
