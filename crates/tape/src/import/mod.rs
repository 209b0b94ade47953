//! Recordings of other tools, made tapes.
//!
//! A format is a file here and a line in [`Format`]. Each finds messages with their times and directions; `join` makes
//! frames of them, with sessions, revisions and exchanges; what is written is an ordinary tape, whose header tells
//! where it came from. What is damaged is an error that names the entry, or is passed over and counted.

mod document;
mod har;
mod har_entry;
mod inspector;
mod join;
mod jsonl;
mod sniff;

use std::fmt;
use std::io::{self, BufRead};
use std::path::Path;

use time::Duration;

use crate::file::{FileError, TapeFile};
use crate::record::{Frame, Header};
use crate::redact::{Redactor, RedactorError, Secrets};
use crate::reel;

pub use jsonl::{Mapping, TimeUnit};

/// Formats whose messages have to be put in order are held in memory; more than this is refused.
const HELD_BYTES_MAX: usize = 512 * 1024 * 1024;
/// So many bad entries are named; the others are counted.
const NAMED_MAX: usize = 20;

/// The formats that tapes are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// HTTP Archive: ours, and those of browsers and proxies.
    Har {
        /// Only entries with this in their address.
        url: Option<String>,
    },
    /// The export of the MCP Inspector's protocol view.
    Inspector,
    /// A message a line: our own export, or another log whose members are named.
    Jsonl(Option<Mapping>),
}

impl Format {
    /// The word in the header of the tape.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Har { .. } => "har",
            Self::Inspector => "inspector",
            Self::Jsonl(_) => "jsonl",
        }
    }
}

/// How a recording is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its format.
    pub format: Format,
    /// Whether bad entries are passed over.
    pub skip_bad: bool,
    /// Whether credentials are replaced.
    pub redact: bool,
}

/// What an import has found.
#[derive(Debug, Default)]
pub struct Imported {
    /// Messages on the tape.
    pub messages: u64,
    /// Pieces of them that were replaced.
    pub redactions: u64,
    /// Bad entries that were passed over, the first of them by name.
    pub named: Vec<Bad>,
    /// How many there were.
    pub bad: u64,
    /// Entries that are no MCP.
    pub foreign: u64,
    /// Requests whose answers the recording did not keep.
    pub bodiless: u64,
}

/// An entry that gives no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Where it stands.
    pub at: At,
    /// Why.
    pub detail: String,
}

/// A place in a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// A line, from 1.
    Line(u64),
    /// An entry of the list.
    Entry {
        /// Which, from 1.
        number: u64,
        /// The line it begins on, from 1.
        line: u64,
    },
}

impl At {
    /// Which, from 1.
    pub fn number(self) -> u64 {
        match self {
            Self::Line(number) | Self::Entry { number, .. } => number,
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Entry { number, line } => write!(f, "entry {number} (line {line})"),
        }
    }
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.detail)
    }
}

/// Why a recording made no tape.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// An entry is bad.
    #[error("{0}; mend it, or pass such entries over with `--skip-bad`")]
    Bad(Bad),
    /// The file is not of the format.
    #[error("{0}")]
    Format(String),
    /// It holds no message.
    #[error("there is no MCP message in it")]
    Empty,
    /// It cannot be held in memory to be put in order.
    #[error("it holds more than {} MiB of messages: cut it, or convert it to JSON Lines", HELD_BYTES_MAX >> 20)]
    TooLarge,
    /// It cannot be read.
    #[error("it cannot be read any further")]
    Read(#[source] io::Error),
    /// The tape cannot be written.
    #[error("the tape cannot be written")]
    File(#[from] FileError),
    /// Redaction cannot be set up.
    #[error("redaction cannot be set up")]
    Redactor(#[from] RedactorError),
}

/// Makes a tape of a recording. Nothing is left of it when that fails.
///
/// # Errors
/// What is wrong with the recording or the disk, and the way out.
pub fn import(source: impl BufRead, settings: &Settings, path: &Path) -> Result<Imported, ImportError> {
    let redactor = if settings.redact { Some(Redactor::new(&Secrets::default())?) } else { None };
    let mut file = None;
    let mut redactions = 0;
    let mut imported = read(source, settings, &mut |mut frame| {
        if let Some(redactor) = &redactor {
            redactions += u64::from(redactor.frame(&mut frame));
        }
        let file = match &mut file {
            Some(file) => file,
            none => {
                let since = i64::try_from(frame.at_us).unwrap_or(i64::MAX);
                let created = frame.time.checked_sub(Duration::microseconds(since)).unwrap_or(frame.time);
                let imported = Some(settings.format.as_str().to_owned());
                let header = Header { imported, ..reel::header(created, settings.redact)? };
                none.insert(TapeFile::with_header(path, None, &header)?)
            }
        };
        Ok(file.frame(&frame)?)
    })?;
    let summary = file.ok_or(ImportError::Empty)?.finish()?;
    imported.messages = summary.frames;
    imported.redactions = redactions;
    Ok(imported)
}

/// Reads the frames of a recording, in order.
///
/// # Errors
/// Of the recording, and those of `out`.
pub fn read(
    mut source: impl BufRead,
    settings: &Settings,
    out: &mut dyn FnMut(Frame) -> Result<(), ImportError>,
) -> Result<Imported, ImportError> {
    sniff::look(&mut source)?;
    let mut sink = Sink { out, skip_bad: settings.skip_bad, imported: Imported::default() };
    match &settings.format {
        Format::Har { url } => har::read(source, url.as_deref(), &mut sink)?,
        Format::Inspector => inspector::read(source, &mut sink)?,
        Format::Jsonl(None) => jsonl::read_own(source, &mut sink)?,
        Format::Jsonl(Some(mapping)) => jsonl::read_mapped(source, mapping, &mut sink)?,
    }
    Ok(sink.imported)
}

/// Where the formats put what they find.
struct Sink<'a> {
    out: &'a mut dyn FnMut(Frame) -> Result<(), ImportError>,
    skip_bad: bool,
    imported: Imported,
}

impl Sink<'_> {
    fn frame(&mut self, frame: Frame) -> Result<(), ImportError> {
        self.imported.messages += 1;
        (self.out)(frame)
    }

    /// Passes an entry over, if that is wanted.
    fn bad(&mut self, at: At, detail: impl fmt::Display) -> Result<(), ImportError> {
        self.pass_over(Bad { at, detail: detail.to_string() })
    }

    /// What was read before a document became unreadable is good for those who pass bad entries over.
    fn unless_bad(&mut self, done: Result<(), ImportError>) -> Result<(), ImportError> {
        match done {
            Err(ImportError::Bad(bad)) => self.pass_over(bad),
            other => other,
        }
    }

    fn pass_over(&mut self, bad: Bad) -> Result<(), ImportError> {
        if !self.skip_bad {
            return Err(ImportError::Bad(bad));
        }
        self.imported.bad += 1;
        if self.imported.named.len() < NAMED_MAX {
            self.imported.named.push(bad);
        }
        Ok(())
    }
}

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
