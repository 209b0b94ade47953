//! The server on standard input and output, and the ways in which a child can misbehave from its start.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::task::JoinSet;

use super::{Connection, Fake, Out, Speaks};

/// How often a child looks for its gate.
const GATE_PACE: Duration = Duration::from_millis(5);

/// How the child behaves, by its arguments.
#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line, and they combine freely"
)]
pub struct StdioScript {
    /// `--log FILE`: each line read is added to this file.
    pub log: Option<PathBuf>,
    /// `--starts FILE`: each start adds a line with the process id to this file.
    pub starts: Option<PathBuf>,
    /// `--exit CODE`: a word on stderr, then the end before anything is read.
    pub exit: Option<u8>,
    /// `--exit-on METHOD`: the end when this method arrives, with ten lines on stderr.
    pub exit_on: Option<String>,
    /// `--speaks legacy|modern`: the only era it speaks; `--speaks-as FILE`: as this file says when it starts.
    pub speaks: Speaks,
    /// `--discover CODE`: the error to `server/discover` of a server of the legacy eras; else -32601.
    pub discover: Option<i32>,
    /// `--silent-on METHOD`: this method is not answered.
    pub silent_on: Option<String>,
    /// `--deaf`: nothing is read.
    pub deaf: bool,
    /// `--mute`: everything is read and nothing answered.
    pub mute: bool,
    /// `--flood`: stderr is written without end.
    pub flood: bool,
    /// `--gate FILE`: nothing is read until this file is there.
    pub gate: Option<PathBuf>,
    /// `--dumb-until FILE`: everything is read, and nothing answered until this file is there.
    pub dumb_until: Option<PathBuf>,
    /// `--stubborn`: neither the end of stdin nor SIGTERM ends it.
    pub stubborn: bool,
    /// `--child FILE`: starts a child of its own and writes its process id to this file.
    pub child: Option<PathBuf>,
}

impl StdioScript {
    /// Reads the arguments.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut script = Self::default();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().unwrap_or_else(|| panic!("{argument} needs a value"));
            match argument.as_str() {
                "--log" => script.log = Some(value().into()),
                "--starts" => script.starts = Some(value().into()),
                "--exit" => script.exit = Some(value().parse().expect("an exit code")),
                "--exit-on" => script.exit_on = Some(value()),
                "--speaks" => script.speaks = Speaks::parse(&value()),
                "--speaks-as" => {
                    let file = value();
                    let word =
                        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
                    script.speaks = Speaks::parse(&word);
                }
                "--discover" => script.discover = Some(value().parse().expect("an error code")),
                "--silent-on" => script.silent_on = Some(value()),
                "--deaf" => script.deaf = true,
                "--mute" => script.mute = true,
                "--flood" => script.flood = true,
                "--gate" => script.gate = Some(value().into()),
                "--dumb-until" => script.dumb_until = Some(value().into()),
                "--stubborn" => script.stubborn = true,
                "--child" => script.child = Some(value().into()),
                other => panic!("unknown argument {other}"),
            }
        }
        script
    }
}

/// Runs the child to its end; gives its exit code.
#[expect(clippy::print_stderr, reason = "stderr is what the script is about")]
pub async fn run(script: StdioScript) -> u8 {
    if let Some(file) = &script.starts {
        append(file, &std::process::id().to_string());
    }
    if let Some(code) = script.exit {
        eprintln!("cannot open the database");
        return code;
    }
    let mut background = JoinSet::new();
    if let Some(file) = &script.child {
        #[expect(clippy::zombie_processes, reason = "an orphan is what the test looks for")]
        let child = std::process::Command::new("sleep").arg("1000").spawn().expect("a child of the child");
        append(file, &child.id().to_string());
    }
    if script.flood {
        background.spawn_blocking(|| {
            let line = [b'e'; 1000];
            let mut stderr = std::io::stderr().lock();
            while stderr.write_all(&line).and_then(|()| stderr.write_all(b"\n")).is_ok() {}
        });
    }
    if script.stubborn {
        let mut term =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).expect("a signal");
        background.spawn(async move { while term.recv().await.is_some() {} });
    }
    let code = if script.deaf { std::future::pending().await } else { serve(&script).await };
    if script.stubborn {
        std::future::pending::<()>().await;
    }
    background.abort_all();
    if script.flood {
        // The flood cannot be stopped otherwise.
        #[expect(clippy::exit, clippy::disallowed_methods, reason = "see above")]
        std::process::exit(code.into());
    }
    code
}

async fn serve(script: &StdioScript) -> u8 {
    let (out, mut messages) = Out::new();
    let fake = Arc::new(Fake::new(script.speaks, script.discover));
    let connection = Connection { name: format!("pid-{}", std::process::id()).into(), standing: out };
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut stdout = tokio::io::stdout();
        while let Some(message) = messages.recv().await {
            let line = format!("{message}\n");
            if stdout.write_all(line.as_bytes()).await.and(stdout.flush().await).is_err() {
                return;
            }
        }
    });
    opened(script.gate.as_ref()).await;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(file) = &script.log {
            append(file, &line);
        }
        let method = super::member(&line, "method");
        let is_method = |wanted: &Option<String>| {
            wanted.as_ref().is_some_and(|wanted| method == Some(format!("\"{wanted}\"")))
        };
        if is_method(&script.exit_on) {
            return last_words();
        }
        if script.mute || is_method(&script.silent_on) {
            continue;
        }
        let (fake, connection) = (Arc::clone(&fake), connection.clone());
        let gate = script.dumb_until.clone();
        tasks.spawn(async move {
            opened(gate.as_ref()).await;
            let out = connection.standing.clone();
            fake.take(&line, &connection, &out).await;
        });
    }
    // What was asked is answered; what never ends is not waited for.
    drop(connection);
    drop(
        tokio::time::timeout(Duration::from_millis(200), async {
            while tasks.join_next().await.is_some() {}
        })
        .await,
    );
    0
}

/// Waits until this file is there, if one is waited for.
async fn opened(gate: Option<&PathBuf>) {
    while gate.is_some_and(|gate| !gate.exists()) {
        tokio::time::sleep(GATE_PACE).await;
    }
}

#[expect(clippy::print_stderr, reason = "the last words are the point")]
fn last_words() -> u8 {
    for number in 1..=10 {
        eprintln!("reason {number}: the licence has expired");
    }
    3
}

fn append(file: &PathBuf, line: &str) {
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(file);
    let mut opened = opened.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    // One write, so that lines of several children do not mix.
    opened.write_all(format!("{line}\n").as_bytes()).expect("a line in the log");
}
