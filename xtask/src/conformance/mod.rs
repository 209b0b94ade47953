//! The official conformance suite, run directly and through shadowcat: a proxy must not change a single verdict, not even
//! between a client and a server of different eras. Which ways through shadowcat there are is in `columns`, how a suite is
//! run in `suite`, what is compared and how it is shown in `table`, what differs by nature in `nature`.

mod columns;
mod nature;
mod suite;
mod table;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use self::columns::{CLIENT_MODE, ClientColumn, SERVER_MODE, Server, ServerColumn, Upstream};
use self::suite::Verdicts;
use self::table::Table;
use crate::failure::Failure;
use crate::process::{Running, Speaks};
use crate::tally::Tally;
use crate::{peers, program, tree};

/// What to compare, and with which program.
pub(crate) struct Options {
    /// The program to compare; without one it is built.
    pub(crate) binary: Option<PathBuf>,
    /// A part only: then nothing is written to the documentation.
    pub(crate) only: Option<Part>,
}

/// A part of the columns that can be run alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// An upstream over Streamable HTTP.
    Http,
    /// An upstream over stdio.
    Stdio,
    /// An upstream over the HTTP+SSE transport of 2024-11-05.
    Sse,
    /// No upstream, but a tape of one.
    Tape,
    /// A client over stdio, in front of the suite's mock servers.
    Client,
    /// A client and a server of different eras.
    Bridge,
}

impl Part {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "http" => Some(Self::Http),
            "stdio" => Some(Self::Stdio),
            "sse" => Some(Self::Sse),
            "tape" => Some(Self::Tape),
            "client" => Some(Self::Client),
            "bridge" => Some(Self::Bridge),
            _ => None,
        }
    }
}

impl Options {
    /// Reads `--binary PATH` and `--only PART`.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, Failure> {
        let mut options = Self { binary: None, only: None };
        for pair in arguments.chunks(2) {
            match pair {
                [flag, path] if flag == "--binary" => {
                    let path = Path::new(path);
                    // The suite starts it in another working directory.
                    options.binary = Some(path.canonicalize().map_err(Failure::file(path))?);
                }
                [flag, part] if flag == "--only" => options.only = Some(Part::parse(part).ok_or_else(usage)?),
                _ => return Err(usage()),
            }
        }
        Ok(options)
    }

    fn wants(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }
}

fn usage() -> Failure {
    Failure::said("usage: cargo xtask conformance [--binary PATH] [--only http|stdio|sse|tape|client|bridge]")
}

/// Runs the comparison, prints its tables, keeps them in the documentation, and counts: a check passes when its verdict
/// through shadowcat is the one it has directly, or differs by nature.
pub(crate) fn run(options: &Options) -> Result<Tally, Failure> {
    peers::install()?;
    let binary = options.binary.clone().map_or_else(program::build, Ok)?;
    let bench = Bench::new(binary)?;
    let mut tables = Vec::new();
    for (revision, server, columns) in SERVER_MODE {
        let columns: Vec<_> = columns.iter().filter(|column| options.wants(column.part)).collect();
        if !columns.is_empty() {
            tables.push(bench.server_mode(revision, &server, &columns)?);
        }
    }
    for (revision, scenarios, columns) in CLIENT_MODE {
        let columns: Vec<_> = columns.iter().filter(|column| options.wants(column.part)).collect();
        if !columns.is_empty() {
            tables.push(bench.client_mode(revision, scenarios, &columns)?);
        }
    }
    let page = table::page(&tables);
    println!("{page}");
    if options.only.is_none() {
        let path = tree::root().join("docs/conformance.md");
        fs::create_dir_all(tree::root().join("docs")).map_err(Failure::file(&path))?;
        fs::write(&path, page).map_err(Failure::file(&path))?;
    }
    let compared: usize = tables.iter().map(Table::compared).sum();
    let failed = tables.iter().flat_map(Table::unexplained).count();
    Ok(Tally { passed: compared - failed, failed })
}

/// Everything a run needs: the program, our peers, and an empty folder for logs and results.
struct Bench {
    binary: PathBuf,
    output: PathBuf,
}

impl Bench {
    fn new(binary: PathBuf) -> Result<Self, Failure> {
        let output = tree::installed().join("conformance");
        if output.exists() {
            // The suite adds to what it finds, and old results would be read as new ones.
            fs::remove_dir_all(&output).map_err(Failure::file(&output))?;
        }
        fs::create_dir_all(&output).map_err(Failure::file(&output))?;
        Ok(Self { binary, output })
    }

