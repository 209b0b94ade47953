//! The processes of a measurement: started on a core of their own, watched through /proc, ended in order.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinSet;

use crate::error::BenchError;
use crate::load::client::within;

/// Time a server has to say where it listens, be it under callgrind on a busy machine.
const READY_DEADLINE: Duration = Duration::from_mins(2);
/// Time a server has to end after SIGTERM, likewise.
const STOP_DEADLINE: Duration = Duration::from_mins(1);
/// Time a load has for one step.
const STEP_DEADLINE: Duration = Duration::from_mins(5);
/// What a server prints before its address once it listens.
const READY: &str = "ready on ";

/// Where the roles run.
#[derive(Clone, Debug)]
pub(crate) enum Cores {
    /// The proxy on core 0, everything else on core 1, by means of this `taskset`.
    Pinned(PathBuf),
    /// Wherever the system puts them.
    Free,
}

/// Which side of the measurement a process is on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    Proxy,
    Load,
}

impl Cores {
    /// Pins if `taskset` is installed and there are two cores.
    pub(crate) fn find() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let taskset =
            ["/usr/bin/taskset", "/bin/taskset"].into_iter().map(PathBuf::from).find(|path| path.exists());
        match taskset {
            Some(path) if cores >= 2 => Self::Pinned(path),
            _ => Self::Free,
        }
    }

    /// The words that start `program` on its core.
    pub(crate) fn words(&self, side: Side, program: &Path) -> Vec<OsString> {
        let core = match side {
            Side::Proxy => "0",
            Side::Load => "1",
        };
        match self {
            Self::Pinned(taskset) => vec![taskset.into(), "-c".into(), core.into(), program.into()],
            Self::Free => vec![program.into()],
        }
    }
}

fn command(words: &[OsString]) -> Command {
    let mut words = words.iter();
    let mut command = Command::new(words.next().map(OsString::as_os_str).unwrap_or_default());
    command.args(words).kill_on_drop(true);
    command
}

/// A server that listens: the mock, the reference server, the relay or Shadowcat. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pid: i32,
    url: String,
    _log: JoinSet<()>,
}

impl Server {
    /// Starts it and waits until it says where it listens.
    pub(crate) async fn start(words: &[OsString]) -> Result<Self, BenchError> {
        Self::begin(words, command(words), READY, str::to_owned).await
    }

    /// Starts a server that was not made for this: it takes its port from `PORT`, says these words when it listens, and
    /// serves at `/mcp`.
    pub(crate) async fn start_foreign(words: &[OsString], says: &str) -> Result<Self, BenchError> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = command(words);
        command.env("PORT", port.to_string());
        Self::begin(words, command, says, |_| format!("http://127.0.0.1:{port}/mcp")).await
    }

    async fn begin(
        words: &[OsString],
        mut command: Command,
        says: &str,
        url: impl FnOnce(&str) -> String,
    ) -> Result<Self, BenchError> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().ok_or_else(|| std::io::Error::other("no stderr"))?;
        let mut log = BufReader::new(stderr);
        let said = within(READY_DEADLINE, "ready line", ready(words, says, &mut log)).await?;
        let url = url(&said);
        let mut reader = JoinSet::new();
        reader.spawn(async move {
            // Read and forgotten, so that the pipe never holds the server up.
            let _ = tokio::io::copy(&mut log, &mut tokio::io::sink()).await;
        });
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or_default();
        Ok(Self { child, pid, url, _log: reader })
    }

    /// Where it serves MCP.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Host and port of [`Server::url`].
    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://").split('/').next().unwrap_or_default()
    }

    /// CPU time it has used so far, user and system, without its children.
    pub(crate) fn cpu(&self) -> Result<Duration, BenchError> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let ticks = ticks(&stat).ok_or_else(|| std::io::Error::other("unreadable /proc/PID/stat"))?;
        Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
    }

    /// Its resident memory in bytes.
    pub(crate) fn rss(&self) -> Result<u64, BenchError> {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.pid))?;
        let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default();
        Ok(pages * rustix::param::page_size() as u64)
    }

    /// Ends it in order, or, when it does not, at once.
    pub(crate) async fn stop(mut self) -> Result<(), BenchError> {
        if let Some(pid) = Pid::from_raw(self.pid) {
            kill_process(pid, Signal::TERM).map_err(std::io::Error::from)?;
        }
        if tokio::time::timeout(STOP_DEADLINE, self.child.wait()).await.is_err() {
            self.child.kill().await?;
        }
        Ok(())
    }
}

/// User and system time in clock ticks: the 14th and 15th field, counted behind the name, which may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// What stands behind the words that it says when it is ready.
async fn ready(
    words: &[OsString],
    says: &str,
    log: &mut BufReader<ChildStderr>,
) -> Result<String, BenchError> {
    let mut last = String::new();
    loop {
        let mut line = String::new();
        if log.read_line(&mut line).await? == 0 {
            let program = words.join(" ".as_ref()).to_string_lossy().into_owned();
            return Err(BenchError::Process { program, said: last });
        }
        if let Some((_, behind)) = line.split_once(says) {
            return Ok(behind.trim().to_owned());
        }
        last = line;
    }
}

/// A load role, led step by step over its stdin and stdout.
#[derive(Debug)]
pub(crate) struct Load {
    child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Load {
    /// Starts it.
    pub(crate) fn start(words: &[OsString]) -> Result<Self, BenchError> {
        let mut child =
            command(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(std::io::Error::other("no pipes").into());
        };
        Ok(Self { child, stdin, stdout: BufReader::new(stdout).lines() })
    }

    /// Waits until it says that it has reached `step`.
    pub(crate) async fn reached(&mut self, step: &'static str) -> Result<(), BenchError> {
        let line = self.line(step).await?;
        if line == step { Ok(()) } else { Err(BenchError::Process { program: "load".into(), said: line }) }
    }

    /// Waits for its report.
    pub(crate) async fn report<T: DeserializeOwned>(&mut self) -> Result<T, BenchError> {
        let line = self.line("report").await?;
        serde_json::from_str(&line).map_err(|_| BenchError::Process { program: "load".into(), said: line })
    }

    /// Lets it go on.
    pub(crate) async fn go(&mut self) -> Result<(), BenchError> {
        Ok(self.stdin.write_all(b"\n").await?)
    }

    /// Waits for its end.
    pub(crate) async fn finish(mut self) -> Result<(), BenchError> {
        within(STEP_DEADLINE, "end of the load", async { Ok(self.child.wait().await.map(drop)?) }).await
    }

    async fn line(&mut self, awaited: &'static str) -> Result<String, BenchError> {
        let line = within(STEP_DEADLINE, awaited, async { Ok(self.stdout.next_line().await?) }).await?;
        let Some(line) = line else { return Err(self.last_words().await) };
        Ok(line)
    }

    async fn last_words(&mut self) -> BenchError {
        let mut said = String::new();
        if let Some(stderr) = self.child.stderr.take() {
            // Whatever can be read explains more than the failure to read all of it.
            let _ = stderr.take(4_096).read_to_string(&mut said).await;
        }
        BenchError::Process { program: "load".into(), said }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_a_name_with_blanks_and_brackets() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 300 45 0 0 20 0";
        assert_eq!(ticks(stat), Some(345));
    }
}
