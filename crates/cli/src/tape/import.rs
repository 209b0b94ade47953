//! `shadowcat tape import`: tapes made of the recordings of other tools.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use shadowcat_tape::import::{self, Format, ImportError, Imported, Mapping, Settings, TimeUnit};

use super::files;
use crate::failure::Failure;
use crate::output;

/// How the file of a tape ends.
const SUFFIX: &str = ".tape.jsonl";
/// Archives may be large; a large buffer is read faster.
const BUFFER_BYTES: usize = 256 * 1024;

/// What is imported, and how it is read.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What the recording is
    #[arg(value_enum)]
    format: Word,
    /// The recording; `-` is standard input
    file: PathBuf,
    /// The tape to write, which may not be there yet [default: the name of the recording, among the tapes if their
    /// directory is named, else here]
    #[arg(short, long, value_name = "TAPE")]
    output: Option<PathBuf>,
    /// Pass bad entries over, and report them
    #[arg(long)]
    skip_bad: bool,
    /// Keep credentials as they are
    #[arg(long)]
    no_redact: bool,
    /// HAR: only entries with this in their address
    #[arg(long, value_name = "TEXT")]
    url: Option<String>,
    #[command(flatten)]
    log: Log,
}

/// Where a log of another tool has what a tape needs.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options for JSON Lines of other tools")]
struct Log {
    /// Member that says which way a message went, such as `direction` or `meta.dir`
    #[arg(long, value_name = "MEMBER", requires_all = ["to_server", "to_client"])]
    direction: Option<String>,
    /// Word there for messages to the server; may be given several times
    #[arg(long, value_name = "WORD", requires = "direction")]
    to_server: Vec<String>,
    /// Word there for messages to the client; may be given several times
    #[arg(long, value_name = "WORD", requires = "direction")]
    to_client: Vec<String>,
    /// Member that holds the message: JSON, or a string of JSON
    #[arg(long, value_name = "MEMBER", default_value = "message", requires = "direction")]
    message: String,
    /// Member that says when
    #[arg(long, value_name = "MEMBER", default_value = "timestamp", requires = "direction")]
    time: String,
    /// How that is written: RFC 3339, or a number since 1970
    #[arg(long, value_enum, default_value = "rfc3339", requires = "direction")]
    time_unit: Unit,
    /// Member that holds the session's id
    #[arg(long, value_name = "MEMBER", requires = "direction")]
    session: Option<String>,
    /// What the messages went over
    #[arg(long, value_enum, default_value = "stdio", requires = "direction")]
    transport: Transport,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Word {
    /// HTTP Archive: our own, and those of browsers and proxies
    Har,
    /// What the protocol view of the MCP Inspector exports
    Inspector,
    /// Our own export, or another log whose members are named
    Jsonl,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Unit {
    Rfc3339,
    S,
    Ms,
    Us,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Transport {
    Stdio,
    Sse,
    Http,
}

impl Args {
    /// `dir` is the directory of the tapes, where one is named.
    pub(super) fn run(&self, dir: Option<&Path>) -> Result<(), Failure> {
        let settings = Settings { format: self.format()?, skip_bad: self.skip_bad, redact: !self.no_redact };
        let tape = self.output.clone().unwrap_or_else(|| dir.unwrap_or(Path::new("")).join(self.name()));
        let imported =
            import::import(self.source()?, &settings, &tape).map_err(|cause| self.failure(cause))?;
        output::print(&told(&tape, &imported, self.skip_bad))
    }

    fn format(&self) -> Result<Format, Failure> {
        if self.url.is_some() && self.format != Word::Har {
            return Err(Failure::usage("`--url` is for `har`: nothing else has addresses"));
        }
        if self.log.direction.is_some() && self.format != Word::Jsonl {
            return Err(Failure::usage(
                "`--direction` is for `jsonl`: the other formats say which way a message went",
            ));
        }
        Ok(match self.format {
            Word::Har => Format::Har { url: self.url.clone() },
            Word::Inspector => Format::Inspector,
            Word::Jsonl => Format::Jsonl(self.log.mapping()),
        })
    }

    fn source(&self) -> Result<Box<dyn BufRead>, Failure> {
        if self.file.as_os_str() == "-" {
            return Ok(Box::new(BufReader::new(io::stdin())));
        }
        let file = File::open(&self.file).map_err(|cause| files::unreadable(&self.file, cause))?;
        Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, file)))
    }

    /// The recording's name, with the ending of tapes for its own.
    fn name(&self) -> String {
        let name = files::name(&self.file);
        let stem = [SUFFIX, ".har", ".jsonl", ".json", ".log"].iter().find_map(|end| name.strip_suffix(end));
        match stem.unwrap_or(&name) {
            "-" | "" => format!("imported{SUFFIX}"),
            stem => format!("{stem}{SUFFIX}"),
        }
    }

    fn failure(&self, cause: ImportError) -> Failure {
        match cause {
            ImportError::File(cause) => Failure::caused("the recording is not imported", cause),
            ImportError::Read(cause) => files::unreadable(&self.file, cause),
            ImportError::Empty if self.format == Word::Har => {
                let way_out = "browsers save bodies only with \"save all as HAR with content\"";
                let place =
                    self.url.as_ref().map_or_else(String::new, |url| format!(" with {url:?} in its address"));
                let file = self.file.display();
                Failure::plain(format!("{file}: there is no JSON-RPC message in it{place}; {way_out}"))
            }
            cause => Failure::plain(format!("{}: {cause}", self.file.display())),
        }
    }
}

impl Log {
    fn mapping(&self) -> Option<Mapping> {
        Some(Mapping {
            message: self.message.clone(),
            direction: self.direction.clone()?,
            to_server: self.to_server.clone(),
            to_client: self.to_client.clone(),
            time: self.time.clone(),
            time_unit: match self.time_unit {
                Unit::Rfc3339 => TimeUnit::Rfc3339,
                Unit::S => TimeUnit::Seconds,
                Unit::Ms => TimeUnit::Millis,
                Unit::Us => TimeUnit::Micros,
            },
            session: self.session.clone(),
            transport: match self.transport {
                Transport::Stdio => "stdio",
                Transport::Sse => "sse",
                Transport::Http => "http",
            }
            .to_owned(),
        })
    }
}

fn told(tape: &Path, imported: &Imported, skip_bad: bool) -> String {
    let counted = |count, one: &str, more: &str| match count {
        0 => None,
        1 => Some(format!("  1 {one}")),
        count => Some(format!("  {count} {more}")),
    };
    let messages =
        if imported.messages == 1 { "1 message" } else { &format!("{} messages", imported.messages) };
    let mut lines = vec![format!("{}: {messages}", tape.display())];
    lines.extend(counted(imported.redactions, "credential was replaced", "credentials were replaced"));
    let (one, more) = ("request has no answer in the recording", "requests have no answer in the recording");
    lines.extend(counted(imported.bodiless, one, more));
    lines.extend(counted(imported.foreign, "entry is no MCP", "entries are no MCP"));
    if skip_bad {
        lines.extend(counted(imported.bad, "bad entry was passed over", "bad entries were passed over"));
        lines.extend(imported.named.iter().map(|bad| format!("    {bad}")));
        let unnamed = imported.bad.saturating_sub(imported.named.len() as u64);
        lines.extend((unnamed > 0).then(|| format!("    and {unnamed} more")));
    }
    lines.join("\n") + "\n"
}