    /// The suite as the client of our servers: directly, and through `shadowcat reverse` in each way.
    fn server_mode(
        &self,
        revision: &str,
        server: &Server,
        columns: &[&ServerColumn],
    ) -> Result<Table, Failure> {
        println!("conformance: server mode, {revision}, directly");
        let folder = self.folder(&format!("server-{revision}-direct"))?;
        let (server, url) = serve(server, Upstream::Http, &folder)?;
        let direct = suite::test_server(&url, revision, &folder)?;
        server.end()?;
        direct.require_success()?;
        let mut verdicts = vec![("direct", direct.verdicts)];
        for column in columns {
            println!("conformance: server mode, {revision}, {}", column.title);
            let folder = self.folder(&format!("server-{revision}-{}", column.folder()))?;
            verdicts.push((
                column.title,
                match column.upstream {
                    Upstream::Tape => self.through_mock(revision, column, &folder)?,
                    _ => self.through_reverse(revision, column, &[], &folder)?,
                },
            ));
        }
        Ok(Table { title: format!("Server mode, {revision}"), columns: verdicts })
    }

    fn through_reverse(
        &self,
        revision: &str,
        column: &ServerColumn,
        flags: &[&OsStr],
        folder: &Path,
    ) -> Result<Verdicts, Failure> {
        let mut reverse = Command::new(&self.binary);
        reverse.args(["reverse", "--listen", "127.0.0.1:0", "--data"]).arg(folder.join("data")).args(flags);
        let upstream = match column.upstream {
            Upstream::Stdio => {
                reverse.arg("--").arg(tree::node()).args(column.server.words()).arg("--stdio");
                None
            }
            Upstream::Http | Upstream::Sse | Upstream::Tape => {
                let (server, url) = serve(&column.server, column.upstream, folder)?;
                reverse.args(["--upstream", &url]);
                Some(server)
            }
        };
        let verdicts = through(&mut reverse, revision, folder)?;
        if let Some(server) = upstream {
            server.end()?;
        }
        Ok(verdicts)
    }

    /// Records the suite through shadowcat, ends the server, and runs the suite once more against the tape.
    fn through_mock(
        &self,
        revision: &str,
        column: &ServerColumn,
        folder: &Path,
    ) -> Result<Verdicts, Failure> {
        let (recorded, tapes) = (self.folder(&format!("{revision}-recorded"))?, folder.join("tapes"));
        self.through_reverse(revision, column, &["--record".as_ref(), tapes.as_ref()], &recorded)?;
        let mut mock = Command::new(&self.binary);
        mock.arg("mock").args(["--listen", "127.0.0.1:0"]);
        for tape in fs::read_dir(&tapes).map_err(Failure::file(&tapes))? {
            mock.arg(tape.map_err(Failure::file(&tapes))?.path());
        }
        through(&mut mock, revision, folder)
    }

    /// Our client in front of the suite's mock servers: directly, and over stdio through `shadowcat forward`.
    fn client_mode(
        &self,
        revision: &str,
        scenarios: &[&str],
        columns: &[&ClientColumn],
    ) -> Result<Table, Failure> {
        let script = tree::peer_sources().join("conformance-client/client.mjs");
        let client = format!("{} {}", tree::node().display(), script.display());
        let through = columns.iter().map(|column| {
            let flags = column.flags.join(" ");
            (column.title, format!("{client} {flags} --through {} forward", self.binary.display()))
        });
        let mut verdicts = Vec::new();
        for (title, command) in std::iter::once(("direct", client.clone())).chain(through) {
            println!("conformance: client mode, {revision}, {title}");
            let folder = self.folder(&format!("client-{revision}-{}", title.replace(' ', "-")))?;
            verdicts.push((title, suite::test_client(&command, revision, scenarios, &folder)?));
        }
        Ok(Table { title: format!("Client mode, {revision}"), columns: verdicts })
    }

    fn folder(&self, name: &str) -> Result<PathBuf, Failure> {
        let folder = self.output.join(name);
        fs::create_dir_all(&folder).map_err(Failure::file(&folder))?;
        Ok(folder)
    }
}

/// Runs the suite against the address at which this command says it is ready, and ends it in order.
fn through(shadowcat: &mut Command, revision: &str, folder: &Path) -> Result<Verdicts, Failure> {
    let proxy = Running::start(shadowcat, Speaks::Error, &folder.join("shadowcat.log"), |line| {
        line.split_once("ready on ").map(|(_, url)| url.trim().to_owned())
    })?;
    let verdicts = suite::test_server(&proxy.ready()?, revision, folder)?.verdicts;
    let status = proxy.end()?;
    if !status.success() {
        return Err(Failure::said(format!("shadowcat did not end in order after SIGTERM: {status}")));
    }
    Ok(verdicts)
}

/// Starts a server of ours on a free port and gives back its address, as shadowcat is told it.
fn serve(server: &Server, upstream: Upstream, folder: &Path) -> Result<(Running, String), Failure> {
    let (flag, scheme, path) = match upstream {
        Upstream::Sse => ("--sse", "sse+http", "sse"),
        Upstream::Http | Upstream::Stdio | Upstream::Tape => ("--http", "http", "mcp"),
    };
    let mut command = Command::new(tree::node());
    command.args(server.words()).args([flag, "0"]);
    let running = Running::start(&mut command, Speaks::Output, &folder.join("server.log"), |line| {
        line.strip_prefix("ready ").map(str::to_owned)
    })?;
    let port = running.ready()?;
    Ok((running, format!("{scheme}://127.0.0.1:{port}/{path}")))
}
