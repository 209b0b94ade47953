//! A terminal for programs that draw on one: a tmux of the test's own, whose screen is read as text.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::wait::found;

/// What a program draws is there within this on the slowest machine.
const SHOWN_WITHIN: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A terminal with one program in it. Dropped, it ends with all that runs in it.
pub struct Terminal {
    directory: tempfile::TempDir,
}

impl Terminal {
    /// Runs a command of the shell on a terminal of this size. Behind its end the screen says `code N` and, if the terminal
    /// is as it was before, `lines of text`.
    pub fn start(width: u16, height: u16, command: &str) -> Self {
        let terminal = Self { directory: tempfile::tempdir().expect("a directory") };
        let then = "echo \"code $?\"; stty -a | grep -q ' icanon' && echo 'lines of text'; exec sleep 1000";
        let (width, height) = (width.to_string(), height.to_string());
        let shell = format!("{command}; {then}");
        let started = terminal.tmux(&["new-session", "-d", "-x", &width, "-y", &height, &shell]);
        assert!(
            started.status.success(),
            "tmux cannot be used (`cargo xtask peers` installs it): {started:?}"
        );
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> Output {
        let socket: PathBuf = self.directory.path().join("tmux");
        let mut tmux = Command::new("tmux");
        // UTF-8 whatever the machine's language, and nobody's own settings.
        tmux.args(["-u", "-f", "/dev/null", "-S"]).arg(socket).args(arguments).env_remove("TMUX");
        tmux.output().unwrap_or_else(|error| panic!("tmux: {error} (`cargo xtask peers` installs it)"))
    }

    /// What is on the screen.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p"]).stdout).into_owned()
    }

    /// Types a text.
    pub fn write(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    /// Pastes a text, as one piece where the program in it wants that.
    pub fn paste(&self, text: &str) {
        let file = self.directory.path().join("pasted");
        std::fs::write(&file, text).expect("the text");
        self.tmux(&["load-buffer", &file.display().to_string()]);
        self.tmux(&["paste-buffer", "-p", "-r"]);
    }

    /// Presses keys by their names, such as `Enter`.
    pub fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// The process id of the program in it.
    pub async fn program(&self) -> i32 {
        let told = self.tmux(&["display-message", "-p", "#{pane_pid}"]).stdout;
        let shell = String::from_utf8_lossy(&told).trim().to_owned();
        let children = format!("/proc/{shell}/task/{shell}/children");
        found("the program in the terminal", || {
            std::fs::read_to_string(&children).ok()?.split_whitespace().next()?.parse().ok()
        })
        .await
    }

    /// Waits until all of these are on the screen, and gives it.
    pub async fn shows(&self, texts: &[&str]) -> String {
        let deadline = Instant::now() + SHOWN_WITHIN;
        loop {
            let screen = self.screen();
            if texts.iter().all(|text| screen.contains(text)) {
                return screen;
            }
            assert!(Instant::now() < deadline, "not all of {texts:?} on the screen:\n{screen}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}
