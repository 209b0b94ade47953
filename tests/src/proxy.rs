//! `shadowcat` as a process: `reverse` behind a port, `forward` on a pair of pipes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use tempfile::TempDir;

use crate::process::Process;
use crate::raw::{Ask, get};
use crate::wait::soon;

/// A `shadowcat reverse` to be started.
#[derive(Clone)]
pub struct Reverse {
    config: String,
    upstream: Vec<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    bearer: Option<String>,
    file_bytes_max: Option<u64>,
}

/// A running `shadowcat reverse`.
pub struct Proxy {
    /// The process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    start: Reverse,
    data: Option<TempDir>,
}

/// The program under test: `SHADOWCAT_BIN`, or what was built beside the tests.
pub fn program() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "the tests have no command line of their own")]
    if let Ok(named) = std::env::var("SHADOWCAT_BIN") {
        return PathBuf::from(named);
    }
    let test = std::env::current_exe().expect("the path of the test");
    let built = test.ancestors().nth(2).expect("a target directory").join("shadowcat");
    assert!(
        built.is_file(),
        "{} is missing: run `cargo build -p shadowcat-cli` first, or set SHADOWCAT_BIN",
        built.display()
    );
    built
}

/// A proxy in front of this URL.
pub fn before_url(url: &str) -> Reverse {
    Reverse::new(vec!["--upstream".into(), url.into()])
}

/// A proxy in front of this command.
pub fn before_command<S: AsRef<str>>(command: &[S]) -> Reverse {
    let words = command.iter().map(|word| word.as_ref().to_owned());
    Reverse::new(std::iter::once("--".to_owned()).chain(words).collect())
}

/// A proxy whose file says everything, the upstream too.
pub fn configured(yaml: &str) -> Reverse {
    Reverse::new(Vec::new()).config(yaml)
}

impl Reverse {
    fn new(upstream: Vec<String>) -> Self {
        let (config, arguments, environment) = Default::default();
        Self { config, upstream, arguments, environment, bearer: None, file_bytes_max: None }
    }

    /// Adds YAML to its configuration file.
    pub fn config(mut self, yaml: &str) -> Self {
        self.config.push_str(yaml.trim_start_matches('\n'));
        self
    }

    /// Adds an argument.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets a variable in its environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Its pages are asked for with this token.
    pub fn bearer(mut self, token: &str) -> Self {
        self.bearer = Some(token.into());
        self
    }

    /// No file it writes may grow beyond this, as on a full disk.
    pub fn file_bytes_max(mut self, bytes: u64) -> Self {
        self.file_bytes_max = Some(bytes);
        self
    }

    /// Starts it with a data directory of its own and waits until it is ready.
    pub async fn start(self) -> Proxy {
        let data = tempfile::tempdir().expect("a temporary directory");
        self.start_in(data, "127.0.0.1:0").await
    }

    async fn start_in(self, data: TempDir, listen: &str) -> Proxy {
        let process = Process::start(self.command(data.path(), listen));
        let url = process.says("shadowcat: ready on http://").await;
        let address = url.split('/').next().and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no address in {url:?}"));
        Proxy { process, address, start: self, data: Some(data) }
    }

    fn command(&self, data: &Path, listen: &str) -> Command {
        let mut command = match self.file_bytes_max {
            None => Command::new(program()),
            Some(bytes) => {
                // Ignored, the signal for a file over the limit leaves an error of the write, as a full disk does.
                let script = format!("trap '' XFSZ; ulimit -S -f {}; exec \"$0\" \"$@\"", bytes / 512);
                let mut shell = Command::new("sh");
                shell.args(["-c", &script]).arg(program());
                shell
            }
        };
        command.args(["reverse", "--listen", listen, "--data"]).arg(data);
        if !self.config.is_empty() {
            let file = data.join("shadowcat.yaml");
            std::fs::write(&file, &self.config).expect("the configuration file");
            command.arg("--config").arg(file);
        }
        command.args(&self.arguments).args(&self.upstream);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

impl Proxy {
    /// Its data directory.
    pub fn data(&self) -> &Path {
        self.data.as_ref().expect("a data directory").path()
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Kills it without a warning and starts it again on the same address and data.
    pub async fn crash_and_restart(mut self) -> Self {
        self.process.signal(Signal::KILL);
        self.restart().await
    }

    /// Ends it in order and starts it again on the same address and data.
    pub async fn end_and_restart(self) -> Self {
        let same = self.start.clone();
        self.end_and_start(same).await
    }

    /// Ends it in order and starts another one on the same address and data.
    pub async fn end_and_start(mut self, other: Reverse) -> Self {
        self.process.signal(Signal::TERM);
        self.start = other;
        self.restart().await
    }

    async fn restart(&mut self) -> Self {
        self.process.ended().await;
        let data = self.data.take().expect("a data directory");
        self.start.clone().start_in(data, &self.address.to_string()).await
    }

    /// `shadowcat sessions` with these arguments, on its data; its exit status says whether it succeeded.
    pub async fn sessions(&self, arguments: &[&str]) -> Output {
        let mut command = tokio::process::Command::new(program());
        command.arg("sessions").args(arguments).arg("--data").arg(self.data()).stdin(Stdio::null());
        soon("an answer of `shadowcat sessions`", command.output()).await.expect("the program runs")
    }

    /// One of its pages.
    pub async fn page(&self, path: &str) -> (u16, String) {
        let mut asked = get(path);
        if let Some(token) = &self.start.bearer {
            asked = asked.bearer(token);
        }
        let answer = asked.send(self.address).await;
        (answer.status, answer.text().await)
    }

    /// Takes back [`Reverse::file_bytes_max`], as when somebody has made room on the disk.
    pub fn make_room(&self) {
        let pid = Pid::from_raw(self.process.pid().try_into().expect("a pid"));
        let hard = getrlimit(Resource::Fsize).maximum;
        prlimit(pid, Resource::Fsize, Rlimit { current: hard, maximum: hard }).expect("the limit is soft");
    }

    /// A figure of its metrics page; the sum where it has labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let (status, page) = self.page("/metrics").await;
        assert_eq!(status, 200, "{page}");
        let lines = page.lines().filter_map(|line| line.strip_prefix(name));
        let lines = lines.filter(|rest| rest.starts_with([' ', '{']));
        lines.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// A POST to its endpoint.
    pub fn post(&self, body: &str) -> Ask {
        crate::raw::post("/mcp", body)
    }
}
