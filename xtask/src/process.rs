//! A program in the background: started, awaited until it is ready or done, always ended.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::failure::Failure;

/// How long a program may take to say that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How long a program may take to end once it was asked to.
const END_WITHIN: Duration = Duration::from_secs(15);

/// Where a program says that it is ready; this stream goes to the log as well.
#[derive(Clone, Copy)]
pub(crate) enum Speaks {
    /// On standard output; standard error goes to a log of its own.
    Output,
    /// On standard error; standard output is dropped.
    Error,
}

/// A running program. Dropping it kills it.
pub(crate) struct Running {
    name: String,
    child: Child,
    /// One answer to the question for readiness; closed when the program closes the stream.
    answers: Receiver<String>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts a program; `ready` finds in a line what the caller waits for.
    pub(crate) fn start(
        command: &mut Command,
        speaks: Speaks,
        log: &Path,
        ready: fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let name = command.get_program().to_string_lossy().into_owned();
        let log_file = File::create(log).map_err(Failure::file(log))?;
        let other = log_file.try_clone().map_err(Failure::file(log))?;
        command.stdin(Stdio::null());
        match speaks {
            Speaks::Output => command.stdout(Stdio::piped()).stderr(other),
            Speaks::Error => command.stdout(Stdio::null()).stderr(Stdio::piped()),
        };
        let mut child = command.spawn().map_err(|cause| Failure::Start { program: name.clone(), cause })?;
        let stream: Option<Box<dyn Read + Send>> = match speaks {
            Speaks::Output => child.stdout.take().map(|pipe| Box::new(pipe) as _),
            Speaks::Error => child.stderr.take().map(|pipe| Box::new(pipe) as _),
        };
        let (found, answers) = mpsc::sync_channel(1);
        let reader = stream.map(|stream| std::thread::spawn(move || listen(stream, log_file, ready, &found)));
        Ok(Self { name, child, answers, reader })
    }

    /// Waits for the line that says so, and gives back what was found in it.
    pub(crate) fn ready(&self) -> Result<String, Failure> {
        self.answers.recv_timeout(READY_WITHIN).map_err(|cause| {
            let reason = match cause {
                RecvTimeoutError::Timeout => "is not ready in time",
                RecvTimeoutError::Disconnected => "ended before it was ready",
            };
            Failure::said(format!("{} {reason}", self.name))
        })
    }

    /// Asks the program to end and waits until it has.
    pub(crate) fn end(self) -> Result<ExitStatus, Failure> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself; the wait below tells.
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        self.finish(END_WITHIN)
    }

    /// Waits until the program has ended by itself.
    pub(crate) fn finish(mut self, within: Duration) -> Result<ExitStatus, Failure> {
        loop {
            match self.answers.recv_timeout(within) {
                // Said it was ready, and nobody asked.
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Failure::said(format!(
                        "{} did not end within {} s",
                        self.name,
                        within.as_secs()
                    )));
                }
            }
        }
        self.child.wait().map_err(|cause| Failure::Start { program: self.name.clone(), cause })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only where the program has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
    }
}

/// Copies a program's lines to its log until it closes the stream; reports the first one that says what is waited for.
fn listen(stream: impl Read, mut log: File, ready: fn(&str) -> Option<String>, found: &SyncSender<String>) {
    let mut said = false;
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        // A log that cannot be written is no reason to stop draining the pipe.
        drop(writeln!(log, "{line}"));
        if !said && let Some(answer) = ready(&line) {
            said = found.try_send(answer).is_ok();
        }
    }
}
